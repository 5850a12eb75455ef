"""Changes that a writable mount rejects, as far as the listing shows.

The final decision is in zsofs.source.writer, which inspects the files themselves.
"""

import errno
import os
import time
from dataclasses import dataclass, replace

from zsofs.console.text import for_people
from zsofs.errors import ReadOnlyFileError, RefusedError
from zsofs.formats.file_names import is_kept_for_discs
from zsofs.source.entry import Entry, Kind
from zsofs.source.filters import Selection
from zsofs.source.finding import NEW
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
        takes_new_discs: whether clients may create files with the names of discs.
    """

    library: Inodes
    view: View
    selection: Selection
    takes_new_discs: bool

    def refuse_name(self, folder: Folder, name: bytes, kind: Kind) -> None:
        """Reject the creation of a name that is reserved for discs, or would not be shown.

        Raises:
            RefusedError: this *name* and *kind* cannot be created in *folder*.
        """
        path = joined(self.view.place(folder), name)
        reason = self.view.why_not(folder, name, kind)
        if is_kept_for_discs(name) and not (self.takes_new_discs and kind is Kind.FILE):
            reason = f"the name is reserved for discs, and {WHAT_TO_DO}"
        elif not self.selection.takes(path, is_folder=kind is Kind.FOLDER):
            reason = "it is excluded by --include or --exclude"
        if reason:
            raise RefusedError(f"{for_people(path)}: creation refused: {reason}")

    def refuse_disc(
        self, folder: Folder, name: bytes, node: Node, *, is_deleted: bool = False
    ) -> None:
        """Reject renaming, replacing or deleting a disc, or a directory with discs.

        A playlist or cue sheet with the names in the mount is protected as well: editors also save
        by renaming or deleting a file and creating it again, which would put these names into the
        source.

        A symlink to a disc under another name may be deleted. A symlink to a directory outside the
        source may not: it is shown as that directory, with all its discs.

        A new disc is the client's. If it is packed and already shown as a disc, it can only be
        deleted: its name and bytes in the mount are not those of its file.

        Args:
            folder: the directory.
            name: the name in it.
            node: the file or directory of that name.
            is_deleted: whether it is to be deleted, not renamed or replaced.

        Raises:
            RefusedError: *node*, called *name* in *folder*, is protected.
            ReadOnlyFileError: it is a playlist or cue sheet with the names in the mount.
        """
        entry = node.entry
        reason = self.view.why_not(folder, name, entry.kind)
        is_called_so = entry.kind is Kind.FILE and is_kept_for_discs(entry.name)
        is_clients = entry.is_new and (entry.kind is Kind.FILE or is_deleted)
        if (entry.kind is Kind.DISC or is_called_so) and not (is_clients and entry.shown is None):
            reason = WHAT_TO_DO
        if entry.kind is Kind.FOLDER and entry.followed and is_outside(entry.path):
            reason = "it is a symlink that leads out of the source directory; change it there"
        if reason:
            raise RefusedError(f"{node.name}: rename, replacement or deletion refused: {reason}")
        self._refuse_sheet(node, "rename, replacement or deletion refused")

    def refuse_unchangeable(self, node: Node, *, stays_as_it_is: bool = False) -> None:
        """Reject a change of the bytes or attributes of a disc, or of a special file.

        *stays_as_it_is*: whether the change is of attributes only, which a new disc allows.

        Raises:
            RefusedError: *node* is a disc.
            ReadOnlyFileError: it is a playlist or cue sheet with the names in the mount.
            PermissionError: it is a symlink or a special file.
        """
        if self.library.may_change(node) or (node.entry.is_new and stays_as_it_is):
            return
        self._refuse_sheet(node, "change refused")
        if node.entry.kind in (Kind.DISC, Kind.FILE):
            raise RefusedError(f"{node.name}: change refused: {WHAT_TO_DO}")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def as_new(self, entry: Entry) -> Entry:
        """Return the entry of a file that was just created or renamed: perhaps a new disc."""
        is_disc = entry.kind is Kind.FILE and is_kept_for_discs(entry.name)
        if not (is_disc and self.takes_new_discs and not entry.followed):
            return entry
        return replace(entry, finding=NEW, copying_since=time.monotonic())

    @staticmethod
    def _refuse_sheet(node: Node, what: str) -> None:
        if is_renamed_sheet(node.entry):
            raise ReadOnlyFileError(f"{node.name}: {what}: {_OTHER_NAMES}")
