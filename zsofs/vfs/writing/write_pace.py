"""Pace of writes to new discs while programs read discs from the same disk."""

from collections.abc import Callable

import trio

RATE = 110_000_000
"""Bytes a second: as fast as gigabit Ethernet carries, so that a copy over it is not held up."""

_LATE = 0.05
"""Seconds that a write may be late without delaying the next ones: a program with one write of
128 KiB in flight got 30 to 60 MB/s otherwise, because the timers of the event loop have a
resolution of milliseconds."""

_LONGEST = 1.0
"""Seconds that a write waits at most. If a hundred programs or more send data at once, the rest is
written at once: waiting writes count as those of a disk that does not answer, and further ones fail
(`reading/admission.py`)."""


class WritePace:
    """Delays writes to disks that are read, so that games do not wait for them. For the event loop.

    A disk serves reads last while it has gigabytes to write.
    """

    def __init__(self, is_read: Callable[[int], bool]) -> None:
        """Create it; *is_read*: whether programs read from the disk of a device just now."""
        self._is_read = is_read
        self._begins: dict[int, float] = {}

    async def wait(self, device: int, size: int) -> None:
        """Wait until a write of *size* bytes to *device* may begin; at once if nobody reads.

        The wait is bounded, whatever the reads do.
        """
        if not self._is_read(device):
            self._begins.pop(device, None)
            return
        now = trio.current_time()
        begins = max(now - _LATE, self._begins.get(device, now))
        if begins > now + _LONGEST:
            return
        self._begins[device] = begins + size / RATE
        await trio.sleep_until(begins)
