"""What a scan of a directory is given, and what it returns."""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zsofs.source.entry import Entry


@dataclass(frozen=True, slots=True)
class ScanHints:
    """What is known of a directory from before.

    Attributes:
        entries: what an earlier survey found; None if there was none.
        place: st_dev and st_ino of the directory then.
        names: the only names that may have changed since; None if any may have.
        closed: names that a writer closed since, or that were renamed to: they are whole.
        doubted: names of files in which something else turned out to be than was found, so that
            they are looked into although they have not changed.
        at: when that was, by the monotonic clock; a thread may come to the survey later.
    """

    entries: Mapping[bytes, Entry] | None = None
    place: tuple[int, int] = (0, 0)
    names: Collection[bytes] | None = None
    closed: Collection[bytes] = frozenset()
    doubted: Collection[bytes] = frozenset()
    at: float = math.inf


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a survey found.

    Attributes:
        begun: what is older than this, by the monotonic clock, it has seen.
        took: how many seconds the survey took.
        status: what stat says of the directory itself.
        entries: what is in it, by name in the source.
        has_links: whether symlinks in it lead to what changes unseen.
        unsure: names to be looked at again before long: of files that are still being written, and
            of what the file system would say nothing of.
    """

    begun: float
    took: float
    status: os.stat_result
    entries: Mapping[bytes, Entry]
    has_links: bool
    unsure: tuple[bytes, ...]
