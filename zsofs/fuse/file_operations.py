"""FUSE requests for open files that may change. Discs are read as in any mount."""

import errno
import os

from pyfuse3 import FileHandleT, FileInfo, InodeT, RequestContext

from zsofs.errors import StaleNodeError
from zsofs.fuse.error_guard import guarded
from zsofs.fuse.operations import Operations
from zsofs.fuse.parts import Parts, WritableParts
from zsofs.source.filters import Selection
from zsofs.source.new_discs import NewDiscs
from zsofs.vfs.open_contents import OpenHandle
from zsofs.vfs.writing.file_handles import Handle


class LiveOperations(Operations):
    """The mount with files that may change while they are open; names cannot be changed."""

    def __init__(
        self, parts: Parts, selection: Selection, new_discs: NewDiscs, *, serves_as_root: bool
    ) -> None:
        """Create it; see :class:`WritableParts` for the arguments."""
        super().__init__(parts)
        writable = WritableParts(parts, selection, new_discs, serves_as_root=serves_as_root)
        self._live = writable.files
        self._handles = writable.files.handles
        self._attributes = writable.attributes
        self._names = writable.names
        self._renames = writable.renames

    def readers(self) -> list[OpenHandle]:
        """Return the open handles with their programs, one entry per handle."""
        return super().readers() + self._live.readers()

    @guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file; a changeable file gets its own descriptor, a disc is opened for reading.

        Errnos:
            EACCES: it is a disc, and opened for writing.
            EMFILE: the limit of open files is reached.
            EPERM: it is a link or device, and opened for writing.
            EROFS: it is a playlist or cue sheet with the names in the mount, and opened for
                writing.
            ESTALE: the inode number is unknown, or the source has another file now.
        """
        node = self._library.node(inode)
        if self._library.may_change(node):
            try:
                return info_of(await self._live.open(node, flags, ctx))
            except StaleNodeError:
                if not self._live.stands_for_packed(node):
                    raise
        self._live.refuse_writing(node, flags)
        return await self._open_to_read(node, ctx)

    @guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Return bytes of an open file; those of a disc must be sent before another task runs.

        Errnos:
            EIO: a block is damaged, or the disc was modified since it was opened.
        """
        handle = self._handles.get(fh)
        if handle is None:
            return await self._contents.read(fh, off, size)
        found = self._live.read_now(handle, off, size)
        return await self._live.read(handle, off, size) if found is None else found

    @guarded
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        """Write to the source, without syncing; see fsync.

        Errnos:
            EBADF: it is a disc, which the kernel never opens for writing.
            EBUSY: too much data is waiting to be written to that disk.
        """
        handle = self._handles.get(fh)
        if handle is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return await self._live.write(handle, off, buf)

    @guarded
    async def flush(self, fh: FileHandleT) -> None:
        """Handle a close() by a program."""
        handle = self._handles.get(fh)
        if handle is not None:
            await self._live.flush(handle)

    @guarded
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        """Sync the data of the file to the disk."""
        handle = self._handles.get(fh)
        if handle is not None:
            await self._live.sync(handle, only_data=datasync)

    @guarded
    async def release(self, fh: FileHandleT) -> None:
        """Close a handle."""
        handle = self._handles.get(fh)
        if handle is None:
            self._contents.release(fh)
        else:
            self._live.release(handle)


def info_of(handle: Handle) -> FileInfo:
    """Return the reply to an open; no cached pages are kept, because others may change the file."""
    return FileInfo(fh=FileHandleT(handle.number), keep_cache=False)
