"""Changes that a writable mount rejects, as far as the listing shows.

The final decision is in zsofs.source.writer, which inspects the files themselves.
"""

import errno
import os
from dataclasses import dataclass

from zsofs.console.text import for_people
from zsofs.errors import ReadOnlyFileError, RefusedError
from zsofs.formats.file_names import is_kept_for_discs
from zsofs.source.entry import Kind
from zsofs.source.filters import Selection
from zsofs.source.relpath import joined
from zsofs.source.roots import is_outside
from zsofs.source.writer import WHAT_TO_DO
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.shown_sheets import is_renamed_sheet
from zsofs.vfs.view import View

_OTHER_NAMES = "it is shown with the names in the mount; change it in the source directory"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules. A rejection is an exception, whose message is logged.

    Attributes:
        library: the nodes.
        view: how the source is shown.
        selection: the include and exclude filters.
    """

    library: Inodes
    view: View
    selection: Selection

    def refuse_name(self, folder: Folder, name: bytes, kind: Kind) -> None:
        """Reject the creation of a name that is reserved for discs, or would not be shown.

        Raises:
            RefusedError: this *name* and *kind* cannot be created in *folder*.
        """
        path = joined(self.view.place(folder), name)
        reason = self.view.why_not(folder, name, kind)
        if is_kept_for_discs(name):
            reason = f"the name is reserved for discs, and {WHAT_TO_DO}"
        elif not self.selection.takes(path, is_folder=kind is Kind.FOLDER):
            reason = "it is excluded by --include or --exclude"
        if reason:
            raise RefusedError(f"{for_people(path)}: creation refused: {reason}")

    def refuse_disc(self, folder: Folder, name: bytes, node: Node) -> None:
        """Reject renaming, replacing or deleting a disc, or a directory with discs.

        The same applies to a file with the names in the mount: editors also save by renaming or
        deleting a file and creating it again. That would save these names into the source.

        A symlink to a disc under another name may be deleted. A symlink to a directory outside the
        source may not: it is shown as that directory, with all its discs.

        Raises:
            RefusedError: *node*, called *name* in *folder*, is protected.
            ReadOnlyFileError: it is a playlist or cue sheet with the names in the mount.
        """
        entry = node.entry
        reason = self.view.why_not(folder, name, entry.kind)
        is_called_so = entry.kind is Kind.FILE and is_kept_for_discs(entry.name)
        if entry.kind is Kind.DISC or is_called_so:
            reason = WHAT_TO_DO
        if entry.kind is Kind.FOLDER and entry.followed and is_outside(entry.path):
            reason = "it is a symlink that leads out of the source directory; change it there"
        if reason:
            raise RefusedError(f"{node.name}: rename, replacement or deletion refused: {reason}")
        self._refuse_sheet(node, "rename, replacement or deletion refused")

    def refuse_unchangeable(self, node: Node) -> None:
        """Reject a change of the bytes or attributes of a disc, or of a special file.

        Raises:
            RefusedError: *node* is a disc.
            ReadOnlyFileError: it is a playlist or cue sheet with the names in the mount.
            PermissionError: it is a symlink or a special file.
        """
        if self.library.may_change(node):
            return
        self._refuse_sheet(node, "change refused")
        if node.entry.kind in (Kind.DISC, Kind.FILE):
            raise RefusedError(f"{node.name}: change refused: {WHAT_TO_DO}")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    @staticmethod
    def _refuse_sheet(node: Node, what: str) -> None:
        if is_renamed_sheet(node.entry):
            raise ReadOnlyFileError(f"{node.name}: {what}: {_OTHER_NAMES}")
