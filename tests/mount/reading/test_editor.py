"""A source that is edited while programs read: one inode number, one content, as long as it lives.

Who has a disc open that is renamed, replaced or deleted reads on to its end. Of one that is written
to in place he gets an error, or what the kernel still had, but never another byte. Everybody who
opens a disc once the change shows gets the new one and nothing else.

What the random editor does follows from its seed. When its readers come in between does not, so
that it may find in one run what it missed in another.
"""

import errno
import itertools
import math
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import Mount, wait_until
from zsofs.mount.control.client import ask

SEED = 20250309
READERS = 4
STEMS = [f"{folder}Disc {number}" for folder in ("", "sub/") for number in range(3)]
"""Of the packed files in the source, and of the discs that the mount makes of them."""

_MOMENT = 0.05
_KINDS = 14  # of things that the editor does; a slow machine takes longer to have done them all

BLOCK = 16 << 10
PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda image: writers.maxcso_zso(image, block_size=2048),
    lambda image: writers.maxcso_zso(image, block_size=BLOCK),
    lambda image: writers.zstd_ziso(image, block_size=2048),
    lambda image: writers.zstd_ziso(image, block_size=BLOCK),
    lambda image: writers.zsoz(image, block_size=BLOCK),
    lambda image: writers.maxcso_cso1(image, block_size=2048),
    lambda image: writers.zlib_zso(image, block_size=BLOCK),
)


@dataclass(eq=False)
class Version:
    """One content of a file, unlike any other.

    Attributes:
        image: what the mount is to show of it.
        packed: what lies in the source.
        pack: how it was packed.
        disturbed_until: by the monotonic clock, when the file that held it was last written to in
            place, or got another date, which can mean new content; infinite from before the change
            begins until it is done. Who began to open it by then may get errors.
    """

    image: bytes
    packed: bytes
    pack: Callable[[bytes], bytes]
    disturbed_until: float = -math.inf

    def may_fail(self, handle: "Handle") -> bool:
        """Whether reads of this version through that handle may give errors."""
        return handle.begun <= self.disturbed_until

    def twin(self) -> "Version":
        """Other bytes that take exactly as much room, plain and packed."""
        image = self.image[BLOCK:] + self.image[:BLOCK]
        return Version(image, self.pack(image), self.pack)


def version(generator: random.Random) -> Version:
    blocks = generator.randint(6, 18)
    kinds = generator.sample(["text", "noise", "mixed", "tight", "zeros"], 3)
    image = writers.content(blocks * BLOCK, kinds, generator.getrandbits(32), BLOCK)
    pack = generator.choice(PACKERS)
    return Version(image, pack(image), pack)


@dataclass
class Odd:
    """A file that was cut, or grew: a disc or none, but nothing else than its own bytes.

    Whoever opens such a disc may get errors: the version that it was made of stays disturbed.
    """

    packed: bytes
    image: bytes


class Model:
    """Everything that was ever in the source, and what each inode number can stand for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: list[Version] = []
        self._meanings: dict[int, list[Version]] = {}
        self._shown: dict[int, tuple[str, int, int]] = {}

    def add(self, new: Version) -> None:
        """To be called before a byte of it is in the source."""
        with self._lock:
            self._versions.append(new)

    def check_read(self, handle: "Handle", offset: int, size: int, got: bytes) -> None:
        """All of *got* is of one version: one that fits all that was ever read by this number."""
        status = handle.status
        with self._lock:
            left = [
                version
                for version in self._of(status)
                if version.image.startswith(got, offset)
                and (len(got) == min(size, len(version.image) - offset) or version.may_fail(handle))
            ]
            assert left, self._wrong(status, offset, size, got)
            self._meanings[status.st_ino] = left

    def check_error(self, handle: "Handle", offset: int) -> None:
        """An error is right only if the file was written to, or got another date, since the open.

        The status of the handle does not tell: it may have been taken after the change.
        """
        with self._lock:
            known = self._of(handle.status)
            assert any(version.may_fail(handle) for version in known), (
                f"number {handle.status.st_ino}: an error at {offset} of a disc that nobody wrote"
                f" to since {handle.begun}; it stood for"
                f" {[(self._versions.index(one), one.disturbed_until) for one in known]}"
            )

    def check_status(self, name: str, status: os.stat_result) -> None:
        """A number has one name, one size and one date."""
        shown = name, status.st_size, status.st_mtime_ns
        with self._lock:
            before = self._shown.setdefault(status.st_ino, shown)
        assert before == shown, f"number {status.st_ino}: {before}, now {shown}"

    def describe(self, found: bytes | str | None) -> str:
        """In words, what was read of a disc or packed file."""
        if not isinstance(found, bytes):
            return found or "nothing"
        for number, one in enumerate(self._versions):
            if found in (one.image, one.packed):
                return f"version {number} of {len(self._versions)}"
        return f"{len(found)} bytes of no version"

    def _of(self, status: os.stat_result) -> list[Version]:
        known = self._meanings.get(status.st_ino)
        if known is None:
            known = [one for one in self._versions if len(one.image) == status.st_size]
        return known

    def _wrong(self, status: os.stat_result, offset: int, size: int, got: bytes) -> str:
        fits = [
            number
            for number, version in enumerate(self._versions)
            if version.image.startswith(got, offset)
        ]
        known = [self._versions.index(one) for one in self._of(status)]
        return (
            f"number {status.st_ino}, {size} bytes at {offset}: the {len(got)} that came are of"
            f" {fits or 'no version'}; it stood for {known}"
        )


# Readers


@dataclass(frozen=True)
class Handle:
    """A disc that a reader has open.

    Attributes:
        fd: its descriptor.
        status: its fstat, some time after it was opened.
        begun: when the reader began to open it, by the monotonic clock.
    """

    fd: int
    status: os.stat_result
    begun: float


class Reader(threading.Thread):
    """Opens discs, keeps some of them open for long, and reads at random."""

    def __init__(self, number: int, mount: Path, model: Model, stop: threading.Event) -> None:
        super().__init__(name=f"reader {number}")
        self._random = random.Random(f"{SEED} {number}")
        self._mount = mount
        self._model = model
        self._stop_event = stop
        self._handles: list[Handle] = []
        self.done: Counter[str] = Counter()
        self.problem = ""

    def run(self) -> None:
        acts = [self._open, self._close, self._list, self._read]
        try:
            while not self._stop_event.is_set():
                self._random.choices(acts, [3, 2, 1, 30])[0]()
        except Exception as error:
            self.problem = f"{self.name}, after {dict(self.done)}: {error!r}"
        finally:
            self._close_all()

    def _open(self) -> None:
        if len(self._handles) >= 6:
            return
        name = f"{self._random.choice(STEMS)}.iso"
        flag = self._random.choice((0, 0, os.O_DIRECT))
        begun = time.monotonic()
        try:
            fd = os.open(self._mount / name, os.O_RDONLY | flag)
        except OSError as error:
            _expect(error, errno.ENOENT, errno.ESTALE)
            self.done["no such disc"] += 1
            return
        if self._random.random() < 0.7:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        time.sleep(self._random.choice((0, 0, 0, 0.03)))  # in which the disc may change
        self._handles.append(Handle(fd, os.fstat(fd), begun))
        self.done["opened"] += 1

    def _close(self) -> None:
        if len(self._handles) > 3:
            os.close(self._handles.pop(self._random.randrange(len(self._handles))).fd)

    def _close_all(self) -> None:
        while self._handles:
            os.close(self._handles.pop().fd)

    def _list(self) -> None:
        folder = self._random.choice(("", "sub"))
        with os.scandir(self._mount / folder) as entries:
            for entry in entries:
                try:
                    status = os.stat(entry.path)
                except OSError as error:
                    _expect(error, errno.ENOENT, errno.ESTALE)
                    continue
                if entry.name.endswith(".iso"):
                    self._model.check_status(f"{folder}/{entry.name}", status)
        self.done["listed"] += 1

    def _read(self) -> None:
        if not self._handles:
            return
        handle = self._random.choice(self._handles)
        length = handle.status.st_size
        size = int(2 ** self._random.uniform(0, 17))
        offset = self._random.randrange(length)
        if self._random.random() < 0.3:
            os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            got = os.pread(handle.fd, size, offset)
        except OSError as error:
            _expect(error, errno.EIO)
            self._model.check_error(handle, offset)
            self.done["failed"] += 1
            self._handles.remove(handle)
            os.close(handle.fd)
            return
        self._model.check_read(handle, offset, size, got)
        self.done["read"] += 1


def _expect(error: OSError, *numbers: int) -> None:
    """Nothing else may go wrong."""
    if error.errno not in numbers:
        raise error


# The editor


class Editor:
    """Does to the source whatever programs do to files, and knows what must show afterwards."""

    def __init__(self, mount: Mount, model: Model, readers: list[Reader], stage: Path) -> None:
        self._source = mount.source
        self._mount = mount
        self._model = model
        self._readers = readers
        self._stage = stage
        self._random = random.Random(SEED)
        self._numbers = itertools.count()
        self._there: dict[str, Version | Odd] = {}
        self._unshown: list[str] = []
        self._last: deque[str] = deque(maxlen=5)
        self.done: Counter[str] = Counter()

    def step(self) -> None:
        """Do one to three things, each to another file, then wait until they show.

        Of two changes to one file the mount may show the first when the second is done.
        """
        self._unshown.clear()
        for _ in range(self._random.choice((1, 1, 2, 3))):
            self._unshown += self._one_thing()
        for stem in self._unshown:
            self.wait_until_shown(stem)

    def wait_until_shown(self, stem: str) -> None:
        """The new content comes, whole; and then there is no way back to what was before.

        But for a moment: what the kernel was told last before the change was found may reach it
        after what it was told first, and is taken back as soon as it is there.
        """
        wrong = ""

        def is_shown() -> bool:
            nonlocal wrong
            wrong = self._wrong_with(stem)
            return not wrong or self._failed()

        try:
            wait_until(is_shown, "what has to be shown")
        except AssertionError as error:
            raise AssertionError(f"{error}: {stem}, {wrong}; last: {self._last}") from None
        time.sleep(_MOMENT)
        for direct in (False, True):
            wrong = self._wrong_with(stem, direct=direct)
            if wrong:  # a busy machine may take it back late; a real way back stays for a second
                time.sleep(4 * _MOMENT)
                wrong = self._wrong_with(stem, direct=direct)
            assert not wrong or self._failed(), f"{stem} was right, then {wrong}; {self._last}"

    def wait_until_all_is_shown(self) -> None:
        for stem in STEMS:
            self.wait_until_shown(stem)

    def _failed(self) -> bool:
        """Whether a reader has found something; then that is the problem to tell of."""
        return any(reader.problem for reader in self._readers)

    def _one_thing(self) -> list[str]:
        stem = self._any_shown()
        there = self._there.get(stem)
        if there is None:
            acts: list[Callable[[str], list[str]]] = [self._write_new, self._rename_new]
        else:
            acts = [
                self._write_over,
                self._copy_over,
                self._copy_over_with_date,
                self._write_in_pieces,
                self._rename,
                self._rename,
                self._replace,
                self._replace,
                self._delete,
            ]
        if isinstance(there, Version):
            acts += [  # twice of which would make a content that the model does not know
                self._cut,
                self._append,
                self._write_twin_over,
                self._replace_by_twin_of_same_date,
                self._delete_and_put_back_a_twin_of_same_date,
                self._write_twin_over_and_put_date_back,
                self._set_attributes,
                self._touch,
            ]
        act = self._random.choice(acts)
        self.done[act.__name__.strip("_")] += 1
        self._last.append(f"{act.__name__.strip('_')} {stem}")
        return act(stem)

    # What makes a file

    def _write_new(self, stem: str) -> list[str]:
        new = self._new_version()
        with self._path(stem).open("xb") as file:
            self._write_slowly(file.fileno(), new.packed)
        return self._now(stem, new)

    def _rename_new(self, stem: str) -> list[str]:
        new = self._new_version()
        self._staged(new).rename(self._path(stem))
        return self._now(stem, new)

    # What leaves the old bytes to those who have them open

    def _replace(self, stem: str) -> list[str]:
        return self._rename_new(stem)

    def _replace_by_twin_of_same_date(self, stem: str) -> list[str]:
        twin = self._twin(stem)
        staged = self._staged(twin)
        _put_date(staged, self._path(stem).stat())
        staged.rename(self._path(stem))
        return self._now(stem, twin)

    def _delete_and_put_back_a_twin_of_same_date(self, stem: str) -> list[str]:
        twin, date = self._twin(stem), self._path(stem).stat()
        self._delete(stem)
        if self._random.random() < 0.7:
            self.wait_until_shown(stem)
        staged = self._staged(twin)
        _put_date(staged, date)
        if self._random.random() < 0.5:
            staged.rename(self._path(stem))
        else:
            _run("cp", "-p", staged, self._path(stem))
        return self._now(stem, twin)

    def _delete(self, stem: str) -> list[str]:
        self._path(stem).unlink()
        del self._there[stem]
        return [stem]

    def _rename(self, stem: str) -> list[str]:
        other = self._any_shown(stem)
        self._path(stem).rename(self._path(other))
        self._there[other] = self._there.pop(stem)
        return [stem, other]

    # What writes to those bytes

    def _write_over(self, stem: str) -> list[str]:
        return self._written(stem, self._new_version())

    def _write_twin_over(self, stem: str) -> list[str]:
        return self._written(stem, self._twin(stem))

    def _written(self, stem: str, new: Version) -> list[str]:
        with self._disturbing(stem), self._path(stem).open("r+b", buffering=0) as file:
            file.write(new.packed)
            file.truncate(len(new.packed))
        return self._now(stem, new)

    def _write_in_pieces(self, stem: str) -> list[str]:
        """As `rsync --inplace --times` would."""
        new = self._new_version()
        staged = self._staged(new)
        with self._disturbing(stem), self._path(stem).open("r+b") as file:
            self._write_slowly(file.fileno(), new.packed)
            file.truncate(len(new.packed))
        self._now(stem, new)
        return self._put_date_after(stem, staged.stat())

    def _copy_over(self, stem: str) -> list[str]:
        new = self._new_version()
        with self._disturbing(stem):
            _run("cp", self._staged(new), self._path(stem))
        return self._now(stem, new)

    def _copy_over_with_date(self, stem: str) -> list[str]:
        new = self._new_version()
        with self._disturbing(stem):
            _run("cp", "-p", self._staged(new), self._path(stem))
        return self._now(stem, new)

    def _cut(self, stem: str) -> list[str]:
        self._spoil(stem)
        size = self._path(stem).stat().st_size
        os.truncate(self._path(stem), self._random.choice((0, 10, size // 2, size - 3000)))
        return self._now_odd(stem)

    def _append(self, stem: str) -> list[str]:
        self._spoil(stem)
        with self._path(stem).open("ab") as file:
            file.write(self._random.randbytes(self._random.choice((1, 3000))))
        return self._now_odd(stem)

    def _touch(self, stem: str) -> list[str]:
        """Nothing but a new date; but who could tell that from a writer?"""
        with self._disturbing(stem):
            os.utime(self._path(stem))
        return [stem]

    def _write_twin_over_and_put_date_back(self, stem: str) -> list[str]:
        """Only the change time tells."""
        date, twin = self._path(stem).stat(), self._twin(stem)
        self._written(stem, twin)
        return self._put_date_after(stem, date)

    def _set_attributes(self, stem: str) -> list[str]:
        """New change times, with the old content: no reader may notice."""
        path = self._path(stem)
        path.chmod(self._random.choice((0o600, 0o640, 0o644)))
        os.setxattr(path, "user.DOSATTRIB", self._random.randbytes(4))
        return [stem]

    # Help

    def _any_shown(self, *but: str) -> str:
        """A file as it shows in the mount, also if that is not at all."""
        return self._random.choice([one for one in STEMS if one not in (*self._unshown, *but)])

    def _path(self, stem: str) -> Path:
        return self._source / f"{stem}.zso"

    def _new_version(self) -> Version:
        new = version(self._random)
        self._model.add(new)
        return new

    def _twin(self, stem: str) -> Version:
        there = self._there[stem]
        assert isinstance(there, Version)
        twin = there.twin()
        assert len(twin.packed) == len(there.packed)
        self._model.add(twin)
        return twin

    def _staged(self, new: Version) -> Path:
        path = self._stage / str(next(self._numbers))
        path.write_bytes(new.packed)
        return path

    def _write_slowly(self, fd: int, content: bytes) -> None:
        """In pieces, with pauses in which others look."""
        piece = len(content) // self._random.randint(1, 4) + 1
        for begin in range(0, len(content), piece):
            os.pwrite(fd, content[begin : begin + piece], begin)
            time.sleep(self._random.choice((0, 0.002, 0.06)))

    def _put_date_after(self, stem: str, date: os.stat_result) -> list[str]:
        """Give a complete file another date, maybe after a pause in which others open it."""
        time.sleep(self._random.choice((0, 0.06)))
        with self._disturbing(stem):
            _put_date(self._path(stem), date)
        return [stem]

    @contextmanager
    def _disturbing(self, stem: str) -> Iterator[None]:
        """Context in which a file is written to in place or gets another date."""
        there = self._there[stem]
        self._spoil(stem)
        yield
        if isinstance(there, Version):
            there.disturbed_until = time.monotonic()

    def _spoil(self, stem: str) -> None:
        """Before a change: from now on, its readers may get errors."""
        there = self._there[stem]
        if isinstance(there, Version):
            there.disturbed_until = math.inf

    def _now(self, stem: str, new: Version) -> list[str]:
        self._there[stem] = new
        return [stem]

    def _now_odd(self, stem: str) -> list[str]:
        there = self._there[stem]
        self._there[stem] = Odd(self._path(stem).read_bytes(), there.image)
        return [stem]

    def _wrong_with(self, stem: str, *, direct: bool = False) -> str:
        """What a program that opens *stem* now finds wrong; empty if it gets what it has to."""
        there = self._there.get(stem)
        dates = self._dates(stem)
        if there is not None and dates != {self._path(stem).stat().st_mtime_ns}:
            return f"has the dates {dates} instead of {self._path(stem).stat().st_mtime_ns}"
        found = self._read(f"{stem}.iso", direct), self._read(f"{stem}.zso", direct)
        if isinstance(there, Version):
            right = found == (there.image, None)
        elif isinstance(there, Odd):
            right = found in ((None, there.packed), (there.image, None))
        else:
            right = found == (None, None)
        if right:
            return ""
        return " and ".join(map(self._model.describe, found))

    def _dates(self, stem: str) -> set[int]:
        """The dates that the mount shows for it."""
        dates = set()
        for ending in ("iso", "zso"):
            with suppress(FileNotFoundError):
                dates.add((self._mount.path / f"{stem}.{ending}").stat().st_mtime_ns)
        return dates

    def _read(self, name: str, direct: bool) -> bytes | str | None:
        """All of a file in the mount; None if there is none, a word if it could not be read."""
        try:
            fd = os.open(self._mount.path / name, os.O_RDONLY | (os.O_DIRECT if direct else 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            return str(error)
        try:
            with os.fdopen(fd, "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            return str(error)


def _put_date(path: Path, status: os.stat_result) -> None:
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _run(*command: object) -> None:
    subprocess.run([*map(str, command)], check=True, timeout=20)


# The tests


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(8, id="short"),
        pytest.param(60, id="long", marks=pytest.mark.system),
    ],
)
def test_readers_of_a_source_that_is_edited_never_get_a_wrong_byte(
    source: Path, tmp_path: Path, mount: MountMaker, seconds: int
) -> None:
    (source / "sub").mkdir()
    stage = tmp_path / "stage"
    stage.mkdir()
    made = mount(source)
    model, stop = Model(), threading.Event()
    readers = [Reader(number, made.path, model, stop) for number in range(READERS)]
    editor = Editor(made, model, readers, stage)
    end = time.monotonic() + seconds
    for reader in readers:
        reader.start()

    def is_enough() -> bool:
        now = time.monotonic()
        return now > end + 60 or (now > end and len(editor.done) >= _KINDS)

    try:
        while not is_enough() and not any(reader.problem for reader in readers):
            editor.step()
    finally:
        stop.set()
        for reader in readers:
            reader.join(30)
    problems = [reader.problem for reader in readers if reader.problem]
    assert not problems, made.log.read_text(errors="replace")[-4000:]
    editor.wait_until_all_is_shown()
    done = sum((reader.done for reader in readers), Counter[str]())
    print(f"in {seconds} s: {dict(editor.done)}; {dict(done)}")
    for way in ("opened", "read", "failed", "listed", "no such disc"):
        assert done[way], f"no {way}"
    assert len(editor.done) >= _KINDS, "things that were never done"
    assert not made.log_lines("internal error in zsofs")
    assert not made.log_lines("Traceback")


def open_disc(path: Path) -> int:
    """A descriptor whose reads all reach the daemon."""
    return os.open(path, os.O_RDONLY | os.O_DIRECT)


def two_versions() -> tuple[Version, Version]:
    one = version(random.Random(SEED))
    return one, one.twin()


@pytest.mark.parametrize("way", ["deleted", "replaced", "renamed"])
def test_who_has_a_disc_open_whose_name_goes_reads_on_to_its_end(
    source: Path, tmp_path: Path, mount: MountMaker, way: str
) -> None:
    old, new = two_versions()
    (source / "Game.zso").write_bytes(old.packed)
    made = mount(source)
    fd = open_disc(made.path / "Game.iso")
    try:
        assert os.pread(fd, 4096, 0) == old.image[:4096]
        if way == "deleted":
            (source / "Game.zso").unlink()
        elif way == "replaced":
            (tmp_path / "new").write_bytes(new.packed)
            (tmp_path / "new").rename(source / "Game.zso")
        else:
            (source / "Game.zso").rename(source / "Other.zso")
        wait_until(
            lambda: not is_shown(made, "Game.iso", old.image), "the end of the old name's disc"
        )
        assert os.pread(fd, 1 << 20, 0) == old.image
    finally:
        os.close(fd)


def is_shown(mount: Mount, name: str, image: bytes) -> bool:
    try:
        return (mount.path / name).read_bytes() == image
    except OSError:
        return False


@pytest.mark.parametrize("way", ["same size", "other size", "cut", "grown"])
def test_who_has_a_disc_open_that_is_written_to_in_place_gets_an_error_and_no_new_byte(
    source: Path, mount: MountMaker, way: str
) -> None:
    old, new = two_versions()
    path = source / "Game.zso"
    path.write_bytes(old.packed)
    made = mount(source)
    fd = open_disc(made.path / "Game.iso")
    try:
        assert os.pread(fd, 1 << 20, 0) == old.image
        if way == "cut":
            os.truncate(path, len(old.packed) - 1)
        elif way == "grown":
            with path.open("ab") as file:
                file.write(b"X")
        else:
            if way == "other size":
                new = version(random.Random(SEED + 1))
            path.write_bytes(new.packed)
            wait_until(lambda: is_shown(made, "Game.iso", new.image), "the new disc")
        for offset in (0, 4096, len(old.image) - 4096):
            with pytest.raises(OSError) as caught:
                os.pread(fd, 4096, offset)
            assert caught.value.errno == errno.EIO
    finally:
        os.close(fd)


def test_a_number_is_never_given_to_another_content_not_even_when_the_kernel_forgot_it(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """The second disc has the size, the date and the name of the first."""
    old, new = two_versions()
    path = source / "Game.zso"
    path.write_bytes(old.packed)
    date = path.stat()
    made = mount(source)
    before = (made.path / "Game.iso").stat().st_ino
    path.unlink()
    wait_until(lambda: os.listdir(made.path) == [], "an empty folder")
    wait_until(lambda: ask(os.fsencode(made.path), "status")["inodes"] == 1, "the number's end")
    (tmp_path / "new").write_bytes(new.packed)
    _put_date(tmp_path / "new", date)
    shutil.move(tmp_path / "new", path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (date.st_size, date.st_mtime_ns)
    wait_until(lambda: is_shown(made, "Game.iso", new.image), "the new disc")
    assert (made.path / "Game.iso").stat().st_ino != before


def test_a_disc_written_over_with_its_old_date_is_new_to_who_opens_it(
    source: Path, mount: MountMaker
) -> None:
    """Size and date say nothing, but the time of the last change does."""
    old, new = two_versions()
    path = source / "Game.zso"
    path.write_bytes(old.packed)
    date = path.stat()
    made = mount(source)
    assert is_shown(made, "Game.iso", old.image)
    before = (made.path / "Game.iso").stat().st_ino
    with path.open("r+b") as file:
        file.write(new.packed)
    _put_date(path, date)
    wait_until(lambda: is_shown(made, "Game.iso", new.image), "the new disc")
    assert (made.path / "Game.iso").stat().st_ino != before


def test_a_listing_that_takes_long_does_not_bring_a_replaced_disc_back(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """What is told late in a listing is as it is then, though the listing began before."""
    old, new = two_versions()
    for number in range(5000):
        (source / f"{number} {'x' * 100}.zso").touch()
    last = os.listdir(source)[-1]
    (source / last).write_bytes(old.packed)
    made = mount(source)
    disc = made.path / last.replace(".zso", ".iso")
    assert os.listdir(made.path)[-1] == disc.name
    with disc.open("rb"), os.scandir(made.path) as listing:  # its number stays in use
        assert not next(listing).stat().st_size  # and so the kernel asks for all attributes
        (tmp_path / "new").write_bytes(new.packed)
        (tmp_path / "new").rename(source / last)
        wait_until(lambda: is_shown(made, disc.name, new.image), "the new disc")
        assert disc.name in {entry.name for entry in listing}
        assert is_shown(made, disc.name, new.image)
