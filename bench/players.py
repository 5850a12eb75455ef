"""Models of programs that play a disc: PCSX2's reader, and a video stream beside other work."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb, percentile
from bench.payload import MB
from bench.servers import CONTENDERS, Served
from tests.support.ends import spawned

_CHUNK = 128 << 10
_AHEAD = 2
_GAME_READ = 32 << 10
_READS_AFTER_SEEK = 16

_NO_STREAM = (
    "zsofs-lz4-2k-padded",
    "zsofs-lz4-2k-tmpfs",
    "zsofs-lz4-2k-overlay",
    "zsofs-lz4-2k-exfat",
    "kernel-zstd",
    "erofs",
    "ratarmount-zst",
    "ratarmount-gz",
)
"""Not shown a stream: each takes seconds, and these tell nothing that others do not."""

_STREAM_RATE = 4_000_000
_PERIOD = _CHUNK / _STREAM_RATE


class ChunkReader:
    """Reads like PCSX2: a thread fetches aligned 128 KiB, then two more unless it has to seek."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._changed = threading.Condition()
        self._wanted: int | None = None
        self._chunks: dict[int, bytes] = {}
        self._ended = False
        self._failed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def read(self, offset: int, size: int) -> None:
        """Have the bytes at *offset*, and wait for them if need be."""
        for number in range(offset // _CHUNK, (offset + size - 1) // _CHUNK + 1):
            with self._changed:
                self._wanted = number
                self._changed.notify_all()
                while number not in self._chunks:
                    if self._failed:
                        raise OSError("a read of the disc failed")
                    if not self._changed.wait(60):
                        raise OSError("a read of the disc does not end")

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(60)
        os.close(self._fd)

    def _work(self) -> None:
        try:
            while (number := self._next()) is not None:
                data = os.pread(self._fd, _CHUNK, number * _CHUNK)
                with self._changed:
                    self._chunks[number] = data
                    self._changed.notify_all()
        except OSError:
            with self._changed:
                self._failed = True
                self._changed.notify_all()

    def _next(self) -> int | None:
        """Wait until a chunk is to be fetched; what was wanted before a seek is forgotten."""
        with self._changed:
            while not self._ended:
                if self._wanted is not None:
                    window = range(self._wanted, self._wanted + _AHEAD + 1)
                    for number in [old for old in self._chunks if old not in window]:
                        del self._chunks[number]
                    for number in window:
                        if number not in self._chunks:
                            return number
                self._changed.wait(60)
        return None


def _pcsx2(served: Served, occasion: Occasion) -> Figures:
    length = _GAME_READ * _READS_AFTER_SEEK
    room = length + (_AHEAD + 1) * _CHUNK
    places = occasion.places("pcsx2", occasion.pick(400, 100), room, 2048)
    seconds = occasion.pick(5, 1)
    reader = ChunkReader(served.discs[0])
    seeks = []
    begin = time.perf_counter()
    try:
        for place in places:
            before = time.perf_counter()
            reader.read(place, _GAME_READ)
            seeks.append((time.perf_counter() - before) * 1e6)
            for number in range(1, _READS_AFTER_SEEK):
                reader.read(place + number * _GAME_READ, _GAME_READ)
            if time.perf_counter() - begin > seconds:
                break
        took = time.perf_counter() - begin
    finally:
        reader.close()
    return {
        "mbs": per_second_mb(len(seeks) * length, took),
        "seek_p50_us": percentile(seeks, 50),
        "seek_p99_us": percentile(seeks, 99),
    }


@contextmanager
def _random_reader(path: Path) -> Iterator[None]:
    """Another program that reads *path* here and there, as fast as it can."""
    with spawned(
        [sys.executable, "-m", "bench.noise", str(path)], stdout=subprocess.PIPE
    ) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise OSError("the second reader did not start")
            yield
            if process.poll() is not None:
                raise OSError("the second reader failed")
        finally:
            process.kill()


def _stream(served: Served, occasion: Occasion) -> Figures:
    chunks = int(occasion.pick(3, 1) / _PERIOD)
    # The other program has the second half of the disc, or of another one, for itself.
    start = occasion.places("stream", 1, occasion.image_size // 2 + chunks * _CHUNK, MB)[0]
    waits = []
    late = 0
    fd = os.open(served.discs[0], os.O_RDONLY)
    try:
        with _random_reader(served.discs[-1]):
            begin = time.perf_counter()
            for number in range(chunks):
                due = begin + number * _PERIOD
                time.sleep(max(0.0, due - time.perf_counter()))
                before = time.perf_counter()
                if not os.pread(fd, _CHUNK, start + number * _CHUNK):
                    raise OSError("the disc is too short")
                after = time.perf_counter()
                waits.append((after - before) * 1e3)
                late += after > due + _PERIOD
    finally:
        os.close(fd)
    return {"worst_ms": max(waits), "p99_ms": percentile(waits, 99), "late": float(late)}


PCSX2 = Workload(
    "pcsx2",
    "PCSX2: 128 KiB chunks with two read ahead",
    "A thread fetches aligned chunks of 128 KiB and two more ahead, dropped at a seek; the game"
    " seeks 400 times (100 in a quick run) and reads 512 KiB there in pieces of 32 KiB, with no"
    " pause, for 5 s (1) at most. The client is Python, which costs the same in every row. Pages"
    " dropped before.",
    {
        "mbs": Figure("throughput", "MB/s"),
        "seek_p50_us": Figure("seek, median", "µs"),
        "seek_p99_us": Figure("seek, 99th percentile", "µs"),
    },
    _pcsx2,
)

STREAM = Workload(
    "stream",
    "A 4 MB/s video while another program reads at random",
    "For 3 s (1 in a quick run) 128 KiB are read every 33 ms; a second process reads 32 KiB at"
    " random from another disc (another half, where there is only one) as fast as it can. A read is"
    " late if it ends after the next one was due. Pages dropped before.",
    {
        "worst_ms": Figure("worst wait", "ms", 1),
        "p99_ms": Figure("99th percentile", "ms", 2),
        "late": Figure("late reads", ""),
    },
    _stream,
    tuple(c for c in CONTENDERS if c.name not in _NO_STREAM),
)
