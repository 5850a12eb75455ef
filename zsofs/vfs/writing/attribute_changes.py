"""Changes of size, permissions, owner and times."""

import stat
from dataclasses import replace

from zsofs.errors import DiskBusyError, SourceAwayError, StaleNodeError
from zsofs.source.live_file import TimedStat, seen
from zsofs.source.ownership import AttributeChange
from zsofs.source.tree import is_same_file
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.writing.file_handles import Handles
from zsofs.vfs.writing.writable_tree import Requester, WritableTree, refuse_removed


class AttributeChanges:
    """Attributes of nodes. For the event loop."""

    def __init__(self, tree: WritableTree, handles: Handles) -> None:
        """Create it; *handles* are the open files."""
        self._tree = tree
        self._handles = handles

    async def change(
        self, node: Node, wanted: AttributeChange, number: int | None, requester: Requester
    ) -> None:
        """Set attributes of *node*.

        Args:
            node: a file or directory.
            wanted: the attributes.
            number: the file handle of the request; None without one.
            requester: the program that requests it.

        Raises:
            RefusedError: it is a disc.
            StaleNodeError: it was deleted, or the source has another file of its name now.
            OSError: EPERM for a symlink or special file, or if options override the owner; or an
                error of the source.
        """
        tree = self._tree
        tree.rules.refuse_unchangeable(node, stays_as_it_is=wanted.size is None)
        tree.owner.refuse_unseen(wanted)
        if wanted.mode is not None:
            mode = tree.owner.mode(wanted.mode, of_folder=isinstance(node, Folder))
            wanted = replace(wanted, mode=mode)
        with self._handles.borrowed(node, number, writable=wanted.size is not None) as handle:
            if handle is not None:
                change = tree.changes.set_attributes_of_open
                now = await tree.run(node, change, handle.live, node.entry.path, wanted)
            else:
                now = await self._change_by_path(node, wanted, requester)
        tree.changed(node, now)

    async def _change_by_path(
        self, node: Node, wanted: AttributeChange, requester: Requester
    ) -> TimedStat:
        tree = self._tree
        try:
            async with tree.paths.kept(lambda: (tree.path_of(node),)):
                refuse_removed(node)
                if isinstance(node, Folder):
                    await tree.make_place(node, requester)
                path, known = tree.path_of(node), node.entry.status
                return await tree.run(node, tree.changes.set_attributes, path, wanted, known)
        except (OSError, StaleNodeError) as error:
            await tree.note_failure(node, error)
            raise

    async def refresh(self, node: Node) -> None:
        """Refresh the status of a file or directory; keep the previous one if that fails.

        Raises:
            StaleNodeError: it was deleted and is not open.
        """
        try:
            now = await self._look(node)
        except (OSError, DiskBusyError, SourceAwayError, StaleNodeError, MemoryError):
            if node.removed:
                raise StaleNodeError(f"{node.name}: deleted") from None
            return
        if now is None:
            return
        is_folder = isinstance(node, Folder) and stat.S_ISDIR(now.status.st_mode)
        if not (is_folder or is_same_file(now.status, node.entry.status)):  # replaced
            return
        known = node.entry.key
        self._tree.library.take_status(node, now.status, now.at)
        if node.entry.key != known:  # the listing, which a scan may reuse, is older
            self._tree.changed(node, now)

    async def _look(self, node: Node) -> TimedStat | None:
        """Return the current status of *node*; None if its path may be another file's."""
        tree = self._tree
        with self._handles.borrowed(node) as handle:
            if handle is not None:
                return await tree.run(node, seen, handle.live.fd)
            refuse_removed(node)
            path = tree.path_of(node)
            now = await tree.run(node, self._seen_at, path)
            return now if tree.path_of(node) == path else None

    def _seen_at(self, path: bytes) -> TimedStat:
        source = self._tree.library.tree
        with source.step(path, to_change=True) as step:  # fails if its disk is unmounted
            return seen(step)
