"""Protocol of a view: the interface of the plain and the OPL layout for FUSE operations."""

from contextlib import suppress
from typing import Protocol

from zsofs.errors import ZsofsError
from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import Place
from zsofs.vfs.node import Folder, Node

_PATIENCE = (1, 2, 4, 12)
"""How long listings are awaited one after another, in `timings.stale_listing`."""


class View(Protocol):
    """A layout of the mount."""

    async def up_to_date(self, folder: Folder, patience: int = 1) -> None:
        """Make sure that *folder* has a listing, as recent as possible without a long wait.

        Args:
            folder: a directory.
            patience: how long the scan is awaited before the last listing is used, in
                `timings.stale_listing`.
        """

    def doubt(self, node: Node) -> None:
        """Make sure that the file is inspected again before *node* is listed."""

    def outdate(self, folder: Folder, name: bytes) -> None:
        """Make sure that the source file *name* is scanned again before *folder* is listed."""

    def place(self, folder: Folder) -> bytes:
        """Return the source directory for files created in *folder*."""

    def lacks(self, folder: Folder) -> bool:
        """Return whether that directory has to be created first."""

    def why_not(self, folder: Folder, name: bytes, kind: Kind) -> str:
        """Return why this name and kind cannot be created in *folder*; empty if it can."""

    def did(self, folder: Folder, place: Place, entry: Entry | None, at: float) -> None:
        """Apply a change: *folder* shows *entry* for *place* since the time *at*; None: deleted."""


async def listed_again(view: View, node: Node) -> None:
    """Wait for a scan that drops *node*: the kernel looks its name up again, but only once."""
    for patience in _PATIENCE:
        if not node.listed or node.parent is None:
            return
        with suppress(OSError, ZsofsError):
            await view.up_to_date(node.parent, patience)
