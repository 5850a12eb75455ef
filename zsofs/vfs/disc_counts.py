"""The count of all discs of a source by directory, and whether it is complete."""

import math
import time
from collections.abc import Collection, Mapping

from zsofs.source.disc_state import Count, total
from zsofs.source.roots import is_outside
from zsofs.timings import timings


class DiscCounts:
    """Counts by directory path. For the event loop.

    Only directories that a counted directory contains are counted, starting at the top: one
    that is shown only because of a symlink is not counted twice.
    """

    def __init__(self, known: Mapping[bytes, Count]) -> None:
        """Start a count.

        Args:
            known: counts of an earlier mount, valid until a directory is scanned. Those of
                directories outside the source are not used: a symlink may no longer lead there.
        """
        self._counts: dict[bytes, Count] = {}
        self._numbers = [0, 0, 0]
        self._below: dict[bytes, set[bytes]] = {}
        self._unseen = {b""}
        self._seen: set[bytes] = set()
        self._early: dict[bytes, tuple[Count, Collection[bytes]]] = {}
        self._completed = -math.inf
        self._unlinked = {path for path in known if is_outside(path)}
        for path in known.keys() - self._unlinked:
            self._put(path, known[path])

    @property
    def is_complete(self) -> bool:
        """Whether every known directory has been scanned."""
        return not self._unseen

    @property
    def may_be_old(self) -> bool:
        """Whether unreported changes should be searched for before the count is used."""
        return self.is_complete and time.monotonic() - self._completed > timings().trust_count

    def total(self) -> Count:
        """Return the count of all directories."""
        return total(self._counts.values())

    def folders(self) -> frozenset[bytes]:
        """Return the paths of all counted directories."""
        return frozenset(self._counts)

    def numbers(self) -> tuple[int, int, int]:
        """Return how many discs are compressed, plain, and being copied, in constant time."""
        compressed, plain, copying = self._numbers
        return compressed, plain, copying

    def take(self, path: bytes, found: Count, folders: Collection[bytes]) -> list[bytes]:
        """Record the contents of the directory *path*.

        Args:
            path: the directory.
            found: the count of its files.
            folders: the paths of all directories in it whose discs count, also of those outside
                the source that symlinks in it lead to.

        Returns:
            Paths of directories that are no longer reachable.
        """
        if path not in self._seen and path not in self._unseen:
            self._early[path] = found, folders
            return []
        self._put(path, found)
        before, now = self._below.get(path, set()), set(folders)
        self._below[path] = now
        self._unseen |= now - self._seen
        gone = self._dropped() if before - now else []
        self._see(path)
        for child in self._early.keys() & now:
            gone += self.take(child, *self._early.pop(child))
        if self._unlinked and self.is_complete:  # no symlink leads to these any more
            gone += sorted(self._unlinked - self._seen)
            self._unlinked.clear()
        return gone

    def _dropped(self) -> list[bytes]:
        """Drop unreachable directories; several symlinks may lead to one, or form a cycle."""
        reached: set[bytes] = set()
        todo = [b""]
        while todo:
            path = todo.pop()
            if path not in reached:
                reached.add(path)
                todo += self._below.get(path, ())
        known = self._counts.keys() | self._below.keys() | self._seen | self._unseen
        gone = sorted(known - reached)
        for path in gone:
            self._sum(self._counts.pop(path, None), -1)
            self._below.pop(path, None)
            self._early.pop(path, None)
            self._seen.discard(path)
            self._unseen.discard(path)
        return gone

    def give_up(self, path: bytes) -> None:
        """Keep the previous count of the directory *path*, which cannot be scanned now."""
        if path in self._unseen:
            self._see(path)

    def doubt(self, path: bytes) -> None:
        """Mark the directory *path* for another scan, because it may have changed."""
        if path in self._seen:
            self._unseen.add(path)

    def _see(self, path: bytes) -> None:
        self._seen.add(path)
        self._unseen.discard(path)
        if not self._unseen:
            self._completed = time.monotonic()

    def _put(self, path: bytes, found: Count) -> None:
        self._sum(self._counts.get(path), -1)
        self._sum(found, 1)
        self._counts[path] = found
        while path and not is_outside(path):
            above = path.rpartition(b"/")[0]
            beside = self._below.setdefault(above, set())
            if path in beside:
                break
            beside.add(path)
            path = above

    def _sum(self, count: Count | None, sign: int) -> None:
        if count is not None:
            for place, number in enumerate((count.compressed, count.plain, count.copying)):
                self._numbers[place] += sign * number
