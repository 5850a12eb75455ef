"""The FUSE requests to open files that may change: what is written goes to the source, and at once.

Discs are read as in any mount.
"""

import errno
import logging
import os
from collections.abc import Callable
from typing import TypeVar

from pyfuse3 import FileHandleT, FileInfo, FUSEError, InodeT, RequestContext

from zsofs.errors import StaleNodeError
from zsofs.fuse.error_guard import guarded
from zsofs.fuse.file_handles import Handle, Handles
from zsofs.fuse.operations import Operations, Parts, Reader
from zsofs.fuse.path_locks import Paths
from zsofs.source.filters import Selection
from zsofs.source.live_file import LiveFile, Seen
from zsofs.source.writer import Changes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.write_policy import Rules

log = logging.getLogger(__name__)

R = TypeVar("R")


class LiveOperations(Operations):
    """The mount, with files that change while they are open; their names stay as they are."""

    def __init__(self, parts: Parts, selection: Selection) -> None:
        """*selection* says what is shown at all."""
        super().__init__(parts)
        self._rules = Rules(parts.library, parts.view, selection)
        self._changes = Changes(parts.library.tree, takes_set_ids=parts.appearance.is_of_its_own)
        self._live = Handles()
        self._paths = Paths()

    def readers(self) -> list[Reader]:
        """Who has what open; one entry for each handle."""
        live = [Reader(handle.pid, handle.node.name) for handle in self._live]
        return super().readers() + live

    @guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file: one that may be changed on a descriptor of its own, a disc for reading."""
        node = self._library.node(inode)
        if self._library.may_change(node):
            return info_of(await self._open_live(node, flags, ctx))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            self._rules.refuse_unchangeable(node)
        return await self._open_to_read(node, ctx)

    @guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes of an open file; those of a disc are sent before anything else runs."""
        handle = self._live.get(fh)
        if handle is None:
            return await self._read(fh, off, size)
        live = handle.live
        counters = self._reads.statistics.of(handle.node.name)
        counters.requests += 1
        found = live.read_now(off, size)
        if found is None:
            found = await self._run(handle.node, live.read, off, size)
        counters.bytes += len(found)
        return found

    @guarded
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        """Write to the source; it is on the disk when the system writes it there, or at fsync."""
        handle = self._live.get(fh)
        if handle is None:  # the kernel writes only to what it opened for that
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        node = handle.node
        try:
            with self._workers.admission.waiting(handle.live.device, len(buf)):
                count, now = await self._workers.run(
                    handle.live.device, handle.live.write, off, buf, node.size
                )
        except OSError as error:
            if handle.live.told != error.errno:  # a full disk is one line, not one for each write
                handle.live.told = error.errno
                log.warning("%s: cannot be written to: %s", node.name, error.strerror)
            raise FUSEError(error.errno or errno.EIO) from None
        self._changed(node, now)
        return count

    @guarded
    async def flush(self, fh: FileHandleT) -> None:
        """A program closes a file."""
        handle = self._live.get(fh)
        if handle is not None and handle.live.writable:
            await self._run(handle.node, handle.live.flush)

    @guarded
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        """Return when all that was written is on the disk."""
        handle = self._live.get(fh)
        if handle is not None:
            await self._run(handle.node, lambda: handle.live.sync(only_data=datasync))

    @guarded
    async def release(self, fh: FileHandleT) -> None:
        """Close a handle."""
        handle = self._live.get(fh)
        if handle is None:
            await self._release_reader(fh)
        else:
            self._live.remove(handle)  # at once: the next request must not find it
            self._finish_later(handle.node.name, self._close_unused, handle)

    # What the requests share

    async def _run(self, node: Node, function: Callable[..., R], *args: object) -> R:
        return await self._workers.run_admitted(node.entry.status.st_dev, function, *args)

    async def _children(self, folder: Folder) -> dict[bytes, Node]:
        while True:
            path = self._view.place(folder)
            try:
                return await super()._children(folder)
            except (OSError, StaleNodeError):
                async with self._paths.kept(lambda: (self._view.place(folder),)):
                    if self._view.place(folder) == path:
                        raise
            # It was looked for where it lay before it was moved.

    async def _open_live(self, node: Node, flags: int, ctx: RequestContext) -> Handle:
        self._rules.refuse_unchangeable(node)
        try:
            async with self._paths.kept(lambda: (node.entry.path,)):
                self._refuse_removed(node)
                path, known = node.entry.path, node.entry.status
                live, now = await self._run(
                    node, self._descriptors.open, self._changes.open, path, flags, known
                )
        except BaseException as error:
            self._note_failure(node, error)
            if isinstance(error, FileNotFoundError):
                # The kernel then looks the name up again, and makes the file if that is wanted.
                raise StaleNodeError(f"{node.name}: gone") from None
            raise
        self._changed(node, now)
        return self._keep(node, live, ctx)

    def _note_failure(self, node: Node, error: BaseException) -> None:
        """Have *node* looked at anew where the source has something else of its name, or nothing.

        The kernel looks the name up again and tries once more, before the listing is due.
        """
        if isinstance(error, StaleNodeError | FileNotFoundError) and node.parent is not None:
            self._view.outdate(node.parent, node.entry.name)

    def _keep(self, node: Node, live: LiveFile, ctx: RequestContext) -> Handle:
        handle = Handle(next(self._numbers), node, live, ctx.pid)
        self._live.add(handle)
        return handle

    async def _close_unused(self, handle: Handle) -> None:
        """Close the file of a removed handle."""
        await handle.unused()
        await self._close(handle.live)

    def _refuse_removed(self, node: Node) -> None:
        """Stop what would be done by the path of a deleted file, which may be another's now.

        The source may have given that one even the number of the first.
        """
        if node.removed:
            raise StaleNodeError(f"{node.name}: deleted")

    def _changed(self, node: Node, now: Seen) -> None:
        """Take what a file is after a change; older looks at it do not count any more."""
        self._library.take_status(node, now.status, now.at)
        if node.parent is not None and not (node.removed or isinstance(node, Folder)):
            self._view.outdate(node.parent, node.entry.name)


def info_of(handle: Handle) -> FileInfo:
    """What the kernel is told of a handle: others may change the file, so it keeps no pages."""
    return FileInfo(fh=FileHandleT(handle.number), keep_cache=False)
