"""The life of a boot trace: recorded, followed, merged, and what disturbs it. Real files."""

import functools
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import TimingsSetter
from tests.support import writers
from tests.support.hanging import hanging_disk
from tests.support.mounting import opened
from tests.support.packed import open_disc, zsofs
from tests.support.rounds import rounds
from zsofs.errors import ZsofsError
from zsofs.images.open_image import DiscImage
from zsofs.native.meters import Trace
from zsofs.native.read_log import MOST_RANGES
from zsofs.preload.counters import PreloadCounters
from zsofs.preload.handle_reads import HandleReads
from zsofs.preload.preloader import Preloader
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.stats import UNCOUNTED
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.scan_cache import ScanCache, TraceKey

_SIZE = 24 << 20
_READ = 32 << 10
_PLACES = [place * (256 << 10) for place in random.Random(2).sample(range(_SIZE >> 18), 80)]
"""A start: 80 reads of 32 KiB in an order of their own."""


@functools.cache
def _image() -> bytes:
    return writers.half_noise(_SIZE)


@pytest.fixture(scope="module")
def packed(module_path: Path) -> Path:
    folder = module_path / "source"
    folder.mkdir()
    (folder / "Game.iso").write_bytes(_image())
    zsofs("pack", "--any", "--for", "opl", folder / "Game.iso")
    (folder / "Game.iso").unlink()
    return folder / "Game.zso"


@pytest.fixture(scope="module")
def on_fuse(packed: Path, module_path: Path) -> Iterator[Path]:
    """The disc on a disk of which nobody can say what is in memory: it may have to be fetched."""
    with hanging_disk(packed.parent, module_path / "disk") as disk:
        yield disk.path / packed.name


@pytest.fixture
def disc(on_fuse: Path) -> Iterator[DiscImage]:
    with closing(open_disc(on_fuse)) as content:
        yield content


class Mount:
    """What a mount has of a disc: its scan cache is a file that outlives it."""

    def __init__(self, cache: Path | None, *, enabled: bool = True) -> None:
        self.catalog = ScanCache(cache, b"/source")
        workers = WorkerThreads(2, Admission())
        self.opener = FileOpener(workers)
        self.reader = Reader(ExtentCache(8 << 20), IoPool(2), workers)
        self.preloader = Preloader(self.catalog, workers, self.opener, self.reader, enabled=enabled)

    def run(self, function: Callable[[], Awaitable[None]]) -> PreloadCounters:
        """Call *function* while the mount serves; return what was preloaded."""

        async def serve() -> None:
            async with trio.open_nursery() as nursery, self.opener.serving():
                nursery.start_soon(self.preloader.serve)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await function()
                nursery.cancel_scope.cancel()

        trio.run(serve)
        self.preloader.keep_now()
        self.catalog.close()
        return self.preloader.counters()

    def opened(self, disc: DiscImage, mtime_ns: int = 1) -> HandleReads:
        reads = self.preloader.opened(TraceKey(b"Game.zso", 0, 1000, mtime_ns), disc)
        assert reads is not None
        return reads

    async def loaded(self, reads: HandleReads) -> None:
        """Wait until the trace is there, which other processes may delay."""
        with trio.fail_after(20):
            while reads.following is None:  # noqa: ASYNC110 - nothing tells
                await trio.sleep(0.005)

    async def read(self, disc: DiscImage, reads: HandleReads, offset: int, size: int) -> bytes:
        reads.note(offset, size)
        trace: Trace = UNCOUNTED.begin(0, 0)
        return bytes(await self.reader.read(disc, offset, size, trace))

    async def start(self, disc: DiscImage, reads: HandleReads, places: list[int] = _PLACES) -> None:
        """Start the game; what is fetched has the time to be."""
        for place in places:
            data = await self.read(disc, reads, place, _READ)
            assert data == _image()[place : place + _READ]
            await trio.sleep(0.002)
        await trio.sleep(0.1)


def started(
    cache: Path,
    disc: DiscImage,
    places: list[int] = _PLACES,
    mtime_ns: int = 1,
    *,
    known: bool | None = None,
) -> PreloadCounters:
    """Mount, start the game, once its trace is loaded if it is *known*, and unmount.

    By default, each start but the first finds a trace.
    """
    known = cache.exists() if known is None else known
    mount = Mount(cache)

    async def play() -> None:
        reads = mount.opened(disc, mtime_ns)
        if known:
            await mount.loaded(reads)
        await mount.start(disc, reads, places)
        mount.preloader.closed(reads)
        await mount.preloader.finish(disc)

    return mount.run(play)


def test_the_second_start_is_fetched_ahead(tmp_path: Path, disc: DiscImage) -> None:
    cache = tmp_path / "cache.sqlite"
    assert started(cache, disc).fetched == 0
    second = started(cache, disc)
    assert second.starts == 1
    assert second.fetched > 0
    assert second.used > 0.8 * second.fetched
    assert second.used + second.wasted == second.fetched


def test_reads_at_random_are_no_start(tmp_path: Path, disc: DiscImage) -> None:
    """More of them in a moment than any slow disk has; as many in a longer time are a start."""
    places = random.Random(3).sample(range(0, 1 << 30, 16 << 10), MOST_RANGES + 1)

    def kept(cache: Path, seconds_ago: float, *, closes: bool) -> int:
        mount = Mount(cache)

        async def play() -> None:
            reads = mount.opened(disc)
            reads.log.begun -= seconds_ago
            for place in places:
                reads.note(place, _READ // 2)
            assert reads.log.full
            if closes:
                mount.preloader.closed(reads)
                await trio.testing.wait_all_tasks_blocked(0.05)

        mount.run(play)
        with closing(ScanCache(cache, b"/source")) as catalog:
            return len(catalog.boot_trace_paths())

    for closes in (False, True):
        assert kept(tmp_path / f"fast{closes}", 0, closes=closes) == 0
        assert kept(tmp_path / f"slow{closes}", 60, closes=closes) == 1


def test_what_is_in_memory_is_not_fetched(tmp_path: Path, packed: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    packed.read_bytes()
    with closing(open_disc(packed)) as disc:
        started(cache, disc)
        second = started(cache, disc, known=False)
    assert (second.starts, second.fetched) == (0, 0)


def test_what_is_partly_in_memory_is_fetched(tmp_path: Path, on_disk: Path, packed: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    path = Path(shutil.copy(packed, on_disk))
    with closing(open_disc(path)) as disc, opened(path) as fd:
        started(cache, disc)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for place in _PLACES[:60]:
            for offset, size in disc.stored(place, _READ):
                assert len(os.pread(fd, size, offset)) == size
        assert started(cache, disc).starts == 1


def test_another_start_stops_it(tmp_path: Path, packed: Path, disc: DiscImage) -> None:
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    whole = packed.stat().st_size * len(_PLACES) * _READ / _SIZE  # a busy machine fetches less
    other = [place + (64 << 10) for place in _PLACES]
    assert started(cache, disc, _PLACES[:8] + other).fetched < 0.5 * whole


def test_a_start_before_the_known_traces_are_read_is_fetched_ahead(
    tmp_path: Path, disc: DiscImage
) -> None:
    """The scan cache may be on a disk that wakes up, and a program may start with the system."""
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    mount = Mount(cache)

    async def play() -> None:
        reads = mount.opened(disc)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mount.preloader.serve)
            await mount.loaded(reads)
            await mount.start(disc, reads)
            mount.preloader.closed(reads)
            await mount.preloader.finish(disc)
            nursery.cancel_scope.cancel()

    async def serve() -> None:
        async with mount.opener.serving():
            await play()

    trio.run(serve)
    mount.catalog.close()
    assert mount.preloader.counters().starts == 1
    assert mount.preloader.counters().fetched > 0


def test_a_changed_disc_has_no_trace(tmp_path: Path, disc: DiscImage) -> None:
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    changed = started(cache, disc, mtime_ns=2, known=False)
    assert (changed.starts, changed.fetched) == (0, 0)
    assert started(cache, disc, mtime_ns=2).starts == 1, "it has one of its own now"


def test_a_mount_that_ends_keeps_what_was_read(tmp_path: Path, disc: DiscImage) -> None:
    """The disc is still open then."""
    cache = tmp_path / "cache.sqlite"
    mount = Mount(cache)

    async def play() -> None:
        await mount.start(disc, mount.opened(disc))

    mount.run(play)
    assert started(cache, disc).starts == 1


class _OddCatalog(ScanCache):
    """A scan cache that *act* disturbs before each trace is looked up."""

    act: Callable[[], object]

    def boot_trace(self, key: TraceKey) -> bytes | None:
        self.act()
        return super().boot_trace(key)


def _disturbed(act: Callable[[], object]) -> Mount:
    mount = Mount(None)
    mount.catalog.close()
    mount.catalog = catalog = _OddCatalog(None, b"/source")
    catalog.act = act
    workers = WorkerThreads(2, Admission())
    mount.preloader = Preloader(catalog, workers, mount.opener, mount.reader, enabled=True)
    return mount


def test_a_mount_ends_although_its_scan_cache_hangs(disc: DiscImage) -> None:
    hangs = threading.Event()
    mount = _disturbed(hangs.wait)

    async def play() -> None:
        await mount.start(disc, mount.opened(disc), _PLACES)

    try:
        mount.run(play)
    finally:
        hangs.set()


def test_starts_that_cannot_be_stored_stop_no_later_ones(disc: DiscImage) -> None:
    """There is no memory for a while. So many handles at once are recorded, and no more."""
    missing = 70

    def act() -> None:
        nonlocal missing
        if missing:
            missing -= 1
            raise MemoryError

    mount = _disturbed(act)

    async def play() -> None:
        for _ in range(70):
            reads = mount.opened(disc)
            for place in _PLACES:
                reads.note(place, _READ)
            mount.preloader.closed(reads)
            await trio.testing.wait_all_tasks_blocked(0.01)
        await mount.start(disc, mount.opened(disc), _PLACES)

    mount.run(play)
    assert missing == 0


def test_a_handle_closed_while_its_start_is_stored_is_one_start(
    disc: DiscImage, set_timings: TimingsSetter
) -> None:
    set_timings(trace_check=0.3, trace_length=0.05)
    begun, goes_on = threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        goes_on.wait(20)

    mount = _disturbed(act)

    async def play() -> None:
        reads = mount.opened(disc)
        for place in _PLACES:
            reads.note(place, _READ)
        await trio.to_thread.run_sync(begun.wait, 20)
        mount.preloader.closed(reads)
        await trio.testing.wait_all_tasks_blocked(0.05)
        goes_on.set()
        with trio.fail_after(20):
            while not mount.preloader.counters().traces:  # noqa: ASYNC110 - nothing tells
                await trio.sleep(0.005)
        await trio.testing.wait_all_tasks_blocked(0.05)

    assert mount.run(play).traces == 1


def test_two_readers_of_one_disc(tmp_path: Path, disc: DiscImage) -> None:
    """One of them starts the game, the other reads elsewhere: each is a start of its own."""
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    mount = Mount(cache)

    async def play() -> None:
        game, other = mount.opened(disc), mount.opened(disc)
        await mount.loaded(game)

        async def stray() -> None:
            for place in _PLACES:
                await mount.read(disc, other, place + (128 << 10), _READ)
                await trio.sleep(0.002)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stray)
            nursery.start_soon(mount.start, disc, game)
        for reads in (game, other):
            mount.preloader.closed(reads)
        await mount.preloader.finish(disc)

    counters = mount.run(play)
    assert counters.used > 0.8 * counters.fetched > 0


@pytest.mark.parametrize("damage", ["row_check = 1", "trace = x'ff'", "size = 'x'"])
def test_a_damaged_row_costs_the_cache_alone(tmp_path: Path, disc: DiscImage, damage: str) -> None:
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute(f"UPDATE boot_trace SET {damage}")
    assert started(cache, disc, known=False).fetched == 0
    assert started(cache, disc).starts == 1


def test_an_invalid_trace_is_replaced(tmp_path: Path, disc: DiscImage) -> None:
    cache = tmp_path / "cache.sqlite"
    with closing(ScanCache(cache, b"/source")) as catalog:
        catalog.keep_boot_trace(TraceKey(b"Game.zso", 0, 1000, 1), b"\xff" * 9)
    assert started(cache, disc, known=False).starts == 0
    assert started(cache, disc).starts == 1


_LOOK_MOST = 1 << 20
"""Bytes that may be fetched of a disc that a program only looks at."""


def test_a_scan_of_a_library_fetches_little(tmp_path: Path, disc: DiscImage) -> None:
    """A program opens 200 discs and reads what identifies them: what is read ahead of the first of
    them is bounded, and of the others there is nothing."""
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    keys = [TraceKey(b"%d.zso" % number, 0, 1000, 1) for number in range(200)]
    with closing(ScanCache(cache, b"/source")) as catalog:
        trace = catalog.boot_trace(KEY)
        assert trace is not None
        for key in keys:
            catalog.keep_boot_trace(key, trace)
    mount = Mount(cache)
    fetched: list[int] = []

    async def scan() -> None:
        for key in keys:
            reads = mount.preloader.opened(key, disc)
            assert reads is not None
            await mount.loaded(reads)
            for place in _PLACES[:5]:
                await mount.read(disc, reads, place, _READ)
            if not fetched:  # a program that is slow
                await trio.sleep(0.3)
            mount.preloader.closed(reads)
            await mount.preloader.finish(disc)
            fetched.append(mount.preloader.counters().fetched)

    counters = mount.run(scan)
    assert counters.starts == 200
    assert 0 < fetched[0] <= _LOOK_MOST
    assert counters.fetched == fetched[0]
    assert counters.traces == 0


def test_a_disc_that_is_only_looked_at_costs_little(tmp_path: Path, disc: DiscImage) -> None:
    cache = tmp_path / "cache.sqlite"
    started(cache, disc)
    looked = started(cache, disc, _PLACES[:5])
    assert 0 < looked.fetched <= _LOOK_MOST


def test_handles_are_bounded(disc: DiscImage) -> None:
    mount = Mount(None)

    async def many() -> None:
        handles = [mount.preloader.opened(TraceKey(b"Game.zso", 0, 1, 1), disc) for _ in range(100)]
        kept = [reads for reads in handles if reads is not None]
        assert len(kept) == 64
        for reads in kept:
            mount.preloader.closed(reads)
        assert mount.preloader.opened(TraceKey(b"Game.zso", 0, 1, 1), disc) is not None

    mount.run(many)


def test_only_so_many_traces_are_kept(tmp_path: Path) -> None:
    with closing(ScanCache(tmp_path / "cache.sqlite", b"/source")) as catalog:
        for number in range(1005):
            catalog.keep_boot_trace(TraceKey(b"%d" % number, 0, 1, 1), b"\x01")
        assert len(catalog.boot_trace_paths()) == 1000


def test_without_it_nothing_is_recorded(tmp_path: Path, disc: DiscImage) -> None:
    mount = Mount(tmp_path / "cache.sqlite", enabled=False)
    with closing(mount.catalog):
        assert mount.preloader.opened(TraceKey(b"Game.zso", 0, 1, 1), disc) is None


@pytest.fixture(scope="module")
def damaged(packed: Path, module_path: Path) -> Iterator[Path]:
    """The disc with a damaged index entry, and damaged bytes."""
    data = bytearray(packed.read_bytes())
    for block in (700, 701, 5000):
        data[24 + 4 * block : 28 + 4 * block] = b"\xff\xff\xff\x7f"
    data[4 << 20 : (4 << 20) + 300] = bytes(300)
    (module_path / "damaged").mkdir()
    (module_path / "damaged" / "Game.zso").write_bytes(data)
    with hanging_disk(module_path / "damaged", module_path / "damaged disk") as disk:
        yield disk.path / "Game.zso"


_STEP = st.tuples(
    st.sampled_from(["follow"] * 6 + ["elsewhere", "back"]), st.integers(0, _SIZE - 1)
)


@settings(
    max_examples=rounds(8, 100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example([("follow", 0)] * len(_PLACES))
@given(st.lists(_STEP, min_size=20, max_size=120))
def test_it_never_changes_a_byte_or_an_error(
    damaged: Path, set_timings: TimingsSetter, steps: list[tuple[str, int]]
) -> None:
    """Reads that follow, leave, repeat and jump, of a disc with damaged blocks."""
    set_timings(read_follows=0.0, trace_quiet=0.0)
    reads: list[tuple[int, int]] = []
    at = -1
    for what, place in steps:
        at = max(at - 5, 0) if what == "back" else at + 1
        offset = place if what == "elsewhere" else _PLACES[at % len(_PLACES)]
        reads.append((offset, min(_READ, _SIZE - offset)))

    def results(*, enabled: bool) -> tuple[list[bytes | str], int]:
        found: list[bytes | str] = []
        with ExitStack() as stack:
            content = stack.enter_context(closing(open_disc(damaged)))
            os.posix_fadvise(content._source.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            mount = Mount(cache, enabled=enabled)

            async def play() -> None:
                handle = mount.opened(content) if enabled else HandleReads(KEY, content)
                if enabled:
                    await mount.loaded(handle)
                for offset, size in reads:
                    await trio.sleep(0.002)
                    try:
                        found.append(await mount.read(content, handle, offset, size))
                    except (ZsofsError, OSError) as error:
                        found.append(str(error))
                if enabled:
                    mount.preloader.closed(handle)
                    await mount.preloader.finish(content)

            counters = mount.run(play)
        return found, counters.fetched

    cache = damaged.parent.with_name("cache.sqlite")
    for file in cache.parent.glob("cache.sqlite*"):
        file.unlink()
    with closing(open_disc(damaged)) as content:
        first = Mount(cache)

        async def start() -> None:
            handle = first.opened(content)
            for place in _PLACES:
                handle.note(place, _READ)
            first.preloader.closed(handle)

        first.run(start)
    expected, _ = results(enabled=False)
    found, fetched = results(enabled=True)
    assert found == expected
    assert fetched or len({what for what, _ in steps}) > 1
    for result, (offset, size) in zip(found, reads, strict=True):
        assert isinstance(result, str) or result == _image()[offset : offset + size]


KEY = TraceKey(b"Game.zso", 0, 1000, 1)
