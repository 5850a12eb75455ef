"""Back-pressure by bytes: how much memory may be in use for something at a time."""

from collections import deque

import trio


class ByteBudget:
    """Bytes that are taken and given back; who wants more than is left waits its turn.

    For one event loop. First come, first served, so that a large wish is not passed over for ever.
    """

    def __init__(self, limit: int) -> None:
        """*limit* is in bytes; a wish for more than that gets all of it."""
        self._limit = limit
        self._left = limit
        self._waiting: deque[tuple[int, trio.Event]] = deque()

    def take_now(self, size: int) -> bool:
        """Take *size* bytes, at most the limit, if that takes no waiting; return whether it did."""
        if self._waiting or size > self._left:
            return False
        self._left -= size
        return True

    async def take(self, size: int) -> None:
        """Take *size* bytes; waits until others have given back enough of theirs."""
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
                self._pass_on()  # who waits behind may want less
            else:
                self.give(size)
            raise

    def give(self, size: int) -> None:
        """Give back *size* bytes that were taken."""
        self._left = min(self._left + size, self._limit)
        if self._waiting:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._left:
            size, turn = self._waiting.popleft()
            self._left -= size
            turn.set()
