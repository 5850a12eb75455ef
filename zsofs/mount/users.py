"""Detection of the programs that keep a mount busy, without access to the mount.

Only links and tables in /proc and /sys are read: ``stat`` of a file in a mount whose daemon hangs
never returns.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from zsofs.console.text import for_people
from zsofs.source.relpath import is_at_or_below
from zsofs.system.mountinfo import Mounted, mount_table, mounts_in
from zsofs.timings import timings

_PROC = Path("/proc")
_LOOP_DEVICES = Path("/sys/block")


def users_of(point: bytes) -> list[str]:
    """Return the programs, loop devices and mounts that use the mount at *point*.

    Only root can see programs of other users.
    """
    found: list[str] = []
    _in_time(lambda: found.extend(_users(point)))
    return list(found)


def other_namespaces(wanted: Mounted) -> list[str]:
    """Return a program in each other mount namespace that contains the mount."""
    same = wanted.device, wanted.kind, wanted.source
    found: dict[str, str] = {}

    def look() -> None:
        own = os.readlink("/proc/self/ns/mnt")
        for process in _processes():
            with suppress(OSError):
                namespace = os.readlink(process / "ns" / "mnt")
                if namespace != own and namespace not in found:
                    table = (process / "mountinfo").read_bytes()
                    if same in ((one.device, one.kind, one.source) for one in mounts_in(table)):
                        found[namespace] = f"{_program(process)} (process {process.name})"

    _in_time(look)
    return list(found.values())


def _in_time(look: Callable[[], None]) -> None:
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(timings().find_users)


def _users(point: bytes) -> Iterator[str]:
    for process in _processes():
        if int(process.name) != os.getpid():
            with suppress(OSError):
                path = next(_paths_below(point, _links(process)), None)
                if path is None:
                    path = next(_paths_below(point, _mapped(process)), None)
                if path is not None:
                    yield f"{_program(process)} (process {process.name}, {for_people(path)})"
    yield from _loop_devices(point)
    for mounted in mount_table():
        if mounted.path.startswith(point + b"/"):
            yield f"the {mounted.kind} mount at {for_people(mounted.path)}"


def _processes() -> Iterator[Path]:
    for name in os.listdir(_PROC):
        if name.isdigit():
            yield _PROC / name


def _program(process: Path) -> str:
    return for_people((process / "comm").read_bytes().strip())


def _links(process: Path) -> Iterator[bytes]:
    """Yield the files that a process has open or executes, and its working directory."""
    names = []
    with suppress(OSError):
        names = [f"fd/{number}" for number in os.listdir(process / "fd")]
    for name in (*names, "cwd", "root", "exe"):
        with suppress(OSError):
            yield os.readlink(os.fsencode(process / name))


def _mapped(process: Path) -> Iterator[bytes]:
    for line in (process / "maps").read_bytes().splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6:
            yield fields[5]


def _loop_devices(point: bytes) -> Iterator[str]:
    """Yield loop devices with files in the mount, and their mount points."""
    table = list(mount_table())
    for device in sorted(_LOOP_DEVICES.glob("loop*")):
        with suppress(OSError):
            path = (device / "loop" / "backing_file").read_bytes().rstrip(b"\n")
            if is_at_or_below(path, point):
                number = (device / "dev").read_text().strip()
                places = [for_people(one.path) for one in table if one.device == number]
                name, file = f"/dev/{device.name}", for_people(path)
                if places:
                    yield f"loop device {name} ({file}, mounted at {places[0]})"
                else:
                    yield f"loop device {name} ({file})"


def _paths_below(point: bytes, paths: Iterable[bytes]) -> Iterator[bytes]:
    return (re.sub(rb" \(deleted\)$", b"", path) for path in paths if is_at_or_below(path, point))
