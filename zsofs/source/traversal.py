"""Permissions of the directories that a path in the mount does not contain.

The kernel checks permissions along the path in the mount. The OPL layout shows a disc in `DVD`
although it lies in another directory, and a symlink leads past the directories above its target.
A user who may not traverse those directories must not reach the file through the mount either.
"""

import os
import stat
from collections.abc import Iterable, Iterator


class DirectoryPermissions:
    """Mode and owner of each source directory, as of its last scan.

    Threads that scan the source write them, the event loop reads them: each step is one dict
    operation, which is atomic in CPython.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, int, int]] = {}

    def record(self, path: bytes, status: os.stat_result) -> None:
        """Store the status of the directory *path*."""
        self._known[path] = status.st_mode, status.st_uid, status.st_gid

    def forget(self, path: bytes) -> None:
        """Delete the directory *path*, which no longer exists."""
        self._known.pop(path, None)

    def limited(self, status: os.stat_result, directories: Iterable[bytes]) -> int:
        """Return the mode of a file without the bits of those who may not traverse *directories*.

        Each class of users keeps its bits only if it may traverse every directory: owner and group
        by their own execute bit if the directory has the same owner or group, and otherwise by the
        bit for others. An unknown directory cannot be traversed.

        With an ACL, the group bits are its mask, as for every program that reads a mode: they may
        grant more than the group has, but never less than a named user has.
        """
        mode = status.st_mode
        for path in directories:
            known = self._known.get(path)
            if known is None:
                return mode & ~(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
            above, uid, gid = known
            others = above & stat.S_IXOTH
            if not (above & stat.S_IXUSR if uid == status.st_uid else others):
                mode &= ~stat.S_IRWXU
            if not (above & stat.S_IXGRP if gid == status.st_gid else others):
                mode &= ~stat.S_IRWXG
            if not others:
                mode &= ~stat.S_IRWXO
        return mode


def directories_above(path: bytes) -> Iterator[bytes]:
    """Yield the directories above *path*, a path in the source, without the source itself."""
    while path := path.rpartition(b"/")[0]:
        yield path
