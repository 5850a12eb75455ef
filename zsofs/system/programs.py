"""Execution of programs that may hang as long as a FUSE daemon does."""

import os
import pwd
import subprocess
from collections.abc import Sequence

from zsofs.timings import timings


def run_bounded(
    command: Sequence[str | bytes], *, fds: Sequence[int] = (), user: int | None = None
) -> tuple[int, str] | None:
    """Run a program with a timeout; abandon it if it hangs, possibly beyond SIGKILL.

    Args:
        command: the program and its arguments.
        fds: descriptors that it inherits.
        user: user to run it as, if not the current one.

    Returns:
        Its exit code and standard error output; None after a timeout.

    Raises:
        OSError: it cannot be run.
        KeyError: the user does not exist.
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
