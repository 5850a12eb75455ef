"""Discs and files open for reading; all handles of a node share one file descriptor."""

import itertools
import logging
import traceback
import zlib
from dataclasses import dataclass
from typing import cast

import trio

from zsofs.console.text import for_people
from zsofs.errors import (
    BlockError,
    ReportedError,
    StaleNodeError,
    ZsofsError,
    number_of,
    reason,
)
from zsofs.images.content_check import seconds_until_settled
from zsofs.images.open_image import Content
from zsofs.native.meters import HandleMeter, now_ns
from zsofs.preload.disks_awake import DisksAwake
from zsofs.preload.handle_reads import HandleReads
from zsofs.preload.preloader import Preloader
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.reader import Reader
from zsofs.reading.slow_reads import ReadLabel
from zsofs.source.entry import Entry
from zsofs.source.scan_cache import TraceKey
from zsofs.system.processes import process_of
from zsofs.timings import timings
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Node
from zsofs.vfs.view import View, listed_again

log = logging.getLogger(__name__)

_MOST_RENAMES = 3
"""How often a file may be renamed or replaced during one request to open it."""


@dataclass(slots=True)
class _OpenFile:
    """Open content.

    Attributes:
        node: its node.
        content: the open content.
        handles: number of handles.
        doubted: whether one of its blocks could not be decoded.
    """

    node: Node
    content: Content
    handles: int = 0
    doubted: bool = False


@dataclass(slots=True)
class _Handle:
    """A handle.

    Attributes:
        file: what is open.
        thread: the thread that opened it.
        meter: counts its reads; None before the first one.
        preload: records its reads, and reads ahead; None if that is off.
    """

    file: _OpenFile
    thread: int
    meter: HandleMeter | None = None
    preload: HandleReads | None = None


@dataclass(frozen=True, slots=True)
class OpenHandle:
    """A program that has a file open.

    Attributes:
        pid: its process; 0 if it is in another PID namespace.
        path: path of the file, relative to the source.
    """

    pid: int
    path: str


def label_of(node: Node, thread: int) -> ReadLabel:
    """Return what a thread reads of *node*, for the counters."""
    pid, program = process_of(thread)
    return ReadLabel(_counted_name(node), pid, for_people(program), node)


def _counted_name(node: Node) -> str:
    """Return the name under which reads of *node* are counted.

    It is that of the source file, but the tracks and the cue sheet of a CD, which have different
    sizes and maps, are counted apart: ``Ridge.chd/Ridge (Track 2).bin``.
    """
    parent = node.parent
    if node.entry.shown is None or parent is None:
        return node.name
    for name, child in (parent.children or {}).items():
        if child is node and not name.lower().endswith(b".iso"):
            return for_people(node.entry.path + b"/" + name)
    return node.name


def _trace_key(node: Node) -> TraceKey:
    """Return what a boot trace of *node* is stored under."""
    entry = node.entry
    part = 0 if entry.shown is None else zlib.crc32(repr(entry.shown).encode())
    return TraceKey(entry.path, part, entry.status.st_size, entry.status.st_mtime_ns)


class OpenContents:
    """Files open for reading, by handle. For the event loop.

    Attributes:
        disks_awake: keeps their hard disks from spinning down.
    """

    def __init__(
        self,
        library: Inodes,
        view: View,
        reads: Reader,
        opener: FileOpener,
        preloader: Preloader,
        numbers: "itertools.count[int]",
        *,
        keep_awake: bool,
    ) -> None:
        """Create it.

        Args:
            library: the inode table.
            view: the layout of the mount.
            reads: reads discs.
            opener: opens and closes source files.
            preloader: records starts of discs, and reads ahead.
            numbers: allocates file handle numbers, shared with other modules.
            keep_awake: whether hard disks of open discs are kept from spinning down.
        """
        self.disks_awake = DisksAwake(self.in_use, opener, enabled=keep_awake)
        self._library = library
        self._view = view
        self._reads = reads
        self._opener = opener
        self._preloader = preloader
        self._numbers = numbers
        self._files: dict[int, _OpenFile] = {}
        self._handles: dict[int, _Handle] = {}

    def readers(self) -> list[OpenHandle]:
        """Return the open handles with their programs, one entry per handle."""
        return [OpenHandle(one.thread, one.file.content.name) for one in self._handles.values()]

    def in_use(self) -> list[Content]:
        """Return the discs that are open and were read within ``timings.disc_idle``."""
        since = now_ns() - int(timings().disc_idle * 1e9)
        statistics = self._reads.statistics
        meters = ((one, statistics.disc(_counted_name(one.node))) for one in self._files.values())
        return [one.content for one, meter in meters if meter and meter.last_ns > since]

    async def open(self, node: Node, pid: int) -> int:
        """Open *node* for the thread *pid*.

        Returns:
            The handle.

        Raises:
            StaleNodeError: the source has other content now.
            OSError: the source reported an error, or too many files are open (EMFILE).
        """
        file = self._files.get(node.serial)
        if file is None:
            file = await self._open(node)
        elif node.listed or self._library.successor(node) is not None:
            await self._open_again(node, file)
        else:  # the kernel has not yet been told what its name means now, and will look it up
            raise StaleNodeError(f"{node.name}: replaced, renamed or deleted")
        handle = next(self._numbers)
        reads = self._preloader.opened(_trace_key(node), file.content)
        self._handles[handle] = _Handle(file, pid, preload=reads)
        return handle

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return *size* bytes at *offset*, fewer at the end; valid until the caller next awaits.

        Raises:
            ReportedError: reading failed, and was logged.
        """
        opened = self._handles[handle]
        content = opened.file.content
        if opened.preload is not None:
            opened.preload.note(offset, size)
        trace = (opened.meter or self._measured(opened)).begin(offset, size)
        try:
            try:
                return cast(bytes, await self._reads.read(content, offset, size, trace))
            except MemoryError:  # retry after freeing cached memory
                self._reads.give_back()
                return cast(bytes, await self._reads.read(content, offset, size, trace))
        except (ZsofsError, OSError, MemoryError) as error:
            trace.failed = True
            self._report(opened.file, offset, error)
            # Its frames keep buffers of up to 16 MiB alive in reference cycles until the garbage
            # collector runs: 64 damaged blocks used 1.2 GiB.
            traceback.clear_frames(error.__traceback__)
            raise ReportedError(number_of(error)) from None
        finally:
            if trace.end():
                self._reads.statistics.slow_reads.add(trace)

    def _measured(self, opened: _Handle) -> HandleMeter:
        """Begin to count the reads of a handle: its program exists while it waits for this one."""
        node, content = opened.file.node, opened.file.content
        opened.meter = self._reads.statistics.handle(label_of(node, opened.thread), content.size)
        return opened.meter

    def content(self, handle: int) -> Content:
        """Return what is open through a handle."""
        return self._handles[handle].file.content

    def release(self, handle: int) -> None:
        """Close a handle; the last one closes the file."""
        opened = self._handles.pop(handle)
        if opened.preload is not None:
            self._preloader.closed(opened.preload)
        self._let_go(opened.file)

    def _report(self, file: _OpenFile, offset: int, error: Exception) -> None:
        """Log a failed read."""
        name = file.content.name
        if isinstance(error, OSError | MemoryError):
            log.warning("%s: cannot be read at %d: %s", name, offset, reason(error))
        else:
            log.warning("%s: %s", name, error)
        if isinstance(error, BlockError) and not file.doubted:
            file.doubted = True
            self._view.doubt(file.node)  # the scan cache may have had a wrong codec

    async def _open_again(self, node: Node, file: _OpenFile) -> None:
        file.handles += 1
        is_as_opened = False
        try:
            is_as_opened = await self._reads.is_as_opened(file.content)
        finally:
            if not is_as_opened:
                self._let_go(file)
        if not is_as_opened:
            # The parent of a CHD may have changed and not the node: the next open opens it again.
            self._forget(file)
            self._view.doubt(node)
            raise StaleNodeError(f"{node.name}: modified since it was opened")

    def _let_go(self, file: _OpenFile) -> None:
        file.handles -= 1
        if not file.handles:
            self._forget(file)
            self._close_later(file.content)

    def _forget(self, file: _OpenFile) -> None:
        """Do not use *file* for further opens."""
        if self._files.get(file.content.serial) is file:
            del self._files[file.content.serial]

    def _close_later(self, content: Content) -> None:
        self._opener.close_later(content.name, self._close, content)

    async def _close(self, content: Content) -> None:
        await self._preloader.finish(content)
        await self._reads.finish(content)
        await self._opener.close(content)

    async def _open(self, node: Node) -> _OpenFile:
        content = await self._opened(node)
        file = self._files.setdefault(content.serial, _OpenFile(node, content))
        file.handles += 1
        if file.content is not content:  # another request opened it meanwhile
            self._close_later(content)
        return file

    async def _opened(self, node: Node) -> Content:
        """Open the content of *node*, also if its file is renamed or packed in place meanwhile.

        Raises:
            StaleNodeError: its name means another file now.
            FileNotFoundError: the source is not available.
        """
        renames = 0
        while True:
            before = node.entry
            # Before the file's times are settled, the file can change without new times; a cache
            # could then return data of the previous content.
            while delay := seconds_until_settled(node.entry.status.st_ctime_ns):  # noqa: ASYNC110
                await trio.sleep(delay)
            try:
                return await self._open_content(node)
            except (StaleNodeError, FileNotFoundError) as error:
                await self._look_again(self._library.successor(node) or node)
                file = self._files.get(node.serial)
                if file is not None and self._library.successor(node) is not None:
                    return file.content  # another request has opened it
                if not self._is_found_again(node, before) or renames == _MOST_RENAMES:
                    if isinstance(error, StaleNodeError) or node.listed:
                        raise
                    raise StaleNodeError(f"{node.name}: replaced, renamed or deleted") from None
                renames += 1

    def _is_found_again(self, node: Node, before: Entry) -> bool:
        """Return whether *node* has another entry than *before* now, by which it can be opened."""
        if node.listed:
            return node.entry.key != before.key
        # A handle of what it was, whose file was modified, would read pages of its successor.
        is_open = any(handle.file.node is node for handle in self._handles.values())
        return not is_open and self._library.follow(node)

    async def _look_again(self, node: Node) -> None:
        self._view.doubt(node)
        await listed_again(self._view, node)

    async def _open_content(self, node: Node) -> Content:
        device, contents = node.entry.status.st_dev, self._library.contents
        with contents.watcher.adding():
            content: Content = await self._opener.open(device, contents.open, node)
            try:
                contents.opened(node, content)
            except Exception:
                self._close_later(content)
                raise
        return content
