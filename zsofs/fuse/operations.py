"""Handlers of the FUSE protocol: each request becomes a call of a lower room."""

import errno
import logging
import os
from collections.abc import Sequence

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FUSEError,
    InodeT,
    ReaddirToken,
    RequestContext,
    StatvfsData,
)

from zsofs.formats.file_names import MAX_NAME
from zsofs.fuse import request_loop
from zsofs.fuse.attributes import absent, statvfs_data
from zsofs.fuse.error_guard import guarded
from zsofs.fuse.parts import Parts
from zsofs.preload.counters import PreloadCounters
from zsofs.reading.cycle_answers import leads_to_asker
from zsofs.source.mount_cycles import QUESTION
from zsofs.vfs.node import Node
from zsofs.vfs.open_contents import OpenHandle

log = logging.getLogger(__name__)


class Operations(pyfuse3.Operations):
    """The read-only mount.

    Each handler lists the errnos of zsofs itself. Those that any handler may return are in
    in error_guard.py.
    """

    enable_writeback_cache = False
    supports_dot_lookup = False  # only an NFS server would need it

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._library = parts.library
        self._appearance = parts.appearance
        self._workers = parts.workers
        self._opener = parts.opener
        self._listings = parts.listings
        self._contents = parts.contents
        self._preloader = parts.preloader
        self._statfs = parts.statfs

    async def serve(self) -> None:
        """Handle requests until the mount ends."""
        async with self._opener.serving():
            await request_loop.serve()

    def init(self) -> None:
        """Handle FUSE_INIT, the first request of the kernel."""
        request_loop.begun()

    def readers(self) -> list[OpenHandle]:
        """Return the open handles with their programs, one entry per handle."""
        return self._contents.readers()

    def preloaded(self) -> PreloadCounters:
        """Return what reading ahead by boot traces did."""
        return self._preloader.counters()

    # Names

    @guarded
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Find *name* in a directory.

        Errnos:
            ELOOP: the requester is another zsofs mount to which this one leads.
            ENAMETOOLONG: the name is longer than any file name.
            ENOMEDIUM: the source has not been available yet.
            ENOTDIR: the parent is not a directory.
            ESTALE: the directory no longer exists.
        """
        if name.startswith(QUESTION):
            if await leads_to_asker(self._workers, self._library.tree, name):
                raise FUSEError(errno.ELOOP)
            return absent()
        node = (await self._listings.children(self._library.folder(parent_inode))).get(name)
        if node is None:
            if len(name) > MAX_NAME:
                raise FUSEError(errno.ENAMETOOLONG)
            return absent()
        return self._entry(node)

    def _entry(self, node: Node) -> EntryAttributes:
        """Return the attributes of a node, and count a lookup of its inode number."""
        self._library.remember(node)
        return self._appearance.attributes(node)

    @guarded
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Drop lookups of inode numbers. There is no reply, so pyfuse3 expects no FUSEError."""
        for number, times in inode_list:
            try:
                self._library.forget(number, times)
            except Exception:
                log.exception("internal error in zsofs: inode %d could not be forgotten", number)

    @guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Return attributes as of the last listing.

        Errnos:
            ESTALE: the inode number is unknown.
        """
        return self._appearance.attributes(self._library.node(inode))

    @guarded
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """Return the target of a symlink that is not followed.

        Errnos:
            ESTALE: the inode number is unknown.
        """
        return FileNameT(self._library.node(inode).entry.target)

    @guarded
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Take a snapshot of the names for the following readdir calls.

        Errnos:
            ENOMEDIUM: the source has not been available yet.
            ENOTDIR: it is not a directory.
            ESTALE: the directory no longer exists.
        """
        return FileHandleT(await self._listings.open(self._library.folder(inode)))

    @guarded
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Send entries from number *start_id* on, as many as fit."""
        for position, name, node in self._listings.entries(fh, start_id):
            attributes = self._appearance.attributes(node)
            if not pyfuse3.readdir_reply(token, FileNameT(name), attributes, position + 1):
                break
            self._library.remember(node)

    @guarded
    async def releasedir(self, fh: FileHandleT) -> None:
        """Release a directory listing."""
        self._listings.close(fh)

    @guarded
    async def access(self, inode: InodeT, mode: int, ctx: RequestContext) -> bool:
        """Never called: with default_permissions, the kernel checks permissions."""
        return True

    @guarded
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Return the free space of the source; its errors are not passed on."""
        return statvfs_data(await self._statfs.get(self._library.root.entry.status.st_dev))

    # Contents

    @guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a disc or file; all handles of one inode share its descriptor.

        Errnos:
            EMFILE: the limit of open files is reached.
            EROFS: it is opened for writing.
            ESTALE: the inode number is unknown, or the source has other content now.
        """
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise FUSEError(errno.EROFS)
        return await self._open_to_read(self._library.node(inode), ctx)

    async def _open_to_read(self, node: Node, ctx: RequestContext) -> FileInfo:
        handle = await self._contents.open(node, ctx.pid)
        # What is no longer listed may stand for the packed image that has replaced the file.
        return FileInfo(fh=FileHandleT(handle), keep_cache=node.listed)

    @guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Return bytes of an open file; the view must be sent before another task runs.

        Errnos:
            EIO: a block is damaged, or the file was modified since it was opened.
        """
        return await self._contents.read(fh, off, size)

    @guarded
    async def release(self, fh: FileHandleT) -> None:
        """Close a handle; the last one closes the file."""
        self._contents.release(fh)
