"""The owner, group and rights that all files are shown with, where options set them."""

import errno
import stat
from dataclasses import dataclass

from zsofs.source.ownership import SET_IDS, AttributeChange, NewOwner


@dataclass(frozen=True, slots=True)
class ShownOwner:
    """Options that override owner and mode of all files.

    Attributes:
        uid: the user all files are shown to belong to; None for their own.
        gid: the same for the group.
        umask: the rights taken from all files, as file systems without rights of their own do it;
            None for their own.
    """

    uid: int | None = None
    gid: int | None = None
    umask: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether files look otherwise than they are, so that a mode says nothing of the owner."""
        return not (self.uid is self.gid is self.umask is None)

    def refuse_unseen(self, wanted: AttributeChange) -> None:
        """Reject a change of an owner or group that options override.

        Raises:
            OSError: EPERM.
        """
        if (wanted.uid is not None and self.uid is not None) or (
            wanted.gid is not None and self.gid is not None
        ):
            raise OSError(errno.EPERM, "all files are shown as those of one owner")

    def mode(self, mode: int, *, of_folder: bool) -> int:
        """Return the permitted bits of *mode*.

        A file must not run as its owner where it only seems to be that user's. Such rights are left
        out without an error, as the kernel does with those that a program may not give.
        """
        if self.is_set and not of_folder:
            mode &= ~SET_IDS
        return stat.S_IMODE(mode)

    def maker(self, uid: int, gid: int) -> NewOwner:
        """Return whom new files are to belong to that the user *uid* of the group *gid* makes."""
        return NewOwner(
            uid if self.uid is None else self.uid, gid if self.gid is None else self.gid
        )
