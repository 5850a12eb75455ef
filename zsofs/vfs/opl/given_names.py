"""The names that discs were given in the OPL layout: a disc keeps its name when others come.

OPL and its users go by names (favorites, settings by name in old versions, the list on a console
that is on), so a disc that is added later never takes the name of one that has it.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

Given = tuple[str, str]
"""The name that a disc wants, and the one that it was given."""

_MOST_GONE = 10_000
"""Names that are kept for discs that are not there now, so that they have them when they return."""


class NameStore(Protocol):
    """Where the names are kept for the next mount."""

    def opl_names(self) -> dict[bytes, Given]:
        """Return the names by path in the source."""

    def keep_opl_names(self, given: Mapping[bytes, Given], gone: Iterable[bytes]) -> None:
        """Keep the names *given*, and drop those of the paths *gone*."""


class GivenNames:
    """The names given so far, by path in the source; for one thread.

    Attributes:
        known: the name wanted and the name given, by path in the source.
    """

    def __init__(self, store: NameStore) -> None:
        self.known = store.opl_names()

    def take(self, names: Mapping[bytes, Given]) -> tuple[dict[bytes, Given], list[bytes]]:
        """Take the names that all discs have now.

        A disc that is not there keeps its name in mind until another disc has got it.

        Returns:
            What is new, and the paths whose names are dropped, for :class:`NameStore`.
        """
        new = {path: given for path, given in names.items() if self.known.get(path) != given}
        taken = {given[1].casefold() for given in names.values()}
        absent = [path for path in self.known if path not in names]
        gone = [path for path in absent if self.known[path][1].casefold() in taken]
        excess = len(absent) - len(gone) - _MOST_GONE
        if excess > 0:
            gone += [path for path in absent if path not in set(gone)][:excess]
        self.known = {**self.known, **new}  # a thread may read the one before
        for path in gone:
            del self.known[path]
        return new, gone
