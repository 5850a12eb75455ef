"""Attributes of files in the mount: owner, mode and size as reported by stat."""

import os
import stat
from dataclasses import dataclass
from typing import cast

from pyfuse3 import EntryAttributes, InodeT, ModeT, SetattrFields, StatvfsData

from zsofs.source.entry import Kind
from zsofs.source.ownership import AttributeChange
from zsofs.source.traversal import directories_above
from zsofs.timings import timings
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.shown_owner import ShownOwner

_WRITING = 0o222
_BLOCK_SIZE = 4096
"""st_blksize as reported by stat. Programs use it for other purposes: hdl_dump as the sector size,
and Python's open() as its buffer size, which makes random reads of 2 KiB 3 to 4 times slower with
131072 than with 4096; sequential reads are equally fast."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """Determines the attributes of files.

    Attributes:
        library: determines which files may be changed.
        owner: the reported owner and permissions.
        for_others: whether other users may use the mount, so that the mode of a file must exclude
            those who cannot reach it in the source.
    """

    library: Inodes
    owner: ShownOwner
    for_others: bool = False

    def attributes(self, node: Node) -> EntryAttributes:
        """Return owner, times and mode of the source, and the size that a reader will find."""
        if node.attributes is not None:
            return cast(EntryAttributes, node.attributes)
        status = node.entry.status
        left_out = self._left_out(node)
        attributes = EntryAttributes()
        attributes.st_ino = InodeT(node.number)
        attributes.generation = 0
        attributes.entry_timeout = timings().trust_unwatched
        attributes.attr_timeout = timings().trust_unwatched
        attributes.st_mode = ModeT(self._mode(node, left_out))
        attributes.st_nlink = _links(node)
        attributes.st_uid = status.st_uid if self.owner.uid is None else self.owner.uid
        attributes.st_gid = status.st_gid if self.owner.gid is None else self.owner.gid
        attributes.st_rdev = status.st_rdev
        attributes.st_size = node.size
        attributes.st_blksize = _BLOCK_SIZE
        # At least the size in blocks, or cp assumes holes.
        attributes.st_blocks = -(-node.size // 512)
        attributes.st_atime_ns = status.st_atime_ns
        attributes.st_mtime_ns = status.st_mtime_ns
        attributes.st_ctime_ns = status.st_ctime_ns
        if isinstance(node, Folder) and node.changed_ns:
            attributes.st_mtime_ns = max(status.st_mtime_ns, node.changed_ns)
            attributes.st_ctime_ns = max(status.st_ctime_ns, node.changed_ns)
        if not left_out:  # otherwise the mode depends on a directory elsewhere
            node.attributes = attributes
        return attributes

    def _left_out(self, node: Node) -> list[bytes]:
        """Return parent directories in the source that are not parents in the mount."""
        if node.parent is None or not self.for_others or self.owner.is_set:
            return []
        shown = node.parent.above
        above = directories_above(node.entry.path)
        return [path for path in above if path not in shown and self.library.tree.roots.has(path)]

    def _mode(self, node: Node, left_out: list[bytes]) -> int:
        if node.entry.kind is Kind.LINK:
            return stat.S_IFLNK | 0o777
        mode = node.entry.status.st_mode
        if left_out:
            mode = self.library.tree.permissions.limited(node.entry.status, left_out)
        if self.owner.umask is not None:
            usual = 0o777 if isinstance(node, Folder) else 0o666
            mode = stat.S_IFMT(mode) | (usual & ~self.owner.umask)
        return mode if self.library.may_change(node) else mode & ~_WRITING


def _links(node: Node) -> int:
    """Return the link count: that of a directory in the source, and 1 or 0 for a file."""
    if node.removed:
        return 0
    return node.entry.status.st_nlink if isinstance(node, Folder) else 1


def wanted(attr: EntryAttributes, fields: SetattrFields) -> AttributeChange:
    """Return the attributes that a FUSE_SETATTR request asks to set."""
    return AttributeChange(
        size=attr.st_size if fields.update_size else None,
        mode=attr.st_mode if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        times=(
            attr.st_atime_ns if fields.update_atime else None,
            attr.st_mtime_ns if fields.update_mtime else None,
        ),
    )


def absent() -> EntryAttributes:
    """Return the answer «no such name», which the kernel may keep as long as a listing is fresh."""
    attributes = EntryAttributes()
    attributes.st_ino = InodeT(0)
    attributes.entry_timeout = timings().trust_unwatched
    return attributes


def statvfs_data(found: os.statvfs_result) -> StatvfsData:
    """Return what statvfs says, as pyfuse3 takes it."""
    data = StatvfsData()
    for field in (
        "f_bsize",
        "f_frsize",
        "f_blocks",
        "f_bfree",
        "f_bavail",
        "f_files",
        "f_ffree",
        "f_favail",
        "f_namemax",
    ):
        setattr(data, field, getattr(found, field))
    return data
