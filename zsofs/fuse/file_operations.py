"""The FUSE requests to open files that may change. Discs are read as in any mount."""

import errno
import os

from pyfuse3 import FileHandleT, FileInfo, InodeT, RequestContext

from zsofs.fuse.error_guard import guarded
from zsofs.fuse.operations import Operations
from zsofs.fuse.parts import Parts, WritableParts
from zsofs.source.filters import Selection
from zsofs.vfs.open_contents import OpenHandle
from zsofs.vfs.writing.file_handles import Handle


class LiveOperations(Operations):
    """The mount, with files that change while they are open; their names stay as they are."""

    def __init__(self, parts: Parts, selection: Selection, *, serves_as_root: bool) -> None:
        """*selection* says what is shown at all; *serves_as_root*, whether files can be given."""
        super().__init__(parts)
        writable = WritableParts(parts, selection, serves_as_root=serves_as_root)
        self._live = writable.files
        self._handles = writable.files.handles
        self._attributes = writable.attributes
        self._names = writable.names
        self._renames = writable.renames

    def readers(self) -> list[OpenHandle]:
        """Return who has what open; one entry for each handle."""
        return super().readers() + self._live.readers()

    @guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file: one that may be changed on a descriptor of its own, a disc for reading.

        Errnos:
            EACCES: it is to be written, and is a disc.
            EMFILE: the limit of open files is reached.
            EPERM: it is to be written, and is a link or a device.
            ESTALE: nothing has that inode number, or the source has something else now.
        """
        node = self._library.node(inode)
        if self._library.may_change(node):
            return info_of(await self._live.open(node, flags, ctx))
        self._live.refuse_writing(node, flags)
        return await self._open_to_read(node, ctx)

    @guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes of an open file; those of a disc are sent before anything else runs.

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
        """Write to the source; it is on the disk when the system writes it there, or at fsync.

        Errnos:
            EBADF: it is a disc; the kernel writes only to what it opened for that.
            EBUSY: too much waits to be written to that disk.
        """
        handle = self._handles.get(fh)
        if handle is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return await self._live.write(handle, off, buf)

    @guarded
    async def flush(self, fh: FileHandleT) -> None:
        """A program closes a file."""
        handle = self._handles.get(fh)
        if handle is not None:
            await self._live.flush(handle)

    @guarded
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        """Return when all that was written is on the disk."""
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
    """What the kernel is told of a handle: others may change the file, so it keeps no pages."""
    return FileInfo(fh=FileHandleT(handle.number), keep_cache=False)
