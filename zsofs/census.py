"""How many discs there are, folder by folder, also in folders whose listing is forgotten again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from zsofs.entry import Entry, Kind


@dataclass(frozen=True, slots=True)
class Count:
    """What there is in one folder, or in several.

    Attributes:
        discs: files that are shown as discs.
        copying: files that are still being written.
        refused: path and reason of each file that looks like a disc and is shown as it is.
    """

    discs: int = 0
    copying: int = 0
    refused: tuple[tuple[bytes, str], ...] = ()


def count(entries: Iterable[Entry]) -> Count:
    """What there is among *entries*."""
    entries = list(entries)
    return Count(
        sum(entry.disc is not None for entry in entries),
        sum(entry.copying_since is not None for entry in entries),
        tuple(
            (entry.path, entry.reason)
            for entry in entries
            if entry.reason and entry.kind is not Kind.FOLDER
        ),
    )


class Census:
    """Counts by path of the folder."""

    def __init__(self, known_discs: Mapping[bytes, int]) -> None:
        """*known_discs* is what an earlier mount counted; it holds until a folder is looked at."""
        self._counts: dict[bytes, Count] = {}
        self._below: dict[bytes, set[bytes]] = {}
        for path, discs in known_discs.items():
            self._put(path, Count(discs))

    def total(self) -> Count:
        """What there is in all folders."""
        counts = self._counts.values()
        return Count(
            sum(one.discs for one in counts),
            sum(one.copying for one in counts),
            tuple(refused for one in counts for refused in one.refused),
        )

    def take(self, path: bytes, found: Count, folders: Collection[bytes]) -> list[bytes]:
        """Note what there is in the folder *path* now.

        Args:
            path: the folder.
            found: what is in it.
            folders: the paths of all folders in it.

        Returns:
            Paths of folders that were below it and are not any more.
        """
        gone = []
        left = list(self._below.get(path, set()) - set(folders))
        self._below.get(path, set()).difference_update(left)
        while left:
            child = left.pop()
            gone.append(child)
            self._counts.pop(child, None)
            left += self._below.pop(child, ())
        self._put(path, found)
        return gone

    def _put(self, path: bytes, found: Count) -> None:
        self._counts[path] = found
        while path:
            above = path.rpartition(b"/")[0]
            beside = self._below.setdefault(above, set())
            if path in beside:
                break
            beside.add(path)
            path = above
