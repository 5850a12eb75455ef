"""What zsofs tells of its reads, what it asks of the kernel, and what it gives back when idle."""

import os
import random
import signal
import struct
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import Mount, drop_pages, wait_until
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.slow_reads import ReadLabel
from zsofs.reading.stats import UNCOUNTED, Statistics, cost_text
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.system.mountinfo import mounted_at

IMAGE = writers.content(3 << 20, ["text", "noise", "mixed"], seed=8)


def read_ahead_kb(mount: Mount) -> int:
    mounted = mounted_at(os.fsencode(mount.path))
    assert mounted is not None
    return int((Path("/sys/class/bdi") / mounted.device / "read_ahead_kb").read_text())


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), 512),
        (("--read-ahead", "1M"), 1024),
        (("--read-ahead", "128K"), 128),
        (("-o", "ro,read-ahead=256K"), 256),
    ],
    ids=str,
)
def test_root_sets_the_read_ahead(
    source: Path, mount: MountMaker, arguments: tuple[str, ...], wanted: int
) -> None:
    (source / "disc.zso").write_bytes(writers.zstd_ziso(IMAGE))
    made = mount(source, *arguments)
    wait_until(lambda: read_ahead_kb(made) == wanted, f"a read-ahead of {wanted} KiB")
    assert (made.path / "disc.iso").read_bytes() == IMAGE


def test_a_signal_makes_it_report_as_often_as_it_is_sent(source: Path, mount: MountMaker) -> None:
    (source / "disc.zso").write_bytes(writers.zstd_ziso(IMAGE, block_size=32768))
    (source / "other.zso").write_bytes(writers.maxcso_zso(IMAGE))
    made = mount(source, "-q")
    disc = made.path / "disc.iso"
    assert disc.read_bytes() == IMAGE
    made.daemon.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(made.log_lines("REPORT: all discs")) == 1, "a report")
    wait_until(lambda: made.log_lines("REPORT: disc.zso"), "the disc's line")
    made.daemon.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(made.log_lines("REPORT: all discs")) == 2, "another report")
    assert not made.log_lines("other.zso")
    assert "3.1 MB" in made.log_lines("REPORT: disc.zso")[-1]
    assert "96 blocks decoded" in made.log_lines("REPORT: disc.zso")[-1]
    assert disc.read_bytes() == IMAGE  # still there


def test_the_cache_is_counted(source: Path, mount: MountMaker) -> None:
    (source / "disc.zso").write_bytes(writers.zstd_ziso(IMAGE, block_size=1 << 17))
    made = mount(source, "-v")
    disc = made.path / "disc.iso"
    fd = os.open(disc, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for page in random.Random(1).sample(range(32), 32):  # all of the first block's pages
        assert os.pread(fd, 4096, page * 4096) == IMAGE[page * 4096 : page * 4096 + 4096]
    os.close(fd)
    drop_pages(disc)
    made.daemon.send_signal(signal.SIGUSR1)
    wait_until(lambda: made.log_lines("REPORT: disc.zso"), "a report")
    assert "cache 31 of 32 hits; 1 blocks decoded" in made.log_lines("REPORT: disc.zso")[0]


def test_a_verbose_mount_reports_at_its_end(source: Path, tmp_path: Path) -> None:
    from tests.support.mounting import mounted

    (source / "disc.zso").write_bytes(writers.maxcso_zso(IMAGE))
    with mounted(source, tmp_path / "mnt", "-v") as made:
        assert (made.path / "disc.iso").read_bytes() == IMAGE
    assert "blocks decoded" in made.log_lines("INFO: disc.zso: ")[-1]


def test_a_report_has_no_word_of_slow_reads_without_any() -> None:
    statistics = Statistics(slow_ms=60_000)
    statistics.handle(ReadLabel("disc.zso", 1, "cat"), 4096).begin(0, 4096).end()
    assert cost_text(statistics.total).startswith("1 reads, 0.0 MB; cache 0 of 0 hits")
    assert "slow" not in cost_text(statistics.total)


def test_slow_reads_are_counted_by_their_cause() -> None:
    """What is slow from 0 ms on is slow, whatever it waited for."""
    statistics = Statistics(slow_ms=0)
    handle = statistics.handle(ReadLabel("disc.zso", 1, "cat"), 4096)
    for queue, disk, decode in (
        (0, 1 << 40, 1),
        (0, 1 << 30, 1),
        (0, 1 << 30, 1),
        (0, 1, 1 << 30),
        (1 << 30, 0, -1),
    ):
        trace = handle.begin(0, 4096)
        trace.waited(queue, disk, decode)
        if trace.end():
            statistics.slow_reads.add(trace)
    slow = "slow: 1 by queue, 2 by disk, 1 by decoding, 1 by hung disk"
    assert cost_text(statistics.total).endswith(slow)
    assert statistics.total.threaded == 5
    kept = statistics.slow_reads.changed_since(0, 10)
    assert [read.cause for read in kept] == ["hang", "disk", "disk", "decode", "queue"]


def test_reads_of_the_longest_sparse_file_are_counted() -> None:
    """On tmpfs, XFS and Btrfs a file may have nearly 8 EiB; its map would overflow."""
    statistics = Statistics()
    handle = statistics.handle(ReadLabel("sparse.bin", 1, "cat"), (1 << 63) - 4096)
    for offset in (0, (1 << 62) - 4096):
        handle.begin(offset, 4096).end()
    assert (statistics.total.requests, statistics.total.errors) == (2, 0)


def test_statistics_stay_small_and_lose_no_count() -> None:
    statistics = Statistics()
    for number in range(10_000):
        handle = statistics.handle(ReadLabel(f"{number}.zso", number, "cat"), 10_000)
        handle.begin(0, number).end()
    assert statistics.total.requests == 10_000
    assert statistics.total.bytes == sum(range(10_000))
    busiest = statistics.busiest(3)
    assert [name for name, _ in busiest] == ["9999.zso", "9998.zso", "9997.zso"]
    kept = statistics.busiest(10_000)
    assert 3840 <= len(kept) <= 4096
    assert 480 <= sum(meter.has_details for _, meter in kept) <= 512
    assert 240 <= len(statistics.readers(10_000)) <= 256


class Disc:
    """Content made of numbers, which needs no source."""

    name = "disc"
    serial = 1
    size = 1 << 20
    extent_size = 16384
    device = 1
    is_slow = False

    def read_now(self, offset: int, out: bytearray | memoryview) -> bool:
        out[:] = struct.pack("<Q", offset) * (len(out) // 8)
        return True


def test_memory_goes_back_after_a_while_without_reads() -> None:
    cache = ExtentCache(1 << 20)
    reads = Reader(cache, IoPool(1), WorkerThreads(1, Admission()))
    disc = Disc()

    async def read(offset: int, size: int) -> bytes | memoryview:
        trace = UNCOUNTED.begin(offset, size)
        return await reads.read(disc, offset, size, trace)  # type: ignore[arg-type]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reads.give_back_when_idle)
            for turn in range(20):  # five minutes with a read every 15 s
                await read(turn * 16384 + 8, 100)
                await trio.sleep(15)
            assert cache.used == 20 * 16384
            await trio.sleep(45)
            assert cache.used == 0
            again = await read(16384 + 8, 16)
            assert bytes(again) == struct.pack("<Q", 16384) * 2
            assert cache.used == 16384
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
