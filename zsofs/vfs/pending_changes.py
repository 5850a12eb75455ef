"""Changes in a directory since its last scan began."""

from collections.abc import Iterable


class PendingChanges:
    """Changes for the next scan of a directory. For the event loop.

    A scan takes this object when it begins; later changes are collected in a new one.

    Attributes:
        everything: whether any entry may have changed.
        names: the changed entries.
        closed: those of them that are no longer being written (closed, or renamed to this name).
        doubted: those of them that have to be inspected even if unchanged.
    """

    __slots__ = ("closed", "doubted", "everything", "names")

    def __init__(self, *, everything: bool) -> None:
        self.everything = everything
        self.names: set[bytes] = set()
        self.closed: set[bytes] = set()
        self.doubted: set[bytes] = set()

    def __bool__(self) -> bool:
        return self.everything or bool(self.names)

    def add_all(self) -> None:
        """Record that any entry may have changed."""
        self.everything = True

    def add(self, name: bytes, *, whole: bool = False) -> None:
        """Record that the entry *name* has changed.

        *whole*: whether a writer closed it, or it was renamed to this name.
        """
        self.names.add(name)
        if whole:
            self.closed.add(name)
        else:
            self.closed.discard(name)

    def add_unsure(self, names: Iterable[bytes]) -> None:
        """Require a scan of these entries, even if unchanged."""
        self.names.update(names)

    def doubt(self, name: bytes) -> None:
        """Require an inspection of the file *name*, even if unchanged."""
        self.names.add(name)
        self.doubted.add(name)
