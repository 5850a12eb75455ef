"""Runs zsofs with faults on demand: ``python -m tests.support.faulty mount -f ...``.

While the file that the variable ZSOFS_FAULT names holds three words, «handler target error», the
target function raises that error whenever it is called on behalf of that FUSE handler, in
whatever thread or task; «background» stands for what no handler waits for. The error «slow» means
that the target first sleeps. Each time, a line is added to the file of the same name and ``.done``.
"""

import errno
import functools
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from zsofs.fuse import receive

receive.load()  # before pyfuse3, as the command does

# isort: split

import pyfuse3
import trio

from zsofs.cli import main
from zsofs.fuse import kernel_cache, operations, write_operations
from zsofs.fuse.attributes import Appearance
from zsofs.images import open_image
from zsofs.mount import server
from zsofs.reading import extent_cache, reader, worker_threads
from zsofs.source import file_looks, inspect_file, live_file, scan, scan_cache, tree, writer
from zsofs.system import inotify
from zsofs.timings import Timings, use
from zsofs.vfs import contents, disc_counter, follower, inodes, listings, plain_view, present

UNCOUNTED = "uncounted"
"""The first word of a command line whose mount counts no discs."""

_TIMED = "{"
"""A first word that begins so has other timings, as for tests.support.timed."""

HANDLERS = (
    "lookup",
    "getattr",
    "readlink",
    "opendir",
    "readdir",
    "releasedir",
    "open",
    "read",
    "release",
    "statfs",
    "forget",
)

WRITABLE_HANDLERS = (
    "getattr",
    "setattr",
    "create",
    "mknod",
    "mkdir",
    "symlink",
    "link",
    "unlink",
    "rmdir",
    "rename",
    "open",
    "read",
    "write",
    "flush",
    "fsync",
    "fsyncdir",
    "release",
)

BACKGROUND = (
    (follower.Follower, "_follow_changes"),
    (follower.Follower, "_follow_mounts"),
    (follower.Follower, "_keep_time"),
    (kernel_cache.Invalidations, "serve"),
)

TARGETS: dict[str, tuple[Any, str]] = {
    "Inodes.node": (inodes.Inodes, "node"),
    "Inodes.folder": (inodes.Inodes, "folder"),
    "Contents.open": (contents.Contents, "open"),
    "Contents.opened": (contents.Contents, "opened"),
    "Listings.entries": (listings.Listings, "entries"),
    "Listings.folder": (listings.Listings, "folder"),
    "Listings.close": (listings.Listings, "close"),
    "Inodes.update": (inodes.Inodes, "update"),
    "Inodes.remember": (inodes.Inodes, "remember"),
    "Inodes.forget": (inodes.Inodes, "forget"),
    "Inodes.is_current": (inodes.Inodes, "is_current"),
    "SourceTree.folder": (tree.SourceTree, "folder"),
    "OpenFolder.names": (tree.OpenFolder, "names"),
    "OpenFolder.stat": (tree.OpenFolder, "stat"),
    "OpenFolder.step": (tree.OpenFolder, "step"),
    "SourceTree.open": (tree.SourceTree, "open"),
    "SourceTree.statvfs": (tree.SourceTree, "statvfs"),
    "PlainView.up_to_date": (plain_view.PlainView, "up_to_date"),
    "PlainView.doubt": (plain_view.PlainView, "doubt"),
    "Follower.up_to_date": (follower.Follower, "up_to_date"),
    "Follower._take_changes": (follower.Follower, "_take_changes"),
    "Follower._begin": (follower.Follower, "_begin"),
    "server.as_shown": (server, "as_shown"),
    "shown.shown_names": (present, "shown_names"),
    "Scanner.survey": (scan.Scanner, "survey"),
    "survey.look_inside": (file_looks, "look_inside"),
    "inside.has_writer": (inspect_file, "has_writer"),
    "survey.mount_of": (scan, "mount_of"),
    "watch.mounts_around": (inotify, "mounts_around"),
    "ScanCache.folder": (scan_cache.ScanCache, "folder"),
    "ScanCache.keep": (scan_cache.ScanCache, "keep"),
    "Invalidations.send": (kernel_cache.Invalidations, "send"),
    "Invalidations._tell": (kernel_cache.Invalidations, "_tell"),
    "Watcher.add": (inotify.Watcher, "add"),
    "Watcher.changes": (inotify.Watcher, "changes"),
    "Appearance.attributes": (Appearance, "attributes"),
    "Inodes.may_change": (inodes.Inodes, "may_change"),
    "Inodes.take_status": (inodes.Inodes, "take_status"),
    "Inodes.put": (inodes.Inodes, "put"),
    "Inodes.remove": (inodes.Inodes, "remove"),
    "Inodes.move": (inodes.Inodes, "move"),
    "PlainView.did": (plain_view.PlainView, "did"),
    "PlainView.outdate": (plain_view.PlainView, "outdate"),
    "PlainView.place": (plain_view.PlainView, "place"),
    "SourceWriter.open": (writer.SourceWriter, "open"),
    "SourceWriter.create": (writer.SourceWriter, "create"),
    "changes.seen": (writer, "seen"),
    "SourceWriter.make_folder": (writer.SourceWriter, "make_folder"),
    "SourceWriter.remove_file": (writer.SourceWriter, "remove_file"),
    "SourceWriter.remove_folder": (writer.SourceWriter, "remove_folder"),
    "SourceWriter.rename": (writer.SourceWriter, "rename"),
    "SourceWriter.set_attributes": (writer.SourceWriter, "set_attributes"),
    "SourceWriter.set_attributes_of_open": (writer.SourceWriter, "set_attributes_of_open"),
    "SourceWriter.sync_folder": (writer.SourceWriter, "sync_folder"),
    "LiveFile.read_now": (live_file.LiveFile, "read_now"),
    "LiveFile.write": (live_file.LiveFile, "write"),
    "LiveFile.sync": (live_file.LiveFile, "sync"),
    "LiveFile.flush": (live_file.LiveFile, "flush"),
    "LiveFile.close": (live_file.LiveFile, "close"),
    "Reader.read": (reader.Reader, "read"),
    "ExtentCache.get": (extent_cache.ExtentCache, "get"),
    "ReplyBuffers.take": (reader._ReplyBuffers, "take"),
    "image.block_reader": (open_image, "block_reader"),
    "DiscImage.read_now": (open_image.DiscImage, "read_now"),
    "DiscImage.close": (open_image.DiscImage, "close"),
    "PlainFile.read_now": (open_image.PlainFile, "read_now"),
    "PlainFile.close": (open_image.PlainFile, "close"),
    "WorkerThreads.run": (worker_threads.WorkerThreads, "run"),
    "pyfuse3.readdir_reply": (pyfuse3, "readdir_reply"),
    "os.open": (os, "open"),
    "os.fstat": (os, "fstat"),
    "os.listdir": (os, "listdir"),
    "os.statvfs": (os, "statvfs"),
}

ERRORS: dict[str, tuple[Callable[[], Exception], int]] = {
    "ValueError": (lambda: ValueError("a fault"), errno.EIO),
    "OSError": (lambda: OSError(errno.EIO, "a fault"), errno.EIO),
    "OSError-EMFILE": (lambda: OSError(errno.EMFILE, "a fault"), errno.EMFILE),
    "OSError-text": (lambda: OSError("a fault"), errno.EIO),
    "MemoryError": (lambda: MemoryError("a fault"), errno.ENOMEM),
    "KeyError": (lambda: KeyError("a fault"), errno.EIO),
    "RecursionError": (lambda: RecursionError("a fault"), errno.EIO),
    "AssertionError": (lambda: AssertionError("a fault"), errno.EIO),
    "StopIteration": (lambda: StopIteration("a fault"), errno.EIO),
    "ExceptionGroup": (lambda: ExceptionGroup("a fault", [ValueError("in it")]), errno.EIO),
}
"""What can be raised, and the number that the caller of the system call is then to get."""

_handler: ContextVar[str] = ContextVar("_handler", default="")
_open, _read, _write, _close = os.open, os.read, os.write, os.close
SLEEPS = {"slow": 1.0, "brief": 0.2}
"""How many seconds; a request waits longer than briefly for a look at a folder that is known."""


HELD_SECONDS = 30.0
"""How long what is held waits at most for the file to say something else."""


def _wanted() -> list[str]:
    try:
        fd = _open(os.environ["ZSOFS_FAULT"], os.O_RDONLY)
    except FileNotFoundError:
        return []
    words = _read(fd, 1000).decode().split()
    _close(fd)
    return words


def _fail_if_wanted(target: str) -> None:
    handler = _handler.get()
    if not handler:
        return
    words = _wanted()
    if words[:2] != [handler, target]:
        return
    fd = _open(os.environ["ZSOFS_FAULT"] + ".done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _write(fd, " ".join(words).encode() + b"\n")
    _close(fd)
    if words[2] == "held":
        end = time.monotonic() + HELD_SECONDS
        while time.monotonic() < end and _wanted() == words:
            time.sleep(0.01)
        return
    if words[2] in SLEEPS:
        time.sleep(SLEEPS[words[2]])
        return
    error, _ = ERRORS[words[2]]
    raise error()


def _faulty(target: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wait(*args: Any, **kwargs: Any) -> Any:
            _fail_if_wanted(target)
            return await function(*args, **kwargs)

        return wait

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _fail_if_wanted(target)
        return function(*args, **kwargs)

    return call


def _named(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, with its name known to all that it calls."""

    async def handle(*args: Any, **kwargs: Any) -> Any:
        token = _handler.set(name)
        try:
            return await handler(*args, **kwargs)
        finally:
            _handler.reset(token)

    return handle


async def _count_nothing(*_: object) -> None:
    """Instead of the count of discs, which would make the calls that requests are to make."""
    await trio.sleep_forever()


def _install() -> None:
    for target, (owner, name) in TARGETS.items():
        setattr(owner, name, _faulty(target, getattr(owner, name)))
    for kind, names in (
        (operations.Operations, HANDLERS),
        (write_operations.WritableOperations, WRITABLE_HANDLERS),
    ):
        for name in names:
            setattr(kind, name, _named(name, getattr(kind, name)))
    for owner, name in BACKGROUND:
        setattr(owner, name, _named("background", getattr(owner, name)))


if __name__ == "__main__":
    _install()
    if sys.argv[1:2] and sys.argv[1].startswith(_TIMED):
        use(Timings(**json.loads(sys.argv.pop(1))))
    if sys.argv[1:2] == [UNCOUNTED]:
        del sys.argv[1]
        disc_counter.DiscCounter.serve = _count_nothing  # type: ignore[assignment]
    sys.exit(main.main())
