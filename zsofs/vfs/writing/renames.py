"""Renames through the mount: checks, path locks, and updates of the mount."""

import errno
from dataclasses import dataclass

from zsofs.formats.file_names import is_inspected
from zsofs.source.entry import Entry
from zsofs.source.live_file import TimedStat
from zsofs.source.relpath import is_at_or_below
from zsofs.source.tree import Place
from zsofs.vfs.listings import Listings
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.writing.writable_tree import Requester, WritableTree, system_error


@dataclass(frozen=True, slots=True)
class _Plan:
    """One rename.

    Attributes:
        node: the file or directory.
        folder: its directory in the mount.
        name: its name there.
        new_folder: its new directory in the mount.
        new_name: its new name.
        replaced: the node that has that name now; None without.
    """

    node: Node
    folder: Folder
    name: bytes
    new_folder: Folder
    new_name: bytes
    replaced: Node | None

    def refuse(self, tree: WritableTree, *, may_replace: bool) -> None:
        """Reject a rename that would replace a protected file, or use a name reserved for discs.

        Raises:
            RefusedError: a disc would be replaced, or the new name is reserved for discs.
            ReadOnlyFileError: a playlist with the names in the mount would be replaced.
            FileExistsError: the new name exists, and must not be replaced.
        """
        if self.replaced is not None:
            if not may_replace:
                raise system_error(errno.EEXIST)
            tree.rules.refuse_disc(self.new_folder, self.new_name, self.replaced)
        tree.rules.refuse_name(self.new_folder, self.new_name, self.node.entry.kind)

    def folders(self, tree: WritableTree) -> tuple[bytes, bytes]:
        """Return the source directories that must not be moved meanwhile."""
        to = tree.view.place(self.new_folder)
        if self.replaced is not None:
            to = tree.place_of(self.new_folder, self.replaced).folder
        return tree.place_of(self.folder, self.node).folder, to

    def take(self, tree: WritableTree, old: Place, new: Place, now: TimedStat) -> None:
        """Apply the rename to inode table and view; *now* is the status after it."""
        entry = tree.rules.as_new(_renamed(self.node.entry, new, now))
        places = (self.folder, self.name), (self.new_folder, self.new_name)
        tree.library.move(self.node, places, entry)
        self.node.known_at = now.at
        tree.view.did(self.folder, old, None, now.at)
        tree.view.did(self.new_folder, new, entry, now.at)


class Renames:
    """Renames files, and directories without discs. For the event loop."""

    def __init__(self, tree: WritableTree, listings: Listings) -> None:
        self._tree = tree
        self._listings = listings

    async def rename(
        self,
        old: tuple[int, bytes],
        new: tuple[int, bytes],
        requester: Requester,
        *,
        may_replace: bool,
    ) -> None:
        """Rename a file or directory.

        Args:
            old: inode number of its directory, and its name.
            new: inode number of the new directory, and the new name.
            requester: the program that requests it.
            may_replace: whether an existing file with the new name is replaced.

        Raises:
            FileNotFoundError: the old name does not exist.
            RefusedError: a disc would be renamed or replaced, or the new name is reserved.
            FileExistsError: the new name exists, and must not be replaced.
            OSError: EINVAL if a directory would be moved below itself; or an error of the source.
        """
        tree, (number, name), (new_number, new_name) = self._tree, old, new
        folder = tree.library.folder(number)
        node = await self._listings.child(folder, name)
        with tree.library.held(node):
            tree.rules.refuse_disc(folder, name, node)
            new_folder = tree.library.folder(new_number)
            replaced = (await self._listings.children(new_folder)).get(new_name)
            plan = _Plan(node, folder, name, new_folder, new_name, replaced)
            plan.refuse(tree, may_replace=may_replace)
            await self._carry_out(plan, requester)

    async def _carry_out(self, plan: _Plan, requester: Requester) -> None:
        tree, node, replaced = self._tree, plan.node, plan.replaced
        async with tree.paths.kept(lambda: plan.folders(tree)) as claim:
            old = tree.place_of(plan.folder, node)
            new = await tree.make_place(plan.new_folder, requester, plan.new_name)
            if replaced is not None:
                new = tree.place_of(plan.new_folder, replaced)
            if is_at_or_below(new.folder, old.path):  # through a symlink
                raise system_error(errno.EINVAL)
            await tree.paths.move(claim, old.path)
            replaces = replaced is not None
            now = await tree.run(node, lambda: tree.changes.rename(old, new, replaces=replaces))
            plan.take(tree, old, new, now)


def _renamed(known: Entry, new: Place, now: TimedStat) -> Entry:
    """Return the entry of a file after a rename; a symlink keeps its target."""
    return Entry(
        new.name,
        known.kind,
        known.path if known.followed else new.path,
        known.status if known.followed else now.status,
        target=known.target,
        followed=known.followed,
        settled=not is_inspected(new.name),
    )
