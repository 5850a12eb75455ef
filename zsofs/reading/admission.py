"""Admission control: how many requests may wait for each source device.

A waiting request occupies a task of pyfuse3, and a write holds its data in memory. The totals of
both are limited, so a disk that does not respond must not use up the share of other disks.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from zsofs.errors import DiskBusyError

log = logging.getLogger(__name__)

MAX_REQUESTS = 15 << 10
"""Maximum number of waiting requests for all devices."""

_MAX_BYTES = 512 << 20
"""Maximum bytes of waiting writes for all devices."""


class Admission:
    """Counts waiting requests by device. For the event loop.

    A device may use as much as it leaves to the others: half of the total if no other device uses
    any, a quarter if another one uses its half, and so on. So there is always some capacity left.
    """

    def __init__(self, max_requests: int = MAX_REQUESTS, max_bytes: int = _MAX_BYTES) -> None:
        self._free = max_requests
        self._free_bytes = max_bytes
        self._requests: dict[int, int] = {}
        self._bytes: dict[int, int] = {}
        self._reported: set[int] = set()

    @contextmanager
    def waiting(self, device: int, size: int = 0) -> Iterator[None]:
        """Count a request that may wait for *device* with *size* bytes of data.

        Raises:
            DiskBusyError: too many requests are waiting for it.
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
        """Return whether any request waits for *device*. Thread-safe."""
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
    """Return the number of a device as in lsblk(8) and /proc/self/mountinfo."""
    return f"{os.major(device)}:{os.minor(device)}"
