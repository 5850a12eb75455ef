"""Common state of all changes through the mount: source places, permissions and updates."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from zsofs.errors import StaleNodeError
from zsofs.formats.file_names import is_inspected
from zsofs.reading.file_opener import FileOpener
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.entry import Entry, Kind
from zsofs.source.live_file import TimedStat
from zsofs.source.ownership import NewOwner
from zsofs.source.tree import Place
from zsofs.source.writer import SourceWriter
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.shown_owner import ShownOwner
from zsofs.vfs.view import View, listed_again
from zsofs.vfs.write_policy import Rules
from zsofs.vfs.writing.path_locks import Paths

R = TypeVar("R")


class Requester(Protocol):
    """The program that requests a change, such as a RequestContext of pyfuse3."""

    @property
    def pid(self) -> int:
        """Return its thread."""

    @property
    def uid(self) -> int:
        """Return its user."""

    @property
    def gid(self) -> int:
        """Return its group."""


@dataclass(frozen=True, slots=True)
class WritableTree:
    """The shown tree with the components that change it.

    Attributes:
        library: the inode table.
        view: the layout.
        rules: reject forbidden changes.
        changes: makes changes in the source.
        workers: threads for them.
        opener: opens and closes files of the source.
        paths: locks on source paths.
        owner: overrides of owner and mode.
        serves_as_root: whether files can be given to other users.
    """

    library: Inodes
    view: View
    rules: Rules
    changes: SourceWriter
    workers: WorkerThreads
    opener: FileOpener
    paths: Paths
    owner: ShownOwner
    serves_as_root: bool

    async def run(self, node: Node, function: Callable[..., R], *args: object) -> R:
        """Call *function* in a thread that counts against the device of *node*."""
        return await self.workers.run_admitted(node.entry.status.st_dev, function, *args)

    def new_owner(self, requester: Requester) -> NewOwner:
        """Return the owner of new files."""
        if not self.serves_as_root:
            return NewOwner(None, None)
        return self.owner.new_owner(requester.uid, requester.gid)

    # Places

    def place_of(self, folder: Folder, node: Node) -> Place:
        """Return the source place of *node* in *folder*; for a symlink, that of the link."""
        if node.entry.followed:
            return Place(self.view.place(folder), node.entry.name)
        above, _, name = node.entry.path.rpartition(b"/")
        return Place(above, name)

    def path_of(self, node: Node) -> bytes:
        """Return the path in the source by which *node* is changed."""
        return self.view.place(node) if isinstance(node, Folder) else node.entry.path

    async def make_place(self, folder: Folder, requester: Requester, name: bytes = b"") -> Place:
        """Return the place for *name* in the source; its directory is created if necessary."""
        path = self.view.place(folder)
        if self.view.lacks(folder):
            await self._make_lacking(folder, path, requester)
        return Place(path, name)

    async def _make_lacking(self, folder: Folder, path: bytes, requester: Requester) -> None:
        # No program requests this directory itself, so it gets the mode of its parent, and it is
        # synced, because a program that syncs a file in it expects it to be on the disk.
        root, changes = self.library.root, self.changes
        place, mode = Place(b"", path), root.entry.status.st_mode & 0o777
        with suppress(FileExistsError):
            now = await self.run(
                folder, changes.make_folder, place, mode, self.new_owner(requester)
            )
            # A scan that began before has not seen it.
            self.view.did(root, place, Entry(path, Kind.FOLDER, path, now.status), now.at)
            with suppress(OSError):
                await self.run(folder, changes.sync_folder, place.folder)

    # Updates of inode table and view

    def made(self, folder: Folder, place: Place, now: TimedStat) -> Node:
        """Return the node of a file or directory that was just created."""
        kind = Kind.FOLDER if stat.S_ISDIR(now.status.st_mode) else Kind.FILE
        settled = not is_inspected(place.name)
        entry = Entry(place.name, kind, place.path, now.status, settled=settled)
        entry = self.rules.as_new(entry)
        node = self.library.put(folder, place.name, entry, now.at)
        self.view.did(folder, place, entry, now.at)
        return node

    def changed(self, node: Node, now: TimedStat) -> None:
        """Apply the status of a file after a change; results of older scans are then ignored."""
        self.library.take_status(node, now.status, now.at)
        if node.parent is not None and not (node.removed or isinstance(node, Folder)):
            self.view.outdate(node.parent, node.entry.name)

    async def note_failure(self, node: Node, error: BaseException) -> None:
        """Scan *node* again if the source has another file of its name, or none.

        An error of the system gets the name of *node*, for the log.
        The kernel looks the name up again and retries, before the listing expires.
        """
        if isinstance(error, OSError):
            error.filename = node.name  # it is that of a descriptor, and the message has it
        if isinstance(error, StaleNodeError | FileNotFoundError) and node.parent is not None:
            self.view.outdate(node.parent, node.entry.name)
            await listed_again(self.view, node)


def refuse_removed(node: Node) -> None:
    """Reject an operation by the path of a deleted file, which may now be another file's.

    The source may even have reused the inode number for it.

    Raises:
        StaleNodeError: *node* was deleted through the mount.
    """
    if node.removed:
        raise StaleNodeError(f"{node.name}: deleted")


def system_error(number: int) -> OSError:
    """Return the error of that number, with the system's own words."""
    return OSError(number, os.strerror(number))
