"""The FUSE protocol: requests become calls of the library and of reads."""

import errno
import itertools
import logging
import math
import os
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

import pyfuse3
import trio
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

from zsofs.errors import (
    BlockError,
    DiskBusyError,
    StaleNodeError,
    ZsofsError,
    number_of,
    reason,
)
from zsofs.formats.file_names import MAX_NAME
from zsofs.fuse import request_loop
from zsofs.fuse.attributes import Appearance, absent
from zsofs.fuse.error_guard import guarded
from zsofs.images.content_check import seconds_until_settled
from zsofs.images.open_image import Content
from zsofs.reading.descriptor_budget import DescriptorBudget
from zsofs.reading.reader import Reads
from zsofs.reading.tasks import in_background
from zsofs.reading.worker_threads import QUESTIONS, Workers
from zsofs.source.live_file import LiveFile
from zsofs.source.mount_cycles import QUESTION
from zsofs.timings import timings
from zsofs.vfs.inodes import Library
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.view import View

log = logging.getLogger(__name__)

_NO_ROOM = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, MAX_NAME))


@dataclass(slots=True)
class _OpenFile:
    """One content that readers have open.

    Attributes:
        node: what it is the content of.
        content: the same, open.
        handles: how often it is open.
        doubted: whether a block of it could not be decoded.
    """

    node: Node
    content: Content
    handles: int = 0
    doubted: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """A program that has a file open.

    Attributes:
        pid: its process; 0 where it is not one of ours to see.
        path: of the file, inside the source.
    """

    pid: int
    path: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests are answered by.

    Attributes:
        library: which inode is what.
        appearance: what the kernel is told of it.
        view: how the source is shown.
        reads: answers reads of discs.
        workers: threads for what may wait.
    """

    library: Library
    appearance: Appearance
    view: View
    reads: Reads
    workers: Workers


class Operations(pyfuse3.Operations):
    """The mount, read-only."""

    enable_writeback_cache = False
    supports_dot_lookup = False  # what an NFS server would need

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._library = parts.library
        self._appearance = parts.appearance
        self._view = parts.view
        self._reads = parts.reads
        self._workers = parts.workers
        self._files: dict[int, _OpenFile] = {}
        self._descriptors = DescriptorBudget()
        self._closing: trio.Nursery | None = None
        self._handles: dict[int, tuple[_OpenFile, int]] = {}
        self._listings: dict[int, tuple[Folder, list[bytes]]] = {}
        self._numbers = itertools.count(1)
        self._room: os.statvfs_result | None = None

    async def serve(self) -> None:
        """Answer requests until the mount ends."""
        async with trio.open_nursery() as nursery:
            self._closing = nursery
            await request_loop.serve()
            nursery.cancel_scope.cancel()

    def init(self) -> None:
        """The kernel's first request, before all others."""
        request_loop.begun()

    def readers(self) -> list[Reader]:
        """Who has what open; one entry for each handle."""
        return [Reader(pid, file.content.name) for file, pid in self._handles.values()]

    async def shrink_when_unused(self) -> None:
        """For as long as the mount lives, drop the listings of which the kernel knows nothing."""
        while True:
            await trio.sleep(timings().idle_check)
            self._library.shrink({folder for folder, _ in self._listings.values()})

    # Names

    @guarded
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Find *name* in a folder."""
        if name.startswith(QUESTION):
            await self._answer_mount(name)
            return absent()
        folder = self._library.folder(parent_inode)
        children = await self._children(folder)
        node = children.get(name)
        if node is None:
            if len(name) > MAX_NAME:
                raise FUSEError(errno.ENAMETOOLONG)
            return absent()
        self._library.remember(node)
        return self._appearance.attributes(node)

    async def _answer_mount(self, question: bytes) -> None:
        """Tell another zsofs mount, by ELOOP, that this one leads to it; see mount_cycles.py."""
        with trio.move_on_after(timings().other_mounts):
            tree = self._library.tree
            if await self._workers.run(QUESTIONS, tree.leads_to, question):
                raise FUSEError(errno.ELOOP)

    @guarded
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """The kernel drops inode numbers. It takes no answer, so pyfuse3 expects no FUSEError."""
        for number, times in inode_list:
            try:
                self._library.forget(number, times)
            except Exception:
                log.exception("a bug in zsofs: inode %d could not be forgotten", number)

    @guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Attributes as of the last listing."""
        return self._appearance.attributes(self._library.node(inode))

    @guarded
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """Target of a symlink that is not followed."""
        return FileNameT(self._library.node(inode).entry.target)

    @guarded
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Fix the names, and their order, for the readdir calls to come."""
        folder = self._library.folder(inode)
        children = await self._children(folder)
        handle = next(self._numbers)
        self._listings[handle] = folder, list(children)
        return FileHandleT(handle)

    @guarded
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Entries from number *start_id* on, as many as fit.

        Each as it is now, not as it was at opendir: the kernel takes what it is told here for the
        newest, and would open a replaced disc again after it was told to forget it.
        """
        folder, names = self._listings[fh]
        children = folder.children or {}
        for position in range(start_id, len(names)):
            name = names[position]
            node = children.get(name)
            if node is None:  # gone since opendir
                continue
            if not pyfuse3.readdir_reply(
                token, FileNameT(name), self._appearance.attributes(node), position + 1
            ):
                break
            self._library.remember(node)

    @guarded
    async def releasedir(self, fh: FileHandleT) -> None:
        """Let go of a listing."""
        self._listings.pop(fh, None)

    @guarded
    async def access(self, inode: InodeT, mode: int, ctx: RequestContext) -> bool:
        """Never called: the kernel checks, by the option default_permissions."""
        return True

    @guarded
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Room on the source's file system."""
        found = await self._room_now()
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

    # Contents

    @guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a disc or file; all handles of one inode share its descriptor."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise FUSEError(errno.EROFS)
        return await self._open_to_read(self._library.node(inode), ctx)

    async def _open_to_read(self, node: Node, ctx: RequestContext) -> FileInfo:
        file = self._files.get(node.serial)
        if file is None:
            file = await self._open(node)
        else:
            file.handles += 1
            is_as_opened = False
            try:
                is_as_opened = await self._reads.is_as_opened(file.content)
            finally:
                if not is_as_opened:
                    await self._let_go(file)
            if not is_as_opened:
                self._view.doubt(node)
                raise StaleNodeError(f"{node.name}: written to since it was opened")
        handle = next(self._numbers)
        self._handles[handle] = file, ctx.pid
        return FileInfo(fh=FileHandleT(handle), keep_cache=True)

    @guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes of an open file; the view is sent before anything else runs."""
        return await self._read(fh, off, size)

    async def _read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        file = self._handles[fh][0]
        content = file.content
        try:
            try:
                return cast(bytes, await self._reads.read(content, off, size))
            except MemoryError:  # once more without what is only cached
                self._reads.give_back()
                return cast(bytes, await self._reads.read(content, off, size))
        except (ZsofsError, OSError, MemoryError) as error:
            self._reads.statistics.of(content.name).errors += 1
            if isinstance(error, OSError | MemoryError):
                log.warning("%s: cannot be read at %d: %s", content.name, off, reason(error))
            else:
                log.warning("%s: %s", content.name, error)
            if isinstance(error, BlockError) and not file.doubted:
                file.doubted = True
                self._view.doubt(file.node)  # the catalog may have told a wrong codec
            # Its frames hold the buffers, of 16 MiB perhaps, in cycles that only the collector of
            # the interpreter would find: 64 damaged blocks took 1.2 GiB.
            traceback.clear_frames(error.__traceback__)
            raise FUSEError(number_of(error)) from None

    @guarded
    async def release(self, fh: FileHandleT) -> None:
        """Close a handle; the file itself with the last one."""
        await self._release_reader(fh)

    async def _release_reader(self, fh: FileHandleT) -> None:
        file, _ = self._handles.pop(fh)
        await self._let_go(file)

    async def _let_go(self, file: _OpenFile) -> None:
        file.handles -= 1
        if not file.handles:
            del self._files[file.content.serial]
            self._finish_later(file.content.name, self._close, file.content)

    async def _open(self, node: Node) -> _OpenFile:
        # What is read before the file's times are settled could be of one content, and the kernel
        # or we could keep it for another one with the same times.
        ctime_ns = node.entry.status.st_ctime_ns
        while delay := seconds_until_settled(ctime_ns):  # noqa: ASYNC110
            await trio.sleep(delay)
        try:
            content = await self._open_content(node)
        except StaleNodeError:
            self._view.doubt(node)  # the kernel looks the name up again at once
            raise
        file = self._files.setdefault(content.serial, _OpenFile(node, content))
        file.handles += 1
        if file.content is not content:  # someone else opened it meanwhile
            self._finish_later(content.name, self._close, content)
        return file

    async def _open_content(self, node: Node) -> Content:
        device, contents = node.entry.status.st_dev, self._library.contents
        with contents.watcher.adding():
            content: Content = await self._workers.run_admitted(
                device, self._descriptors.open, contents.open, node
            )
            try:
                contents.opened(node, content)
            except Exception:
                self._finish_later(content.name, self._close, content)
                raise
        return content

    def _finish_later(
        self, name: str, close: Callable[..., Awaitable[None]], *args: object
    ) -> None:
        """Close a file of the source without holding up the answer to FUSE_RELEASE.

        The kernel counts that request with those for read-ahead, of which few are under way at a
        time for all files together: closing on a disk that hangs would stop reads from others.
        """

        async def finish() -> None:
            try:
                await close(*args)
            except OSError as error:
                log.warning("%s: closing it failed: %s", name, error.strerror)

        assert self._closing is not None
        self._closing.start_soon(in_background, finish)

    async def _close(self, file: Content | LiveFile) -> None:
        await self._workers.run_surely(file.device, self._descriptors.close, file.close)

    async def _children(self, folder: Folder) -> dict[bytes, Node]:
        """The folder's listing."""
        await self._view.up_to_date(folder)
        if folder.children is None:
            raise StaleNodeError(f"{folder.name}: gone")
        return folder.children

    async def _room_now(self) -> os.statvfs_result:
        """What statvfs says of the source; what it said last where it does not answer in time.

        Never an error of the source's: that of a dead daemon would make us look dead ourselves.
        """
        limit = timings().stale_free_space if self._room else math.inf
        with trio.move_on_after(limit):
            try:
                self._room = await self._workers.run_admitted(
                    self._library.root.entry.status.st_dev, self._library.tree.statvfs
                )
            except (OSError, DiskBusyError, MemoryError) as error:
                log.info("how much room there is in the source cannot be told: %s", reason(error))
                self._room = self._room or _NO_ROOM
        assert self._room is not None
        return self._room
