"""The pace of writes to new discs, by a clock that the test moves."""

import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from zsofs.reading.admission import Admission
from zsofs.reading.stats import Statistics
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.live_file import LiveFile
from zsofs.source.new_discs import NewDiscs
from zsofs.source.ownership import NewOwner
from zsofs.source.tree import Place, SourceTree
from zsofs.source.writer import SourceWriter
from zsofs.timings import timings
from zsofs.vfs.writing.file_handles import Handle
from zsofs.vfs.writing.live_files import LiveFiles
from zsofs.vfs.writing.write_pace import RATE, WritePace

SIZE = RATE // 100
MIB = 1 << 20


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def seconds(pace: WritePace, writes: int, device: int = 1) -> float:
    """How long *writes* take of which each begins when the one before has ended."""
    begun = trio.current_time()
    for _ in range(writes):
        await pace.wait(device, SIZE)
    return trio.current_time() - begun


def test_a_disk_that_nobody_reads_is_written_at_once() -> None:
    async def test() -> None:
        assert await seconds(WritePace(lambda device: False), 1000) == 0

    run(test)


def test_a_disk_that_is_read_is_written_at_the_rate() -> None:
    async def test() -> None:
        pace = WritePace(lambda device: device == 1)
        assert round(await seconds(pace, 1001), 6) == 10
        assert await seconds(pace, 1000, device=2) == 0

    run(test)


def test_writes_at_the_same_time_share_the_rate() -> None:
    async def test() -> None:
        pace = WritePace(lambda device: True)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(seconds, pace, 250)
        assert round(trio.current_time() - begun, 6) == round(999 * SIZE / RATE, 6)

    run(test)


def test_a_pause_is_not_made_up_for() -> None:
    """After it, the disk would get in a burst what the reads are to be spared."""

    async def test() -> None:
        pace = WritePace(lambda device: True)
        await seconds(pace, 10)
        await trio.sleep(60)
        assert 9.9 < await seconds(pace, 1001) < 10

    run(test)


def test_writes_that_are_late_are_made_up_for() -> None:
    """Timers are never early, so the rate would not be reached otherwise."""

    async def test() -> None:
        pace = WritePace(lambda device: True)
        begun = trio.current_time()
        for _ in range(1001):
            await pace.wait(1, SIZE)
            await trio.sleep(0.009)
            await trio.sleep(0.003)  # the timer's
            await pace.wait(1, SIZE)
        assert round(trio.current_time() - begun - 0.012, 6) == 20

    run(test)


def test_the_pace_makes_no_write_fail() -> None:
    """Waiting writes are limited for each disk, and one more fails with EBUSY."""

    async def test() -> None:
        pace, admission = WritePace(lambda device: True), Admission()

        async def write() -> None:
            for _ in range(2):
                with admission.waiting(1, MIB):
                    begun = trio.current_time()
                    await pace.wait(1, MIB)
                    assert trio.current_time() - begun < 1.1
                    await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(write)
                if number % 100 == 99:
                    await trio.sleep(0.01)

    run(test)


def test_the_pace_ends_with_the_reads() -> None:
    async def test() -> None:
        is_read = True
        pace = WritePace(lambda device: is_read)
        await seconds(pace, 10)
        is_read = False
        assert await seconds(pace, 1000) == 0
        await trio.sleep(60)
        is_read = True
        assert round(await seconds(pace, 101), 6) == 1

    run(test)


@pytest.mark.parametrize(
    ("name", "flags", "is_copy"),
    [
        ("New.iso", os.O_CREAT, True),
        (".New.iso.Zx81Qa", os.O_CREAT, True),
        ("New.iso", 0, True),
        ("New.part", os.O_TRUNC, True),
        ("Card.bin", 0, False),
        ("Card.ps2", 0, False),
    ],
)
def test_only_copies_are_written_at_a_pace(
    tmp_path: Path, name: str, flags: int, is_copy: bool
) -> None:
    """A memory card is small, and a game that saves waits for it."""
    discs = NewDiscs(enabled=True)
    writer = SourceWriter(SourceTree(os.fsencode(tmp_path)), discs)

    def create() -> LiveFile:
        place, nobody = Place(b"", os.fsencode(name)), NewOwner(None, None)
        return writer.create(place, os.O_RDWR, 0o644, nobody)[0]

    def was_waiting(device: int, seconds: float) -> bool:
        assert device == live.device
        assert seconds == timings().new_disc_gives_way
        return True

    async def test() -> None:
        tree: Any = SimpleNamespace(
            workers=WorkerThreads(4, Admission()), changed=lambda node, now: None
        )
        reads: Any = SimpleNamespace(statistics=Statistics(), was_waiting=was_waiting)
        node: Any = SimpleNamespace(size=0, name=name)
        files = LiveFiles(tree, reads, itertools.count(1))
        handle = Handle(1, node, live, 1)
        begun = trio.current_time()
        for number in range(9):
            assert await files.write(handle, number * SIZE, bytes(SIZE)) == SIZE
        assert round(trio.current_time() - begun, 6) == (0.08 if is_copy else 0)
        assert os.fstat(live.fd).st_size == 9 * SIZE

    live = create()
    if not flags & os.O_CREAT:  # it was written before, as a game does with its card
        live.close()
        known = (tmp_path / name).stat()
        live = writer.open(os.fsencode(name), os.O_RDWR | flags, known)[0]
    try:
        run(test)
    finally:
        live.close()
