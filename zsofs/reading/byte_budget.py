"""Back-pressure by bytes: a limit of memory in use for a purpose."""

from collections import deque

import trio


class ByteBudget:
    """A pool of bytes; a request for more than is left waits.

    For one event loop. First come, first served, so that a large request is not starved.
    """

    def __init__(self, limit: int) -> None:
        """Create it with *limit* bytes; a larger request gets all of them."""
        self._limit = limit
        self._left = limit
        self._waiting: deque[tuple[int, trio.Event]] = deque()

    def take_now(self, size: int) -> bool:
        """Take *size* bytes, at most the limit, if that needs no waiting; return whether it did."""
        if self._waiting or size > self._left:
            return False
        self._left -= size
        return True

    async def take(self, size: int) -> None:
        """Take *size* bytes; wait until enough are returned."""
        size = min(size, self._limit)
        if self.take_now(size):
            return
        turn = size, trio.Event()
        self._waiting.append(turn)
        try:
            await turn[1].wait()
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._pass_on()  # the next request may be smaller
            else:
                self.give(size)
            raise

    def give(self, size: int) -> None:
        """Return *size* bytes to the pool."""
        self._left = min(self._left + size, self._limit)
        if self._waiting:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._left:
            size, turn = self._waiting.popleft()
            self._left -= size
            turn.set()
