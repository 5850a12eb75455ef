"""Finds mounts inside a source directory that lead back to the mount that shows the directory.

A read of such a directory would be answered by the daemon that asks for it, directly or by way of
other daemons, and hang all of them. The decision is taken from the table of mounts alone, because
even ``stat`` of a directory that is mounted by a daemon may never return.
"""

import os
from collections.abc import Iterator, Mapping, Sequence

from zsofs.mounts import FILE_SYSTEM_TYPE, Mounted, MountTable
from zsofs.names import for_people, is_at_or_below

_ROOT: Mapping[bytes, str] = {b"": "the mount covers its own source directory"}


class MountCycles:
    """The directories of one source that must not be entered. Any thread may use it."""

    def __init__(self) -> None:
        self._table = MountTable()
        self._device = ""
        self._known: tuple[Sequence[Mounted], bytes, str] | None = None
        self._refused: Mapping[bytes, str] = {}

    def serve_as(self, device: str) -> None:
        """Set the device number of the mount that shows the source, as ``0:52``.

        Until then, and in a program that mounts nothing, each zsofs mount of the same source
        counts as that mount.
        """
        self._device = device

    def refused(self, source: bytes) -> Mapping[bytes, str]:
        """Return the directories that must not be entered, with the reason for each.

        Args:
            source: real path of the source directory.

        Returns:
            Reasons by path in the source; the empty path stands for the whole source.
        """
        table, device = self._table.current(), self._device
        known = self._known
        if known is None or known[0] is not table or known[1:] != (source, device):
            self._refused = find_cycles(table, source, device)
            self._known = table, source, device
        return self._refused


def find_cycles(table: Sequence[Mounted], source: bytes, device: str) -> dict[bytes, str]:
    """Return the directories of a source that lead back to a mount of it.

    Args:
        table: all mounts.
        source: real path of the source directory.
        device: device number of its mount; empty for all mounts of that source.

    Returns:
        Reasons by path in the source; see :meth:`MountCycles.refused`.
    """
    mounts = [mounted for mounted in table if mounted.kind == FILE_SYSTEM_TYPE]
    own = {mounted.device for mounted in mounts if mounted.source == source}
    own = {device} if device else own
    if any(mounted.device in own for mounted in _chain(table, source)):
        return dict(_ROOT)
    refused = {}
    for mounted in mounts:
        if mounted.path != source and is_at_or_below(mounted.path, source.rstrip(b"/")):
            reason = _reason(table, mounts, mounted, own)
            if reason:
                refused[mounted.path[len(source.rstrip(b"/")) + 1 :]] = reason
    return refused


def _reason(
    table: Sequence[Mounted], mounts: Sequence[Mounted], found: Mounted, own: set[str]
) -> str:
    """Return why a mount inside the source leads back to it; empty if it does not."""
    if found.device in own:
        return "shown empty: it is a mount of this source directory itself"
    seen = {found.device}
    todo = [found]
    while todo:
        for mounted in _reachable(table, mounts, todo.pop().source):
            if mounted.device in own:
                shown = for_people(found.source)
                return f"shown empty: the mount of {shown} there contains a mount of this source"
            if mounted.device not in seen:
                seen.add(mounted.device)
                todo.append(mounted)
    return ""


def _reachable(
    table: Sequence[Mounted], mounts: Sequence[Mounted], source: bytes
) -> Iterator[Mounted]:
    """The zsofs mounts that a mount of *source* leads to: those in it, and the one it lies on."""
    below = [one for one in mounts if is_at_or_below(one.path, source.rstrip(b"/"))]
    yield from below
    around = _mount_of_path(table, source)
    if around is not None and around.kind == FILE_SYSTEM_TYPE:
        yield around


def _chain(table: Sequence[Mounted], source: bytes) -> Iterator[Mounted]:
    """The zsofs mount that a source lies on, the one that its own source lies on, and so on."""
    seen: set[str] = set()
    while True:
        mounted = _mount_of_path(table, source)
        if mounted is None or mounted.kind != FILE_SYSTEM_TYPE or mounted.device in seen:
            return
        yield mounted
        seen.add(mounted.device)
        source = mounted.source


def _mount_of_path(table: Sequence[Mounted], path: bytes) -> Mounted | None:
    """The mount that a path lies on, by its text; the topmost one."""
    found = None
    for mounted in table:
        if is_at_or_below(path, mounted.path.rstrip(b"/")) and (
            found is None or len(mounted.path) >= len(found.path)
        ):
            found = mounted
    return found


def device_number(device: str) -> int:
    """Return st_dev of a device as the table of mounts writes it."""
    major, _, minor = device.partition(":")
    return os.makedev(int(major), int(minor))
