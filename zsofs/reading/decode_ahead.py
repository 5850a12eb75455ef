"""Decoding ahead of sequential readers of large hunks of a slow codec, LZMA.

The kernel reads ahead as well, and small hunks of one request are shared among all cores. But a
hunk that is larger than a request keeps one core busy, and the reader waits for it: 1 MiB of LZMA
takes 20 ms. So the hunks that follow are decoded into the cache by tasks of their own.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from zsofs.errors import ZsofsError
from zsofs.images.open_image import Content
from zsofs.reading.tasks import in_background

_SMALLEST = 128 << 10
"""Bytes of the smallest hunk that is decoded ahead: the kernel's usual request. With hunks of 4 KiB
and those of CDs, two cores reached 1.8 times the rate of one without this, and 1.5 to 1.7 with it;
with hunks of 1 MiB, 0.9 times without it, and 1.7 with it."""

_SEQUENTIAL = 256 << 10
"""Bytes that are read in order before anything is decoded ahead."""

_NEAR = 1 << 20
"""How far from the end of the last read the next one may begin: the kernel's requests overtake each
other."""

_MOST_AHEAD = 4 << 20
"""Bytes that are decoded ahead at most: 80 ms of LZMA on one core. It is not more than a quarter of
the cache, and not more than was read in order so far."""


@dataclass(slots=True)
class _Stream:
    """The reads of one open file.

    Attributes:
        end: where the last one ended, in bytes.
        run: bytes that were read in order.
        taken: number of the first extent that no task has taken yet.
        upto: number of the extent before which the tasks end.
        tasks: number of tasks.
        idle: set when a closed stream has no task any more.
    """

    end: int = 0
    run: int = 0
    taken: int = 0
    upto: int = 0
    tasks: int = 0
    idle: trio.Event | None = None

    def note(self, offset: int, end: int) -> None:
        """Note a read; one that begins elsewhere ends the run."""
        if abs(offset - self.end) <= _NEAR:
            self.run += max(end - self.end, 0)
            self.end = max(end, self.end)
        else:
            self.stop()
            self.run = end - offset
            self.end = end

    def stop(self) -> None:
        """Let all tasks end after their extent."""
        self.run = self.taken = self.upto = 0

    def take(self) -> int | None:
        """The number of the next extent to be decoded, if any."""
        if self.taken >= self.upto:
            return None
        self.taken += 1
        return self.taken - 1


@dataclass(slots=True)
class DecodeAhead:
    """Selects extents to decode ahead, and starts the tasks that decode them. For the event loop.

    Args:
        capacity: of the cache, in bytes.
        threads: of a disk; one of them is left to other reads.
        load: decodes an extent into the cache, ``load(content, number)``.
    """

    capacity: int
    threads: int
    load: Callable[[Content, int], Awaitable[object]]
    _streams: dict[Content, _Stream] = field(default_factory=dict)
    _busy: dict[int, int] = field(default_factory=dict)

    def follow(self, content: Content, offset: int, end: int) -> bool:
        """Note a read of a slow content, and decode what follows it.

        Returns:
            Whether the read is to be answered from the cache, since its extents are or will be
            there; False if it belongs to no sequential reading.
        """
        size = content.extent_size
        if size < _SMALLEST or 4 * size > self.capacity:
            return False
        stream = self._streams.get(content)
        if stream is None:
            stream = self._streams[content] = _Stream()
        stream.note(offset, end)
        if stream.run < _SEQUENTIAL:
            return False
        window = min(stream.run, _MOST_AHEAD, self.capacity // 4)
        following = -(-stream.end // size)
        stream.taken = max(stream.taken, following)
        stream.upto = min(following + max(window // size, 1), -(-content.size // size))
        self._start(content, stream)
        return True

    def _start(self, content: Content, stream: _Stream) -> None:
        # One job more than there are cores, so that none waits for the event loop.
        most = max(min(len(os.sched_getaffinity(0)) + 1, self.threads - 1), 1)
        device = content.device
        for _ in range(min(stream.upto - stream.taken, most - self._busy.get(device, 0))):
            stream.tasks += 1
            self._busy[device] = self._busy.get(device, 0) + 1
            trio.lowlevel.spawn_system_task(in_background, self._work, content, stream)

    async def _work(self, content: Content, stream: _Stream) -> None:
        try:
            while (number := stream.take()) is not None:
                await self.load(content, number)
        except (ZsofsError, OSError, MemoryError):
            stream.stop()  # the reader has the same error, if it ever gets there
        finally:
            stream.tasks -= 1
            self._busy[content.device] -= 1
            if not self._busy[content.device]:
                del self._busy[content.device]
            if stream.idle is not None and not stream.tasks:
                stream.idle.set()

    async def finish(self, content: Content) -> None:
        """Decode no more of *content*, and wait until nothing of it is being decoded ahead."""
        stream = self._streams.pop(content, None)
        if stream is None:
            return
        stream.stop()
        if stream.tasks:
            stream.idle = trio.Event()
            await stream.idle.wait()
