"""Jobs on native threads: what is done in time, what is detached, and who takes part."""

import errno
import gc
import logging
import os
import random
import select
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import zstandard

from tests.support import writers
from tests.support.mounting import wait_until
from zsofs.errors import BlockError, SourceChangedError
from zsofs.formats.geometry import Codec
from zsofs.images.open_image import DiscImage
from zsofs.images.probe import geometry_of, probe
from zsofs.native.block_reader import BlockReader, Job, ThreadPool, plain_job, start_helpers
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.tree import SourceTree

BLOCK = 2048
COUNT = 300
FOREVER = 10**10


@pytest.fixture
def eventfd() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


class Packed:
    """Blocks in a file: a table of offsets, then what is stored."""

    def __init__(self, path: Path, codec: Codec, bad: set[int]) -> None:
        self.image = writers.content(BLOCK * COUNT, ["text", "tight", "mixed"], seed=5)
        stored = []
        for number in range(COUNT):
            block = self.image[number * BLOCK : (number + 1) * BLOCK]
            packed = zlib.compress(block) if codec is Codec.ZLIB else zstandard.compress(block)
            stored.append(b"\xff" * len(packed) if number in bad else packed)
        begins = [4 * (COUNT + 1)]
        for piece in stored:
            begins.append(begins[-1] + len(piece))
        path.write_bytes(b"".join([b.to_bytes(4, "little") for b in begins]) + b"".join(stored))
        self.fd = os.open(path, os.O_RDONLY)
        status = os.fstat(self.fd)
        self.reader = BlockReader(
            rule=0,
            codec=codec,
            shift=0,
            size=len(self.image),
            block_size=BLOCK,
            index_offset=0,
            data_start=begins[0],
            data_end=begins[-1],
            source_size=status.st_size,
            source_mtime_ns=status.st_mtime_ns,
        )


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.ZLIB])
def test_shared_decoding_gives_the_same_bytes(tmp_path: Path, codec: Codec) -> None:
    start_helpers()
    packed = Packed(tmp_path / "blocks", codec, bad=set())
    chance = random.Random(1)
    for _ in range(200):
        first = chance.randrange(COUNT)
        count = chance.randint(1, COUNT - first)
        out = bytearray(count * BLOCK)
        assert packed.reader.read(packed.fd, first, count, out) == len(out)
        assert out == packed.image[first * BLOCK : (first + count) * BLOCK]


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.ZLIB])
def test_shared_decoding_names_the_first_bad_block(tmp_path: Path, codec: Codec) -> None:
    start_helpers()
    chance = random.Random(2)
    bad = set(chance.sample(range(COUNT), 12))
    packed = Packed(tmp_path / "blocks", codec, bad)
    for _ in range(300):
        first = chance.randrange(COUNT)
        count = chance.randint(1, COUNT - first)
        hit = [number for number in sorted(bad) if first <= number < first + count]
        if hit:
            with pytest.raises(BlockError) as caught:
                packed.reader.read(packed.fd, first, count, bytearray(count * BLOCK))
            assert caught.value.block == hit[0]
        else:
            packed.reader.read(packed.fd, first, count, bytearray(count * BLOCK))


def threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def test_the_thread_that_is_waited_for_is_on_the_waiters_processor(
    tmp_path: Path, eventfd: int
) -> None:
    """Only as long as it is waited for: nobody may be kept from the other processors."""
    packed = Packed(tmp_path / "blocks", Codec.ZLIB, bad=set())
    before, allowed = threads(), os.sched_getaffinity(0)
    pool = ThreadPool(1, eventfd)

    def job(blocks: int = COUNT) -> Job:
        return packed.reader.job(packed.fd, 0, blocks, bytearray(blocks * BLOCK))

    def processors() -> set[int]:
        return os.sched_getaffinity(thread)

    assert pool.run(job(1), FOREVER)  # one block: no other thread helps
    (thread,) = threads() - before
    for spin_ns in (1, 0):
        while len(processors()) > 1:  # a thread that has not come to rest takes a job where it is
            assert pool.run(job(1), FOREVER)
        assert processors() <= allowed
        while pool.run(job(), spin_ns):
            pass
        assert processors() == allowed
        while not pool.finished():
            assert select.select([eventfd], [], [], 10)[0]
        os.eventfd_read(eventfd)


def test_idle_threads_that_are_let_go_exit(tmp_path: Path, eventfd: int) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad=set())
    before = threads()
    pool = ThreadPool(3, eventfd)
    pool.let_go()

    def let_go() -> bool:
        pool.let_go()  # a thread that has just done its job may not be idle yet
        return threads() <= before

    for number in range(3):
        outs = [bytearray(COUNT * BLOCK) for _ in range(5)]
        jobs = [packed.reader.job(packed.fd, 0, COUNT, out) for out in outs]
        waiting = {job for job in jobs if not pool.run(job, FOREVER * (number % 2))}
        assert threads() > before
        while waiting:
            assert select.select([eventfd], [], [], 10)[0]
            os.eventfd_read(eventfd)
            waiting -= set(pool.finished())
        assert all(out == packed.image for out in outs)
        wait_until(let_go, "the end of the threads")


def test_a_job_that_comes_when_the_only_thread_is_let_go(tmp_path: Path, eventfd: int) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad=set())
    pool = ThreadPool(1, eventfd)
    for number in range(1000):
        assert pool.run(packed.reader.job(packed.fd, number % COUNT, 1, bytearray(BLOCK)), FOREVER)
        pool.let_go()


def test_a_reader_that_gives_its_memory_back_lets_threads_go(tmp_path: Path) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad=set())
    before = threads()
    io_pool = IoPool(2)
    reads = Reader(ExtentCache(1 << 20), io_pool, WorkerThreads(1, Admission()))

    async def main() -> None:
        with trio.fail_after(30):
            for device in (1, 2):
                await run(
                    io_pool,
                    device,
                    packed.reader.job(packed.fd, 0, 1, bytearray(BLOCK)),
                    spin=False,
                )

    trio.run(main)
    assert threads() > before

    def give_back() -> bool:
        reads.give_back()
        return threads() <= before

    wait_until(give_back, "the end of the threads")


_PLACED = """
import os, sys
from pathlib import Path
from tests.unit.native.test_thread_pool import BLOCK, COUNT, FOREVER, Packed, threads
from zsofs.formats.geometry import Codec
from zsofs.native.block_reader import ThreadPool, start_helpers

start_helpers()
packed = Packed(Path(sys.argv[1]), Codec.ZLIB, bad=set())
pool = ThreadPool(1, os.eventfd(0))
before = threads()
for blocks in (1, 1, COUNT):
    assert pool.run(packed.reader.job(packed.fd, 0, blocks, bytearray(blocks * BLOCK)), FOREVER)
    if blocks == 1:
        own = threads() - before
helpers = threads() - before - own
assert helpers
print(*(os.sched_getaffinity(helper) == os.sched_getaffinity(0) for helper in helpers))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: no helpers")
def test_helpers_of_a_thread_that_is_waited_for_may_use_all_processors(tmp_path: Path) -> None:
    """They outlive its job. In a process of its own, which has no helpers yet."""
    run = subprocess.run(
        [sys.executable, "-c", _PLACED, tmp_path / "blocks"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(run.stdout.split()) == {"True"}


def test_a_job_done_in_time_needs_no_eventfd(tmp_path: Path, eventfd: int) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad=set())
    out = bytearray(7 * BLOCK)
    job = packed.reader.job(packed.fd, 3, 7, out)
    pool = ThreadPool(2, eventfd)
    assert pool.run(job, FOREVER)
    job.result()
    assert out == packed.image[3 * BLOCK : 10 * BLOCK]
    assert job.queue_ns > 0
    assert job.decode_ns > 0
    assert not select.select([eventfd], [], [], 0)[0]
    assert pool.finished() == []


def test_jobs_nobody_waits_for_write_to_the_eventfd(tmp_path: Path, eventfd: int) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad={250})
    pool = ThreadPool(2, eventfd)
    outs = [bytearray(COUNT * BLOCK) for _ in range(20)]
    detached = []
    for out in outs:
        job = packed.reader.job(packed.fd, 0, COUNT - 60, out[: (COUNT - 60) * BLOCK])
        if not pool.run(job, 0):
            detached.append(job)
            with pytest.raises(RuntimeError, match="not done"):
                job.result()
    assert detached
    done: list[Job] = []
    while len(done) < len(detached):
        assert select.select([eventfd], [], [], 10)[0]
        os.eventfd_read(eventfd)
        done += pool.finished()
    assert set(done) == set(detached)
    for job in done:
        job.result()


def test_a_job_that_the_garbage_collector_finds_gives_its_buffer_back(tmp_path: Path) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad=set())
    out = bytearray(BLOCK)
    job = packed.reader.job(packed.fd, 0, 1, out)
    job.context = [job]
    del job
    gc.collect()
    out += b"more"  # a bytearray with a buffer that is taken cannot grow


def test_a_job_raises_what_a_read_raises(tmp_path: Path, eventfd: int) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZSTD, bad={9})
    pool = ThreadPool(1, eventfd)
    job = packed.reader.job(packed.fd, 8, 3, bytearray(3 * BLOCK))
    assert pool.run(job, FOREVER)
    with pytest.raises(BlockError) as caught:
        job.result()
    assert caught.value.block == 9
    path = tmp_path / "plain"
    path.write_bytes(b"x" * 100)
    fd = os.open(path, os.O_RDONLY)
    mtime_ns = path.stat().st_mtime_ns
    out = bytearray(50)
    job = plain_job(fd, 50, out, 100, mtime_ns)
    assert pool.run(job, FOREVER)
    job.result()
    assert out == b"x" * 50
    job = plain_job(fd, 60, bytearray(50), 100, mtime_ns)
    assert pool.run(job, FOREVER)
    with pytest.raises(SourceChangedError):
        job.result()
    with pytest.raises(ValueError, match="not all inside"):
        packed.reader.job(packed.fd, COUNT, 1, bytearray(BLOCK))
    with pytest.raises(BufferError):
        packed.reader.job(packed.fd, 0, 1, b"read-only")  # type: ignore[arg-type]


async def run(pool: IoPool, device: int, job: Job, *, spin: bool) -> None:
    if not pool.run_now(device, job, spin=spin):
        await pool.wait(device, job)


@pytest.mark.parametrize("threads", [1, 4])
def test_many_jobs_at_a_time_on_the_event_loop(tmp_path: Path, threads: int) -> None:
    image = writers.content(1 << 20, ["text", "mixed"], seed=3)
    (tmp_path / "disc.zso").write_bytes(writers.zstd_ziso(image))
    tree = SourceTree(os.fsencode(tmp_path))
    source = tree.open(b"disc.zso")
    disc = probe(source)
    assert disc is not None
    content = DiscImage("disc.zso", 1, source, geometry_of(source, disc))

    async def main() -> None:
        io_pool = IoPool(threads)

        async def one(number: int) -> None:
            for turn in range(20):
                offset = (number * 37 + turn * 11) % 256 * BLOCK
                out = bytearray(64 * BLOCK)
                job = content.job(offset, out)
                await run(io_pool, number % 3, job, spin=bool(turn % 2))
                content.finish(job)
                assert out == image[offset : offset + len(out)]

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(24):
                    nursery.start_soon(one, number)

    trio.run(main)
    content.close()


def test_a_cancelled_job_is_nobodys_any_more(tmp_path: Path) -> None:
    packed = Packed(tmp_path / "blocks", Codec.ZLIB, bad=set())

    async def main() -> None:
        io_pool = IoPool(1)
        for _ in range(30):
            with trio.CancelScope() as scope:
                scope.cancel()
                job = packed.reader.job(packed.fd, 0, COUNT, bytearray(COUNT * BLOCK))
                await run(io_pool, 1, job, spin=False)
            del job
        out = bytearray(BLOCK)
        job = packed.reader.job(packed.fd, 5, 1, out)
        with trio.fail_after(30):
            await run(io_pool, 1, job, spin=True)
        job.result()
        assert out == packed.image[5 * BLOCK : 6 * BLOCK]

    trio.run(main)


@pytest.mark.parametrize("failures", [1, 1 << 30])
def test_a_listener_that_fails_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failures: int,
) -> None:
    """Once or always; an exception of its own would end the whole daemon."""
    packed = Packed(tmp_path / "blocks", Codec.ZLIB, bad=set())
    read, failures_left = os.eventfd_read, failures

    def fail(fd: int) -> int:
        nonlocal failures_left
        if failures_left:
            failures_left -= 1
            raise OSError(errno.EIO, "a fault")
        return read(fd)

    monkeypatch.setattr(os, "eventfd_read", fail)

    async def main() -> None:
        io_pool = IoPool(2)
        for number in range(1000):
            out = bytearray(COUNT * BLOCK)
            job = packed.reader.job(packed.fd, 0, COUNT, out)
            with trio.fail_after(60):
                await run(io_pool, 1, job, spin=False)
            job.result()
            assert out == packed.image
            # On a busy machine a job may be done before anybody begins to listen.
            if number >= 2 and failures_left < failures:
                break

    with caplog.at_level(logging.ERROR):
        trio.run(main)
    assert "finished reads are polled without a signal" in caplog.text
