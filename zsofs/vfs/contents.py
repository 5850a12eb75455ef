"""Opens the content of nodes, and watches it while any cache holds bytes of it."""

import os
from contextlib import ExitStack, closing, suppress

from zsofs.errors import FormatError, StaleNodeError
from zsofs.images.content_check import ContentCheck, ctime_mark, seconds_until_settled
from zsofs.images.open_image import Content
from zsofs.images.source_file import OpenSource
from zsofs.source.shown_part import ShownText, TextContent, open_content
from zsofs.source.tree import SourceTree
from zsofs.system.file_lease import has_writer
from zsofs.system.file_watch import FileWatch, FileWatcher
from zsofs.system.mountinfo import mount_of
from zsofs.vfs.node import Node


class Contents:
    """The content of all nodes. For the event loop, except :meth:`open`.

    Attributes:
        watcher: watches the files that were opened.
    """

    def __init__(self, tree: SourceTree) -> None:
        self.watcher = FileWatcher()
        self._tree = tree

    def open(self, node: Node) -> Content:
        """Open a disc or file; for a thread, since it may wait for a disk.

        Raises:
            StaleNodeError: the source has other content under that name now.
            FormatError: the parent of a CHD is gone or has been damaged.
            OSError: the source reported an error.
        """
        entry = node.entry
        shown = entry.shown
        if isinstance(shown, ShownText):
            self._check_text(node)
            return TextContent(node.name, node.serial, entry.status.st_dev, shown.text)
        with ExitStack() as undo:
            source = self._open_file(node)
            undo.callback(source.close)
            watch = node.watch or self._watch(source)
            being_written = watch.alone and bool(has_writer(source.fd))
            if being_written:
                _wait_for_write(source.fd)
            status = os.fstat(source.fd)  # later writes are reported by the watch
            if (
                source.key != entry.key
                or status.st_ctime_ns != source.ctime_ns
                or seconds_until_settled(source.ctime_ns)
            ):
                raise StaleNodeError(f"{node.name}: modified since it was listed")
            if being_written and watch.ctime_ns != ctime_mark(source.ctime_ns):
                watch.written = True  # or may be, through a mapping, which inotify does not report
                raise StaleNodeError(f"{node.name}: may have been modified since it was read")
            check = ContentCheck(
                source.fd, status, watch, self.watcher.take, asks_always=being_written
            )
            try:
                content = open_content(node.name, node.serial, source, entry.disc, shown, check)
            except FormatError as error:  # the parent of a CHD is gone
                raise FormatError(f"{node.name}: {error}") from error
            undo.pop_all()
            return content

    def _open_file(self, node: Node) -> OpenSource:
        """Open the file of a node.

        ESTALE makes the kernel look the name of a file up again that has gone. If the disk that the
        file was on is not there, it would look in vain.

        Raises:
            StaleNodeError: the file was renamed or deleted.
            OSError: the source reported an error, or another disk is there.
        """
        path = node.entry.path
        try:
            return self._tree.open(path)
        except FileNotFoundError as error:
            above = self._tree.stat(path.rpartition(b"/")[0])
            if above.st_dev != node.entry.status.st_dev:
                raise
            raise StaleNodeError(f"{node.name}: replaced, renamed or deleted") from error

    def _check_text(self, node: Node) -> None:
        """Make sure that a generated text still fits the file, whose finding may be an old one.

        For a playlist, the text of the file is compared; for the generated cue sheet of a CD, size
        and times of the file.

        Raises:
            StaleNodeError: it does not.
            OSError: the source reported an error.
        """
        entry, sheet = node.entry, node.entry.finding.sheet
        with closing(self._open_file(node)) as source:
            if sheet is None:
                is_same = source.key == entry.key
            else:
                is_same = source.read_at(0, len(sheet.text) + 1) == sheet.text
        if not is_same:
            raise StaleNodeError(f"{node.name}: modified since it was listed")

    def _watch(self, source: OpenSource) -> FileWatch:
        mounted = mount_of(source.fd)
        return FileWatch(
            ctime_mark(source.ctime_ns),
            self.watcher.add(source.fd),
            alone=mounted is None or not mounted.changes_elsewhere,
            dated=mounted is None or mounted.has_change_times,
        )

    def opened(self, node: Node, content: Content) -> None:
        """Register the result of :meth:`open`, within its :meth:`FileWatcher.adding`.

        Raises:
            StaleNodeError: the node is for the previous content of the file.
        """
        if content.serial != node.serial:  # it stands for another file since
            raise StaleNodeError(f"{node.name}: replaced, renamed or deleted")
        check = content.check
        if check is None:  # a generated text
            return
        if node.watch is None:
            node.watch = check.watch
            self.watcher.claim(node.watch)
        else:
            check.watch = node.watch  # the same file, opened twice concurrently
            self.watcher.take()
        if node.is_written:
            raise StaleNodeError(f"{node.name}: modified since it was read")
        node.watch.ctime_ns = check.ctime_ns

    def forgotten(self, node: Node) -> None:
        """Note that the kernel no longer caches any byte of *node*; the extent cache still may."""
        if self.watcher.is_crowded:
            self.release(node)

    def release(self, node: Node) -> None:
        """Release the watch of *node*, because no cache holds bytes of it any more."""
        if node.watch is not None:
            self.watcher.release(node.watch)
            node.renew()


def _wait_for_write(fd: int) -> None:
    """Wait until a write in progress is done.

    A write sets the file's times when it starts, so that they do not distinguish bytes before and
    after it. ext4, btrfs, tmpfs and others search for data under the lock that a write holds
    throughout; on XFS a read itself waits for it.
    """
    with suppress(OSError):  # the file has no data
        os.lseek(fd, 0, os.SEEK_DATA)
