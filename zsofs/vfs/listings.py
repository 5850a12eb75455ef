"""The names in folders: current ones, and those that a program is just listing."""

import errno
import itertools
import os
from collections.abc import Iterator

import trio

from zsofs.errors import StaleNodeError
from zsofs.timings import timings
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.view import View
from zsofs.vfs.writing.path_locks import Paths


class Listings:
    """Listings of folders, by handle for those that are open. For the event loop."""

    def __init__(self, library: Inodes, view: View, paths: Paths) -> None:
        """*paths* tells which folders are being moved."""
        self._library = library
        self._view = view
        self._paths = paths
        self._open: dict[int, tuple[Folder, list[bytes]]] = {}
        self._numbers = itertools.count(1)

    async def children(self, folder: Folder) -> dict[bytes, Node]:
        """Return the nodes in *folder* by name, as new as can be had without a long wait.

        Raises:
            StaleNodeError: *folder* is gone.
            OSError or ZsofsError: no listing can be had.
        """
        while True:
            path = self._view.place(folder)
            try:
                return await self._listed(folder)
            except (OSError, StaleNodeError):
                async with self._paths.kept(lambda: (self._view.place(folder),)):
                    if self._view.place(folder) == path:
                        raise
            # It was looked for where it lay before it was moved.

    async def _listed(self, folder: Folder) -> dict[bytes, Node]:
        await self._view.up_to_date(folder)
        if folder.children is None:
            raise StaleNodeError(f"{folder.name}: gone")
        return folder.children

    async def child(self, folder: Folder, name: bytes) -> Node:
        """Return the node called *name* in *folder*.

        Raises:
            FileNotFoundError: there is none.
            OSError or ZsofsError: no listing can be had.
        """
        node = (await self.children(folder)).get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return node

    async def open(self, folder: Folder) -> int:
        """Fix the names in *folder*, and their order, under a new handle."""
        children = await self.children(folder)
        handle = next(self._numbers)
        self._open[handle] = folder, list(children)
        return handle

    def entries(self, handle: int, start: int) -> Iterator[tuple[int, bytes, Node]]:
        """Return position, name and node of each entry of an open listing from *start* on.

        Each is as it is now, not as it was when the listing was opened: the kernel takes what it
        gets here for the newest, and would open a replaced disc again after it was told to forget
        it. An entry that has gone since is left out.
        """
        folder, names = self._open[handle]
        children = folder.children or {}
        for position in range(start, len(names)):
            node = children.get(names[position])
            if node is not None:
                yield position, names[position], node

    def folder(self, handle: int) -> Folder:
        """Return the folder of an open listing."""
        return self._open[handle][0]

    def close(self, handle: int) -> None:
        """Forget an open listing."""
        self._open.pop(handle, None)

    async def shrink_when_unused(self) -> None:
        """For as long as the mount lives, drop the listings of which the kernel knows nothing."""
        while True:
            await trio.sleep(timings().idle_check)
            self._library.shrink({folder for folder, _ in self._open.values()})
