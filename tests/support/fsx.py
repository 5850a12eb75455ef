"""Random operations on one file of a writable mount, against a model of it in memory.

``fsx.py FILE SOURCE SEED SECONDS [OPERATIONS]``: FILE is new and in the mount, SOURCE
the same in the source. What is tried: reads and writes at any offset, by pread and pwrite and with
the file's own position; appends; truncation, down and up, by handle and by path; re-opening
with O_TRUNC; fsync and fdatasync; mapped reads and writes with and without msync, of mappings that
live through all of the others; O_DIRECT, aligned and not; and all of it through several handles at
once that are opened and closed meanwhile. Sizes and bytes are compared all the time, and those of
the source whenever something was synced.

Left out is what pyfuse3 does not offer, so that the kernel answers by itself: fallocate in all its
kinds (KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, COLLAPSE_RANGE, INSERT_RANGE), copy_file_range between
files of the mount (the kernel reads and writes instead), lseek with SEEK_HOLE and SEEK_DATA (the
kernel takes the whole file for data), FICLONE and other ioctls. :func:`left_out` shows that.

The operations follow from the seed alone. What fails says which one it was, and the last ones
before it.
"""

import ctypes
import errno
import mmap
import os
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 600 << 10  # several of the kernel's requests
HANDLES = 5
LOGGED = 400
PAGE = mmap.PAGESIZE


class WrongError(Exception):
    """The file is not what it has to be."""


@dataclass(frozen=True)
class Handle:
    """The file, open once."""

    fd: int
    flags: int

    @property
    def reads(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writes(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def appends(self) -> bool:
        return self.writes and bool(self.flags & os.O_APPEND)


class Fsx:
    """One run."""

    def __init__(self, path: Path, source: Path, seed: int) -> None:
        self._path = path
        self._source = source
        self._random = random.Random(seed)
        self._model = bytearray()
        self._handles: list[Handle] = []
        self._mapped: mmap.mmap | None = None
        self.done: Counter[str] = Counter()
        self.log: deque[str] = deque(maxlen=LOGGED)

    def run(self, seconds: float, operations: int = sys.maxsize) -> None:
        """Do random things for some time, or so many of them."""
        acts: dict[Callable[[], None], int] = {
            self._read: 12,
            self._read_on: 4,
            self._write: 12,
            self._write_on: 4,
            self._append: 5,
            self._read_mapped: 6,
            self._write_mapped: 6,
            self._map: 3,
            self._truncate: 4,
            self._truncate_path: 2,
            self._sync: 3,
            self._status: 4,
            self._open: 3,
            self._open_truncating: 1,
            self._close: 3,
            self._forget: 3,
        }
        self._keep(os.O_RDWR | os.O_CREAT | os.O_EXCL)
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and self.done.total() < operations:
                act = self._random.choices([*acts], [*acts.values()])[0]
                act()
                self.done[act.__name__.strip("_")] += 1
            self._check("at the end", self._path.read_bytes())
        finally:
            self._unmap()
            while self._handles:
                os.close(self._handles.pop().fd)
        self._check("at the end, in the source", self._source.read_bytes())

    # Reads

    def _read(self) -> None:
        handle = self._some(lambda handle: handle.reads)
        offset, size = self._place()
        self._say(f"pread {offset} {size}", handle)
        self._check_at("pread", offset, size, os.pread(handle.fd, size, offset))

    def _read_on(self) -> None:
        """At the file's own position, which O_DIRECT handles get with aligned memory."""
        handle = self._some(lambda handle: handle.reads)
        offset, size = self._place()
        if handle.flags & os.O_DIRECT:
            offset, size = offset // PAGE * PAGE, -(-size // PAGE) * PAGE
        self._say(f"lseek, readv {offset} {size}", handle)
        os.lseek(handle.fd, offset, os.SEEK_SET)
        with mmap.mmap(-1, size) as memory:
            count = os.readv(handle.fd, [memory])
            got = memory[:count]
        self._check_at("readv", offset, size, got)
        if os.lseek(handle.fd, 0, os.SEEK_CUR) != offset + count:
            raise WrongError("the position did not follow the read")

    def _read_mapped(self) -> None:
        memory, length = self._memory()
        if not length:
            return
        offset = self._random.randrange(length)
        size = min(self._size(), length - offset)
        self._say(f"mapped read {offset} {size}")
        self._check_at("mapped read", offset, size, memory[offset : offset + size])

    def _status(self) -> None:
        handle = self._some(lambda handle: True)
        self._say("stat, fstat, lseek to the end", handle)
        for way, size in (
            ("stat", os.stat(self._path).st_size),
            ("fstat", os.fstat(handle.fd).st_size),
            ("lseek", os.lseek(handle.fd, 0, os.SEEK_END)),
        ):
            if size != len(self._model):
                raise WrongError(f"{way}: {size} bytes where {len(self._model)} are right")

    # Writes

    def _write(self) -> None:
        handle = self._some(lambda handle: handle.writes and not handle.appends)
        offset, data = self._place()[0], self._bytes()
        self._say(f"pwrite {offset} {len(data)}", handle)
        self._took(os.pwrite(handle.fd, data, offset), data)
        self._put(offset, data)

    def _write_on(self) -> None:
        handle = self._some(lambda handle: handle.writes and not handle.appends)
        offset, data = self._place()[0], self._bytes()
        self._say(f"lseek, writev {offset} {len(data)}", handle)
        os.lseek(handle.fd, offset, os.SEEK_SET)
        cut = self._random.randrange(len(data) + 1)
        self._took(os.writev(handle.fd, [data[:cut], data[cut:]]), data)
        self._put(offset, data)

    def _append(self) -> None:
        """Wherever a handle stands that was opened to append, and whatever offset it is told."""
        handle = self._some(lambda handle: handle.appends)
        data = self._bytes()[: MOST_BYTES - len(self._model)]
        if not data:
            return
        if self._random.randrange(2):
            self._say(f"append {len(data)}", handle)
            os.lseek(handle.fd, self._place()[0], os.SEEK_SET)
            self._took(os.write(handle.fd, data), data)
        else:
            self._say(f"append by pwrite {len(data)}", handle)
            self._took(os.pwrite(handle.fd, data, self._place()[0]), data)
        self._put(len(self._model), data)

    def _write_mapped(self) -> None:
        memory, length = self._memory()
        if not length:
            return
        offset = self._random.randrange(length)
        data = self._bytes()[: length - offset]
        synced = self._random.randrange(2)
        self._say(f"mapped write {offset} {len(data)}{', msync' if synced else ''}")
        memory[offset : offset + len(data)] = data
        self._put(offset, data)
        if synced:
            memory.flush()
            self._check("in the source, after msync", self._source.read_bytes())

    def _truncate(self) -> None:
        handle = self._some(lambda handle: handle.writes)
        size = self._new_size()
        self._say(f"ftruncate {len(self._model)} to {size}", handle)
        os.ftruncate(handle.fd, size)
        self._cut(size)

    def _truncate_path(self) -> None:
        size = self._new_size()
        self._say(f"truncate {len(self._model)} to {size}")
        os.truncate(self._path, size)
        self._cut(size)

    def _open_truncating(self) -> None:
        self._close()
        self._keep(self._flags() | os.O_RDWR | os.O_TRUNC)
        self._model.clear()

    def _sync(self) -> None:
        handle = self._some(lambda handle: True)
        only_data = self._random.randrange(2)
        self._say("fdatasync" if only_data else "fsync", handle)
        (os.fdatasync if only_data else os.fsync)(handle.fd)
        self._check("in the source, after fsync", self._source.read_bytes())

    # Handles and pages

    def _open(self) -> None:
        if len(self._handles) < HANDLES:
            self._keep(self._flags() | self._random.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)))

    def _close(self) -> None:
        """All but one, in random order, as time goes by; a mapping lives on."""
        if len(self._handles) > 1:
            handle = self._handles.pop(self._random.randrange(len(self._handles)))
            self._say("close", handle)
            os.close(handle.fd)

    def _map(self) -> None:
        self._unmap()
        if self._model:
            handle = self._some(
                lambda handle: handle.reads and handle.writes and not handle.flags & os.O_DIRECT
            )
            self._say(f"mmap {len(self._model)}", handle)
            self._mapped = mmap.mmap(handle.fd, len(self._model), mmap.MAP_SHARED)

    def _unmap(self) -> None:
        if self._mapped is not None:
            self._say("munmap")
            self._mapped.close()
            self._mapped = None

    def _forget(self) -> None:
        """Have the kernel ask the daemon again for what it has in memory."""
        handle = self._some(lambda handle: True)
        self._say("forget the pages", handle)
        os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _flags(self) -> int:
        return self._random.choice((0, 0, 0, os.O_APPEND, os.O_APPEND, os.O_DIRECT, os.O_SYNC))

    def _keep(self, flags: int) -> Handle:
        handle = Handle(os.open(self._path, flags, 0o644), flags)
        self._handles.append(handle)
        self._say(f"open {flags:#o}", handle)
        return handle

    def _some(self, fits: Callable[[Handle], bool]) -> Handle:
        """An open handle that fits; if there is none, one is opened in place of another."""
        fitting = [handle for handle in self._handles if fits(handle)]
        if fitting:
            return self._random.choice(fitting)
        while len(self._handles) >= HANDLES:
            self._close()
        for flags in (os.O_RDWR, os.O_RDWR | os.O_APPEND):
            if fits(Handle(-1, flags)):
                return self._keep(flags)
        raise AssertionError("no handle can be so")

    def _memory(self) -> tuple[mmap.mmap, int]:
        """A mapping, and how many bytes of it are in the file now; beyond it is SIGBUS."""
        if self._mapped is None:
            self._map()
        if self._mapped is None:
            return mmap.mmap(-1, 1), 0
        return self._mapped, min(len(self._mapped), len(self._model))

    # The model

    def _put(self, offset: int, data: bytes) -> None:
        if offset > len(self._model):
            self._model.extend(bytes(offset - len(self._model)))
        self._model[offset : offset + len(data)] = data

    def _cut(self, size: int) -> None:
        del self._model[size:]
        self._model.extend(bytes(size - len(self._model)))

    def _size(self) -> int:
        return int(2 ** self._random.uniform(0, 17))

    def _new_size(self) -> int:
        return self._random.choice(
            (0, self._random.randrange(MOST_BYTES), self._random.randrange(len(self._model) + 1))
        )

    def _place(self) -> tuple[int, int]:
        """An offset, on a border now and then, and a size; also past the end."""
        size = self._size()
        offset = self._random.randrange(min(len(self._model) + PAGE, MOST_BYTES))
        if not self._random.randrange(4):
            offset = offset // PAGE * PAGE
        return offset, size

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._size())

    def _say(self, what: str, handle: Handle | None = None) -> None:
        about = f" by {handle.fd} ({handle.flags:#o})" if handle else ""
        self.log.append(f"{self.done.total()}: {what}{about}, {len(self._model)} bytes")

    def _took(self, count: int, data: bytes) -> None:
        if count != len(data):
            raise WrongError(f"{count} of {len(data)} bytes were taken")

    def _check_at(self, way: str, offset: int, size: int, got: bytes) -> None:
        self._compare(f"{way} of {size} bytes at {offset}", bytes(got), offset, size)

    def _check(self, way: str, got: bytes) -> None:
        self._compare(way, got, 0, sys.maxsize)

    def _compare(self, way: str, got: bytes, offset: int, size: int) -> None:
        want = self._model[offset : offset + size]
        if got == want:
            return
        wrong = next((i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), None)
        raise WrongError(
            f"{way}: {len(got)} bytes where {len(want)} are right; the first wrong one is {wrong}"
        )


def left_out(path: Path) -> dict[str, str]:
    """What the kernel says, by itself, to those operations that pyfuse3 does not offer."""
    libc = ctypes.CDLL(None, use_errno=True)
    said = {}
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(fd, 1 << 20)
        os.pwrite(fd, b"end", (1 << 20) - 3)
        for name, mode in (
            ("fallocate", 0),
            ("KEEP_SIZE", 1),
            ("PUNCH_HOLE", 3),
            ("COLLAPSE_RANGE", 8),
            ("ZERO_RANGE", 16),
            ("INSERT_RANGE", 32),
        ):
            done = libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(4096))
            said[name] = errno.errorcode[ctypes.get_errno()] if done else "done"
        said["SEEK_HOLE"] = str(os.lseek(fd, 0, os.SEEK_HOLE))
        said["SEEK_DATA"] = str(os.lseek(fd, 0, os.SEEK_DATA))
        said["copy_file_range"] = str(os.copy_file_range(fd, fd, 3, (1 << 20) - 3, 0))
        said["copied"] = os.pread(fd, 3, 0).decode()
    finally:
        os.close(fd)
    return said


def main(path: str, source: str, seed: str, seconds: str, operations: str = "") -> int:
    """Run; say what was done, or what was wrong."""
    run = Fsx(Path(path), Path(source), int(seed))
    try:
        run.run(float(seconds), int(operations or sys.maxsize))
    except Exception as error:
        print(*run.log, sep="\n", file=sys.stderr)
        print(
            f"{path}: seed {seed}, operation {run.done.total()}: {error!r}; above are the last"
            f" {len(run.log)} steps; again: python -m tests.support.fsx FILE SOURCE {seed} 3600",
            file=sys.stderr,
        )
        return 1
    print(f"{path}: seed {seed}: {dict(run.done)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
