"""How long the listing of a directory may be used without another scan."""

import math
import time

from zsofs.timings import timings

_PAUSE_FACTOR = 9
"""After a scan, the next one waits this many times its duration, so that a directory in which a
file grows for an hour uses at most a tenth of a CPU. The pause is at most as long as the listing of
a watched directory stays valid."""


class Freshness:
    """Expiry of a listing. All times are of the monotonic clock. For the event loop.

    Attributes:
        elsewhere: whether other machines may change the directory, so that it is polled.
        until: when the listing expires even if no event reports a change.
        rest_until: the earliest start of the next scan.
    """

    __slots__ = ("_poll_seconds", "elsewhere", "rest_until", "until")

    def __init__(self) -> None:
        self.elsewhere = False
        self.until = -math.inf
        self.rest_until = -math.inf
        self._poll_seconds = timings().first_poll

    @property
    def is_over(self) -> bool:
        """Whether the listing has expired, although no change was reported."""
        return time.monotonic() >= self.until

    def renew(self, took: float, *, changed: bool, is_told: bool) -> None:
        """Set the times after a successful scan.

        Args:
            took: its duration in seconds.
            changed: whether its result differs from the previous one.
            is_told: whether events report changes from now on.
        """
        fresh = timings().trust_watched
        if self.elsewhere:
            self._poll_seconds = min(2 * self._poll_seconds, timings().longest_poll)
            if changed:
                self._poll_seconds = timings().first_poll
            fresh = self._poll_seconds
        elif not is_told:
            fresh = timings().trust_unwatched
        now = time.monotonic()
        self.until = now + max(fresh - took, 3 * took)
        self.rest_until = now + min(_PAUSE_FACTOR * took, timings().trust_watched)

    def extend(self) -> None:
        """Extend the previous listing for a short time after a failed scan."""
        self.until = time.monotonic() + timings().trust_unwatched
