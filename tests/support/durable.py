"""A client that writes and says what has to be there after a power cut, and a check of that.

``durable.py FOLDER NOTES SEED`` writes until it is killed. Before and after each step
it adds a line to the file NOTES: «begun» or «done», what it does, the name, a version. A step is
done when what it wrote was synced, with all that programs do for that: a file's bytes and, where
it is new or has a new name, the folder. Steps called «loose» sync nothing.
"""

import json
import mmap
import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CARD = "card.bin"
PAGE = 4096
PAGES = 64
SAVES = 4
LOGS = 2
MOST_FILES = 40  # of each kind that are there at once


def content(name: str, version: int) -> bytes:
    """What a file has that is written in one go; its size is another each time."""
    generator = random.Random(f"{name} {version}")
    return f"{version}\n".encode() + generator.randbytes(generator.randrange(40_000))


def page(number: int, version: int) -> bytes:
    """One page of the memory card."""
    text = f"page {number} version {version}\n".encode()
    return (text * (PAGE // len(text) + 1))[:PAGE]


def chunk(name: str, version: int) -> bytes:
    """What the step *version* appends."""
    return f"{name}: {version} {'=' * (version * 37 % 200)}\n".encode()


class Client:
    """Writes."""

    def __init__(self, folder: Path, notes: Path, seed: int) -> None:
        self._folder = folder
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._random = random.Random(seed)
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._files: list[str] = []
        self._loose: list[str] = []

    def run(self) -> None:
        """Write until killed."""
        self._make_card()
        acts: dict[Callable[[], None], int] = {
            self._replace: 4,
            self._append: 5,
            self._write_page: 6,
            self._create: 3,
            self._write_loosely: 3,
        }
        while True:
            self._random.choices([*acts], [*acts.values()])[0]()

    def _make_card(self) -> None:
        with self._noted("card", CARD, 0):
            data = b"".join(page(number, 0) for number in range(PAGES))
            self._write_synced(CARD, data, os.O_CREAT)
            self._sync_folder()

    def _replace(self) -> None:
        """As an editor saves, or OPL's clients their settings."""
        name = f"save{self._random.randrange(SAVES)}.dat"
        version = self._next(name)
        with self._noted("replace", name, version):
            self._write_synced(name + ".part", content(name, version), os.O_CREAT | os.O_TRUNC)
            os.replace(self._folder / (name + ".part"), self._folder / name)
            self._sync_folder()

    def _append(self) -> None:
        name = f"log{self._random.randrange(LOGS)}.txt"
        version = self._next(name)
        with self._noted("append", name, version):
            self._write_synced(name, chunk(name, version), os.O_CREAT | os.O_APPEND)
            if version == 1:
                self._sync_folder()

    def _write_page(self) -> None:
        """In place, as into a memory card."""
        number = self._random.randrange(PAGES)
        version = self._next(f"page {number}")
        way = self._random.choice(("fdatasync", "O_SYNC", "msync"))
        with self._noted("page", str(number), version):
            flags = os.O_RDWR | (os.O_SYNC if way == "O_SYNC" else 0)
            fd = os.open(self._folder / CARD, flags)
            try:
                if way == "msync":
                    with mmap.mmap(fd, PAGES * PAGE) as memory:
                        memory[number * PAGE : (number + 1) * PAGE] = page(number, version)
                        memory.flush()
                else:
                    os.pwrite(fd, page(number, version), number * PAGE)
                    if way == "fdatasync":
                        os.fdatasync(fd)
            finally:
                os.close(fd)

    def _create(self) -> None:
        name = f"new{self._next('new')}.cfg"
        with self._noted("create", name, 1):
            self._write_synced(name, content(name, 1), os.O_CREAT | os.O_EXCL)
            self._sync_folder()
        self._files.append(name)
        if len(self._files) > MOST_FILES:
            name = self._files.pop(self._random.randrange(MOST_FILES))
            with self._noted("delete", name, 1):
                os.unlink(self._folder / name)
                self._sync_folder()

    def _write_loosely(self) -> None:
        name = f"loose{self._next('loose')}.txt"
        with self._noted("loose", name, 1):
            (self._folder / name).write_bytes(content(name, 1))
        self._loose.append(name)
        if len(self._loose) > MOST_FILES:
            name = self._loose.pop(0)
            with self._noted("drop", name, 1):
                os.unlink(self._folder / name)

    def _next(self, name: str) -> int:
        self._versions[name] += 1
        return self._versions[name]

    def _write_synced(self, name: str, data: bytes, flags: int) -> None:
        fd = os.open(self._folder / name, os.O_WRONLY | flags, 0o644)
        try:
            assert os.write(fd, data) == len(data)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _noted(self, act: str, name: str, version: int) -> Iterator[None]:
        self._note("begun", act, name, version)
        yield
        self._note("done", act, name, version)

    def _note(self, *words: object) -> None:
        os.write(self._notes, json.dumps(words).encode() + b"\n")


@dataclass
class Notes:
    """What a client has said: the last version of each thing that was begun, and that was done."""

    begun: dict[tuple[str, str], int] = field(default_factory=dict)
    done: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Notes":
        notes = cls()
        for line in path.read_bytes().split(b"\n")[:-1]:
            word, act, name, version = json.loads(line)
            (notes.begun if word == "begun" else notes.done)[act, name] = version
        return notes


@dataclass
class Check:
    """What a directory has of the recorded changes.

    Attributes:
        folder: it.
        before: what the client had said before the power cut.
        after: what it had said a moment after.
        kept: how many files are whole that were never synced.
        lost: how many are not.
        found: how many things were looked at.
    """

    folder: Path
    before: Notes
    after: Notes
    kept: int = 0
    lost: int = 0
    found: int = 0

    def run(self) -> "Check":
        """Fail if anything is not there that was synced."""
        for (act, name), version in self.after.begun.items():
            done = self.before.done.get((act, name), 0)
            self.found += bool(done)
            if act == "replace":
                self._check_replaced(name, done, version)
            elif act == "append":
                self._check_appended(name, done, version)
            elif act == "create":
                self._check_created(name, done)
            elif act == "loose":
                self._count_loose(name, done)
        if ("card", CARD) in self.before.done:
            self._check_card()
        return self

    def _check_replaced(self, name: str, done: int, begun: int) -> None:
        """Never half of it, synced or not: that is what the temporary name is for."""
        path = self.folder / name
        if not done and not path.exists():
            return
        data = path.read_bytes()
        version = int(data.partition(b"\n")[0])
        assert done <= version <= begun, f"{name}: version {version}, not {done} to {begun}"
        assert data == content(name, version), f"{name}: not what version {version} is"

    def _check_appended(self, name: str, done: int, begun: int) -> None:
        if not done:
            return
        data = (self.folder / name).read_bytes()
        synced = b"".join(chunk(name, version) for version in range(1, done + 1))
        written = synced + b"".join(chunk(name, version) for version in range(done + 1, begun + 1))
        assert len(data) >= len(synced), f"{name}: {len(data)} bytes, {len(synced)} were synced"
        assert written.startswith(data), f"{name}: not what was appended"

    def _check_created(self, name: str, done: int) -> None:
        path = self.folder / name
        if ("delete", name) in self.before.done:
            assert not path.exists(), f"{name}: is back"
        elif done and ("delete", name) not in self.after.begun:
            assert path.read_bytes() == content(name, 1), f"{name}: not what was written"

    def _check_card(self) -> None:
        data = (self.folder / CARD).read_bytes()
        assert len(data) == PAGES * PAGE
        for number in range(PAGES):
            done = self.before.done.get(("page", str(number)), 0)
            begun = self.after.begun.get(("page", str(number)), 0)
            got = data[number * PAGE : (number + 1) * PAGE]
            fitting = [page(number, version) for version in range(done, begun + 1)]
            assert got in fitting, f"page {number}: none of versions {done} to {begun}"

    def _count_loose(self, name: str, done: int) -> None:
        if not done or ("drop", name) in self.after.begun:
            return
        path = self.folder / name
        if path.exists() and path.read_bytes() == content(name, 1):
            self.kept += 1
        else:
            self.lost += 1


if __name__ == "__main__":
    Client(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])).run()
