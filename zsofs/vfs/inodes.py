"""The inode table: nodes whose inode numbers stand for one content each.

The kernel's page cache is keyed by the inode number, so a number must never stand for other bytes
while the mount exists. A number is a hash of path, kind, size, mtime and ctime: it is the same
after a remount, and differs for other content even of the same size and date. It is incremented
past numbers in use. A new ctime alone (chmod, link) gives no new number if the file was never read,
or if its watch reported no write. A file that can be changed through the mount keeps its number as
long as it is the same file of the source, because the kernel learns of each change.

For the event loop only.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from zsofs.errors import StaleNodeError
from zsofs.source.entry import Entry, Kind
from zsofs.source.relpath import is_at_or_below, joined
from zsofs.source.tree import SourceTree
from zsofs.vfs.contents import Contents
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.node_identity import (
    ROOT_NUMBER,
    has_same_rights,
    is_no_disc,
    is_older,
    is_packed,
    is_renamed,
    may_stand_for,
    number_of,
)


@dataclass(slots=True)
class Differences:
    """Kernel cache entries of a directory that are no longer valid.

    Attributes:
        folder: inode number of the directory.
        names: changed or deleted names in it.
        numbers: inode numbers whose attributes changed.
    """

    folder: int
    names: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class Inodes:
    """All nodes that the kernel or a listing still uses."""

    def __init__(self, tree: SourceTree, *, writable: bool = False) -> None:
        """*writable*: whether files other than discs may be changed through the mount."""
        self.tree = tree
        self.contents = Contents(tree)
        self._writable = writable
        entry = Entry(b"", Kind.FOLDER, b"", tree.stat(b"") if tree.was_seen else _no_status())
        self.root = Folder(ROOT_NUMBER, entry, None, b"")
        self.root.listed = True
        self.dropped: Callable[[Folder], None] = lambda folder: None
        self._nodes: dict[int, Node] = {ROOT_NUMBER: self.root}
        self._may_shrink = False

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, number: int) -> Node:
        """Return the node of an inode number.

        Raises:
            StaleNodeError: the number is not in use.
        """
        try:
            return self._nodes[number]
        except KeyError:
            raise StaleNodeError(f"inode {number} is unknown") from None

    def folder(self, number: int) -> Folder:
        """Return the directory of an inode number.

        Raises:
            NotADirectoryError: it is not a directory.
            StaleNodeError: the number is not in use.
        """
        node = self.node(number)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return node

    def may_change(self, node: Node) -> bool:
        """Return whether *node* may be changed: a directory, or a file without a disc name.

        Its content may still turn out to be a disc, as that of a `.bin` file can.
        """
        return self._writable and (isinstance(node, Folder) or is_no_disc(node.entry))

    def update(
        self,
        folder: Folder,
        status: os.stat_result,
        found: Mapping[bytes, Entry],
        begun: float,
    ) -> Differences:
        """Replace the listing of *folder*.

        Args:
            folder: the directory.
            status: its current status.
            found: its current entries by shown name.
            begun: start of the scan, by the monotonic clock.

        Returns:
            What the kernel has to invalidate.
        """
        self.contents.watcher.take()
        differences = Differences(folder.number)
        self._take_entry(folder, replace(folder.entry, status=status), begun, differences)
        before = folder.children or {}
        after: dict[bytes, Node] = {}
        for shown, entry in found.items():
            node = before.get(shown)
            if node is None or node.entry is not entry or node.is_written:
                node = self._node_for(folder, shown, entry, node, begun, differences)
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

    def successor(self, node: Node) -> Node | None:
        """Return the node that is listed for the file of *node*, which is listed no longer.

        The file may have another name now, or its packed image may have replaced it. None if there
        is none.
        """
        if node.listed or node.parent is None:
            return None
        for other in (node.parent.children or {}).values():
            entry = other.entry
            if not has_same_rights(node.entry, entry):
                continue
            if (
                may_stand_for(node, entry, writable=self._writable)
                or is_renamed(node, entry)
                or is_packed(node, entry)
            ):
                return other
        return None

    def follow(self, node: Node) -> bool:
        """Let *node*, of which nothing is open, stand for its successor.

        A program may look up the name of a file just before another program renames it, and open it
        just after. The kernel then looks the name up again, but only once, and never after an open
        with O_PATH, as Samba does it.

        Returns:
            False if it has no successor, or stands for it already.
        """
        other = self.successor(node)
        if other is None:
            return False
        before, node.entry, node.attributes = node.entry, other.entry, None
        if before.disc != other.entry.disc:  # another file
            self.contents.release(node)
            node.renew()
        return (before.path, before.key) != (other.entry.path, other.entry.key)

    # Changes through the mount: the kernel made them, so nothing is invalidated

    def take_status(self, node: Node, status: os.stat_result, at: float) -> None:
        """Set the status of *node*, which was taken at the time *at*."""
        if at > node.known_at:
            node.known_at = at
            node.entry = replace(node.entry, status=status)
            node.attributes = None

    def put(self, folder: Folder, shown: bytes, entry: Entry, at: float) -> Node:
        """Return a node for an entry that was created in *folder* at the time *at*."""
        # A scan may have found it before the thread reported its creation.
        found = (folder.children or {}).get(shown)
        node = self._node_for(folder, shown, entry, found, at, Differences(folder.number))
        if found is not None and found is not node:
            self._unlist(folder, shown, found)
        node.known_at = max(node.known_at, at)
        self._list(folder, shown, node)
        return node

    def remove(self, folder: Folder, shown: bytes, node: Node) -> None:
        """Record that *node*, called *shown* in *folder*, was deleted."""
        node.removed = True
        node.attributes = None
        self._unlist(folder, shown, node)

    def move(
        self, node: Node, places: tuple[tuple[Folder, bytes], tuple[Folder, bytes]], entry: Entry
    ) -> None:
        """Record that *node* was renamed; it keeps its number.

        Args:
            node: the file or directory.
            places: old and new directory, each with the shown name.
            entry: its new entry.
        """
        (old_folder, old_name), (folder, name) = places
        replaced = (folder.children or {}).get(name)
        if replaced is not None and replaced is not node:
            self.remove(folder, name, replaced)
        if (old_folder.children or {}).get(old_name) is node:
            del (old_folder.children or {})[old_name]
        node.listed = False  # even if the new directory has no listing now
        if isinstance(node, Folder):
            self._move_below(node, entry.path, joined(folder.shown_path, name), folder.above)
        node.entry = entry
        node.parent = folder
        node.attributes = None
        self._list(folder, name, node)

    def _move_below(
        self, moved: Folder, path: bytes, shown_path: bytes, above: frozenset[bytes]
    ) -> None:
        """Update the paths of everything below *moved*."""
        old, old_shown = moved.entry.path, moved.shown_path
        inside = [node for node in self._nodes.values() if _is_below(node, moved)]
        folders = [node for node in (moved, *inside) if isinstance(node, Folder)]
        for folder in folders:
            self.dropped(folder)  # the followed source directories are keyed by path
            folder.shown_path = shown_path + folder.shown_path[len(old_shown) :]
        for node in inside:
            if is_at_or_below(node.entry.path, old):
                node.entry = replace(node.entry, path=path + node.entry.path[len(old) :])
        moved.above = above | {path}
        for folder in sorted(folders[1:], key=lambda folder: len(folder.shown_path)):
            assert folder.parent is not None  # its path is shorter, so it is already updated
            folder.above = folder.parent.above | {folder.entry.path}

    def _list(self, folder: Folder, shown: bytes, node: Node) -> None:
        if folder.children is not None:  # else the next scan finds it
            folder.children[shown] = node
            node.listed = True

    def _unlist(self, folder: Folder, shown: bytes, node: Node) -> None:
        if folder.children is not None and folder.children.get(shown) is node:
            del folder.children[shown]
        node.listed = False
        self._drop_if_unused(node)

    # Lookup counts of the kernel

    def remember(self, node: Node) -> None:
        """Count a lookup: the kernel received the node's number."""
        node.lookups += 1

    def forget(self, number: int, times: int) -> None:
        """Subtract *times* lookups of a number (FORGET)."""
        node = self._nodes.get(number)
        if node is None:
            return
        node.lookups = max(0, node.lookups - times)
        self._may_shrink = True
        if not node.lookups:
            self.contents.forgotten(node)
        self._drop_if_unused(node)

    @contextmanager
    def held(self, node: Node) -> Iterator[None]:
        """Keep the node and its number within the context, as if the kernel used them.

        Otherwise a scan that finds another file of that name meanwhile could reuse the number.
        """
        self.remember(node)
        try:
            yield
        finally:
            self.forget(node.number, 1)

    def shrink(self, in_use: Collection[Folder]) -> None:
        """Drop the listings of directories in which the kernel knows no entry any more.

        *in_use* are the directories with open listings.
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
        """Return whether the node still has its number."""
        return self._nodes.get(node.number) is node

    def _node_for(
        self,
        folder: Folder,
        shown: bytes,
        entry: Entry,
        before: Node | None,
        begun: float,
        differences: Differences,
    ) -> Node:
        if before is not None and may_stand_for(before, entry, writable=self._writable):
            if is_older(entry, before.entry):  # a scan of the directory itself was later
                entry = replace(entry, status=before.entry.status)
            self._take_entry(before, entry, begun, differences)
            return before
        path = joined(folder.shown_path, shown)
        number = number_of(path, entry, self._writable and is_no_disc(entry))
        while number in self._nodes:
            other = self._nodes[number]
            is_free = not (other.listed or other.removed)
            if is_free and may_stand_for(other, entry, writable=self._writable):
                self._take_entry(other, entry, begun, differences)
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

    def _take_entry(self, node: Node, entry: Entry, begun: float, differences: Differences) -> None:
        """Set the entry of *node*: the same file, as found by a scan that began at *begun*."""
        if begun < node.known_at:
            entry = replace(entry, status=node.entry.status)
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
            self.contents.release(node)
            del self._nodes[node.number]

    def _drop_listing(self, folder: Folder) -> None:
        children, folder.children = folder.children, None
        self.dropped(folder)
        for child in (children or {}).values():
            child.listed = False
            self._drop_if_unused(child)


def _no_status() -> os.stat_result:
    """Return the status of a source that does not exist yet: a directory readable by all."""
    ids = os.geteuid(), os.getegid()
    dates = {f"st_{which}time_ns": 0 for which in "amc"}
    return os.stat_result((stat.S_IFDIR | 0o555, 0, 0, 1, *ids, 0, 0, 0, 0), dates | {"st_rdev": 0})


def _changed_names(before: Mapping[bytes, Node], after: Mapping[bytes, Node]) -> Iterable[bytes]:
    """Yield the names for which the kernel may cache another node, or a negative entry."""
    for name, node in before.items():
        if node.lookups and after.get(name) is not node:
            yield name
    for name in after:
        if name not in before:
            yield name


def _is_below(node: Node, folder: Folder) -> bool:
    """Return whether *node* is below *folder*, at any depth."""
    above = node.parent
    while above is not None and above is not folder:
        above = above.parent
    return above is folder
