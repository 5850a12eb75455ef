"""How long the listing of a folder may be used without another look."""

import math
import time

from zsofs.timings import timings

_PAUSE_FACTOR = 9
"""A look that took long is followed by a pause of so many times as long, so that a folder in which
a file grows for an hour costs a tenth of a processor at most; no pause is longer than
a listing of a watched folder is believed."""


class Freshness:
    """The age of a listing. All times are those of the monotonic clock. For the event loop.

    Attributes:
        elsewhere: whether other machines may change the folder, so that it is polled.
        until: when the listing has to be renewed, whatever is told.
        rest_until: when the next look may begin.
    """

    __slots__ = ("_poll_seconds", "elsewhere", "rest_until", "until")

    def __init__(self) -> None:
        self.elsewhere = False
        self.until = -math.inf
        self.rest_until = -math.inf
        self._poll_seconds = timings().first_poll

    @property
    def is_over(self) -> bool:
        """Whether the listing is too old to be used, though no change was told."""
        return time.monotonic() >= self.until

    def renew(self, took: float, *, changed: bool, is_told: bool) -> None:
        """A look has ended.

        Args:
            took: how many seconds it took.
            changed: whether it found anything else than the one before.
            is_told: whether what changes from now on will be told.
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
        """A look has failed: the last listing has to do for a moment."""
        self.until = time.monotonic() + timings().trust_unwatched
