"""Nodes: the files and directories behind inode numbers."""

import itertools
import math

from zsofs.console.text import for_people
from zsofs.source.entry import Entry
from zsofs.system.file_watch import FileWatch

_serials = itertools.count()


class Node:
    """A file or directory of the mount.

    Attributes:
        number: the inode number.
        entry: its entry in the source.
        serial: a unique number that is never reused.
        parent: the directory that lists it, or did.
        lookups: lookup count of the kernel.
        listed: whether it is in the listing of a directory.
        attributes: cached attributes for the kernel; None after a change.
        known_at: time of the last status seen through the mount, by the monotonic clock; scans that
            started earlier are older.
        removed: whether it was deleted through the mount, but is still open.
        watch: reports writes to the file since it was first opened; None until then, while no
            cache has bytes of it.
    """

    __slots__ = (
        "attributes",
        "entry",
        "known_at",
        "listed",
        "lookups",
        "number",
        "parent",
        "removed",
        "serial",
        "watch",
    )

    def __init__(self, number: int, entry: Entry, parent: "Folder | None") -> None:
        self.number = number
        self.entry = entry
        self.serial = next(_serials)
        self.parent = parent
        self.lookups = 0
        self.listed = False
        self.attributes: object = None
        self.known_at = -math.inf
        self.removed = False
        self.watch: FileWatch | None = None

    @property
    def is_written(self) -> bool:
        """Whether the file was written to since it was first opened, according to its watch."""
        return self.watch is not None and self.watch.written

    def renew(self) -> None:
        """Reset the watch, because no cache has bytes of the content any more."""
        self.serial = next(_serials)
        self.watch = None

    @property
    def name(self) -> str:
        """Path relative to the source, for messages."""
        return for_people(self.entry.path)

    @property
    def size(self) -> int:
        """Size in bytes as seen by a reader of the mount."""
        return self.entry.size


class Folder(Node):
    """A directory, with its listing after the first request.

    Attributes:
        shown_path: its path in the mount.
        above: source paths of this directory and its parents.
        children: nodes by shown name; None before the first listing.
        changed_ns: time of the last change of its contents, if its own date does not show it; else
            0.
    """

    __slots__ = ("above", "changed_ns", "children", "shown_path")

    def __init__(
        self, number: int, entry: Entry, parent: "Folder | None", shown_path: bytes
    ) -> None:
        super().__init__(number, entry, parent)
        self.shown_path = shown_path
        self.above: frozenset[bytes] = (parent.above if parent else frozenset()) | {entry.path}
        self.children: dict[bytes, Node] | None = None
        self.changed_ns = 0
