"""Runs programs that may hang for as long as a FUSE daemon does."""

import os
import pwd
import subprocess
from collections.abc import Sequence

from zsofs.timings import timings


def run_bounded(
    command: Sequence[str | bytes], *, fds: Sequence[int] = (), user: int | None = None
) -> tuple[int, str] | None:
    """Run a program that may hang, beyond SIGKILL even, and be left behind.

    Args:
        command: the program and its arguments.
        fds: descriptors that it inherits.
        user: as whom it runs, if not as this process.

    Returns:
        Its exit code and what it prints as errors; None if it did not end in time.

    Raises:
        OSError: it cannot be run.
        KeyError: there is no such user.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"LC_ALL": "C"},
        cwd="/",
        pass_fds=fds,
        user=user,
        group=None if user is None else pwd.getpwuid(user).pw_gid,
        extra_groups=None if user is None else [],
        start_new_session=True,
    )
    try:
        _, said = child.communicate(timeout=timings().program)
    except subprocess.TimeoutExpired:
        child.kill()
        return None
    return child.returncode, os.fsdecode(said.strip())
