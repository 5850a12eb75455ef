"""Owner, group and mode that options set for all files."""

import errno
import stat
from dataclasses import dataclass

from zsofs.source.ownership import SET_IDS, AttributeChange, NewOwner


@dataclass(frozen=True, slots=True)
class ShownOwner:
    """Options that override owner and mode of all files.

    Attributes:
        uid: owner of all files; None: the owner in the source.
        gid: group of all files; None: the group in the source.
        umask: permissions removed from all files, as for file systems without permissions;
            None: the mode in the source.
    """

    uid: int | None = None
    gid: int | None = None
    umask: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether an option overrides owner, group or mode."""
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

        A file must not be set-user-ID for an owner that is only shown. These bits are dropped
        without an error, as the kernel does if the caller may not set them.
        """
        if self.is_set and not of_folder:
            mode &= ~SET_IDS
        return stat.S_IMODE(mode)

    def new_owner(self, uid: int, gid: int) -> NewOwner:
        """Return the owner of new files that the user *uid* with the group *gid* creates."""
        return NewOwner(
            uid if self.uid is None else self.uid, gid if self.gid is None else self.gid
        )
