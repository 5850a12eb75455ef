"""Decoding ahead of sequential readers: what is decoded, how far, and when it ends."""

import random
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.support.chd_writer import PARENT_HERE, PLAIN, SELF, Hunk, chd
from tests.support.packed import open_disc
from zsofs.errors import BlockError
from zsofs.images.open_image import DiscImage
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.stats import UNCOUNTED
from zsofs.reading.worker_threads import WorkerThreads

_HUNK = _CHUNK = 128 << 10
_SIZE = 8 << 20
_OWN = [random.Random(number).randbytes(_HUNK) for number in range(11)]
_IMAGE = b"".join(_OWN[at % 11] for at in range(_SIZE // _HUNK))


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[DiscImage]:
    """A child, which is decoded in threads only, as LZMA is; LZMA takes too long to be packed."""
    hunks = [Hunk(PLAIN, data) for data in _OWN]
    parent = chd(hunks, hunk_size=_HUNK, unit_size=2048, codecs=[b"zlib"], image=b"".join(_OWN))
    made = [Hunk(PARENT_HERE) for _ in _OWN]
    made += [Hunk(SELF, target=at % 11) for at in range(11, _SIZE // _HUNK)]
    child = chd(
        made,
        hunk_size=_HUNK,
        unit_size=2048,
        codecs=[b"zlib"],
        image=_IMAGE,
        parent_sha1=parent[84:104].hex(),
    )
    (tmp_path / "parent.chd").write_bytes(parent)
    (tmp_path / "child.chd").write_bytes(child)
    with closing(open_disc(tmp_path / "child.chd")) as content:
        assert content.is_slow
        yield content


class _Cache(ExtentCache):
    """A cache that counts its loads."""

    loads = 0

    async def get(
        self,
        key: Hashable,
        size: int,
        load: Callable[[bytearray], Awaitable[None]],
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> bytearray:
        async def counted(buffer: bytearray) -> None:
            self.loads += 1
            await load(buffer)

        return await super().get(key, size, counted, admit)


class _Reads:
    """A reader, its cache, and what it loaded."""

    def __init__(self, content: DiscImage, capacity: int, threads: int = 3) -> None:
        self.cache = _Cache(capacity)
        self.reader = Reader(self.cache, IoPool(threads), WorkerThreads(threads, Admission()))
        self._content = content

    @property
    def loads(self) -> int:
        return self.cache.loads

    async def check(self, offset: int, size: int = _CHUNK) -> None:
        given = bytes(await self.reader.read(self._content, offset, size, UNCOUNTED.begin(0, 0)))
        assert given == _IMAGE[offset : offset + size]

    async def settle(self) -> None:
        """Wait until nothing is decoded ahead any more."""
        with trio.fail_after(60):
            before = -1
            while before != self.loads or self.reader._ahead._busy:
                before = self.loads
                await trio.sleep(0.01)


def run(content: DiscImage, capacity: int, test: Callable[[_Reads], Awaitable[None]]) -> None:
    async def begin() -> None:
        reads = _Reads(content, capacity)
        await test(reads)
        await reads.reader.finish(content)

    trio.run(begin)


def test_what_follows_is_in_the_cache(slow: DiscImage) -> None:
    """As much as was read in order, and at most 4 MiB."""

    async def test(reads: _Reads) -> None:
        for at in range(4):
            await reads.check(at * _CHUNK)
        await reads.settle()
        loads = reads.loads
        assert reads.cache.used >= 4 * _CHUNK
        for at in range(4, 8):
            await reads.check(at * _CHUNK)
            assert reads.loads >= loads
        await reads.settle()
        assert reads.loads <= 16  # those that were read, and as many again
        for at in range(8, 40):
            await reads.check(at * _CHUNK)
        await reads.settle()
        assert 40 < reads.loads <= 40 + 32
        for at in range(40, 64):
            await reads.check(at * _CHUNK)
        assert reads.loads == 63  # each once; the first was read before it was known to be in order

    run(slow, 64 << 20, test)


@pytest.mark.parametrize("step", [4096, 10_000, 300_000])
def test_reads_of_any_size_in_order(slow: DiscImage, step: int) -> None:
    async def test(reads: _Reads) -> None:
        for offset in range(0, _SIZE, step):
            await reads.check(offset, step)
        assert await reads.reader.read(slow, _SIZE, 10, UNCOUNTED.begin(0, 0)) == b""

    run(slow, 64 << 20, test)


def test_a_seek_ends_it(slow: DiscImage) -> None:
    async def test(reads: _Reads) -> None:
        for at in range(8):
            await reads.check(at * _CHUNK)
        await reads.check(_SIZE // 2 + 100, 5000)
        await reads.settle()
        loads = reads.loads
        for number in range(20):
            await reads.check((number * 7 + 3) % 20 * 400_000 + 10, 100)
            await reads.settle()
            assert reads.loads <= loads + 1  # the hunk of this read alone
            loads = reads.loads

    run(slow, 64 << 20, test)


def test_it_takes_a_quarter_of_the_cache(slow: DiscImage) -> None:
    async def test(reads: _Reads) -> None:
        for at in range(16):
            await reads.check(at * _CHUNK)
        await reads.settle()
        assert reads.loads <= 16 + 2  # of 1 MiB
        assert reads.cache.used <= 1 << 20

    run(slow, 1 << 20, test)


@pytest.mark.parametrize("capacity", [0, 2 * _CHUNK])
def test_a_small_cache_has_no_room_for_it(slow: DiscImage, capacity: int) -> None:
    async def test(reads: _Reads) -> None:
        for offset in range(0, 4 << 20, 64 << 10):
            await reads.check(offset, 64 << 10)
        assert not reads.reader._ahead._streams

    run(slow, capacity, test)


def test_many_readers_at_once(slow: DiscImage) -> None:
    """In order, across each other, and at random, through a cache that is too small for them."""

    async def test(reads: _Reads) -> None:
        async def in_order(begin: int) -> None:
            for offset in range(begin, begin + (2 << 20), 50_000):
                await reads.check(offset, 50_000)

        async def at_random(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(50):
                await reads.check(chance.randrange(_SIZE), chance.randrange(1, 200_000))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(in_order, number << 20)
                nursery.start_soon(at_random, number)

    run(slow, 1 << 20, test)


def test_nothing_reads_when_the_file_is_closed(slow: DiscImage) -> None:
    """The number of its descriptor is soon that of another file."""

    async def test(reads: _Reads) -> None:
        for at in range(24):
            await reads.check(at * _CHUNK)
        await reads.reader.finish(slow)
        loads = reads.loads
        assert not reads.reader._ahead._busy
        await trio.sleep(0.05)
        assert reads.loads == loads

    run(slow, 64 << 20, test)


@pytest.mark.parametrize("ahead", [5, 20])
def test_damage_ahead_is_an_error_when_it_is_reached(tmp_path: Path, ahead: int) -> None:
    """And not before: the disc can be read up to there."""
    image = _IMAGE[: 24 * _HUNK]
    made = [Hunk(PLAIN, image[at : at + _HUNK]) for at in range(0, len(image), _HUNK)]
    data = bytearray(chd(made, hunk_size=_HUNK, unit_size=2048, codecs=[b"zlib"], image=image))
    data[124 + _HUNK * ahead + 1000] ^= 1
    path = tmp_path / "disc.chd"
    path.write_bytes(data)

    async def read(content: DiscImage) -> list[int]:
        reader = Reader(ExtentCache(64 << 20), IoPool(3), WorkerThreads(3, Admission()))
        failed = []
        for offset in range(0, content.size, 65536):
            try:
                given = bytes(await reader.read(content, offset, 65536, UNCOUNTED.begin(0, 0)))
                assert given == image[offset : offset + 65536]
            except BlockError:
                failed.append(offset)
        await reader.finish(content)
        return failed

    with closing(open_disc(path)) as content:
        content.is_slow = True
        assert trio.run(read, content) == [_HUNK * ahead, _HUNK * ahead + 65536]
