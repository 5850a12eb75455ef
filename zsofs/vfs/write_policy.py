"""Changes that a writable mount rejects, as far as its listing determines.

The last word is with zsofs.source.writer, which looks at the files themselves.
"""

import errno
import os
from dataclasses import dataclass

from zsofs.console.text import for_people
from zsofs.errors import RefusedError
from zsofs.formats.file_names import is_kept_for_discs
from zsofs.source.entry import Kind
from zsofs.source.filters import Selection
from zsofs.source.relpath import joined
from zsofs.source.roots import is_outside
from zsofs.source.writer import WHAT_TO_DO
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder, Node
from zsofs.vfs.view import View


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules. A rejection is an exception, whose message is logged.

    Attributes:
        library: the nodes.
        view: how the source is shown.
        selection: what is shown at all.
    """

    library: Inodes
    view: View
    selection: Selection

    def refuse_name(self, folder: Folder, name: bytes, kind: Kind) -> None:
        """Reject the creation of a name that is reserved for discs, or would not be shown.

        Raises:
            RefusedError: nothing of that *name* and *kind* can be made in *folder*.
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

        What merely leads to a disc, under another name, may go. A symlink to a directory outside
        the source may not: it is shown as that directory, with all its discs.

        Raises:
            RefusedError: *node*, called *name* in *folder*, has to stay.
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

    def refuse_unchangeable(self, node: Node) -> None:
        """Reject a change of the bytes or attributes of a disc, or of a special file.

        Raises:
            RefusedError: *node* is a disc.
            PermissionError: it is a link or a device.
        """
        if self.library.may_change(node):
            return
        if node.entry.kind in (Kind.DISC, Kind.FILE):
            raise RefusedError(f"{node.name}: change refused: {WHAT_TO_DO}")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
