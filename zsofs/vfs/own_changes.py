"""Journal of changes made through the mount that listings may not contain yet."""

from collections.abc import Collection, Mapping

from zsofs.source.entry import Entry
from zsofs.source.tree import Place


class OwnChanges:
    """Changes made through the mount, by place: the entry that is there now, or None.

    A scan reads the source in a thread while requests change it, so its result may be older than a
    change. A change stays in the journal until a scan that began after it has ended, and is applied
    to the result of every earlier one. For the event loop.
    """

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: dict[Place, tuple[Entry | None, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._changes)

    def add(self, place: Place, entry: Entry | None, at: float) -> None:
        """Record that *place* is *entry* since the time *at*; None: deleted."""
        self._changes[place] = entry, at

    def forget_before(self, begun: float) -> None:
        """Drop the changes older than *begun*: a scan that began then contains them."""
        self._changes = {place: done for place, done in self._changes.items() if done[1] >= begun}

    def applied_to(
        self, entries: Mapping[bytes, Entry], folders: Collection[bytes]
    ) -> Mapping[bytes, Entry]:
        """Return *entries*, by name, with the changes in the directories *folders* applied.

        The names may be shown names: a file that is not a disc is shown under its own name.
        """
        changed = dict(entries)
        for place, (entry, _) in self._changes.items():
            if place.folder not in folders:
                continue
            if entry is None:
                changed.pop(place.name, None)
            else:
                changed[place.name] = entry
        return changed
