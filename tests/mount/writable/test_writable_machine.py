"""A random sequence of operations on a writable mount does what it does on a plain folder."""

import ctypes
import errno
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.mounting import Mount, mounted
from tests.support.rounds import rounds

pytestmark = pytest.mark.xdist_group("writable_machine")  # they share what takes long to make

NAMES = st.sampled_from(["a", "b", "c.bin", "d.cfg", "e"])
PLACES = st.tuples(st.sampled_from(["there", "there", "new"]), st.integers(0, 99), NAMES)
"""Something that exists, by its number; or a name in a folder that exists, free or not."""
SIZES = st.integers(0, 20_000)
DATA = st.binary(min_size=1, max_size=64).flatmap(
    lambda some: st.integers(1, 200).map(lambda times: some * times)
)
NOREPLACE, EXCHANGE = 1, 2

CLOCK_TICK_NS = 10_000_000
"""How far the times of files may lag behind the clock."""

_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(old: Path, new: Path, flags: int) -> None:
    here = -100  # AT_FDCWD
    if _libc.renameat2(here, os.fsencode(old), here, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def outcome(act: Callable[[], object]) -> object:
    """What a call gives, or the number of its error."""
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """All that is below *root*: kinds, rights, sizes, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for above, folders, files in os.walk(root):
        for name in folders:
            path = Path(above) / name
            found[str(path.relative_to(root))] = ("folder", stat.S_IMODE(path.stat().st_mode))
        for name in files:
            path = Path(above) / name
            status = path.stat()
            found[str(path.relative_to(root))] = (
                "file", stat.S_IMODE(status.st_mode), status.st_size, path.read_bytes(),
            )  # fmt: skip
    return found


Place = tuple[str, int, str]


class Both:
    """One thing in both folders: a path, or descriptors."""

    def __init__(self, ours: Any, theirs: Any) -> None:
        self.ours = ours
        self.theirs = theirs


class Machine(RuleBasedStateMachine):
    """The same operations in a mount and beside it."""

    mount: Mount

    @initialize()
    def begin(self) -> None:
        name = f"Machine-{next(_numbers)}"
        self.ours = self.mount.path / name
        self.theirs = self.mount.source.parent / name
        for root in (self.ours, self.theirs):
            for folder in ("", "b", "e", "e/a"):
                (root / folder).mkdir()
            for file in ("a", "b/c.bin", "b/d.cfg", "e/a/b"):
                (root / file).write_bytes(file.encode() * 500)
        self.handles: list[Both] = []
        self.written: set[str] = set()

    def teardown(self) -> None:
        for handle in self.handles:
            os.close(handle.ours)
            os.close(handle.theirs)

    def path(self, place: Place) -> str:
        how, number, name = place
        found = sorted(tree(self.theirs))
        if how == "there" and found:
            return found[number % len(found)]
        folders = [".", *(path for path in found if (self.theirs / path).is_dir())]
        return f"{folders[number % len(folders)]}/{name}"

    def both(self, act: Callable[[Path], object]) -> None:
        """Do the same in both folders, and compare what comes of it."""
        theirs = outcome(lambda: act(self.theirs))
        assert outcome(lambda: act(self.ours)) == theirs

    def on_handle(self, number: int, act: Callable[[int], object]) -> None:
        if self.handles:
            handle = self.handles[number % len(self.handles)]
            theirs = outcome(lambda: act(handle.theirs))
            assert outcome(lambda: act(handle.ours)) == theirs

    @rule(
        place=PLACES,
        access=st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
        others=st.sets(st.sampled_from([os.O_EXCL, os.O_TRUNC, os.O_APPEND]), max_size=2),
        creates=st.sampled_from([0, os.O_CREAT, os.O_CREAT]),
        mode=st.sampled_from([0o600, 0o644, 0o666]),
    )
    def open(self, place: Place, access: int, others: set[int], creates: int, mode: int) -> None:
        path = self.path(place)
        flags = access | creates | sum(others if creates else others - {os.O_EXCL})
        fds = []
        for root in (self.ours, self.theirs):
            fds.append(outcome(lambda root=root: os.open(root / path, flags, mode)))  # type: ignore[misc]
        ours, theirs = fds
        if isinstance(theirs, int) and isinstance(ours, int):
            self.handles.append(Both(ours, theirs))
            if len(self.handles) > 4:
                self.close(0)
        else:
            for fd in fds:
                if isinstance(fd, int):
                    os.close(fd)
            assert ours == theirs

    @rule(number=st.integers(0, 9))
    def close(self, number: int) -> None:
        if self.handles:
            handle = self.handles.pop(number % len(self.handles))
            os.close(handle.ours)
            os.close(handle.theirs)

    @rule(number=st.integers(0, 9), data=DATA, offset=SIZES)
    def write_at(self, number: int, data: bytes, offset: int) -> None:
        self.on_handle(number, lambda fd: os.pwrite(fd, data, offset))

    @rule(number=st.integers(0, 9), data=DATA)
    def write_on(self, number: int, data: bytes) -> None:
        self.on_handle(number, lambda fd: (os.write(fd, data), os.lseek(fd, 0, os.SEEK_CUR)))

    @rule(number=st.integers(0, 9), size=SIZES, offset=SIZES)
    def read_at(self, number: int, size: int, offset: int) -> None:
        self.on_handle(number, lambda fd: os.pread(fd, size, offset))

    @rule(number=st.integers(0, 9), size=SIZES)
    def truncate_open(self, number: int, size: int) -> None:
        self.on_handle(number, lambda fd: os.ftruncate(fd, size))

    @rule(number=st.integers(0, 9))
    def stat_open(self, number: int) -> None:
        def act(fd: int) -> object:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):  # whose links and sizes are each file system's own
                return status.st_mode
            return status.st_size, status.st_mode, status.st_nlink

        self.on_handle(number, act)

    @rule(number=st.integers(0, 9), only_data=st.booleans())
    def sync(self, number: int, only_data: bool) -> None:
        self.on_handle(number, os.fdatasync if only_data else os.fsync)

    @rule(number=st.integers(0, 9), mode=st.sampled_from([0o700, 0o740, 0o544]))
    def chmod_open(self, number: int, mode: int) -> None:
        self.on_handle(number, lambda fd: os.fchmod(fd, mode))

    @rule(place=PLACES, size=SIZES)
    def truncate(self, place: Place, size: int) -> None:
        path = self.path(place)
        self.both(lambda root: os.truncate(root / path, size))

    @rule(place=PLACES, mode=st.sampled_from([0o755, 0o750, 0o700]))
    def mkdir(self, place: Place, mode: int) -> None:
        path = self.path(place)
        self.both(lambda root: os.mkdir(root / path, mode))

    @rule(place=PLACES)
    def unlink(self, place: Place) -> None:
        path = self.path(place)
        self.both(lambda root: os.unlink(root / path))

    @rule(place=PLACES)
    def rmdir(self, place: Place) -> None:
        path = self.path(place)
        self.both(lambda root: os.rmdir(root / path))

    @rule(old=PLACES, new=PLACES)
    def rename(self, old: Place, new: Place) -> None:
        old_path, new_path = self.path(old), self.path(new)
        self.both(lambda root: os.rename(root / old_path, root / new_path))

    @rule(old=PLACES, new=PLACES)
    def rename_to_a_free_name(self, old: Place, new: Place) -> None:
        old_path, new_path = self.path(old), self.path(new)
        self.both(lambda root: renameat2(root / old_path, root / new_path, NOREPLACE))

    @rule(place=PLACES, mode=st.sampled_from([0o700, 0o740, 0o755, 0o544]))
    def chmod(self, place: Place, mode: int) -> None:
        path = self.path(place)
        self.both(lambda root: os.chmod(root / path, mode))

    @rule(place=PLACES, times=st.tuples(st.integers(0, 2**60), st.integers(0, 2**60)))
    def utime(self, place: Place, times: tuple[int, int]) -> None:
        path = self.path(place)

        def act(root: Path) -> object:
            begun = time.time_ns()
            os.utime(root / path, ns=times)
            status = os.stat(root / path)
            # A scan of the directory may read the file just then, which is an access.
            was_accessed = status.st_atime_ns >= begun - CLOCK_TICK_NS
            return was_accessed or status.st_atime_ns == times[0], status.st_mtime_ns

        self.both(act)

    @rule(place=PLACES)
    def stat(self, place: Place) -> None:
        path = self.path(place)

        def act(root: Path) -> object:
            status = os.stat(root / path)
            kind = stat.S_IFMT(status.st_mode)
            return kind, stat.S_IMODE(status.st_mode), kind == stat.S_IFREG and status.st_size

        self.both(act)

    @rule(place=PLACES)
    def listing(self, place: Place) -> None:
        path = self.path(place)
        self.both(lambda root: sorted(os.listdir(root / path)))

    @rule(place=PLACES)
    def read(self, place: Place) -> None:
        path = self.path(place)
        self.both(lambda root: (root / path).read_bytes())

    @rule(place=PLACES)
    def inode_stays_when_renamed(self, place: Place) -> None:
        """A file keeps its number under another name, and others never get it meanwhile."""
        path = self.path(place)
        old, new = self.ours / path, self.ours / "other"
        with suppress(OSError):
            number = os.stat(old).st_ino
            os.rename(old, new)
            assert os.stat(new).st_ino == number
            os.rename(new, old)
            assert os.stat(old).st_ino == number

    @invariant()
    def same_tree(self) -> None:
        assert tree(self.ours) == tree(self.theirs)
        assert tree(self.mount.source / self.ours.name) == tree(self.theirs)


@pytest.fixture(scope="module", params=["plain", "opl"])
def writable(module_path: Path, request: pytest.FixtureRequest) -> Iterator[Mount]:
    base = module_path / request.param
    (base / "source").mkdir(parents=True)
    with mounted(base / "source", base / "mnt", "--writable", "--layout", request.param) as mount:
        yield mount
        assert not mount.log_lines("internal error"), mount.log.read_text()


def run(mount: Mount, examples: int, steps: int) -> None:
    machine = type("Machine", (Machine,), {"mount": mount})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps)
    )


@pytest.mark.timeout(3600)  # 150 examples of 80 steps with --thorough, besides other tests
def test_as_on_a_plain_folder(writable: Mount) -> None:
    run(writable, examples=rounds(8, 150), steps=rounds(40, 80))


@pytest.mark.system
def test_as_on_a_plain_folder_for_long(writable: Mount) -> None:
    run(writable, examples=30, steps=80)
