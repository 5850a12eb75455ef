"""Directory listings: current ones, and those of open directory handles."""

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
    """Directory listings, by handle for open ones. For the event loop."""

    def __init__(self, library: Inodes, view: View, paths: Paths) -> None:
        """Create it; *paths* are the locks on source paths."""
        self._library = library
        self._view = view
        self._paths = paths
        self._open: dict[int, tuple[Folder, list[bytes]]] = {}
        self._numbers = itertools.count(1)

    async def children(self, folder: Folder) -> dict[bytes, Node]:
        """Return the nodes in *folder* by name, as recent as possible without a long wait.

        Raises:
            StaleNodeError: *folder* no longer exists.
            OSError or ZsofsError: no listing is available.
        """
        while True:
            path = self._view.place(folder)
            try:
                return await self._listed(folder)
            except (OSError, StaleNodeError):
                async with self._paths.kept(lambda: (self._view.place(folder),)):
                    if self._view.place(folder) == path:
                        raise
            # It was searched at its path before a move.

    async def _listed(self, folder: Folder) -> dict[bytes, Node]:
        await self._view.up_to_date(folder)
        if folder.children is None:
            raise StaleNodeError(f"{folder.name}: gone")
        return folder.children

    async def child(self, folder: Folder, name: bytes) -> Node:
        """Return the node called *name* in *folder*.

        Raises:
            FileNotFoundError: there is none.
            OSError or ZsofsError: no listing is available.
        """
        node = (await self.children(folder)).get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return node

    async def open(self, folder: Folder) -> int:
        """Take a snapshot of the names in *folder*, in order, under a new handle."""
        children = await self.children(folder)
        handle = next(self._numbers)
        self._open[handle] = folder, list(children)
        return handle

    def entries(self, handle: int, start: int) -> Iterator[tuple[int, bytes, Node]]:
        """Return position, name and node of each entry of an open listing from *start* on.

        Each is the current one, not that of the snapshot: the kernel caches these as the newest,
        and would open a replaced disc again after an invalidation. An entry that has been deleted
        since is left out.
        """
        folder, names = self._open[handle]
        children = folder.children or {}
        for position in range(start, len(names)):
            node = children.get(names[position])
            if node is not None:
                yield position, names[position], node

    def folder(self, handle: int) -> Folder:
        """Return the directory of an open listing."""
        return self._open[handle][0]

    def close(self, handle: int) -> None:
        """Close a listing."""
        self._open.pop(handle, None)

    async def shrink_when_unused(self) -> None:
        """Drop listings that the kernel does not know, while the mount exists."""
        while True:
            await trio.sleep(timings().idle_check)
            self._library.shrink({folder for folder, _ in self._open.values()})
