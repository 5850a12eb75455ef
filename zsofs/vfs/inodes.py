"""The shown tree as nodes with inode numbers that stand for one content each.

The kernel's page cache hangs on the inode number, so a number must never come to mean other bytes
while the mount lives. A node's number is a hash of path, kind, size, modification time and time of
the last change of any kind: the same after a remount, and another one for another content, also
where that has the size and date of the first. It is stepped past any number still in use for
something else. A new time of change alone (chmod, link) gives no new number if nobody has read the
file, or if its watch has seen no write. A file that may be changed through the mount keeps its
number for as long as it is the same file of the source, whatever is in it: the kernel hears of each
change as it is made.

Everything here belongs to the event loop.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from zsofs.errors import StaleNodeError
from zsofs.formats.file_names import is_kept_for_discs
from zsofs.source.entry import Entry, Kind
from zsofs.source.relpath import is_at_or_below, joined
from zsofs.source.tree import SourceTree, is_same_file
from zsofs.vfs.contents import Contents
from zsofs.vfs.node import Folder, Node

ROOT_NUMBER = 1


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


class Inodes:
    """All nodes that the kernel or a listing still needs."""

    def __init__(self, tree: SourceTree, *, writable: bool = False) -> None:
        """*writable* says whether what is no disc may be changed through the mount."""
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
        """The node of an inode number.

        Raises:
            StaleNodeError: nothing has that number.
        """
        try:
            return self._nodes[number]
        except KeyError:
            raise StaleNodeError(f"inode {number} is unknown") from None

    def folder(self, number: int) -> Folder:
        """The folder of an inode number.

        Raises:
            NotADirectoryError: it is no folder.
            StaleNodeError: nothing has that number.
        """
        node = self.node(number)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return node

    def may_change(self, node: Node) -> bool:
        """Whether *node* may be changed through the mount: it is a folder, or a file and no disc.

        Its bytes may still turn out to be a disc's, as those of a `.bin` file can.
        """
        return self._writable and (isinstance(node, Folder) or _is_no_disc(node.entry))

    def update(
        self,
        folder: Folder,
        status: os.stat_result,
        found: Mapping[bytes, Entry],
        begun: float,
    ) -> Differences:
        """Make *found*, entries by shown name, the listing of *folder*.

        Args:
            folder: the folder.
            status: what stat says of it now.
            found: what is in it now.
            begun: when the look at it began, by the monotonic clock.
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

    # What is changed through the mount: the kernel knows of it, and is told nothing

    def take_status(self, node: Node, status: os.stat_result, at: float) -> None:
        """Have *node* be as *status* says, which was asked for at the time *at*."""
        if at > node.known_at:
            node.known_at = at
            node.entry = replace(node.entry, status=status)
            node.attributes = None

    def put(self, folder: Folder, shown: bytes, entry: Entry, at: float) -> Node:
        """A node for what was made in *folder* at the time *at*."""
        # A look may have found it before we heard that it is made.
        found = (folder.children or {}).get(shown)
        node = self._node_for(folder, shown, entry, found, at, Differences(folder.number))
        if found is not None and found is not node:
            self._unlist(folder, shown, found)
        node.known_at = max(node.known_at, at)
        self._list(folder, shown, node)
        return node

    def remove(self, folder: Folder, shown: bytes, node: Node) -> None:
        """*node*, called *shown* in *folder*, was deleted."""
        node.removed = True
        node.attributes = None
        self._unlist(folder, shown, node)

    def move(
        self, node: Node, places: tuple[tuple[Folder, bytes], tuple[Folder, bytes]], entry: Entry
    ) -> None:
        """*node* was renamed, and keeps its number.

        Args:
            node: the file or folder.
            places: folder and shown name, those before and those after.
            entry: what it is now.
        """
        (old_folder, old_name), (folder, name) = places
        replaced = (folder.children or {}).get(name)
        if replaced is not None and replaced is not node:
            self.remove(folder, name, replaced)
        if (old_folder.children or {}).get(old_name) is node:
            del (old_folder.children or {})[old_name]
        node.listed = False  # also where the new folder has no listing just now
        if isinstance(node, Folder):
            self._move_below(node, entry.path, joined(folder.shown_path, name), folder.above)
        node.entry = entry
        node.parent = folder
        node.attributes = None
        self._list(folder, name, node)

    def _move_below(
        self, moved: Folder, path: bytes, shown_path: bytes, above: frozenset[bytes]
    ) -> None:
        """Give all that lies in *moved* the paths that it has now."""
        old, old_shown = moved.entry.path, moved.shown_path
        inside = [node for node in self._nodes.values() if _is_below(node, moved)]
        folders = [node for node in (moved, *inside) if isinstance(node, Folder)]
        for folder in folders:
            self.dropped(folder)  # what is known of its source goes by the path
            folder.shown_path = shown_path + folder.shown_path[len(old_shown) :]
        for node in inside:
            if is_at_or_below(node.entry.path, old):
                node.entry = replace(node.entry, path=path + node.entry.path[len(old) :])
        moved.above = above | {path}
        for folder in sorted(folders[1:], key=lambda folder: len(folder.shown_path)):
            assert folder.parent is not None  # whose path is shorter, so it is done
            folder.above = folder.parent.above | {folder.entry.path}

    def _list(self, folder: Folder, shown: bytes, node: Node) -> None:
        if folder.children is not None:  # else it will be found by the next look
            folder.children[shown] = node
            node.listed = True

    def _unlist(self, folder: Folder, shown: bytes, node: Node) -> None:
        if folder.children is not None and folder.children.get(shown) is node:
            del folder.children[shown]
        node.listed = False
        self._drop_if_unused(node)

    # What the kernel knows

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
        if not node.lookups:
            self.contents.forgotten(node)
        self._drop_if_unused(node)

    @contextmanager
    def held(self, node: Node) -> Iterator[None]:
        """Keep the node and its number for a while, as if the kernel had them.

        A look at the source may find another file of its name meanwhile, of which the kernel would
        otherwise be given the number.
        """
        self.remember(node)
        try:
            yield
        finally:
            self.forget(node.number, 1)

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

    def is_shown(self, node: Node) -> bool:
        """Whether the listings lead to the node: neither it nor a folder above it has gone."""
        while node.listed and node.parent is not None:
            node = node.parent
        return node.listed

    def _node_for(
        self,
        folder: Folder,
        shown: bytes,
        entry: Entry,
        before: Node | None,
        begun: float,
        differences: Differences,
    ) -> Node:
        if before is not None and self._may_stand_for(before, entry):
            if _is_older(entry, before.entry):  # a look at the folder itself was later
                entry = replace(entry, status=before.entry.status)
            self._take_entry(before, entry, begun, differences)
            return before
        path = joined(folder.shown_path, shown)
        number = _number(path, entry, self._writable and _is_no_disc(entry))
        while number in self._nodes:
            other = self._nodes[number]
            if not (other.listed or other.removed) and self._may_stand_for(other, entry):
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

    def _may_stand_for(self, node: Node, other: Entry) -> bool:
        """Whether an entry may get the number of *node*: the same content, shown the same way."""
        one = node.entry
        if one.kind is not other.kind or one.path != other.path or one.name != other.name:
            return False
        if one.kind is Kind.FOLDER:
            return True
        if self._writable and _is_no_disc(one):
            return is_same_file(one.status, other.status)
        if node.is_written or one.disc != other.disc:
            return False
        return one.same_content(other) or (_is_touched(one, other) and _is_unread(node))

    def _take_entry(self, node: Node, entry: Entry, begun: float, differences: Differences) -> None:
        """Have *node* stand for *entry*, the same file as a look found it that began at *begun*."""
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
    """Of a source that is not there yet: a folder into which whoever may use the mount may look."""
    ids = os.geteuid(), os.getegid()
    dates = {f"st_{which}time_ns": 0 for which in "amc"}
    return os.stat_result((stat.S_IFDIR | 0o555, 0, 0, 1, *ids, 0, 0, 0, 0), dates | {"st_rdev": 0})


def _changed_names(before: Mapping[bytes, Node], after: Mapping[bytes, Node]) -> Iterable[bytes]:
    """Names of which the kernel may hold another node, or that there was none."""
    for name, node in before.items():
        if node.lookups and after.get(name) is not node:
            yield name
    for name in after:
        if name not in before:
            yield name


def _is_no_disc(entry: Entry) -> bool:
    """Whether it is a file, and neither it nor what it leads to is called what only discs are."""
    return entry.kind is Kind.FILE and not (
        is_kept_for_discs(entry.name) or is_kept_for_discs(entry.path)
    )


def _is_touched(one: Entry, other: Entry) -> bool:
    """Whether two entries of one file differ in the change time at most, as after a chmod."""
    return (
        one.key[:2] == other.key[:2]
        and one.name == other.name
        and os.path.samestat(one.status, other.status)
    )


def _is_unread(node: Node) -> bool:
    """Whether nobody has read what is in the file but as it is now."""
    return node.watch is None or node.watch.is_clean


def _is_below(node: Node, folder: Folder) -> bool:
    """Whether *node* lies in *folder*, at any depth."""
    above = node.parent
    while above is not None and above is not folder:
        above = above.parent
    return above is folder


def _is_older(one: Entry, other: Entry) -> bool:
    """Whether *one* tells of the same folder as *other*, from an earlier time."""
    return (
        one.kind is Kind.FOLDER
        and os.path.samestat(one.status, other.status)
        and one.status.st_ctime_ns < other.status.st_ctime_ns
    )


def _number(shown_path: bytes, entry: Entry, changes: bool) -> int:
    """A 63-bit number that stays the same after a remount; never 0 or the root's.

    *changes* says whether it stands for a file whatever is in it, as for a folder.
    """
    parts = [shown_path, entry.kind.value.encode()]
    if not (changes or entry.kind is Kind.FOLDER):
        parts += [b"%d" % number for number in entry.key]
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") >> 1, ROOT_NUMBER + 1)
