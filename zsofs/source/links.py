"""Resolution of symlinks of the source, and the reasons why they are not followed.

The target is resolved component by component. Inside the source and the directories of
`--allow-links-to`, each step starts from an open descriptor of that directory. Outside of them,
only local file systems are accessed, because a symlink may lead into the mount itself or to a
server that does not respond. Files outside are never opened, only named.
"""

import errno
import os
import shlex
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from os.path import basename, dirname, splitext

from zsofs.console.text import for_people
from zsofs.errors import ZsofsError
from zsofs.formats.file_names import has_disc_ending
from zsofs.source.entry import KINDS, Entry, Kind
from zsofs.source.roots import is_outside
from zsofs.source.traversal import directories_above
from zsofs.source.tree import SourceTree
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE
from zsofs.system.nofollow import STEP, PathWalk, answering_kinds, link_target, opened_below

_LOOP = "the symlink is not followed: {} is a directory that contains it"
_OUTSIDE = (
    "the symlink is not followed: {} is outside the source; to follow it, use --allow-links-to {}"
)
_UNSEEN = (
    "the symlink is not followed: {} is on a network or FUSE file system outside the source; to"
    " follow it, use --allow-links-to {}"
)
_IN_ROOT = (
    "the symlink is not followed: {} is outside the source, and --allow-links-to does not accept"
    " /; move the target to another directory and create the symlink again"
)
_DANGLING = "the symlink is dangling: {} does not exist"
_HOPS = "the symlink is not followed: too many levels of symlinks, the last one is {}"
_IN_MOUNT = "the symlink is not followed: {} is in a zsofs mount"
_FAILED = "the symlink is not followed: {}: {}"
_WHY = {
    0: _OUTSIDE,
    errno.ENOENT: _DANGLING,
    errno.ENOTDIR: _DANGLING,
    errno.ELOOP: _HOPS,
    errno.EXDEV: _UNSEEN,
    errno.EDEADLK: _IN_MOUNT,
}
"""Text for each error of a target."""


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a symlink.

    Attributes:
        real: absolute path without symlinks, as far as it could be resolved.
        path: the same as a path in the tree; None if it is in no root or does not exist.
        is_directory: whether it is a directory; None if unknown.
        error: errno of the failure to resolve it; 0 if it was resolved. EXDEV stands for a file
            system that is not accessed, EDEADLK for a zsofs mount.
    """

    real: bytes
    path: bytes | None = None
    is_directory: bool | None = None
    error: int = 0


class Links:
    """Resolves symlinks of one tree. All calls may wait for a disk."""

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._recorded: set[bytes] = set()
        self._barred = self._find_barred()

    def _find_barred(self) -> Mapping[bytes, int]:
        """Return the mount points of file systems that are not accessed, with an errno for each.

        A server with the source or another root on it is accessed anyway.
        """
        table = self._tree.cycles.mounts()
        answering = answering_kinds(table)
        roots = self._tree.roots
        return {
            mounted.path: errno.EDEADLK if mounted.kind == FILE_SYSTEM_TYPE else errno.EXDEV
            for mounted in {mounted.path: mounted for mounted in table}.values()
            if mounted.number not in answering
            and (mounted.kind == FILE_SYSTEM_TYPE or not roots.is_above(mounted.path))
        }

    def followed(self, entry: Entry, above: Collection[bytes], *, in_trash: bool) -> Entry:
        """Return the entry of a symlink: its target's if that is in the source or another root.

        Args:
            entry: the symlink.
            above: paths of its directory and the parents; a symlink to one of them is a loop.
            in_trash: whether it is in a trash directory, so that no reason is needed.
        """
        tree = self._tree
        target = self.target(entry.path)
        path = target.path
        if path is not None and path not in above:
            try:
                status = tree.stat(path)
                self._record_above(path)
            except (OSError, ZsofsError):
                pass
            else:
                kind = KINDS.get(stat.S_IFMT(status.st_mode))
                if kind is not None:
                    return replace(entry, kind=kind, path=path, status=status, followed=True)
        why = "" if in_trash else why_not_followed(entry.path, target)
        try:
            shown = tree.readlink(entry.path)
        except (OSError, ZsofsError):  # replaced since by something else
            return entry
        return replace(entry, kind=Kind.LINK, target=shown, reason=why)

    def _record_above(self, path: bytes) -> None:
        """Record the permissions of the directories above the target of a symlink."""
        tree = self._tree
        for directory in directories_above(path):
            if directory not in self._recorded and tree.roots.has(directory):
                tree.permissions.record(directory, tree.stat(directory))
                self._recorded.add(directory)

    def target(self, path: bytes) -> Target:
        """Return where the symlink *path*, a path in the tree, leads."""
        is_directory = True
        walk = PathWalk(dirname(self._tree.roots.real(path)), basename(path))
        for below in walk:
            try:
                link, found, is_directory = self._look(below)
            except (OSError, ZsofsError) as error:
                rest = os.path.normpath(walk.unresolved(below))
                number = error.errno if isinstance(error, OSError) else errno.ESTALE
                return Target(rest, error=number or errno.EIO)
            if link is None:
                walk.enter(found)
            elif not walk.follow(link):
                return Target(below, error=errno.ELOOP)
        path_in_tree = self._tree.roots.path_of(walk.here)
        return Target(walk.here, path_in_tree, walk.is_parent or is_directory)

    def _look(self, real: bytes) -> tuple[bytes | None, bytes, bool]:
        """Look at one step.

        Returns:
            The target of a symlink, else None; the path, in which a root that was reached by
            another name (bind mount) has its own; and whether it is a directory.
        """
        tree = self._tree
        path = tree.roots.path_of(real)
        if path is not None:
            with tree.step(path) as step:
                return link_target(step), real, stat.S_ISDIR(os.fstat(step).st_mode)
        if tree.roots.is_above(real):
            return None, real, True
        if real in self._barred:
            raise OSError(self._barred[real], os.strerror(self._barred[real]))
        fd = opened_below(os.open(b"/", STEP), real.split(b"/")[1:])
        try:
            status = os.fstat(fd)
            root = tree.identities.get((status.st_dev, status.st_ino))
            found = real if root is None else tree.roots.real(root)
            return link_target(fd), found, stat.S_ISDIR(status.st_mode)
        finally:
            os.close(fd)


def why_not_followed(path: bytes, target: Target) -> str:
    """Return why the symlink *path* is not followed; empty if that is not worth a message.

    No message is needed for a target that is neither a directory nor has a disc name, nor for a
    directory of the source that contains the symlink. A missing target may be a directory if the
    name of the symlink has no extension.
    """
    name = basename(path)
    names = name, basename(target.real)
    is_named_so = any(map(has_disc_ending, names))
    may_be_directory = target.is_directory or (
        target.is_directory is None and not name.startswith(b".") and not splitext(name)[1]
    )
    if not (is_named_so or may_be_directory):
        return ""
    shown = for_people(target.real)
    if target.path is not None:
        is_named = target.is_directory and (is_outside(path) or is_outside(target.path))
        return _LOOP.format(shown) if is_named else ""
    text = _WHY.get(target.error, _FAILED)
    if text is _FAILED:
        return text.format(shown, os.strerror(target.error))
    directory = _to_be_allowed(target)
    if directory == b"/" and text in (_OUTSIDE, _UNSEEN):
        return _IN_ROOT.format(shown)
    return text.format(shown, shlex.quote(for_people(directory)))


def _to_be_allowed(target: Target) -> bytes:
    """Return the directory to allow: the target, or the directory that contains it."""
    is_file = not target.is_directory and (
        target.is_directory is not None or has_disc_ending(target.real)
    )
    return dirname(target.real) if is_file else target.real
