"""The FUSE protocol: requests become calls of the library and of reads, errors become errnos.

Every handler is wrapped by :func:`_guarded`, because pyfuse3 ends the whole mount when anything
but FUSEError leaves one (tried with 3.5.0: every reader of every disc then gets ENOTCONN).
"""

import errno
import functools
import itertools
import logging
import math
import os
import resource
import stat
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar, cast

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
from zsofs.entry import Kind
from zsofs.errors import BlockError, StaleNodeError, ZsofsError
from zsofs.image import Content
from zsofs.library import Folder, Library, Node
from zsofs.names import MAX_NAME
from zsofs.reads import Reads
from zsofs.source_folder import FRESH_SECONDS
from zsofs.workers import Workers

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_SHRINK_SECONDS = 15

_PATIENCE_SECONDS = 0.25
"""How long `df` waits before the last answer has to do."""

_NO_ROOM = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, MAX_NAME))


_SPARE_DESCRIPTORS = 64
"""Of those that the system allows, so many are not for discs: without them no folder could be
looked at, and a disc that was to be looked into would show as a packed file."""


class View(Protocol):
    """What decides how the source is shown."""

    async def up_to_date(self, folder: Folder) -> None:
        """Make sure that *folder* has a listing, as new as can be had without a long wait."""

    def doubt(self, node: Node) -> None:
        """Have the file looked into anew before *node* is listed again."""


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


class Operations(pyfuse3.Operations):
    """The mount, read-only."""

    enable_writeback_cache = False
    supports_dot_lookup = False  # what an NFS server would need

    def __init__(self, library: Library, view: View, reads: Reads, workers: Workers) -> None:
        super().__init__()
        self._library = library
        self._view = view
        self._reads = reads
        self._workers = workers
        self._files: dict[int, _OpenFile] = {}
        self._descriptors = 0
        self._most_descriptors = _most_descriptors()
        self._handles: dict[int, tuple[_OpenFile, int]] = {}
        self._listings: dict[int, tuple[Folder, list[bytes]]] = {}
        self._numbers = itertools.count(1)
        self._room: os.statvfs_result | None = None

    async def serve(self) -> None:
        """Answer requests until the mount ends."""
        turns.install()
        await pyfuse3.main()

    def readers(self) -> list[Reader]:
        """Who has what open; one entry for each handle."""
        return [Reader(pid, file.content.name) for file, pid in self._handles.values()]

    async def shrink_when_unused(self) -> None:
        """For as long as the mount lives, drop the listings of which the kernel knows nothing."""
        while True:
            await trio.sleep(_SHRINK_SECONDS)
            self._library.shrink({folder for folder, _ in self._listings.values()})

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
        """Fix the names, and their order, for the readdir calls to come."""
        folder = self._library.folder(inode)
        children = await self._children(folder)
        handle = next(self._numbers)
        self._listings[handle] = folder, list(children)
        return FileHandleT(handle)

    @_guarded
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

    @_guarded
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a disc or file; all handles of one inode share its descriptor."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise FUSEError(errno.EROFS)
        node = self._library.node(inode)
        file = self._files.get(node.serial)
        if file is None:
            file = await self._open(node)
        else:
            file.handles += 1
        handle = next(self._numbers)
        self._handles[handle] = file, ctx.pid
        return FileInfo(fh=FileHandleT(handle), keep_cache=True)

    @_guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes of an open file; the view is sent before anything else runs."""
        file = self._handles[fh][0]
        content = file.content
        try:
            return cast(bytes, await self._reads.read(content, off, size))
        except (ZsofsError, OSError) as error:
            self._reads.statistics.of(content.name).errors += 1
            if isinstance(error, OSError):
                log.warning("%s: cannot be read at %d: %s", content.name, off, error.strerror)
            else:
                log.warning("%s: %s", content.name, error)
            if isinstance(error, BlockError) and not file.doubted:
                file.doubted = True
                self._view.doubt(file.node)  # the catalog may have told a wrong codec
            raise FUSEError(error.errno or errno.EIO) from None

    @_guarded
    async def release(self, fh: FileHandleT) -> None:
        """Close a handle; the file itself with the last one."""
        file, _ = self._handles.pop(fh)
        file.handles -= 1
        if not file.handles:
            del self._files[file.content.serial]
            await self._close(file.content)

    async def _open(self, node: Node) -> _OpenFile:
        if self._descriptors >= self._most_descriptors:
            raise OSError(errno.EMFILE, "too many discs are open")
        self._descriptors += 1
        try:
            content = await self._workers.run(node.entry.status.st_dev, self._library.open, node)
        except BaseException as error:
            self._descriptors -= 1
            if isinstance(error, StaleNodeError):
                self._view.doubt(node)  # the kernel looks the name up again at once
            raise
        file = self._files.setdefault(content.serial, _OpenFile(node, content))
        file.handles += 1
        if file.content is not content:  # someone else opened it meanwhile
            await self._close(content)
        return file

    async def _close(self, content: Content) -> None:
        await self._workers.run(content.device, content.close)
        self._descriptors -= 1

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
        limit = _PATIENCE_SECONDS if self._room else math.inf
        with trio.move_on_after(limit):
            try:
                self._room = await self._workers.run(
                    self._library.root.entry.status.st_dev, self._library.tree.statvfs
                )
            except OSError as error:
                log.info("how much room there is in the source cannot be told: %s", error.strerror)
                self._room = self._room or _NO_ROOM
        assert self._room is not None
        return self._room


def _most_descriptors() -> int:
    """How many descriptors there may be for discs."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(allowed - _SPARE_DESCRIPTORS, allowed // 2)


def _attributes(node: Node) -> EntryAttributes:
    """What stat says: owner, dates and rights of the source, and the size a reader will find."""
    if node.attributes is not None:
        return cast(EntryAttributes, node.attributes)
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
    node.attributes = attributes
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
