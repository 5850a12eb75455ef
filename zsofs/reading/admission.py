"""Admission control: how many requests may wait for each source device.

A request that waits has a task of pyfuse3's, and a write has its data in memory. Both are bounded
in all, so a disk that does not answer must not use up what requests to other disks need.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from zsofs.errors import DiskBusyError

log = logging.getLogger(__name__)

MAX_REQUESTS = 15 << 10
"""Requests that may wait at a time, for all devices together."""

_MAX_BYTES = 512 << 20
"""Bytes of writes that may wait at a time, for all devices together."""


class Admission:
    """Counts the requests that wait, by device. For the event loop.

    One device may have as many as it leaves to the others: half of them all if no other device has
    any, a quarter if one other device has its half, and so on. So there is always some room.
    """

    def __init__(self, max_requests: int = MAX_REQUESTS, max_bytes: int = _MAX_BYTES) -> None:
        self._free = max_requests
        self._free_bytes = max_bytes
        self._requests: dict[int, int] = {}
        self._bytes: dict[int, int] = {}
        self._reported: set[int] = set()

    @contextmanager
    def waiting(self, device: int, size: int = 0) -> Iterator[None]:
        """Count a request that may wait for *device* and holds *size* bytes.

        Raises:
            DiskBusyError: too many wait for it.
        """
        count, held = self._requests.get(device, 0), self._bytes.get(device, 0)
        if count >= self._free or held + size > self._free_bytes:
            self._report(device, count, held)
            raise DiskBusyError(f"{count} requests are waiting for device {_name(device)}")
        self._count(device, 1, size)
        try:
            yield
        finally:
            self._count(device, -1, -size)

    def is_waited_for(self, device: int) -> bool:
        """Whether any request waits for *device*. Any thread may ask."""
        return device in self._requests

    def _count(self, device: int, requests: int, size: int) -> None:
        self._free -= requests
        self._free_bytes -= size
        self._requests[device] = self._requests.get(device, 0) + requests
        self._bytes[device] = self._bytes.get(device, 0) + size
        if not self._requests[device]:
            del self._requests[device], self._bytes[device]
            self._reported.discard(device)

    def _report(self, device: int, count: int, held: int) -> None:
        if device not in self._reported:
            self._reported.add(device)
            log.warning(
                "device %s does not answer: %d requests with %d MiB to write are waiting for"
                " it, and further ones fail; check the disk",
                _name(device),
                count,
                held >> 20,
            )


def _name(device: int) -> str:
    """The number of a device as lsblk(8) and /proc/self/mountinfo show it."""
    return f"{os.major(device)}:{os.minor(device)}"
