"""Assigned names in the OPL layout: a disc keeps its name when others are added.

OPL and its users refer to names (favorites, settings by name in old versions, the list of a
running console), so a disc that is added later never takes the name of another one.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

Given = tuple[str, str]
"""The name that a disc should have, and the one assigned to it."""

_MOST_GONE = 10_000
"""Maximum number of names kept for missing discs, for when they return."""


class NameStore(Protocol):
    """Storage of the names for the next mount."""

    def opl_names(self) -> dict[bytes, Given]:
        """Return the names by path in the source."""

    def keep_opl_names(self, given: Mapping[bytes, Given], gone: Iterable[bytes]) -> None:
        """Store the names *given*, and delete those of the paths *gone*."""


class GivenNames:
    """The names assigned so far, by source path; for one thread.

    Attributes:
        known: the name wanted and the name given, by path in the source.
    """

    def __init__(self, store: NameStore) -> None:
        self.known = store.opl_names()

    def take(self, names: Mapping[bytes, Given]) -> tuple[dict[bytes, Given], list[bytes]]:
        """Record the present names of all discs.

        A missing disc keeps its name until another disc gets it.

        Returns:
            The new names, and the paths of dropped names, for :class:`NameStore`.
        """
        new = {path: given for path, given in names.items() if self.known.get(path) != given}
        taken = {given[1].casefold() for given in names.values()}
        absent = [path for path in self.known if path not in names]
        gone = [path for path in absent if self.known[path][1].casefold() in taken]
        excess = len(absent) - len(gone) - _MOST_GONE
        if excess > 0:
            gone += [path for path in absent if path not in set(gone)][:excess]
        self.known = {**self.known, **new}  # a thread may be reading the previous dict
        for path in gone:
            del self.known[path]
        return new, gone
