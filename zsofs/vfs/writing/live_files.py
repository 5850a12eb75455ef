"""Open changeable files; writes go to the source at once."""

import itertools
import logging
import os

from zsofs.errors import ReportedError, StaleNodeError, number_of
from zsofs.native.meters import MAX_SIZE, Trace
from zsofs.reading.reader import Reader
from zsofs.source.live_file import LiveFile
from zsofs.timings import timings
from zsofs.vfs.node import Node
from zsofs.vfs.open_contents import OpenHandle, label_of
from zsofs.vfs.writing.file_handles import Handle, Handles
from zsofs.vfs.writing.writable_tree import Requester, WritableTree, refuse_removed
from zsofs.vfs.writing.write_pace import WritePace

log = logging.getLogger(__name__)

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
"""Flags of an open that may change a file."""


class LiveFiles:
    """Open changeable files, one descriptor per handle. For the event loop.

    Attributes:
        handles: all handles.
    """

    def __init__(self, tree: WritableTree, reads: Reader, numbers: "itertools.count[int]") -> None:
        """Create it; *numbers* allocates file handle numbers, shared with other modules."""
        self.handles = Handles()
        self._tree = tree
        self._statistics = reads.statistics
        self._pace = WritePace(
            lambda device: reads.was_waiting(device, timings().new_disc_gives_way)
        )
        self._numbers = numbers

    def readers(self) -> list[OpenHandle]:
        """Return the open handles with their programs, one entry per handle."""
        return [OpenHandle(handle.pid, handle.node.name) for handle in self.handles]

    def refuse_writing(self, node: Node, flags: int) -> None:
        """Reject an open for writing of a file that may not be changed.

        Raises:
            RefusedError: *node* is a disc.
            PermissionError: it is a symlink or a special file.
        """
        if flags & _WRITING:
            self._tree.rules.refuse_unchangeable(node)

    async def open(self, node: Node, flags: int, requester: Requester) -> Handle:
        """Open a file with its own descriptor.

        Args:
            node: the file.
            flags: flags of open(2).
            requester: the program that opens it.

        Raises:
            RefusedError: it is a disc.
            StaleNodeError: the file was replaced or deleted in the source.
            OSError: an error of the source, or too many files are open (EMFILE).
        """
        tree = self._tree
        tree.rules.refuse_unchangeable(node)
        try:
            async with tree.paths.kept(lambda: (node.entry.path,)):
                refuse_removed(node)
                path, known = node.entry.path, node.entry.status
                live, now = await tree.opener.open(
                    known.st_dev, tree.changes.open, path, flags, known
                )
                await self._refuse_followed(node, live)
        except BaseException as error:
            await tree.note_failure(node, error)
            if isinstance(error, FileNotFoundError):
                # The kernel then looks the name up again, and creates the file with O_CREAT.
                raise StaleNodeError(f"{node.name}: gone") from None
            raise
        tree.changed(node, now)
        return self.keep(node, live, requester)

    def stands_for_packed(self, node: Node) -> bool:
        """Let *node* stand for the packed disc that has replaced it; return whether it does.

        Not for another file that can be changed, which has one number only: its pages would be
        stale under another.
        """
        library = self._tree.library
        if not library.may_change(node):
            return True
        other = library.successor(node)
        if other is None or library.may_change(other) or self.handles.has(node):
            return False
        return library.follow(node)

    async def _refuse_followed(self, node: Node, live: LiveFile) -> None:
        """Close a file that was opened for *node* before it stood for its packed disc.

        It has no name any more: what is written to it would be lost.

        Raises:
            StaleNodeError: *node* can no longer be changed.
        """
        if self._tree.library.may_change(node):
            return
        await self._tree.opener.close(live)
        raise StaleNodeError(f"{node.name}: gone")

    def keep(self, node: Node, live: LiveFile, requester: Requester) -> Handle:
        """Return a handle for a file that was opened."""
        handle = Handle(next(self._numbers), node, live, requester.pid)
        self.handles.add(handle)
        return handle

    def read_now(self, handle: Handle, offset: int, size: int) -> bytes | None:
        """Return *size* bytes at *offset*, fewer at the end; None if that would block."""
        trace = self._begin(handle, offset, size)
        try:
            found = handle.live.read_now(offset, size)
        except OSError:
            self._end(trace, None)
            raise
        if found is not None:
            self._end(trace, found)
        return found

    async def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """Return *size* bytes at *offset*, fewer at the end; may wait for a disk."""
        trace = self._begin(handle, offset, size)
        found = None
        try:
            with self._statistics.waits(trace):
                found = await self._tree.run(handle.node, handle.live.read, offset, size)
        finally:
            trace.waited(0, trace.elapsed_ns(), 0)
            self._end(trace, found)
        return found

    def _begin(self, handle: Handle, offset: int, size: int) -> Trace:
        if handle.meter is None:
            label = label_of(handle.node, handle.pid)
            handle.meter = self._statistics.handle(label, MAX_SIZE)
        return handle.meter.begin(offset, size)

    def _end(self, trace: Trace, found: bytes | None) -> None:
        """Count a read that ends now with the bytes *found*; None: it failed."""
        trace.failed = found is None
        trace.size = len(found or b"")
        if trace.end():
            self._statistics.slow_reads.add(trace)

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        """Write to the source, without syncing.

        Returns:
            How many bytes were written.

        Raises:
            DiskBusyError: too many writes wait for that disk.
            ReportedError: writing failed, and was logged.
        """
        node, live, workers = handle.node, handle.live, self._tree.workers
        try:
            with workers.admission.waiting(live.device, len(data)):
                if live.is_copy:
                    await self._pace.wait(live.device, len(data))
                count, now = await workers.run(live.device, live.write, offset, data, node.size)
        except OSError as error:
            if live.told != error.errno:  # log a full disk once, not for each write
                live.told = error.errno
                log.warning("%s: cannot be written to: %s", node.name, error.strerror)
            raise ReportedError(number_of(error)) from None
        self._tree.changed(node, now)
        return count

    async def flush(self, handle: Handle) -> None:
        """Do what a file system does when a program closes a file."""
        if handle.live.writable:
            await self._tree.run(handle.node, handle.live.flush)

    async def sync(self, handle: Handle, *, only_data: bool) -> None:
        """Sync the file to the disk."""
        await self._tree.run(handle.node, lambda: handle.live.sync(only_data=only_data))

    def release(self, handle: Handle) -> None:
        """Close a handle in the background."""
        self.handles.remove(handle)  # at once: the next request must not find it
        self._tree.opener.close_later(handle.node.name, self._close_unused, handle)

    async def close(self, handle: Handle) -> None:
        """Close a handle and wait for it."""
        self.handles.remove(handle)
        await self._close_unused(handle)

    async def _close_unused(self, handle: Handle) -> None:
        """Close the file of a removed handle."""
        await handle.unused()
        await self._tree.opener.close(handle.live)
