"""How much memory a mount takes at most, and what comes of a read for which there is none."""

import errno
import os
import random
import re
import resource
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.conftest import MountMaker
from tests.support.ends import join
from tests.support.mounting import DATA, ZSOFS, Mount, in_time, names, status_of, wait_until
from tests.support.rounds import rounds
from zsofs.images.input_image import original
from zsofs.images.pipeline import chunk_size
from zsofs.reading.byte_budget import ByteBudget
from zsofs.reading.extent_cache import ExtentCache

MIB = 1 << 20
BLOCK = 16 * MIB
THREADS = 32


def large_blocks(path: Path, count: int, *, hostile: bool = False) -> None:
    """A CSO of zeros in blocks of 16 MiB, each stored in as many bytes, and most of them a hole.

    In a *hostile* one the index gives twice as many bytes to each, far more than its data has.
    """
    shift, begin = 12, 4096
    room = 2 * BLOCK if hostile else BLOCK + 4096
    entries = [(begin + number * room) >> shift for number in range(count + 1)]
    piece = 65535  # the longest one that deflate stores as it is
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQIBB2x", b"CISO", 24, count * BLOCK, BLOCK, 1, shift))
        file.write(struct.pack(f"<{count + 1}I", *entries))
        for number in range(count):
            file.seek(begin + number * room)
            for at in range(0, BLOCK, piece):
                length = min(piece, BLOCK - at)
                is_last = at + length == BLOCK
                file.write(struct.pack("<BHH", is_last, length, length ^ 0xFFFF))
                file.seek(length, os.SEEK_CUR)
        file.truncate(begin + count * room)


def memory_of(mount: Mount, field: str) -> int:
    """A figure of the daemon's memory, in bytes."""
    text = Path(f"/proc/{mount.daemon.pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.M)
    assert found
    return int(found[1]) << 10


def read_randomly(path: Path, seed: int, count: int, problems: list[object]) -> None:
    """Read pages from here and there; note errors and wrong bytes."""
    places = random.Random(seed)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        pages = os.fstat(file.fileno()).st_size // 4096
        for _ in range(count):
            try:
                if any(os.pread(file.fileno(), 4096, places.randrange(pages) * 4096)):
                    problems.append("wrong bytes")
            except OSError as error:
                problems.append(error.errno)


# Usually, each of both kinds of files and each of both caches once; else all four combinations.
@pytest.mark.parametrize(
    ("hostile", "cache"), [(False, 1), (True, 64), (False, 64), (True, 1)][: rounds(2, 4)]
)
def test_32_threads_and_blocks_of_16_mib(
    source: Path, mount: MountMaker, hostile: bool, cache: int
) -> None:
    """At most the cache and 64 MiB more than when it is idle."""
    large_blocks(source / "Large.cso", 24, hostile=hostile)
    made = mount(source, "--cache-size", f"{cache}M")
    assert names(made.path) == ["Large.iso"]
    idle = memory_of(made, "VmRSS")
    Path(f"/proc/{made.daemon.pid}/clear_refs").write_text("5")  # VmHWM counts from now on
    problems: list[object] = []
    large = made.path / "Large.iso"
    threads = [
        threading.Thread(target=read_randomly, args=(large, seed, rounds(1, 2), problems))
        for seed in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert set(problems) <= ({errno.EIO} if hostile else set())
    assert memory_of(made, "VmHWM") - idle <= (cache + 64) * MIB


@pytest.mark.parametrize("hostile", [False, True], ids=["usual", "hostile"])
def test_packing_from_blocks_of_16_mib(tmp_path: Path, hostile: bool) -> None:
    """Each of them is decoded once, and less than 200 MiB do for it."""
    large_blocks(tmp_path / "Large.cso", 3, hostile=hostile)
    with original(str(tmp_path / "Large.cso")) as image:
        assert chunk_size(2048, image) == chunk_size(BLOCK, image) == BLOCK
        assert chunk_size(3 * 2048, image) < MIB
    words = [
        "pack",
        "--any",
        "--no-verify",
        str(tmp_path / "Large.cso"),
        "-o",
        str(tmp_path / "Out.zso"),
    ]
    # A process begins with the peak of the one that starts it, so a small one has to.
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ZSOFS, *words], capture_output=True, text=True, check=True
    )
    ended, peak = map(int, done.stdout.split()[-2:])
    assert ended == 0 or hostile
    assert peak << 10 < 200 * MIB


def comm_of(file: Path) -> str:
    """The name of a thread; empty if it has just ended."""
    try:
        return file.read_text()
    except OSError:
        return ""


@contextmanager
def address_space(mount: Mount, size: int) -> Iterator[None]:
    """The daemon with a limit of *size* bytes more than it has without work."""

    def has_settled() -> bool:
        # The scan reads the discs as well, and needs memory for blocks. Threads that were used end
        # after ten seconds, and leave their stacks; one may be used again and again.
        size = memory_of(mount, "VmSize")
        time.sleep(0.5)
        process = Path(f"/proc/{mount.daemon.pid}")
        threads = map(comm_of, process.glob("task/*/comm"))
        of_pool = [name for name in threads if name != comm_of(process / "comm")]
        # One at work is named after its job, and what it has now may be free when it has ended.
        are_idle = all(name.startswith("Trio") for name in of_pool)
        return are_idle and len(of_pool) <= 1 and memory_of(mount, "VmSize") == size

    wait_until(has_settled, "the end of all work", 60)
    limit = memory_of(mount, "VmSize") + size
    before = resource.prlimit(mount.daemon.pid, resource.RLIMIT_AS, (limit, -1))
    try:
        yield
    finally:
        resource.prlimit(mount.daemon.pid, resource.RLIMIT_AS, before)


def test_a_read_without_memory_fails_and_nothing_else(source: Path, mount: MountMaker) -> None:
    large_blocks(source / "Large.cso", 8)
    (source / "Small.zso").write_bytes((DATA / "ziso-py.zso").read_bytes())
    made = mount(source)
    assert names(made.path) == ["Large.iso", "Small.iso"]
    image = (DATA / "ps2.iso").read_bytes()
    small = (made.path / "Small.iso").read_bytes()  # the buffers of requests are there now

    def read_large() -> None:
        problems: list[object] = []
        for seed in range(4):
            read_randomly(made.path / "Large.iso", seed, 4, problems)
        assert set(problems) == {errno.ENOMEM}

    with address_space(made, 12 * MIB):  # which is enough for a thread
        in_time(read_large)
        assert (made.path / "Small.iso").read_bytes() == image
        assert names(made.path) == ["Large.iso", "Small.iso"]
        assert status_of(made)["errors"]
    assert small == image
    assert made.log_lines("Large.cso: cannot be read at")
    assert not made.log_lines("internal error in zsofs")
    problems: list[object] = []
    read_randomly(made.path / "Large.iso", 5, 4, problems)
    assert problems == []


def test_a_buffer_that_cannot_be_had_leaves_nobody_waiting() -> None:
    cache = ExtentCache(1 << 20)

    async def load(buffer: bytearray) -> None:
        buffer[:] = b"x" * len(buffer)

    async def main() -> None:
        for _ in range(2):
            with trio.fail_after(5), pytest.raises(MemoryError):
                await cache.get("extent", 1 << 62, load)
        assert cache.used == 0
        assert await cache.get("extent", 10, load) == b"x" * 10

    trio.run(main)


def test_bytes_are_given_in_the_order_that_they_are_asked_for() -> None:
    budget = ByteBudget(10)
    done: list[int] = []

    async def use(number: int, size: int) -> None:
        await budget.take(size)
        done.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            assert budget.take_now(8)
            for number, size in enumerate((6, 1, 99)):
                nursery.start_soon(use, number, size)
                await trio.testing.wait_all_tasks_blocked()
            assert done == [], "the second waits behind the first"
            assert not budget.take_now(1)
            budget.give(8)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(done) == [0, 1]
            budget.give(6)
            budget.give(1)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(done) == [0, 1, 2], "who wants more than there is gets all of it"
            budget.give(99)
            assert budget.take_now(10)

    trio.run(main)


def test_who_gives_up_waiting_for_bytes_holds_up_nobody() -> None:
    budget = ByteBudget(10)

    async def main() -> None:
        assert budget.take_now(5)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(budget.take, 5)
                scope.cancel()
                await budget.take(9)
            await trio.testing.wait_all_tasks_blocked()
        budget.give(5)
        budget.give(5)
        assert budget.take_now(10)

    trio.run(main)
