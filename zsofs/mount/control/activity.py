"""Types of the control protocol for reads: rates, programs, discs and slow reads.

Requests, each with ``"protocol": 1``:

``{"command": "activity"}``
    An :class:`Activity`: the summary.
``{"command": "discs", "since": 0, "limit": 200}``
    A :class:`DiscPage`: the discs that changed after that revision, in the order of the changes.
    The next request has ``revision`` of the page. Those that were never read are not listed.
``{"command": "disc", "disc": "Okami.zso"}``
    A :class:`DiscDetails`: histograms and map of a disc that was read.
``{"command": "slow-reads", "since": 0, "limit": 200}``
    A :class:`SlowReadPage`, in the same way. A slow read changes when the file of the disc is
    found.

Revisions count from 1 in each process: if ``instance`` of a reply differs from that of the last
one, a client begins again with 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from zsofs.mount.control.mount_status import CacheStatus, PreloadStatus
from zsofs.mount.control.typed_json import decoded, encoded

PROTOCOL = 1
"""Version of these requests and types; new fields do not change it."""

MAX_PAGE = 200
"""The most discs or slow reads of one reply."""

CAUSES = ("memory", "disk", "decode", "queue", "hang")
"""Causes of the duration of a read: where it spent most of its time."""

_STEPS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05)
LATENCY_BOUNDS = (*_STEPS, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of histograms, in seconds; the last bucket has the reads above."""


class Reply:
    """A reply, or a part of one."""

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> Self:
        """Return the reply of a daemon of any version. Never raises."""
        return decoded(cls, found, set())

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for json.dumps."""
        return encoded(self)


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes and reads per second, over the last 1, 10 and 60 seconds."""

    bytes_1s: float = 0.0
    bytes_10s: float = 0.0
    bytes_60s: float = 0.0
    reads_1s: float = 0.0
    reads_10s: float = 0.0
    reads_60s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """Finished reads and their bytes, failed ones, cache lookups and hits, blocks, slow reads."""

    requests: int = 0
    bytes: int = 0
    errors: int = 0
    lookups: int = 0
    hits: int = 0
    blocks: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Reads with one cause: number, total seconds, slow ones, and a histogram (LATENCY_BOUNDS)."""

    cause: str = ""
    reads: int = 0
    seconds: float = 0.0
    slow: int = 0
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReaderActivity:
    """A program that reads or has read, and the seconds since its last read."""

    pid: int = 0
    program: str = ""
    idle_seconds: float = 0.0
    counts: ReadCounts = ReadCounts()
    rates: Rates = Rates()


@dataclass(frozen=True, slots=True)
class DiscActivity(Reply):
    """A disc that was read, by its path in the source, and the seconds since its last read."""

    disc: str = ""
    idle_seconds: float = 0.0
    counts: ReadCounts = ReadCounts()
    rates: Rates = Rates()


@dataclass(frozen=True, slots=True)
class WaitingRead:
    """A read that is not answered yet; offset and size are in bytes."""

    disc: str = ""
    pid: int = 0
    program: str = ""
    offset: int = 0
    size: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DiskActivity:
    """A disk of the source, as ``8:1``, with the number of waiting reads and the longest wait."""

    device: str = ""
    waiting: int = 0
    longest_wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SlowTimes:
    """Times of a slow read: in total, and spent in each step, in seconds."""

    total: float = 0.0
    queue: float = 0.0
    disk: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True, slots=True)
class SlowReadActivity(Reply):
    """A slow read.

    Attributes:
        number: counts up from 1 in each process of a mount.
        time: when it ended, in seconds since 1970.
        disc: path of the file, relative to the source.
        file: path of the file of the disc that has those bytes; empty if there is none or it cannot
            be found, None before zsofs has looked for it.
        offset: in the disc, in bytes.
        size: in bytes.
        pid: the process that opened the file.
        program: its name.
        cause: one of CAUSES.
        failed: whether it failed.
        seconds: its times.
    """

    number: int = 0
    time: float = 0.0
    disc: str = ""
    file: str | None = None
    offset: int = 0
    size: int = 0
    pid: int = 0
    program: str = ""
    cause: str = ""
    failed: bool = False
    seconds: SlowTimes = SlowTimes()


@dataclass(frozen=True, slots=True)
class MountFacts:
    """A mount and its daemon.

    It started at *started*, in seconds since 1970. What is found of its discs is in *cache_folder*.
    """

    mount_point: str = ""
    source: str = ""
    source_state: str = ""
    version: str = ""
    pid: int = 0
    started: float = 0.0
    slow_ms: int = 0
    compressed_discs: int = 0
    plain_discs: int = 0
    counting: bool = False
    cache_folder: str = ""


@dataclass(frozen=True, slots=True)
class MountReads:
    """All reads of a mount, and bytes of each of the last 60 seconds, the oldest first."""

    counts: ReadCounts = ReadCounts()
    rates: Rates = Rates()
    history: tuple[int, ...] = ()
    latency: tuple[Latency, ...] = ()
    cache: CacheStatus = field(default_factory=CacheStatus)
    preload: PreloadStatus = field(default_factory=PreloadStatus)


@dataclass(frozen=True, slots=True)
class Activity(Reply):
    """The summary.

    Attributes:
        protocol: PROTOCOL of the daemon.
        instance: identifies the process of the mount.
        revision: number of the last change.
        time: of the daemon, in seconds since 1970.
        mount: the mount and its daemon.
        reads: all its reads.
        readers: the programs that read last.
        waiting: reads that are not answered yet, the oldest first, with the number of all.
        waiting_total: number of all.
        disks: the disks of the source.
        discs_read: number of discs with counters.
    """

    protocol: int = 0
    instance: str = ""
    revision: int = 0
    time: float = 0.0
    mount: MountFacts = MountFacts()
    reads: MountReads = MountReads()
    readers: tuple[ReaderActivity, ...] = ()
    waiting: tuple[WaitingRead, ...] = ()
    waiting_total: int = 0
    disks: tuple[DiskActivity, ...] = ()
    discs_read: int = 0


@dataclass(frozen=True, slots=True)
class DiscPage(Reply):
    """Discs that changed; ask again with *revision*, at once if there are *more*."""

    protocol: int = 0
    instance: str = ""
    revision: int = 0
    more: bool = False
    discs: tuple[DiscActivity, ...] = ()


@dataclass(frozen=True, slots=True)
class SlowReadPage(Reply):
    """Slow reads that are new or changed; ask again as for discs."""

    protocol: int = 0
    instance: str = ""
    revision: int = 0
    more: bool = False
    slow_reads: tuple[SlowReadActivity, ...] = ()


@dataclass(frozen=True, slots=True)
class DiscDetails(Reply):
    """Histograms of a disc, and for 1,024 equal parts how many seconds ago each was read.

    An age of -1 means that the part was not read. Both are empty if other discs were read since.
    """

    protocol: int = 0
    instance: str = ""
    disc: DiscActivity = DiscActivity()
    latency: tuple[Latency, ...] = ()
    ages: tuple[int, ...] = ()
