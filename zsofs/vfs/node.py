"""What an inode number stands for: one file or folder of the mount."""

import itertools
import math

from zsofs.console.text import for_people
from zsofs.source.entry import Entry
from zsofs.system.file_watch import FileWatch

_serials = itertools.count()


class Node:
    """One file or folder of the mount.

    Attributes:
        number: the inode number.
        entry: what the source says of it.
        serial: a number of its own that no other content ever gets.
        parent: the folder that lists it, or did.
        lookups: how often the kernel was given the number and has not yet forgotten it.
        listed: whether a folder's listing has it.
        attributes: what the kernel is told of it, kept by whoever tells; None when it changes.
        known_at: when what is known of its status was seen through the mount, by the monotonic
            clock; what a look found that began earlier is older.
        removed: whether it was deleted through the mount, and lives on for those who have it open.
        watch: reports writes to the file since it was first opened; None while nobody has opened
            it, so that no byte of it is in a cache.
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
        """Whether the file was written to since it was first opened, as far as it is watched."""
        return self.watch is not None and self.watch.written

    def renew(self) -> None:
        """Begin anew, as nobody has a byte of the content any more."""
        self.serial = next(_serials)
        self.watch = None

    @property
    def name(self) -> str:
        """Path inside the source, for messages."""
        return for_people(self.entry.path)

    @property
    def size(self) -> int:
        """Bytes that a reader of the mount will find."""
        disc = self.entry.disc
        return disc.size if disc is not None else self.entry.status.st_size


class Folder(Node):
    """A folder, with its listing once it was asked for.

    Attributes:
        shown_path: its path in the mount.
        above: source paths of this folder and all above it.
        children: nodes by shown name; None before the first listing.
        changed_ns: when what it shows changed, where its own date does not tell; else 0.
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
