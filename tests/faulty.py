"""Runs zsofs with faults on demand: ``python -m tests.faulty mount -f ...``.

While the file that the variable ZSOFS_FAULT names holds three words, «handler target error», the
target function raises that error whenever it is called on behalf of that FUSE handler, in
whatever thread or task; «background» stands for what no handler waits for. The error «slow» means
that the target first sleeps. Each time, a line is added to the file of the same name and ``.done``.
"""

import errno
import functools
import inspect
import os
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from zsofs import fuse_receive

fuse_receive.load()  # before pyfuse3, as the command does

# isort: split

import pyfuse3

from zsofs import (
    cache,
    catalog,
    changes,
    cli,
    contents,
    follow,
    fs,
    fs_writable,
    image,
    inside,
    invalidation,
    library,
    live,
    reads,
    server,
    shown,
    source,
    survey,
    view,
    watch,
    workers,
)
from zsofs.appearance import Appearance

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
    (follow.Follower, "_follow_changes"),
    (follow.Follower, "_follow_mounts"),
    (follow.Follower, "_keep_time"),
    (invalidation.Invalidations, "serve"),
)

TARGETS: dict[str, tuple[Any, str]] = {
    "Library.node": (library.Library, "node"),
    "Library.folder": (library.Library, "folder"),
    "Contents.open": (contents.Contents, "open"),
    "Contents.opened": (contents.Contents, "opened"),
    "Library.update": (library.Library, "update"),
    "Library.remember": (library.Library, "remember"),
    "Library.forget": (library.Library, "forget"),
    "Library.is_current": (library.Library, "is_current"),
    "SourceTree.folder": (source.SourceTree, "folder"),
    "OpenFolder.names": (source.OpenFolder, "names"),
    "OpenFolder.stat": (source.OpenFolder, "stat"),
    "OpenFolder.step": (source.OpenFolder, "step"),
    "SourceTree.open": (source.SourceTree, "open"),
    "SourceTree.statvfs": (source.SourceTree, "statvfs"),
    "PlainView.up_to_date": (view.PlainView, "up_to_date"),
    "PlainView.doubt": (view.PlainView, "doubt"),
    "Follower.up_to_date": (follow.Follower, "up_to_date"),
    "Follower._take_changes": (follow.Follower, "_take_changes"),
    "Follower._begin": (follow.Follower, "_begin"),
    "server.as_shown": (server, "as_shown"),
    "shown.shown_names": (shown, "shown_names"),
    "Surveyor.survey": (survey.Surveyor, "survey"),
    "survey.look_inside": (survey, "look_inside"),
    "inside.has_writer": (inside, "has_writer"),
    "survey.mount_of": (survey, "mount_of"),
    "watch.mounts_around": (watch, "mounts_around"),
    "Catalog.folder": (catalog.Catalog, "folder"),
    "Catalog.keep": (catalog.Catalog, "keep"),
    "Invalidations.send": (invalidation.Invalidations, "send"),
    "Invalidations._tell": (invalidation.Invalidations, "_tell"),
    "Watcher.add": (watch.Watcher, "add"),
    "Watcher.changes": (watch.Watcher, "changes"),
    "Appearance.attributes": (Appearance, "attributes"),
    "Library.may_change": (library.Library, "may_change"),
    "Library.take_status": (library.Library, "take_status"),
    "Library.put": (library.Library, "put"),
    "Library.remove": (library.Library, "remove"),
    "Library.move": (library.Library, "move"),
    "PlainView.did": (view.PlainView, "did"),
    "PlainView.outdate": (view.PlainView, "outdate"),
    "PlainView.place": (view.PlainView, "place"),
    "Changes.open": (changes.Changes, "open"),
    "Changes.create": (changes.Changes, "create"),
    "changes.seen": (changes, "seen"),
    "Changes.make_folder": (changes.Changes, "make_folder"),
    "Changes.remove_file": (changes.Changes, "remove_file"),
    "Changes.remove_folder": (changes.Changes, "remove_folder"),
    "Changes.rename": (changes.Changes, "rename"),
    "Changes.set_attributes": (changes.Changes, "set_attributes"),
    "Changes.set_attributes_of_open": (changes.Changes, "set_attributes_of_open"),
    "Changes.sync_folder": (changes.Changes, "sync_folder"),
    "LiveFile.read_now": (live.LiveFile, "read_now"),
    "LiveFile.write": (live.LiveFile, "write"),
    "LiveFile.sync": (live.LiveFile, "sync"),
    "LiveFile.flush": (live.LiveFile, "flush"),
    "LiveFile.close": (live.LiveFile, "close"),
    "Reads.read": (reads.Reads, "read"),
    "ExtentCache.get": (cache.ExtentCache, "get"),
    "ReplyBuffers.take": (reads._ReplyBuffers, "take"),
    "image.block_reader": (image, "block_reader"),
    "DiscImage.read_now": (image.DiscImage, "read_now"),
    "DiscImage.close": (image.DiscImage, "close"),
    "PlainFile.read_now": (image.PlainFile, "read_now"),
    "PlainFile.close": (image.PlainFile, "close"),
    "Workers.run": (workers.Workers, "run"),
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


class _Listings(dict[int, Any]):
    """The open listings, which the handlers use without a function of ours between."""

    def __getitem__(self, handle: int) -> Any:
        _fail_if_wanted("listings.get")
        return super().__getitem__(handle)

    def pop(self, handle: int, default: Any = None) -> Any:
        _fail_if_wanted("listings.pop")
        return super().pop(handle, default)


def _install() -> None:
    for target, (owner, name) in TARGETS.items():
        setattr(owner, name, _faulty(target, getattr(owner, name)))
    for kind, names in (
        (fs.Operations, HANDLERS),
        (fs_writable.WritableOperations, WRITABLE_HANDLERS),
    ):
        for name in names:
            setattr(kind, name, _named(name, getattr(kind, name)))
    for owner, name in BACKGROUND:
        setattr(owner, name, _named("background", getattr(owner, name)))
    begin = fs.Operations.__init__

    def begin_with_listings(self: fs.Operations, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._listings = _Listings()

    setattr(fs.Operations, "__init__", begin_with_listings)  # noqa: B010 - mypy forbids the other


if __name__ == "__main__":
    _install()
    sys.exit(cli.main())
