"""The FUSE protocol: requests become calls of the library and of reads, errors become errnos.

Every handler is wrapped by :func:`_guarded`, because pyfuse3 ends the whole mount when anything
but FUSEError leaves one (tried with 3.5.0: every reader of every disc then gets ENOTCONN).
"""

import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar, cast

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

from zsofs import turns
from zsofs.errors import StaleNodeError, ZsofsError
from zsofs.image import Content
from zsofs.library import FRESH_SECONDS, Folder, Library, Node
from zsofs.reads import Reads
from zsofs.survey import Kind
from zsofs.workers import Workers

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE_SECONDS = 0.25
"""How long requests wait, from when a folder began to be looked at again, before the last listing,
however old, has to do: a disk that hangs must not make `ls` hang where an answer is at hand."""


def _guarded(
    handler: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let nothing but FUSEError out of *handler* (and Cancelled, which is no Exception)."""

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await turns.passing_on(handler(*args, **kwargs))
        except FUSEError:
            raise
        except StaleNodeError as error:
            raise FUSEError(error.errno) from None
        except ZsofsError as error:
            log.warning("%s", error)
            raise FUSEError(error.errno) from None
        except OSError as error:
            code = error.errno or errno.EIO
            if code not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                log.warning("%s: %s", handler.__name__, error)
            raise FUSEError(code) from None
        except Exception:
            log.exception("a bug in zsofs: %s failed", handler.__name__)
            raise FUSEError(errno.EIO) from None

    return guarded


class _OpenFile:
    """One content that readers have open, and how many do."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.handles = 1


class _Survey:
    """A look at the source under way, and those who wait for it."""

    def __init__(self) -> None:
        self.begun = trio.current_time()
        self.done = trio.Event()
        self.error: Exception | None = None


class Operations(pyfuse3.Operations):
    """The mount, read-only."""

    enable_writeback_cache = False
    supports_dot_lookup = False  # what an NFS server would need

    def __init__(self, library: Library, reads: Reads, workers: Workers) -> None:
        super().__init__()
        self._library = library
        self._reads = reads
        self._workers = workers
        self._files: dict[int, _OpenFile] = {}
        self._listings: dict[int, list[tuple[bytes, Node]]] = {}
        self._next_listing = 1
        self._surveys: dict[int, _Survey] = {}
        self._nursery: trio.Nursery | None = None

    async def serve(self) -> None:
        """Answer requests until the mount ends."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            turns.install()
            await pyfuse3.main()
            nursery.cancel_scope.cancel()

    # Names

    @_guarded
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Find *name* in a folder."""
        folder = self._library.folder(parent_inode)
        children = await self._children(folder)
        node = children.get(name)
        if node is None:
            return _absent()
        self._library.remember(node)
        return _attributes(node)

    @_guarded
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """The kernel drops inode numbers. It takes no answer, so pyfuse3 expects no FUSEError."""
        for number, times in inode_list:
            try:
                self._library.forget(number, times)
            except Exception:
                log.exception("a bug in zsofs: inode %d could not be forgotten", number)

    @_guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Attributes as of the last listing."""
        return _attributes(self._library.node(inode))

    @_guarded
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """Target of a symlink that is not followed."""
        return FileNameT(self._library.node(inode).entry.target)

    @_guarded
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Fix a listing for the readdir calls to come."""
        children = await self._children(self._library.folder(inode))
        handle = self._next_listing
        self._next_listing += 1
        self._listings[handle] = list(children.items())
        return FileHandleT(handle)

    @_guarded
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Entries from number *start_id* on, as many as fit."""
        listing = self._listings[fh]
        for position in range(start_id, len(listing)):
            name, node = listing[position]
            if not self._library.is_current(node):  # gone since opendir
                continue
            if not pyfuse3.readdir_reply(token, FileNameT(name), _attributes(node), position + 1):
                break
            self._library.remember(node)

    @_guarded
    async def releasedir(self, fh: FileHandleT) -> None:
        """Let go of a listing."""
        self._listings.pop(fh, None)

    @_guarded
    async def access(self, inode: InodeT, mode: int, ctx: RequestContext) -> bool:
        """Never called: the kernel checks, by the option default_permissions."""
        return True

    @_guarded
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Room on the source's file system."""
        tree = self._library.tree
        found = await self._workers.run(tree.device, tree.statvfs)
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

    @_guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a disc or file; the handle is the inode number."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise FUSEError(errno.EROFS)
        node = self._library.node(inode)
        handle = self._files.get(inode)
        if handle is None:
            device = node.entry.status.st_dev
            try:
                content = await self._workers.run(device, self._library.open, node)
            except StaleNodeError:
                if node.parent is not None:  # the kernel looks the name up again at once
                    node.parent.outdate()
                raise
            handle = self._files.get(inode)
            if handle is None:
                self._files[inode] = _OpenFile(content)
            else:  # someone else opened it meanwhile
                handle.handles += 1
                await self._workers.run(device, content.close)
        else:
            handle.handles += 1
        return FileInfo(fh=FileHandleT(inode), keep_cache=True)

    @_guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes of an open file; the view is sent before anything else runs."""
        content = self._files[fh].content
        try:
            return cast(bytes, await self._reads.read(content, off, size))
        except ZsofsError as error:
            log.warning("%s: %s", content.name, error)
            raise FUSEError(error.errno) from None
        except OSError as error:
            log.warning("%s: cannot be read at %d: %s", content.name, off, error.strerror)
            raise FUSEError(error.errno or errno.EIO) from None

    @_guarded
    async def release(self, fh: FileHandleT) -> None:
        """Close a handle; the file itself with the last one."""
        handle = self._files[fh]
        handle.handles -= 1
        if not handle.handles:
            del self._files[fh]
            await self._workers.run(handle.content.device, handle.content.close)

    # Folders, kept fresh

    async def _children(self, folder: Folder) -> dict[bytes, Node]:
        """The folder's listing, at most FRESH_SECONDS old if the source answers in time."""
        if folder.children is not None and folder.fresh:
            return folder.children
        survey = self._surveys.get(folder.number)
        if survey is None:
            survey = self._surveys[folder.number] = _Survey()
            assert self._nursery is not None
            self._nursery.start_soon(self._survey, folder, survey)
        if folder.children is None:
            await survey.done.wait()
        else:
            with trio.move_on_at(survey.begun + PATIENCE_SECONDS):
                await survey.done.wait()
        if folder.children is None:
            raise survey.error or StaleNodeError(f"{folder.name}: gone")
        return folder.children

    async def _survey(self, folder: Folder, survey: _Survey) -> None:
        library = self._library
        try:
            found = await self._workers.run(
                folder.entry.status.st_dev, library.survey, folder, library.known_entries(folder)
            )
            if library.is_current(folder):
                library.update(folder, found)
        except (OSError, ZsofsError) as error:
            survey.error = error
            log.warning("%s: cannot be listed: %s", folder.name or "the source folder", error)
        except Exception as error:
            survey.error = error
            log.exception("a bug in zsofs: the survey of %s failed", folder.name)
        finally:
            del self._surveys[folder.number]
            survey.done.set()


def _attributes(node: Node) -> EntryAttributes:
    """What stat says: owner, dates and rights of the source, and the size a reader will find."""
    status = node.entry.status
    attributes = EntryAttributes()
    attributes.st_ino = InodeT(node.number)
    attributes.generation = 0
    attributes.entry_timeout = FRESH_SECONDS
    attributes.attr_timeout = FRESH_SECONDS
    attributes.st_mode = pyfuse3.ModeT(_shown_mode(node))
    attributes.st_nlink = 1
    attributes.st_uid = status.st_uid
    attributes.st_gid = status.st_gid
    attributes.st_rdev = status.st_rdev
    attributes.st_size = node.size
    attributes.st_blksize = 128 << 10
    # Never fewer than the size asks for, or cp takes the file to have holes.
    attributes.st_blocks = -(-node.size // 512)
    attributes.st_atime_ns = status.st_atime_ns
    attributes.st_mtime_ns = status.st_mtime_ns
    attributes.st_ctime_ns = status.st_ctime_ns
    return attributes


def _shown_mode(node: Node) -> int:
    if node.entry.kind is Kind.LINK:
        return stat.S_IFLNK | 0o777
    return node.entry.status.st_mode & ~0o222


def _absent() -> EntryAttributes:
    """The answer «no such name», which the kernel may keep as long as a listing is fresh."""
    attributes = EntryAttributes()
    attributes.st_ino = InodeT(0)
    attributes.entry_timeout = FRESH_SECONDS
    return attributes
