"""Byte-bounded LRU cache of decoded extents with single-flight loading.

For one event loop, without locks. It returns views of memory that it will reuse: each is valid
until the caller next awaits.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

import trio


class _Loading:
    """A load in progress, and its waiters."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: Exception | None = None
        self.passed_on: bytearray | None = None


class ExtentCache:
    """Extents by key, in total at most *capacity* bytes.

    Buffers of evicted extents are reused rather than allocated again: fresh pages cost 20 to 30
    microseconds per 128 KiB, as much as decoding them.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._extents: OrderedDict[Hashable, bytearray] = OrderedDict()
        self._spare: dict[int, list[bytearray]] = {}
        self._spare_bytes = 0
        self._loading: dict[Hashable, _Loading] = {}

    async def get(
        self,
        key: Hashable,
        size: int,
        load: Callable[[bytearray], Awaitable[None]],
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> bytearray:
        """Return the extent *key*, loading it if necessary; valid until the caller next awaits.

        Args:
            key: identifies content and extent.
            size: its length in bytes, the same for each call with this key.
            load: fills a buffer of *size* bytes; called once for concurrent requests. Its exception
                is raised for all of them and not cached.
            admit: waits until a buffer may be allocated.

        Raises:
            MemoryError: no memory is available.
        """
        while True:
            extent = self._extents.get(key)
            if extent is not None:
                self._extents.move_to_end(key)
                self.hits += 1
                return extent
            loading = self._loading.get(key)
            if loading is None:
                return await self._load(key, size, load, admit)
            await loading.done.wait()
            if loading.error is not None:
                raise loading.error
            if loading.passed_on is not None:
                self.hits += 1
                return loading.passed_on

    def clear(self) -> None:
        """Drop all extents and their memory; loads in progress continue."""
        for extent in self._extents.values():
            self.used -= len(extent)
        self._extents.clear()
        self._spare.clear()
        self._spare_bytes = 0

    async def _load(
        self,
        key: Hashable,
        size: int,
        load: Callable[[bytearray], Awaitable[None]],
        admit: Callable[[], Awaitable[None]] | None,
    ) -> bytearray:
        self.misses += 1
        loading = self._loading[key] = _Loading()
        buffer: bytearray | None = None
        try:
            if admit is not None:
                await admit()
            buffer = self._take(size)
            await load(buffer)
        except Exception as error:
            loading.error = error
            if buffer is not None:
                self._give_back(buffer)
            raise
        except BaseException:
            # Cancelled: a thread may still write to the buffer, so it must not be reused.
            if buffer is not None:
                self.used -= size
            raise
        finally:
            del self._loading[key]
            loading.done.set()
        if self.used <= self.capacity:
            self._extents[key] = buffer
        else:  # larger than the cache, or all others are being loaded
            self.used -= size
            loading.passed_on = buffer
        return buffer

    def _take(self, size: int) -> bytearray:
        """Return a buffer of *size* bytes, counted in ``used``; evict older extents for it."""
        while self.used + size > self.capacity and self._extents:
            _, dropped = self._extents.popitem(last=False)
            self._give_back(dropped)
        spare = self._spare.get(size)
        if spare:
            self._spare_bytes -= size
            buffer = spare.pop()
        else:
            if self.used + size + self._spare_bytes > self.capacity:
                self._spare.clear()
                self._spare_bytes = 0
            buffer = bytearray(size)
        self.used += size
        return buffer

    def _give_back(self, buffer: bytearray) -> None:
        self.used -= len(buffer)
        if self.used + self._spare_bytes + len(buffer) <= self.capacity:
            self._spare.setdefault(len(buffer), []).append(buffer)
            self._spare_bytes += len(buffer)
