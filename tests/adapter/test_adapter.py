"""The FUSE handlers, called as pyfuse3 does, without a mount: they answer as their docstrings say.

Below them is a source directory with a fake view of it, and fake reads; all the rest is real.
"""

import errno
import inspect
import os
import re
import stat
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest
import trio
from pyfuse3 import EntryAttributes, FUSEError

from zsofs.errors import (
    BlockError,
    DiskBusyError,
    RefusedError,
    ReportedError,
    SourceAbsentError,
    SourceAwayError,
    StaleNodeError,
)
from zsofs.fuse import error_guard
from zsofs.fuse.attributes import Appearance
from zsofs.fuse.file_operations import LiveOperations
from zsofs.fuse.operations import Operations
from zsofs.fuse.parts import Parts
from zsofs.fuse.write_operations import WritableOperations
from zsofs.images.open_image import Content
from zsofs.native.meters import Trace
from zsofs.preload.settings import PreloadSettings
from zsofs.reading.admission import Admission
from zsofs.reading.reader import Reader
from zsofs.reading.stats import Statistics
from zsofs.reading.worker_threads import NoThreadError, QueueTimeoutError, WorkerThreads
from zsofs.source.entry import Entry, Kind
from zsofs.source.filters import Selection
from zsofs.source.mount_cycles import QUESTION
from zsofs.source.new_discs import NewDiscs
from zsofs.source.scan_cache import ScanCache
from zsofs.source.shown_part import ShownText
from zsofs.source.tree import Place, SourceTree
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.shown_owner import ShownOwner

FILE = stat.S_IFREG | 0o644
TEXT = b"some text"
HIDDEN = b"hidden"
"""How names begin that the view does not show."""

ROOT, NOBODY = 1, 999
"""Inode numbers: that of the root, and one that nothing has."""


class FakeView:
    """Shows the names of the source as they are, and each `.zso` as a disc.

    Attributes:
        fails: what a look at a folder raises.
        reason: why nothing can be changed.
    """

    def __init__(self, library: Inodes) -> None:
        self.fails: Exception | None = None
        self.reason = ""
        self._library = library

    async def up_to_date(self, folder: Folder, patience: int = 1) -> None:
        await trio.lowlevel.checkpoint()
        if self.fails is not None:
            raise self.fails
        tree, path = self._library.tree, folder.entry.path
        if folder.children is None:
            with tree.folder(path) as found:
                names = [name for name in found.names() if not name.startswith(HIDDEN)]
            entries = {name: self._entry(Place(path, name).path, name) for name in names}
            self._library.update(folder, tree.stat(path), entries, 0)

    def _entry(self, path: bytes, name: bytes) -> Entry:
        status = self._library.tree.stat(path)
        kinds = {stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK, stat.S_IFREG: Kind.FILE}
        kind = Kind.DISC if name.endswith(b".zso") else kinds[stat.S_IFMT(status.st_mode)]
        return Entry(name, kind, path, status)

    def doubt(self, node: Node) -> None:
        pass

    def outdate(self, folder: Folder, name: bytes) -> None:
        pass

    def place(self, folder: Folder) -> bytes:
        return folder.entry.path

    def lacks(self, folder: Folder) -> bool:
        return False

    def why_not(self, folder: Folder, name: bytes, kind: Kind) -> str:
        return self.reason

    def did(self, folder: Folder, place: Place, entry: Entry | None, at: float) -> None:
        pass


class FakeReads:
    """Reads of discs, from the content itself.

    Attributes:
        fails: what each raises.
        statistics: as of the real ones.
    """

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.statistics = Statistics()

    async def read(self, content: Content, offset: int, size: int, _: Trace) -> bytes:
        if self.fails is not None:
            raise self.fails
        out = bytearray(min(size, content.size - offset))
        await trio.to_thread.run_sync(content.read_now, offset, out)
        return bytes(out)


class World:
    """A source with everything above it up to the handlers.

    Attributes:
        handlers: those of a mount.
        library: its nodes.
        view: shows the source.
        reads: reads of discs.
        workers: threads.
        catalog: an empty scan cache.
        parts: what all this is put together in.
        ctx: who asks.
    """

    def __init__(self, source: Path, kind: type[Operations]) -> None:
        writable = issubclass(kind, LiveOperations)
        self.library = Inodes(SourceTree(os.fsencode(source)), writable=writable)
        self.view = FakeView(self.library)
        self.reads = FakeReads()
        self.workers = WorkerThreads(2, Admission())
        appearance = Appearance(self.library, ShownOwner())
        reads = cast(Reader, self.reads)
        self.catalog = ScanCache(None, self.library.tree.path)
        self.parts = Parts(
            self.library,
            appearance,
            self.view,
            reads,
            self.workers,
            self.catalog,
            PreloadSettings(traces=False),
        )
        self.handlers = cast(
            WritableOperations,
            kind(self.parts, Selection(), NewDiscs(), serves_as_root=False)
            if issubclass(kind, LiveOperations)
            else kind(self.parts),
        )
        self.ctx: Any = SimpleNamespace(pid=os.getpid(), uid=os.getuid(), gid=os.getgid())

    def number(self, *names: bytes) -> Any:
        """The inode number of a path in the mount."""
        node: Node = self.library.root
        for name in names:
            assert isinstance(node, Folder)
            assert node.children is not None
            node = node.children[name]
        return node.number

    async def opened(self, name: bytes, flags: int = os.O_RDONLY) -> Any:
        """A handle of a file."""
        return (await self.handlers.open(self.number(name), flags, self.ctx)).fh

    def show_other_names(self, name: bytes, called: bytes = b"") -> None:
        """Show a file like a playlist with the names in the mount; *called* so in the source."""
        node = self.library.node(self.number(name))
        node.entry = replace(node.entry, name=called or name, shown=ShownText(TEXT))

    def allow_no_open_file(self) -> None:
        self.parts.opener._budget._limit = 0

    def take_disk_away(self, path: bytes) -> None:
        self.library.tree.devices[path] = -1


def in_world(
    source: Path, kind: type[Operations], act: Callable[[World], Awaitable[object]]
) -> None:
    """Have *act* happen in a world with the folder *source* in it."""
    (source / "folder").mkdir(parents=True)
    (source / "Game.zso").write_bytes(TEXT)
    for name in ("notes.txt", "other.txt", f"{HIDDEN.decode()}.bin"):
        (source / name).write_bytes(TEXT)
    (source / "link").symlink_to("nowhere")

    async def run() -> None:
        world = World(source, kind)
        try:
            async with world.parts.opener.serving():
                await world.view.up_to_date(world.library.root)
                await act(world)
        finally:
            world.library.contents.watcher.close()
            world.catalog.close()

    trio.run(run)


Act = Callable[[World], Coroutine[Any, Any, object]]
CASES: dict[tuple[type[Operations], str, str], Act] = {}
"""By class, handler and errno: what makes that handler answer so."""


def case(kind: type[Operations], handler: str, *names: str) -> Callable[[Act], Act]:
    """Have the decorated function be the case of a handler and these errnos."""

    def add(act: Act) -> Act:
        for name in names:
            assert (kind, handler, name) not in CASES
            CASES[kind, handler, name] = act
        return act

    return add


def calling(handler: str, number: int | None, *args: Any) -> Act:
    """A call of a handler with an inode number, that of a file if there is none, and *args*."""

    def call(w: World) -> Coroutine[Any, Any, object]:
        given = w.number(b"notes.txt") if number is None else number
        called: Coroutine[Any, Any, object] = getattr(w.handlers, handler)(given, *args, w.ctx)
        return called

    return call


IN_FOLDERS = [
    (Operations, "lookup", (b"new",)),
    (Operations, "opendir", ()),
    (WritableOperations, "create", (b"new", 0o644, os.O_RDWR)),
    (WritableOperations, "mknod", (b"new", FILE, 0)),
    (WritableOperations, "mkdir", (b"new", 0o755)),
    (WritableOperations, "unlink", (b"notes.txt",)),
    (WritableOperations, "rmdir", (b"folder",)),
    (WritableOperations, "rename", (b"notes.txt", ROOT, b"new", 0)),
]
"""Handlers that get the number of a folder first, each with the rest of its arguments."""

for _kind, _handler, _args in IN_FOLDERS:
    if (_kind, _handler) != (WritableOperations, "create"):
        case(_kind, _handler, "ESTALE")(calling(_handler, NOBODY, *_args))
    case(_kind, _handler, "ENOTDIR")(calling(_handler, None, *_args))


@case(Operations, "lookup", "ELOOP")
async def ask_a_mount_that_leads_back(w: World) -> None:
    w.library.tree.leads_to = lambda question: True  # type: ignore[method-assign]
    await w.handlers.lookup(cast(Any, ROOT), cast(Any, QUESTION + b"0:1-x"), w.ctx)


@case(Operations, "lookup", "ENAMETOOLONG")
async def look_up_a_long_name(w: World) -> None:
    await w.handlers.lookup(cast(Any, ROOT), cast(Any, b"x" * 256), w.ctx)


@case(Operations, "lookup", "ENOMEDIUM")
async def look_up_in_an_absent_source(w: World) -> None:
    w.view.fails = SourceAbsentError("not there yet")
    await w.handlers.lookup(cast(Any, ROOT), cast(Any, b"new"), w.ctx)


@case(Operations, "opendir", "ENOMEDIUM")
async def list_an_absent_source(w: World) -> None:
    w.view.fails = SourceAbsentError("not there yet")
    await w.handlers.opendir(cast(Any, ROOT), w.ctx)


@case(Operations, "getattr", "ESTALE")
@case(WritableOperations, "getattr", "ESTALE")
async def get_attributes_of_nothing(w: World) -> None:
    await w.handlers.getattr(cast(Any, NOBODY), w.ctx)


@case(Operations, "readlink", "ESTALE")
async def read_a_link_that_is_none(w: World) -> None:
    await w.handlers.readlink(cast(Any, NOBODY), w.ctx)


@case(Operations, "open", "EMFILE")
@case(LiveOperations, "open", "EMFILE")
async def open_one_file_too_many(w: World) -> None:
    w.allow_no_open_file()
    await w.opened(b"notes.txt")


@case(Operations, "open", "EROFS")
async def open_for_writing(w: World) -> None:
    await w.opened(b"notes.txt", os.O_WRONLY)


@case(Operations, "open", "ESTALE")
@case(LiveOperations, "open", "ESTALE")
async def open_a_file_that_is_gone(w: World) -> None:
    os.replace(w.library.tree.path + b"/other.txt", w.library.tree.path + b"/notes.txt")
    await w.opened(b"notes.txt")


@case(LiveOperations, "open", "EACCES")
async def open_a_disc_for_writing(w: World) -> None:
    await w.opened(b"Game.zso", os.O_RDWR)


@case(LiveOperations, "open", "EROFS")
async def open_a_playlist_with_other_names_for_writing(w: World) -> None:
    w.show_other_names(b"notes.txt")
    await w.opened(b"notes.txt", os.O_WRONLY)


@case(LiveOperations, "open", "EPERM")
async def open_a_link_for_writing(w: World) -> None:
    await w.opened(b"link", os.O_WRONLY)


@case(Operations, "read", "EIO")
@case(LiveOperations, "read", "EIO")
async def read_a_damaged_block(w: World) -> None:
    fh = await w.opened(b"Game.zso")
    w.reads.fails = BlockError(1, 10, "invalid LZ4 data")
    await w.handlers.read(fh, 0, 10)


@case(LiveOperations, "write", "EBADF")
async def write_to_a_disc(w: World) -> None:
    await w.handlers.write(await w.opened(b"Game.zso"), 0, TEXT)


@case(LiveOperations, "write", "EBUSY")
async def write_to_a_disk_that_hangs(w: World) -> None:
    fh = await w.opened(b"notes.txt", os.O_WRONLY)
    w.workers.admission = Admission(max_bytes=len(TEXT) - 1)
    await w.handlers.write(fh, 0, TEXT)


def truncation(*names: bytes) -> Act:
    """A call of setattr that would truncate a file, by its inode number if there is no name."""
    fields = [f"update_{name}" for name in ("mode", "uid", "gid", "atime", "mtime", "ctime")]
    wanted: Any = SimpleNamespace(update_size=True, **dict.fromkeys(fields, False))

    def truncate(w: World) -> Coroutine[Any, Any, object]:
        number = w.number(*names) if names else NOBODY
        return w.handlers.setattr(number, EntryAttributes(), wanted, None, w.ctx)

    return truncate


case(WritableOperations, "setattr", "EACCES")(truncation(b"Game.zso"))
case(WritableOperations, "setattr", "EPERM")(truncation(b"link"))
case(WritableOperations, "setattr", "ESTALE")(truncation())


@case(WritableOperations, "setattr", "EROFS")
async def truncate_a_playlist_with_other_names(w: World) -> None:
    w.show_other_names(b"notes.txt")
    await truncation(b"notes.txt")(w)


for _handler, _args in (
    ("create", (0o644, os.O_RDWR)),
    ("mknod", (FILE, 0)),
    ("mkdir", (0o755,)),
):
    case(WritableOperations, _handler, "EACCES")(calling(_handler, ROOT, b"New.zso", *_args))
    case(WritableOperations, _handler, "EEXIST")(calling(_handler, ROOT, HIDDEN + b".bin", *_args))


@case(WritableOperations, "create", "ESTALE")
async def create_what_is_there(w: World) -> None:
    await w.handlers.create(cast(Any, ROOT), cast(Any, b"notes.txt"), 0o644, os.O_RDWR, w.ctx)


@case(WritableOperations, "create", "EMFILE")
async def create_one_file_too_many(w: World) -> None:
    w.allow_no_open_file()
    await w.handlers.create(cast(Any, ROOT), cast(Any, b"new"), 0o644, os.O_RDWR, w.ctx)


@case(WritableOperations, "mknod", "EMFILE")
async def make_one_file_too_many(w: World) -> None:
    w.allow_no_open_file()
    await w.handlers.mknod(cast(Any, ROOT), cast(Any, b"new"), FILE, 0, w.ctx)


case(WritableOperations, "mknod", "EPERM")(calling("mknod", ROOT, b"new", stat.S_IFIFO, 0))
case(WritableOperations, "symlink", "EPERM")(calling("symlink", ROOT, b"new", b"target"))
case(WritableOperations, "link", "EPERM")(calling("link", None, ROOT, b"new"))
case(WritableOperations, "unlink", "EACCES")(calling("unlink", ROOT, b"Game.zso"))
case(WritableOperations, "unlink", "ENOENT")(calling("unlink", ROOT, b"new"))
case(WritableOperations, "rmdir", "ENOENT")(calling("rmdir", ROOT, b"new"))


@case(WritableOperations, "rmdir", "EACCES")
async def delete_a_folder_that_shows_discs(w: World) -> None:
    w.view.reason = "DVD and CD contain only discs"
    await w.handlers.rmdir(cast(Any, ROOT), cast(Any, b"folder"), w.ctx)


@case(WritableOperations, "rmdir", "ENOMEDIUM")
async def delete_a_mount_point(w: World) -> None:
    w.take_disk_away(b"folder")
    await w.handlers.rmdir(cast(Any, ROOT), cast(Any, b"folder"), w.ctx)


def renaming(old: bytes, new: bytes, flags: int = 0) -> Act:
    """A rename in the root."""
    return calling("rename", ROOT, old, ROOT, new, flags)


case(WritableOperations, "rename", "EACCES")(renaming(b"notes.txt", b"Game.zso"))
case(WritableOperations, "rename", "EEXIST")(
    renaming(b"notes.txt", b"other.txt", pyfuse3.RENAME_NOREPLACE)
)
case(WritableOperations, "rename", "EINVAL")(
    renaming(b"notes.txt", b"other.txt", pyfuse3.RENAME_EXCHANGE)
)
case(WritableOperations, "rename", "ENOENT")(renaming(b"new", b"newer"))


@case(WritableOperations, "unlink", "EROFS")
async def delete_the_original_of_a_playlist(w: World) -> None:
    w.show_other_names(b"notes.txt", b"notes.m3u")
    await calling("unlink", ROOT, b"notes.txt")(w)


@case(WritableOperations, "rename", "EROFS")
async def replace_a_playlist_with_other_names(w: World) -> None:
    w.show_other_names(b"notes.txt")
    await renaming(b"other.txt", b"notes.txt")(w)


@case(WritableOperations, "rename", "ENOMEDIUM")
async def rename_a_mount_point(w: World) -> None:
    w.take_disk_away(b"folder")
    await renaming(b"folder", b"new")(w)


@pytest.mark.parametrize(
    ("kind", "handler", "name"), CASES, ids=[f"{handler}-{name}" for _, handler, name in CASES]
)
def test_a_condition_below_becomes_its_errno(
    tmp_path: Path, kind: type[Operations], handler: str, name: str
) -> None:
    # What WritableOperations has of LiveOperations is what the mount runs.
    made = WritableOperations if issubclass(kind, LiveOperations) else kind

    async def act(world: World) -> None:
        with pytest.raises(FUSEError) as caught:
            await CASES[kind, handler, name](world)
        assert errno.errorcode[caught.value.errno] == name

    in_world(tmp_path / "source", made, act)


def handlers(kind: type[Operations]) -> dict[str, Any]:
    """The handlers that a class has of its own; functools.wraps leaves __wrapped__."""
    return {name: one for name, one in vars(kind).items() if hasattr(one, "__wrapped__")}


def errnos(docstring: str) -> list[str]:
    """The names in the section «Errnos» of a docstring."""
    _, _, section = inspect.cleandoc(docstring).partition("Errnos:\n")
    return re.findall(r"^    (E[A-Z]+): .", section, re.M)


def test_the_cases_are_those_of_the_docstrings() -> None:
    listed = [
        (kind, handler, name)
        for kind in (Operations, LiveOperations, WritableOperations)
        for handler, function in handlers(kind).items()
        for name in errnos(function.__doc__)
    ]
    assert len(listed) == len(set(listed)) > 50
    assert set(listed) == set(CASES)


# What any handler may answer

ERRORS: dict[str, list[Exception]] = {
    "EACCES": [RefusedError("a disc")],
    "EBUSY": [DiskBusyError("15000 requests wait")],
    "EIO": [RuntimeError("a bug"), OSError("no number"), BlockError(1, 10, "invalid LZ4 data")],
    "ENOMEDIUM": [SourceAwayError("unmounted"), SourceAbsentError("not there yet")],
    "ENOMEM": [MemoryError(), NoThreadError("no thread")],
    "ENOSPC": [OSError(errno.ENOSPC, "full"), ReportedError(errno.ENOSPC)],
    "ESTALE": [StaleNodeError("gone")],
    "ETIMEDOUT": [QueueTimeoutError(errno.ETIMEDOUT, "all threads wait")],
}
"""By errno: what is raised below. EACCES, ENOSPC and ESTALE are examples of those that only some
handlers, or only some file systems, give."""

ANSWERED_ALONE = {"access", "forget", "link", "symlink"}
"""Handlers that call nothing whose errors they would pass on."""


class Failing:
    """Stands for whatever a handler calls, and fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("kind", [Operations, WritableOperations])
def test_any_error_below_becomes_an_errno(
    tmp_path: Path, kind: type[Operations], name: str
) -> None:
    async def act(world: World) -> None:
        made = {name for one in kind.__mro__ for name in handlers(cast(Any, one))}
        assert len(made) >= 12
        for handler in sorted(made - ANSWERED_ALONE):
            for error in ERRORS[name]:
                with pytest.raises(FUSEError) as caught:
                    await called(world.handlers, handler, error)
                assert caught.value.errno == getattr(errno, name), (handler, error)

    in_world(tmp_path / "source", kind, act)


async def called(made: Operations, handler: str, error: Exception) -> None:
    """Call a handler while all that it could call raises *error*."""
    function = getattr(made, handler)
    given = {"name": b"new", "parent_inode": ROOT, "inode": ROOT, "flags": 0, "start_id": 0}
    args = [given.get(parameter) for parameter in inspect.signature(function).parameters]
    before = vars(made).copy()
    vars(made).update(dict.fromkeys(before, Failing(error)))
    try:
        await function(*args)
    finally:
        vars(made).update(before)


def test_those_that_any_handler_may_give_are_listed() -> None:
    listed = errnos(error_guard.__doc__ or "")
    assert set(listed) == set(ERRORS) - {"EACCES", "ENOSPC", "ESTALE"}


def test_the_kernel_hears_of_no_error_in_forget(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        world.handlers._library = cast(Inodes, Failing(KeyError("a bug")))
        await world.handlers.forget([(cast(Any, ROOT), 1)])

    in_world(tmp_path / "source", Operations, act)


# And where nothing fails


def test_a_disc_is_looked_up_opened_and_read(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        made, ctx = world.handlers, world.ctx
        found = await made.lookup(cast(Any, ROOT), cast(Any, b"Game.zso"), ctx)
        fh = (await made.open(found.st_ino, os.O_RDONLY, ctx)).fh
        assert await made.read(fh, 5, 100) == TEXT[5:]
        assert [reader.path for reader in made.readers()] == ["Game.zso"]
        await made.release(fh)
        assert made.readers() == []

    in_world(tmp_path / "source", Operations, act)


def test_a_file_is_made_written_renamed_and_deleted(tmp_path: Path) -> None:
    source = tmp_path / "source"

    async def act(world: World) -> None:
        made, ctx, root = world.handlers, world.ctx, cast(Any, ROOT)
        info, _ = await made.create(root, cast(Any, b"new"), 0o644, os.O_RDWR, ctx)
        assert await made.write(info.fh, 0, TEXT) == len(TEXT)
        assert await made.read(info.fh, 0, 100) == TEXT
        await made.rename(root, cast(Any, b"new"), root, cast(Any, b"newer"), 0, ctx)
        await made.release(info.fh)
        assert (source / "newer").read_bytes() == TEXT
        await made.unlink(root, cast(Any, b"newer"), ctx)
        assert not (source / "newer").exists()

    in_world(source, WritableOperations, act)
