"""A disk that behaves like a hard disk: one file by FUSE, whose reads wait for arm and platter.

Run it as ``python -m bench.spinning_disk IMAGE POINT``: it shows the bytes of IMAGE as
``POINT/disk``, its counters as ``POINT/counters``, and its last requests as ``POINT/requests``.
SIGUSR1 puts the disk to sleep.
``python -m bench.spinning_disk --check`` compares the model with published figures.

A block device over that file (``losetup --direct-io=on``) is what the kernel's own file systems can
be mounted from. Requests are answered in their order, one at a time.
"""

import errno
import json
import math
import os
import random
import signal
import stat
import statistics
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from itertools import pairwise

import pyfuse3
import trio

_DISK, _COUNTERS, _REQUESTS = 2, 3, 4
"""Inode numbers of the files."""

CAPACITY = 500_000_000_000
PLACE = CAPACITY // 3
"""Where on the disk the image begins, in bytes."""

RATE = 120e6
"""Bytes per second that pass under the head."""

TURN = 60 / 7200
NEXT_TRACK, FULL_STROKE = 0.001, 0.015
SPIN_UP = 6.0

BUFFER = 1 << 20
"""Bytes that the drive itself reads ahead while nothing is requested."""

INTERFACE = 300e6
"""Bytes per second out of that buffer."""

_KEPT_REQUESTS = 20_000

PUBLISHED = {
    "average seek (ms)": (8.2, 0.5),
    "average latency (ms)": (4.16, 0.1),
    "random reads of 4 KiB per second": (1000 / (8.2 + 4.16), 3.0),
    "sequential (MB/s)": (RATE / 1e6, 2.0),
}
"""Of a drive with 7200 rpm, each with the difference that the model may have: the HGST Ultrastar
7K4000 specification, section 4.4.1, has 8.2 ms for the average seek to read, and 4.16 ms are half a
turn. The rate is that of an older drive."""


def seek(distance: int) -> float:
    """Seconds to move the arm over so many bytes: by the square root, which gives 8.5 ms on
    average between two random places."""
    if not distance:
        return 0.0
    return NEXT_TRACK + (FULL_STROKE - NEXT_TRACK) * math.sqrt(distance / CAPACITY)


@dataclass
class Counters:
    """What the disk did: requests, bytes, seeks, seconds at work, and spin-ups."""

    requests: int = 0
    bytes: int = 0
    seeks: int = 0
    busy: float = 0.0
    spin_ups: int = 0


class Disk:
    """The times of a disk; it does not know what is on it.

    Attributes:
        counters: what it did.
        requests: the last ones: when they began and ended, in seconds of the caller's clock, their
            offset and their size in bytes.
    """

    def __init__(self) -> None:
        self.counters = Counters()
        self.asleep = False
        self._arm = PLACE
        self._segment = PLACE
        self._free_at = 0.0
        self.requests: deque[tuple[float, float, int, int]] = deque(maxlen=_KEPT_REQUESTS)

    def done_at(self, offset: int, size: int, now: float) -> float:
        """Return when a read that is requested *now* ends, in seconds of the same clock."""
        begin = max(now, self._free_at)
        idle = begin - self._free_at
        at = begin
        if self.asleep:
            self.asleep = False
            self.counters.spin_ups += 1
            at += SPIN_UP
            self._segment = self._arm = -1
        place = PLACE + offset
        ahead = min(self._arm + int(idle * RATE), self._segment + BUFFER, self._arm + BUFFER)
        if self._segment <= place <= ahead + RATE * TURN / 8:
            at += max(size / INTERFACE, (place + size - ahead) / RATE)
        else:
            self.counters.seeks += 1
            at += seek(abs(place - self._arm))
            at += (place / RATE - at) % TURN
            at += size / RATE
            self._segment = place
        self._arm = max(place + size, ahead if place + size < ahead else 0)
        self._free_at = at
        self.counters.requests += 1
        self.counters.bytes += size
        self.counters.busy += at - begin
        self.requests.append((begin, at, offset, size))
        return at


class _Files(pyfuse3.Operations):
    def __init__(self, image: int, disk: Disk) -> None:
        super().__init__()
        self._image = image
        self._disk = disk
        self._text = b""

    async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        is_root = inode == pyfuse3.ROOT_INODE
        entry.st_mode = stat.S_IFDIR | 0o755 if is_root else stat.S_IFREG | 0o444
        entry.st_size = os.fstat(self._image).st_size if inode == _DISK else 4096
        return entry

    async def lookup(self, parent: int, name: bytes, ctx: object = None) -> pyfuse3.EntryAttributes:
        numbers = {b"disk": _DISK, b"counters": _COUNTERS, b"requests": _REQUESTS}
        if name not in numbers:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(numbers[name])

    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=inode, direct_io=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        if fh == _COUNTERS:
            return json.dumps(asdict(self._disk.counters)).encode()[off : off + size]
        if fh == _REQUESTS:
            if not off:  # one text for a reader that needs several reads
                self._text = json.dumps(list(self._disk.requests)).encode()
            return self._text[off : off + size]
        data = os.pread(self._image, size, off)
        done_at = self._disk.done_at(off, size, time.monotonic())
        # It blocks everything: there is one arm.
        time.sleep(max(done_at - time.monotonic(), 0))  # noqa: ASYNC251
        return data


def serve(image: str, point: str) -> None:
    disk = Disk()
    signal.signal(signal.SIGUSR1, lambda *_: setattr(disk, "asleep", True))
    fd = os.open(image, os.O_RDONLY)
    options = set(pyfuse3.default_options) | {"fsname=spinning-disk", "ro"}
    pyfuse3.init(_Files(fd, disk), point, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


def _check() -> int:
    """Compare the model with :data:`PUBLISHED`, by reads on a clock of its own."""
    numbers = random.Random(1)
    size = 4096
    places = [numbers.randrange(CAPACITY // size) * size - PLACE for _ in range(20_000)]
    seeks = [seek(abs(a - b)) for a, b in pairwise(places)]
    disk, now = Disk(), 0.0
    for place in places:
        now = disk.done_at(place, size, now)
    took = now / len(places)
    latency = took - statistics.mean(seeks) - size / RATE
    disk, begun = Disk(), now
    for place in range(0, 1 << 30, 1 << 17):
        now = disk.done_at(place, 1 << 17, now)
    found = {
        "average seek (ms)": statistics.mean(seeks) * 1e3,
        "average latency (ms)": latency * 1e3,
        "random reads of 4 KiB per second": 1 / took,
        "sequential (MB/s)": (1 << 30) / (now - begun) / 1e6,
    }
    differs = 0
    for name, (wanted, may_differ) in PUBLISHED.items():
        differs += abs(found[name] - wanted) > may_differ
        print(f"{name}: {found[name]:.2f}, published {wanted}")
    return int(differs > 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(_check())
    serve(*sys.argv[1:])
