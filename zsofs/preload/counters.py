"""What reading ahead by boot traces did."""

from dataclasses import dataclass


@dataclass(slots=True)
class PreloadCounters:
    """Counters of a mount.

    Attributes:
        starts: handles that followed a trace.
        requests: of the source.
        fetched: bytes of the source that were read ahead.
        used: bytes of these that were read afterwards.
        wasted: bytes of these that were not read until their handle was closed.
        traces: stored starts.
    """

    starts: int = 0
    requests: int = 0
    fetched: int = 0
    used: int = 0
    wasted: int = 0
    traces: int = 0
