"""Control groups of a machine's own, so that several can run beside each other."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.mounting import wait_until


@contextmanager
def own_groups(name: str) -> Iterator[list[Path]]:
    """New control groups below those of this process; removed at the end with all that is left.

    Yields:
        Files that take the number of a process which is to be in them.
    """
    folders = [folder / name for folder in _folders()]
    for folder in folders:
        folder.mkdir()
    try:
        yield [folder / "cgroup.procs" for folder in folders]
    finally:
        for folder in folders:
            wait_until(lambda folder=folder: _removed(folder), f"the end of {folder}")  # type: ignore[misc]


def _folders() -> list[Path]:
    """The groups of this process in the hierarchies that systemd uses."""
    mounts = Path("/proc/self/mountinfo").read_text()
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            pattern = r"^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 "
        elif controllers == "name=systemd":
            pattern = r"^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup \S+ \S*name=systemd"
        else:
            continue
        mount = re.search(pattern, mounts, re.MULTILINE)
        if mount is not None:
            found.append(Path(mount[2]) / os.path.relpath(path, mount[1]))
    assert found, "this system has no control groups, which a booted machine needs"
    return found


def _removed(folder: Path) -> bool:
    for path in sorted(folder.rglob("*/"), reverse=True):
        with suppress(OSError):
            path.rmdir()
    with suppress(OSError):
        folder.rmdir()
    if folder.exists():
        time.sleep(0.1)
    return not folder.exists()
