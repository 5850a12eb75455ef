"""The journal of what was done through the mount, and a listing may not have seen yet."""

from collections.abc import Collection, Mapping

from zsofs.source.entry import Entry
from zsofs.source.tree import Place


class OwnChanges:
    """What was done through the mount, by place: the entry that is there now, or none.

    A look reads the source in a thread while requests change it, so what it finds may be older. A
    change stays in the journal until something that began after it has been listed, and is applied
    to everything that is listed before that. For the event loop.
    """

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: dict[Place, tuple[Entry | None, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._changes)

    def add(self, place: Place, entry: Entry | None, at: float) -> None:
        """Note that *place* is *entry* since the time *at*, or is deleted."""
        self._changes[place] = entry, at

    def forget_before(self, begun: float) -> None:
        """Drop what is older than *begun*: a listing that began then has it."""
        self._changes = {place: done for place, done in self._changes.items() if done[1] >= begun}

    def applied_to(
        self, entries: Mapping[bytes, Entry], folders: Collection[bytes]
    ) -> Mapping[bytes, Entry]:
        """Return *entries*, by name, after what was done in the directories *folders*.

        What is no disc is shown under its own name, so they may be those of a shown listing.
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
