"""What changed in a folder since the last look at it began."""

from collections.abc import Iterable


class PendingChanges:
    """What the next look at a folder has to see to. For the event loop.

    A look takes these changes when it begins, and the folder gets new ones: what changes from then
    on is for the look after it.

    Attributes:
        everything: whether any entry may have changed.
        names: of the entries that have changed.
        closed: those of them that a writer closed since, or that were renamed to.
        doubted: those of them that have to be looked into, changed or not.
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
        """Any entry may have changed."""
        self.everything = True

    def add(self, name: bytes, *, whole: bool = False) -> None:
        """The entry *name* has changed.

        *whole* says that a writer closed it, or that it was renamed to this name.
        """
        self.names.add(name)
        if whole:
            self.closed.add(name)
        else:
            self.closed.discard(name)

    def add_unsure(self, names: Iterable[bytes]) -> None:
        """These entries are to be looked at again, whether or not they have changed."""
        self.names.update(names)

    def doubt(self, name: bytes) -> None:
        """The file *name* has to be looked into, whether or not it has changed."""
        self.names.add(name)
        self.doubted.add(name)
