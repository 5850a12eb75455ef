"""How many discs there are, folder by folder, also in folders whose listing is forgotten again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from zsofs.entry import Entry, Kind
from zsofs.roots import is_outside


@dataclass(frozen=True, slots=True)
class Count:
    """What there is in one folder, or in several.

    Attributes:
        discs: files that are shown as discs.
        copying: files that are still being written.
        refused: path and reason of each file that looks like a disc and is shown as it is.
        links: path and reason of each symlink that may lead to discs and is not followed.
    """

    discs: int = 0
    copying: int = 0
    refused: tuple[tuple[bytes, str], ...] = ()
    links: tuple[tuple[bytes, str], ...] = ()


def count(entries: Iterable[Entry]) -> Count:
    """What there is among *entries*."""
    entries = list(entries)
    return Count(
        sum(entry.disc is not None for entry in entries),
        sum(entry.copying_since is not None for entry in entries),
        _reasons(entry for entry in entries if entry.kind not in (Kind.FOLDER, Kind.LINK)),
        _reasons(entry for entry in entries if entry.kind is Kind.LINK),
    )


def _reasons(entries: Iterable[Entry]) -> tuple[tuple[bytes, str], ...]:
    return tuple((entry.path, entry.reason) for entry in entries if entry.reason)


class Census:
    """Counts by path of the folder."""

    def __init__(self, known_discs: Mapping[bytes, int]) -> None:
        """*known_discs* is what an earlier mount counted; it holds until a folder is looked at."""
        self._counts: dict[bytes, Count] = {}
        self._below: dict[bytes, set[bytes]] = {}
        for path, discs in known_discs.items():
            if not is_outside(path):  # this mount may not follow the symlinks that lead there
                self._put(path, Count(discs))

    def total(self) -> Count:
        """What there is in all folders."""
        counts = self._counts.values()
        return Count(
            sum(one.discs for one in counts),
            sum(one.copying for one in counts),
            tuple(refused for one in counts for refused in one.refused),
            tuple(link for one in counts for link in one.links),
        )

    def take(self, path: bytes, found: Count, folders: Collection[bytes]) -> list[bytes]:
        """Note what there is in the folder *path* now.

        Args:
            path: the folder.
            found: what is in it.
            folders: the paths of all folders in it, also of those outside the source that
                symlinks in it lead to.

        Returns:
            Paths of folders that nothing leads to any more.
        """
        self._put(path, found)
        before, now = self._below.get(path, set()), set(folders)
        self._below[path] = now
        return self._dropped() if before - now else []

    def _dropped(self) -> list[bytes]:
        """Forget folders that nothing leads to; several symlinks, or a ring, may lead to one."""
        reached: set[bytes] = set()
        todo = [b""]
        while todo:
            path = todo.pop()
            if path not in reached:
                reached.add(path)
                todo += self._below.get(path, ())
        gone = sorted((self._counts.keys() | self._below.keys()) - reached)
        for path in gone:
            self._counts.pop(path, None)
            self._below.pop(path, None)
        return gone

    def _put(self, path: bytes, found: Count) -> None:
        self._counts[path] = found
        while path and not is_outside(path):
            above = path.rpartition(b"/")[0]
            beside = self._below.setdefault(above, set())
            if path in beside:
                break
            beside.add(path)
            path = above
