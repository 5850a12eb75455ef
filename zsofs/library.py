"""The source tree as nodes with inode numbers that stand for one content each.

The kernel's page cache hangs on the inode number, so a number must never come to mean other bytes
while the kernel may still hold it. A node's number is a hash of path, kind, size and modification
time, the same after a remount, stepped past any number still in use for something else.

Everything here but :meth:`Library.survey` and :meth:`Library.open` belongs to the event loop.
"""

import hashlib
import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from zsofs.errors import StaleNodeError
from zsofs.image import Content, DiscImage, PlainFile
from zsofs.names import for_people
from zsofs.source import SourceTree
from zsofs.survey import Entry, Kind, survey

ROOT_NUMBER = 1
FRESH_SECONDS = 1.0
"""How long a folder's listing is believed, and how long the kernel may believe what it was told
from one: a change in the source shows within two of these."""


_serials = itertools.count()


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a folder of the source.

    Attributes:
        begun: when the survey began, by the monotonic clock.
        status: what stat says of the folder itself.
        entries: what is in it, by shown name.
    """

    begun: float
    status: os.stat_result
    entries: Mapping[bytes, Entry]


class Node:
    """One file or folder of the mount.

    Attributes:
        number: the inode number.
        entry: what the source says of it.
        serial: a number of its own that no other node ever gets.
        parent: the folder that lists it, or did.
        lookups: how often the kernel was given the number and has not yet forgotten it.
        listed: whether a folder's listing has it.
    """

    __slots__ = ("entry", "listed", "lookups", "number", "parent", "serial")

    def __init__(self, number: int, entry: Entry, parent: "Folder | None") -> None:
        self.number = number
        self.entry = entry
        self.serial = next(_serials)
        self.parent = parent
        self.lookups = 0
        self.listed = False

    @property
    def name(self) -> str:
        """Path inside the source, for messages."""
        return for_people(self.entry.path)

    @property
    def size(self) -> int:
        """Bytes that a reader of the mount will find."""
        disc = self.entry.disc
        return disc.geometry.size if disc is not None else self.entry.status.st_size


class Folder(Node):
    """A folder, with its listing once it was asked for.

    Attributes:
        shown_path: its path in the mount.
        above: source paths of this folder and all above it.
        children: nodes by shown name; None before the first survey.
    """

    __slots__ = ("_fresh_until", "above", "children", "shown_path")

    def __init__(
        self, number: int, entry: Entry, parent: "Folder | None", shown_path: bytes
    ) -> None:
        super().__init__(number, entry, parent)
        self.shown_path = shown_path
        self.above: frozenset[bytes] = (parent.above if parent else frozenset()) | {entry.path}
        self.children: dict[bytes, Node] | None = None
        self._fresh_until = float("-inf")

    @property
    def fresh(self) -> bool:
        """Whether the listing may be used without looking at the source again."""
        return time.monotonic() < self._fresh_until

    def outdate(self) -> None:
        """Have the source looked at before the listing is used again."""
        self._fresh_until = float("-inf")

    def surveyed(self, begun: float) -> None:
        """Note that the listing is what a survey found that was begun at *begun*.

        A survey that took long is believed for longer, so that a huge folder on a slow disk is not
        surveyed without pause.
        """
        now = time.monotonic()
        self._fresh_until = max(begun + FRESH_SECONDS, now + 3 * (now - begun))


class Library:
    """All nodes that the kernel or a listing still needs."""

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree
        entry = Entry(b"", Kind.FOLDER, b"", tree.stat(b""))
        self.root = Folder(ROOT_NUMBER, entry, None, b"")
        self.root.listed = True
        self._nodes: dict[int, Node] = {ROOT_NUMBER: self.root}

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, number: int) -> Node:
        """The node of an inode number.

        Raises:
            StaleNodeError: nothing has that number.
        """
        try:
            return self._nodes[number]
        except KeyError:
            raise StaleNodeError(f"inode {number} is not known") from None

    def folder(self, number: int) -> Folder:
        """The folder of an inode number.

        Raises:
            NotADirectoryError: it is no folder.
            StaleNodeError: nothing has that number.
        """
        node = self.node(number)
        if not isinstance(node, Folder):
            raise NotADirectoryError(f"{node.name} is not a folder")
        return node

    def survey(self, folder: Folder, known: Mapping[bytes, Entry]) -> Survey:
        """Look at the source; for a thread, since it may wait for a disk."""
        begun = time.monotonic()
        status = self.tree.stat(folder.entry.path)
        return Survey(begun, status, survey(self.tree, folder.entry.path, folder.above, known))

    def known_entries(self, folder: Folder) -> dict[bytes, Entry]:
        """What the last survey of *folder* found, by source name."""
        children = folder.children or {}
        return {node.entry.name: node.entry for node in children.values()}

    def update(self, folder: Folder, found: Survey) -> None:
        """Make what a survey found the listing of *folder*."""
        folder.entry = replace(folder.entry, status=found.status)
        before = folder.children or {}
        after = {
            shown: self._node_for(folder, shown, entry, before.get(shown))
            for shown, entry in found.entries.items()
        }
        for node in before.values():
            node.listed = False
        for node in after.values():
            node.listed = True
        for node in before.values():
            self._drop_if_unused(node)
        folder.children = after
        folder.surveyed(found.begun)

    def remember(self, node: Node) -> None:
        """The kernel was given the node's number."""
        node.lookups += 1

    def forget(self, number: int, times: int) -> None:
        """The kernel gives back *times* uses of a number."""
        node = self._nodes.get(number)
        if node is None:
            return
        node.lookups = max(0, node.lookups - times)
        self._drop_if_unused(node)

    def is_current(self, node: Node) -> bool:
        """Whether the node still has its number."""
        return self._nodes.get(node.number) is node

    def open(self, node: Node) -> Content:
        """Open a disc or file; for a thread, since it may wait for a disk.

        Raises:
            StaleNodeError: the source has other content under that name now.
            OSError: the source does not let us.
        """
        entry = node.entry
        source = self.tree.open(entry.path)
        status = entry.status
        listed = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if (source.size, source.mtime_ns, source.ctime_ns) != listed:
            os.close(source.fd)
            raise StaleNodeError(f"{node.name}: changed since it was listed")
        if entry.disc is not None:
            return DiscImage(node.name, node.serial, source, entry.disc.geometry)
        return PlainFile(node.name, node.serial, source)

    def _node_for(self, folder: Folder, shown: bytes, entry: Entry, before: Node | None) -> Node:
        if before is not None and _same_node(before.entry, entry):
            before.entry = entry
            return before
        path = b"/".join((folder.shown_path, shown)) if folder.shown_path else shown
        number = _number(path, entry)
        while number in self._nodes:
            other = self._nodes[number]
            if not other.listed and _same_node(other.entry, entry):
                other.entry = entry
                return other
            number += 1
        node = (
            Folder(number, entry, folder, path)
            if entry.kind is Kind.FOLDER
            else Node(number, entry, folder)
        )
        self._nodes[number] = node
        return node

    def _drop_if_unused(self, node: Node) -> None:
        if node.lookups or not self.is_current(node):
            return
        if isinstance(node, Folder) and node is not self.root and node.children is not None:
            children, node.children = node.children, None
            node.outdate()
            for child in children.values():
                child.listed = False
                self._drop_if_unused(child)
        if not node.listed:
            del self._nodes[node.number]


def _same_node(one: Entry, other: Entry) -> bool:
    """Whether two entries may share a number: the same content, shown the same way."""
    if one.kind is not other.kind or one.path != other.path or one.name != other.name:
        return False
    return one.kind is Kind.FOLDER or one.same_content(other)


def _number(shown_path: bytes, entry: Entry) -> int:
    """A 63-bit number that stays the same after a remount; never 0 or the root's."""
    parts = [shown_path, entry.kind.value.encode()]
    if entry.kind is not Kind.FOLDER:
        parts += [b"%d" % entry.status.st_size, b"%d" % entry.status.st_mtime_ns]
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") >> 1, ROOT_NUMBER + 1)
