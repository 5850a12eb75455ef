"""The shown tree as nodes with inode numbers that stand for one content each.

The kernel's page cache hangs on the inode number, so a number must never come to mean other bytes
while the mount lives. A node's number is a hash of path, kind, size, modification time and time of
the last change of any kind: the same after a remount, and another one for another content, also
where that has the size and date of the first. It is stepped past any number still in use for
something else.

Everything here but :meth:`Library.open` belongs to the event loop.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from zsofs.entry import Entry, Kind
from zsofs.errors import StaleNodeError
from zsofs.image import Content, DiscImage, PlainFile
from zsofs.names import for_people, joined
from zsofs.probe import geometry_of
from zsofs.source import SourceTree

ROOT_NUMBER = 1

_serials = itertools.count()


class Node:
    """One file or folder of the mount.

    Attributes:
        number: the inode number.
        entry: what the source says of it.
        serial: a number of its own that no other node ever gets.
        parent: the folder that lists it, or did.
        lookups: how often the kernel was given the number and has not yet forgotten it.
        listed: whether a folder's listing has it.
        attributes: what the kernel is told of it, kept by whoever tells; None when it changes.
    """

    __slots__ = ("attributes", "entry", "listed", "lookups", "number", "parent", "serial")

    def __init__(self, number: int, entry: Entry, parent: "Folder | None") -> None:
        self.number = number
        self.entry = entry
        self.serial = next(_serials)
        self.parent = parent
        self.lookups = 0
        self.listed = False
        self.attributes: object = None

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
    """

    __slots__ = ("above", "children", "shown_path")

    def __init__(
        self, number: int, entry: Entry, parent: "Folder | None", shown_path: bytes
    ) -> None:
        super().__init__(number, entry, parent)
        self.shown_path = shown_path
        self.above: frozenset[bytes] = (parent.above if parent else frozenset()) | {entry.path}
        self.children: dict[bytes, Node] | None = None


@dataclass(slots=True)
class Differences:
    """What the kernel may remember of a folder that is no longer so.

    Attributes:
        folder: inode number of the folder.
        names: names in it that stand for something else now, or for nothing.
        numbers: inode numbers with other attributes now.
    """

    folder: int
    names: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class Library:
    """All nodes that the kernel or a listing still needs."""

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree
        entry = Entry(b"", Kind.FOLDER, b"", tree.stat(b""))
        self.root = Folder(ROOT_NUMBER, entry, None, b"")
        self.root.listed = True
        self.dropped: Callable[[Folder], None] = lambda folder: None
        self._nodes: dict[int, Node] = {ROOT_NUMBER: self.root}
        self._may_shrink = False

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

    def update(
        self, folder: Folder, status: os.stat_result, found: Mapping[bytes, Entry]
    ) -> Differences:
        """Make *found*, entries by shown name, the listing of *folder*.

        Args:
            folder: the folder.
            status: what stat says of it now.
            found: what is in it now.
        """
        differences = Differences(folder.number)
        self._take_entry(folder, replace(folder.entry, status=status), differences)
        before = folder.children or {}
        after: dict[bytes, Node] = {}
        for shown, entry in found.items():
            node = before.get(shown)
            if node is None or node.entry is not entry:
                node = self._node_for(folder, shown, entry, node, differences)
            after[shown] = node
        for node in before.values():
            node.listed = False
        for node in after.values():
            node.listed = True
        if folder.children is not None:
            differences.names += _changed_names(before, after)
        folder.children = after
        for node in before.values():
            if not node.listed:
                self._drop_if_unused(node)
        return differences

    def remember(self, node: Node) -> None:
        """The kernel was given the node's number."""
        node.lookups += 1

    def forget(self, number: int, times: int) -> None:
        """The kernel gives back *times* uses of a number."""
        node = self._nodes.get(number)
        if node is None:
            return
        node.lookups = max(0, node.lookups - times)
        self._may_shrink = True
        self._drop_if_unused(node)

    def shrink(self, in_use: Collection[Folder]) -> None:
        """Drop the listings of folders of which the kernel knows no entry any more.

        *in_use* are those that somebody is just listing.
        """
        if not self._may_shrink:
            return
        self._may_shrink = False
        for folder in [node for node in self._nodes.values() if isinstance(node, Folder)]:
            if folder in in_use:
                self._may_shrink = True
            elif folder.children and not any(child.lookups for child in folder.children.values()):
                self._drop_listing(folder)

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
        with ExitStack() as undo:
            source = self.tree.open(entry.path)
            undo.callback(source.close)
            if source.key != entry.key:
                raise StaleNodeError(f"{node.name}: changed since it was listed")
            content: Content
            if entry.disc is None:
                content = PlainFile(node.name, node.serial, source)
            else:
                geometry = geometry_of(source, entry.disc)
                content = DiscImage(node.name, node.serial, source, geometry)
            undo.pop_all()
            return content

    def _node_for(
        self,
        folder: Folder,
        shown: bytes,
        entry: Entry,
        before: Node | None,
        differences: Differences,
    ) -> Node:
        if before is not None and _same_node(before.entry, entry):
            if _is_older(entry, before.entry):  # a look at the folder itself was later
                entry = replace(entry, status=before.entry.status)
            self._take_entry(before, entry, differences)
            return before
        path = joined(folder.shown_path, shown)
        number = _number(path, entry)
        while number in self._nodes:
            other = self._nodes[number]
            if not other.listed and _same_node(other.entry, entry):
                self._take_entry(other, entry, differences)
                other.parent = folder
                return other
            number += 1
        node = (
            Folder(number, entry, folder, path)
            if entry.kind is Kind.FOLDER
            else Node(number, entry, folder)
        )
        self._nodes[number] = node
        return node

    def _take_entry(self, node: Node, entry: Entry, differences: Differences) -> None:
        """Have *node* stand for *entry*, which has the same content."""
        if node.lookups and node.entry.status != entry.status:
            differences.numbers.append(node.number)
        node.entry = entry
        node.attributes = None

    def _drop_if_unused(self, node: Node) -> None:
        if node.lookups or not self.is_current(node):
            return
        if isinstance(node, Folder) and node is not self.root:
            self._drop_listing(node)
        if not node.listed:
            del self._nodes[node.number]

    def _drop_listing(self, folder: Folder) -> None:
        children, folder.children = folder.children, None
        self.dropped(folder)
        for child in (children or {}).values():
            child.listed = False
            self._drop_if_unused(child)


def _changed_names(before: Mapping[bytes, Node], after: Mapping[bytes, Node]) -> Iterable[bytes]:
    """Names of which the kernel may hold another node, or that there was none."""
    for name, node in before.items():
        if node.lookups and after.get(name) is not node:
            yield name
    for name in after:
        if name not in before:
            yield name


def _same_node(one: Entry, other: Entry) -> bool:
    """Whether two entries may share a number: the same content, shown the same way."""
    if one.kind is not other.kind or one.path != other.path or one.name != other.name:
        return False
    return one.kind is Kind.FOLDER or (one.same_content(other) and one.disc == other.disc)


def _is_older(one: Entry, other: Entry) -> bool:
    """Whether *one* tells of the same folder as *other*, from an earlier time."""
    return (
        one.kind is Kind.FOLDER
        and (one.status.st_dev, one.status.st_ino) == (other.status.st_dev, other.status.st_ino)
        and one.status.st_ctime_ns < other.status.st_ctime_ns
    )


def _number(shown_path: bytes, entry: Entry) -> int:
    """A 63-bit number that stays the same after a remount; never 0 or the root's."""
    parts = [shown_path, entry.kind.value.encode()]
    if entry.kind is not Kind.FOLDER:
        parts += [b"%d" % number for number in entry.key]
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") >> 1, ROOT_NUMBER + 1)
