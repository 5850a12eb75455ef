"""The cache of extents, against a model of what it may and may not do."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from zsofs.reading.extent_cache import ExtentCache


class Source:
    """Counts loads, and fails those it is told to."""

    def __init__(self) -> None:
        self.loads = 0
        self.under_way: set[tuple[int, int]] = set()
        self.bad: set[int] = set()

    def loader(self, key: tuple[int, int], pause: bool) -> Callable[[bytearray], Awaitable[None]]:
        async def load(buffer: bytearray) -> None:
            assert key not in self.under_way, "two loads of one extent at a time"
            self.under_way.add(key)
            self.loads += 1
            try:
                if pause:
                    await trio.lowlevel.checkpoint()
                if key[0] in self.bad:
                    buffer[:] = b"\xee" * len(buffer)
                    raise ValueError(f"extent {key}")
                buffer[:] = content(key, len(buffer))
            finally:
                self.under_way.discard(key)

        return load


def content(key: tuple[int, int], size: int) -> bytes:
    return bytes(((key[0] * 7 + key[1]) % 251,)) * size


steps = st.lists(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([100, 300, 1000]), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    max_size=25,
)


@given(steps, st.sets(st.integers(0, 9), max_size=3), st.sampled_from([0, 250, 900, 5000]))
def test_random_readers(
    rounds: list[list[tuple[int, int, bool]]], bad: set[int], capacity: int
) -> None:
    """Right bytes, one load at a time, errors not kept, never more bytes than allowed."""

    async def main() -> None:
        cache, source = ExtentCache(capacity), Source()
        source.bad = bad

        async def read(number: int, size: int, pause: bool) -> None:
            key = (number, size)
            try:
                extent = await cache.get(key, size, source.loader(key, pause))
            except ValueError:
                assert number in bad
            else:
                assert number not in bad
                assert bytes(extent) == content(key, size)

        for readers in rounds:
            async with trio.open_nursery() as nursery:
                for reader in readers:
                    nursery.start_soon(read, *reader)
            assert 0 <= cache.used <= capacity
            assert cache.used == sum(len(extent) for extent in cache._extents.values())
            assert cache.used + cache._spare_bytes <= max(capacity, 0)
            assert not cache._loading

    trio.run(main)


def test_one_load_however_many_ask() -> None:
    async def main() -> None:
        cache, source = ExtentCache(1000), Source()
        got: list[bytes] = []

        async def read() -> None:
            got.append(bytes(await cache.get((1, 100), 100, source.loader((1, 100), True))))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(read)
        assert source.loads == 1
        assert got == [content((1, 100), 100)] * 10
        assert (cache.hits, cache.misses) == (9, 1)

    trio.run(main)


def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    async def main() -> None:
        cache, source = ExtentCache(1000), Source()
        source.bad = {1}
        failed = 0

        async def read() -> None:
            nonlocal failed
            with pytest.raises(ValueError, match="extent"):
                await cache.get((1, 100), 100, source.loader((1, 100), True))
            failed += 1

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read)
        assert (failed, source.loads, cache.used) == (5, 1, 0)
        source.bad = set()
        extent = await cache.get((1, 100), 100, source.loader((1, 100), False))
        assert bytes(extent) == content((1, 100), 100)

    trio.run(main)


def test_a_cancelled_load_strands_nobody_and_its_memory_is_not_used_again() -> None:
    async def main() -> None:
        cache, source = ExtentCache(1000), Source()
        abandoned: list[bytearray] = []

        async def hang(buffer: bytearray) -> None:
            abandoned.append(buffer)
            await trio.sleep_forever()

        async def first(scope: trio.CancelScope) -> None:
            with scope:
                await cache.get((1, 100), 100, hang)

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first, scope)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(cache.get, (1, 100), 100, source.loader((1, 100), True))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
        assert source.loads == 1, "who waited loads it instead"
        extent = await cache.get((1, 100), 100, source.loader((1, 100), False))
        assert extent is not abandoned[0]
        assert cache.used == 100

    trio.run(main)


def test_least_recently_used_goes_first_and_memory_is_used_again() -> None:
    async def main() -> None:
        cache, source = ExtentCache(300), Source()

        async def get(number: int) -> bytearray:
            key = (number, 100)
            return await cache.get(key, 100, source.loader(key, False))

        second = None
        for number in (1, 2, 3, 1):
            extent = await get(number)
            second = extent if number == 2 else second
        assert source.loads == 3
        assert await get(4) is second, "2 was the oldest; its memory serves 4"
        assert source.loads == 4
        await get(1)
        await get(3)
        assert source.loads == 4
        await get(2)
        assert source.loads == 5

    trio.run(main)
