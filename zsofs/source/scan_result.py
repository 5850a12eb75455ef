"""Input and result of a scan of a directory."""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zsofs.source.entry import Entry


@dataclass(frozen=True, slots=True)
class ScanHints:
    """Results of the last scan of a directory, and changes since.

    Attributes:
        entries: entries of the last scan; None before the first.
        place: st_dev and st_ino of the directory then.
        names: the only names that may have changed since; None if any may have.
        closed: names that are no longer being written: closed by a writer, or renamed to.
        doubted: names of files whose finding proved wrong, so that they are inspected again even
            if unchanged.
        at: time of these hints, by the monotonic clock; the scan may start later.
    """

    entries: Mapping[bytes, Entry] | None = None
    place: tuple[int, int] = (0, 0)
    names: Collection[bytes] | None = None
    closed: Collection[bytes] = frozenset()
    doubted: Collection[bytes] = frozenset()
    at: float = math.inf


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Result of a scan.

    Attributes:
        begun: start by the monotonic clock; the result contains all earlier changes.
        took: duration in seconds.
        status: status of the directory itself.
        entries: its entries, by name in the source.
        has_links: whether targets of symlinks in it may change without an event.
        unsure: names to be scanned again soon: files that are still being written, and names
            whose stat call failed.
    """

    begun: float
    took: float
    status: os.stat_result
    entries: Mapping[bytes, Entry]
    has_links: bool
    unsure: tuple[bytes, ...]
