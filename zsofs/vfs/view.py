"""The protocol of a view: what the FUSE operations ask of the plain and the OPL layout."""

from typing import Protocol

from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import Place
from zsofs.vfs.node import Folder, Node


class View(Protocol):
    """What decides how the source is shown."""

    async def up_to_date(self, folder: Folder) -> None:
        """Make sure that *folder* has a listing, as new as can be had without a long wait."""

    def doubt(self, node: Node) -> None:
        """Have the file looked into anew before *node* is listed again."""

    def outdate(self, folder: Folder, name: bytes) -> None:
        """Have the file *name* of the source looked at anew before *folder* is listed again."""

    def place(self, folder: Folder) -> bytes:
        """Return the directory of the source in which lies what is made in *folder*."""

    def lacks(self, folder: Folder) -> bool:
        """Return whether that one has to be made first."""

    def why_not(self, folder: Folder, name: bytes, kind: Kind) -> str:
        """Return why nothing of that name and kind can be made in *folder*; empty if it can."""

    def did(self, folder: Folder, place: Place, entry: Entry | None, at: float) -> None:
        """What *folder* shows of *place* is *entry* since the time *at*, or is deleted."""
