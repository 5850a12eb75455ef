"""Whether a mount of the library has an active reader on a disk that packing would use."""

import os
from collections.abc import Sequence
from contextlib import suppress

from zsofs.errors import ControlError
from zsofs.mount.control.activity import Activity
from zsofs.mount.control.activity_client import ask_activity
from zsofs.mount.control.client import running
from zsofs.source.relpath import is_at_or_below
from zsofs.timings import timings

_DEVICES = "/sys/dev/block"


def active_reader(library: str, paths: Sequence[str]) -> str:
    """Return which program reads from a mount of the library; empty if there is none.

    Only mounts of this user are asked; for root, all. A mount that does not answer counts as idle.

    Args:
        library: real path of the library.
        paths: files and directories that packing reads and writes.
    """
    mounts = running()
    if not mounts:
        return ""
    disks = [_disk_of(path) for path in paths]
    for _, answer in ask_activity(mounts):
        if isinstance(answer, ControlError):
            continue
        source = answer.mount.source
        is_its_mount = _overlap(source, library)
        if is_its_mount and any(_may_be_same(_disk_of(source), disk) for disk in disks):
            reader = _reader(answer)
            if reader:
                return f"{reader} reads from {answer.mount.mount_point}"
    return ""


def _reader(activity: Activity) -> str:
    """Return the program that reads now; empty if none does."""
    for waiting in activity.waiting:
        return waiting.program or "a program"
    for reader in activity.readers:
        if reader.idle_seconds < timings().watch_reader:
            return reader.program or "a program"
    return ""


def _overlap(source: str, library: str) -> bool:
    one, other = os.fsencode(source), os.fsencode(library)
    return is_at_or_below(one, other) or is_at_or_below(other, one)


def _disk_of(path: str) -> str:
    """Return the name of the whole disk of a file; its device number if there is none.

    Two partitions are on one disk. Empty if the path does not exist.
    """
    with suppress(OSError):
        device = os.stat(path).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        place = os.path.realpath(f"{_DEVICES}/{number}")
        if os.path.exists(os.path.join(place, "partition")):
            place = os.path.dirname(place)
        return os.path.basename(place)
    return ""


def _may_be_same(one: str, other: str) -> bool:
    """Return whether two disks may be one: numbers of btrfs, for example, name no disk."""
    is_known = all(name and ":" not in name for name in (one, other))
    return one == other or not is_known
