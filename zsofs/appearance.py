"""What stat says of files in the mount: whose they are, what may be done with them, how large."""

import stat
from dataclasses import dataclass
from typing import cast

from pyfuse3 import EntryAttributes, InodeT, ModeT

from zsofs.entry import Kind
from zsofs.library import Library
from zsofs.node import Folder, Node
from zsofs.source_folder import FRESH_SECONDS

_WRITING = 0o222
_BLOCK_SIZE = 128 << 10


@dataclass(frozen=True, slots=True)
class Appearance:
    """How files look.

    Attributes:
        library: tells which files may be changed.
        uid: the user all files are shown to belong to; None for their own.
        gid: the same for the group.
        umask: the rights taken from all files, as file systems without rights of their own do it;
            None for their own.
    """

    library: Library
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None

    @property
    def is_of_its_own(self) -> bool:
        """Whether files look otherwise than they are, so that a mode says nothing of the owner."""
        return not (self.uid is self.gid is self.umask is None)

    def attributes(self, node: Node) -> EntryAttributes:
        """Owner, dates and rights of the source, and the size a reader will find."""
        if node.attributes is not None:
            return cast(EntryAttributes, node.attributes)
        status = node.entry.status
        attributes = EntryAttributes()
        attributes.st_ino = InodeT(node.number)
        attributes.generation = 0
        attributes.entry_timeout = FRESH_SECONDS
        attributes.attr_timeout = FRESH_SECONDS
        attributes.st_mode = ModeT(self._mode(node))
        attributes.st_nlink = 0 if node.removed else 1
        attributes.st_uid = status.st_uid if self.uid is None else self.uid
        attributes.st_gid = status.st_gid if self.gid is None else self.gid
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
        node.attributes = attributes
        return attributes

    def _mode(self, node: Node) -> int:
        if node.entry.kind is Kind.LINK:
            return stat.S_IFLNK | 0o777
        mode = node.entry.status.st_mode
        if self.umask is not None:
            usual = 0o777 if isinstance(node, Folder) else 0o666
            mode = stat.S_IFMT(mode) | (usual & ~self.umask)
        return mode if self.library.may_change(node) else mode & ~_WRITING


def absent() -> EntryAttributes:
    """The answer «no such name», which the kernel may keep as long as a listing is fresh."""
    attributes = EntryAttributes()
    attributes.st_ino = InodeT(0)
    attributes.entry_timeout = FRESH_SECONDS
    return attributes
