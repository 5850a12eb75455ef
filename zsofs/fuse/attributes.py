"""What stat says of files in the mount: whose they are, what may be done with them, how large."""

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
"""What stat reports as st_blksize. Programs take it for more than it is: hdl_dump for the size of a
sector, and Python's open() for its buffer, which makes random reads of 2 KiB 3 to 4 times slower
with 131072 than with 4096; sequential reads are as fast with either."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """How files look.

    Attributes:
        library: tells which files may be changed.
        owner: whose files they are shown as, with which rights.
        for_others: whether other users may use the mount, so that the mode of a file has to keep
            out those who cannot reach it in the source.
    """

    library: Inodes
    owner: ShownOwner
    for_others: bool = False

    def attributes(self, node: Node) -> EntryAttributes:
        """Owner, dates and rights of the source, and the size a reader will find."""
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
        # Never fewer than the size asks for, or cp takes the file to have holes.
        attributes.st_blocks = -(-node.size // 512)
        attributes.st_atime_ns = status.st_atime_ns
        attributes.st_mtime_ns = status.st_mtime_ns
        attributes.st_ctime_ns = status.st_ctime_ns
        if isinstance(node, Folder) and node.changed_ns:
            attributes.st_mtime_ns = max(status.st_mtime_ns, node.changed_ns)
            attributes.st_ctime_ns = max(status.st_ctime_ns, node.changed_ns)
        if not left_out:  # else the mode changes with that of a directory elsewhere
            node.attributes = attributes
        return attributes

    def _left_out(self, node: Node) -> list[bytes]:
        """The directories above the file in the source that are not above it in the mount."""
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
    """Hard links: those that a directory has in the source, and one for a file, or none."""
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
    """The answer «no such name», which the kernel may keep as long as a listing is fresh."""
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
