"""What is recorded of the starts of a disc, in the scan caches of this user."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime

from zsofs.console.tables import size
from zsofs.preload.boot_trace import BootTrace, InvalidTraceError
from zsofs.source.scan_cache import ScanCache, default_catalog_file


@dataclass(frozen=True, slots=True)
class KnownStart:
    """The boot trace of a disc.

    Attributes:
        starts: how many were merged.
        ranges: parts of the disc that most of them read.
        bytes: of these.
        stored_at: when the last one was stored, in seconds since 1970.
    """

    starts: int
    ranges: int
    bytes: int
    stored_at: int

    def as_object(self) -> dict[str, int]:
        """Return it for ``--json``."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it as a line of ``zsofs info``."""
        starts = f"{self.starts} start{'s' * (self.starts != 1)}"
        last = datetime.fromtimestamp(self.stored_at).astimezone()
        return (
            f"{self.ranges:,} part{'s' * (self.ranges != 1)}, {size(self.bytes)}, of {starts}, the"
            f" last on {last:%Y-%m-%d %H:%M}"
        )


def known_start(path: str) -> KnownStart | None:
    """Return what is recorded of a file by mounts of a directory that it lies in.

    A file of which several discs are shown has the one that was started last.
    """
    real = os.fsencode(os.path.realpath(path))
    status = os.stat(real)
    found = []
    for source in _directories(real):
        file = default_catalog_file(source)
        if file is None or not file.is_file():
            continue
        with closing(ScanCache(file, source)) as catalog:
            for key, stored_at, trace in catalog.boot_traces_of(os.path.relpath(real, source)):
                if (key.size, key.mtime_ns) == (status.st_size, status.st_mtime_ns):
                    found.append((stored_at, trace))
    return _start(*max(found)) if found else None


def _directories(path: bytes) -> Iterator[bytes]:
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _start(stored_at: int, data: bytes) -> KnownStart | None:
    try:
        trace = BootTrace.from_bytes(data)
    except InvalidTraceError:
        return None
    usual = sum(one.is_usual for one in trace.ranges)
    return KnownStart(trace.starts, usual, trace.usual_bytes, stored_at)
