"""Creation and deletion of files and directories through the mount."""

import errno
import os
import stat
import time
from collections.abc import Callable

from zsofs.errors import StaleNodeError
from zsofs.formats.file_names import is_inspected, is_unfinished
from zsofs.source.entry import Kind
from zsofs.source.tree import Place
from zsofs.vfs.listings import Listings
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.writing.file_handles import Handle
from zsofs.vfs.writing.live_files import LiveFiles
from zsofs.vfs.writing.writable_tree import Requester, WritableTree, system_error


class NameChanges:
    """Creates and deletes files and directories. For the event loop.

    All methods raise RefusedError for the name or file of a disc, StaleNodeError for a directory
    that no longer exists, and OSError for an error of the source.
    """

    def __init__(self, tree: WritableTree, listings: Listings, files: LiveFiles) -> None:
        """Create it; *files* keeps the handles of created files."""
        self._tree = tree
        self._listings = listings
        self._files = files

    async def create(
        self, folder: Folder, name: bytes, mode: int, flags: int, requester: Requester
    ) -> Handle:
        """Create a file and open it.

        The kernel requests this if it knows no such file, and then does not check the permission to
        open it. If the file exists by now, StaleNodeError makes the kernel look it up and check.

        Raises:
            FileExistsError: it exists, and *flags* have O_EXCL or the mount does not show it.
            StaleNodeError: it exists.
        """
        node = (await self._listings.children(folder)).get(name)
        if node is None:
            try:
                handle = await self._create(folder, name, mode, flags, requester)
            except FileExistsError:  # created by another program just now, or not shown
                node = await self._created_elsewhere(folder, name)
                if node is None:
                    raise
            else:
                self._tree.library.remember(handle.node)
                return handle
        if flags & os.O_EXCL:
            raise system_error(errno.EEXIST)
        raise StaleNodeError(f"{node.name}: replaced by another file")

    async def make_file(self, folder: Folder, name: bytes, mode: int, requester: Requester) -> Node:
        """Create a regular file without opening it; other kinds are rejected.

        Raises:
            FileExistsError: the name exists.
            OSError: EPERM if *mode* is not that of a regular file.
        """
        if not stat.S_ISREG(mode):
            raise system_error(errno.EPERM)
        await self._refuse_taken(folder, name)
        handle = await self._create(folder, name, mode, os.O_WRONLY, requester)
        with self._tree.library.held(handle.node):
            await self._files.close(handle)
            self._tree.library.remember(handle.node)
        return handle.node

    async def make_folder(
        self, folder: Folder, name: bytes, mode: int, requester: Requester
    ) -> Node:
        """Create a directory.

        Raises:
            FileExistsError: the name exists.
        """
        tree = self._tree
        await self._refuse_taken(folder, name)
        tree.rules.refuse_name(folder, name, Kind.FOLDER)
        async with tree.paths.kept(lambda: (tree.view.place(folder),)):
            place = await tree.make_place(folder, requester, name)
            make, rights = tree.changes.make_folder, stat.S_IMODE(mode)
            now = await tree.run(folder, make, place, rights, tree.new_owner(requester))
            node = tree.made(folder, place, now)
        tree.library.remember(node)
        return node

    async def remove_file(self, folder: Folder, name: bytes) -> None:
        """Delete a file, or a symlink itself."""
        await self._remove(folder, name, self._tree.changes.remove_file)

    async def remove_folder(self, folder: Folder, name: bytes) -> None:
        """Delete an empty directory."""
        await self._remove(folder, name, self._tree.changes.remove_folder)

    async def sync_folder(self, folder: Folder) -> None:
        """Return when the names in a directory are on the disk."""
        tree = self._tree
        if tree.view.lacks(folder):
            return
        async with tree.paths.kept(lambda: (tree.view.place(folder),)):
            if not folder.removed:
                await tree.run(folder, tree.changes.sync_folder, tree.view.place(folder))

    async def _create(
        self, folder: Folder, name: bytes, mode: int, flags: int, requester: Requester
    ) -> Handle:
        tree = self._tree
        tree.rules.refuse_name(folder, name, Kind.FILE)
        async with tree.paths.kept(lambda: (tree.view.place(folder),)):
            place = await tree.make_place(folder, requester, name)
            live, now = await tree.opener.open(
                folder.entry.status.st_dev,
                tree.changes.create,
                place,
                flags,
                stat.S_IMODE(mode),
                tree.new_owner(requester),
            )
            return self._files.keep(tree.made(folder, place, now), live, requester)

    async def _created_elsewhere(self, folder: Folder, name: bytes) -> Node | None:
        """Return the node of a name that the source has although the listing lacked it.

        If the scan of the directory takes too long to wait for it, a file whose name alone
        decides how it is shown is added to the listing.
        """
        tree = self._tree
        tree.view.outdate(folder, name)
        node = (await self._listings.children(folder)).get(name)
        if node is not None or is_inspected(name) or is_unfinished(name):
            return node
        async with tree.paths.kept(lambda: (tree.view.place(folder),)):
            place = Place(tree.view.place(folder), name)
            now = await tree.run(folder, tree.changes.found, place)
            return None if now is None else tree.made(folder, place, now)

    async def _remove(self, folder: Folder, name: bytes, function: Callable[[Place], None]) -> None:
        tree = self._tree
        node = await self._listings.child(folder, name)
        tree.rules.refuse_disc(folder, name, node, is_deleted=True)
        async with tree.paths.kept(lambda: (tree.place_of(folder, node).folder,)):
            place = tree.place_of(folder, node)
            await tree.run(node, function, place)
            tree.library.remove(folder, name, node)
            tree.view.did(folder, place, None, time.monotonic())

    async def _refuse_taken(self, folder: Folder, name: bytes) -> None:
        if name in await self._listings.children(folder):
            raise system_error(errno.EEXIST)
