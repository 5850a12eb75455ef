"""What is requested of a source, and when: the index, and after the reads that wait for a disk."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.conftest import TimingsSetter
from tests.support.hanging import hanging_disk
from tests.support.mounting import DATA, opened
from tests.support.packed import open_disc
from zsofs.preload.boot_trace import Range
from zsofs.preload.fetching import INDEX_PART, index_requests, requests
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.stats import UNCOUNTED
from zsofs.reading.worker_threads import WorkerThreads

_CONTAINERS = ["ziso-py.zso", "maxcso-2048.cso", "maxcso-v2-2048.cso", "maxcso.dax"]


@pytest.mark.parametrize("name", _CONTAINERS)
def test_nothing_else_of_an_index_is_needed(name: str, tmp_path: Path) -> None:
    """Where blocks lie is the same if all other index entries are damaged."""
    file = tmp_path / name
    shutil.copy(DATA / name, file)
    with closing(open_disc(file)) as disc:
        begin, size = 300_000, 200_000
        stored = disc.stored(begin, size)
        needed = disc.index_of(begin, size)
        geometry = disc._geometry
    assert stored
    damaged = bytearray(file.read_bytes())
    index = range(geometry.index_offset, geometry.data_start)
    damaged[index.start : index.stop] = b"\xa5" * len(index)
    for offset, length in needed:
        assert offset >= index.start
        damaged[offset : offset + length] = file.read_bytes()[offset : offset + length]
    with closing(open_disc(DATA / name)) as disc:
        file.write_bytes(damaged)
        with opened(file) as fd:
            os.dup2(fd, disc._source.fd, inheritable=False)  # its geometry, with the damaged file
        assert disc.stored(begin, size) == stored


def test_an_index_is_requested_in_parts(tmp_path: Path) -> None:
    with closing(open_disc(DATA / "ziso-py.zso")) as disc:
        ranges = [(5, Range(0, 10)), (7, Range(100, 120))]
        (request,) = index_requests(disc, ranges)
        assert (request.offset, request.size) == (0, INDEX_PART)
        assert request.parts == {5: INDEX_PART // 2, 7: INDEX_PART // 2}
        assert index_requests(disc, [(1, Range(1 << 20, (1 << 20) + 1))]) == []


def test_a_range_behind_the_end_is_nothing() -> None:
    with closing(open_disc(DATA / "ziso-py.zso")) as disc:
        assert requests(disc, [(1, Range(1 << 20, (1 << 20) + 1))]) == []


@pytest.mark.parametrize("patience", [0.05, 600.0])
def test_reads_that_wait_for_the_disk_come_first(
    tmp_path: Path, set_timings: TimingsSetter, patience: float
) -> None:
    """They are let pass until they are done, or for ``trace_yield``."""
    set_timings(trace_yield=patience, read_follows=0.01)
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(DATA / "ziso-py.zso", source)
    workers = WorkerThreads(2, Admission())
    reader = Reader(ExtentCache(8 << 20), IoPool(2), workers)
    order: list[str] = []

    async def run(path: Path) -> None:
        async def read() -> None:
            await reader.read(disc, 1 << 20, 4096, UNCOUNTED.begin(0, 0))
            order.append("read")

        async def pass_by() -> None:
            await reader.let_pass(disc)
            order.append("passed")

        with closing(open_disc(path)) as disc:
            os.posix_fadvise(disc._source.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            disk.hang("read")
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read)
                    await trio.testing.wait_all_tasks_blocked(0.1)
                    nursery.start_soon(pass_by)
                    if patience < 1:
                        while not order:  # noqa: ASYNC110 - nothing tells
                            await trio.sleep(0.01)
                    else:
                        await trio.testing.wait_all_tasks_blocked(0.1)
                    disk.hang()

    with hanging_disk(source, tmp_path / "disk") as disk:
        trio.run(run, disk.path / "ziso-py.zso")
    assert order == (["passed", "read"] if patience < 1 else ["read", "passed"])
