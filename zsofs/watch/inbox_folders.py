"""The directories of the inboxes: which are new, so that their files have come since the start."""

import os
from dataclasses import dataclass, field


@dataclass(slots=True)
class InboxFolders:
    """What is known of the directories, by path.

    Attributes:
        known: directories that a scan has found.
        listed: those that were watched during a whole scan.
        shut: those that existed before, and could not be listed.
        new: directories that appeared while their parent was watched.
        scanned: whether the first scan has ended.
    """

    known: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    shut: set[str] = field(default_factory=set)
    new: set[str] = field(default_factory=set)
    scanned: bool = False

    def is_new(self, folder: str) -> bool:
        """Return whether a directory that a scan has found appeared while its parent was watched.

        It may have been created after the events were taken.
        """
        above = os.path.dirname(folder)
        is_unknown = folder not in self.known
        return folder in self.new or above in self.new or (is_unknown and above in self.listed)

    def enter(self, folder: str, *, is_new: bool) -> None:
        """Note that a directory is watched from now on; *is_new* by :meth:`is_new` before."""
        self.known.add(folder)
        self.shut.discard(folder)
        if is_new:
            self.new.add(folder)

    def cannot_enter(self, folder: str) -> None:
        """Note that a directory exists and cannot be listed."""
        if not self.is_new(folder):
            self.known.add(folder)
            self.shut.add(folder)

    def end_entering(self) -> None:
        """Report that all directories have been entered, before the first scan."""
        self.listed = self.known - self.shut

    def end_scan(self) -> None:
        """Report the end of a scan."""
        self.new.clear()
        self.scanned = True
        self.end_entering()

    def appear(self, folder: str) -> bool:
        """Note that an event names a directory; return whether it has to be scanned.

        That is one that is new, or perhaps can be listed now.
        """
        if folder in self.known:
            return folder in self.shut
        self.new.add(folder)
        return True

    def drop(self, folder: str) -> None:
        """Forget a directory, because its path leads elsewhere now, or nowhere."""
        self.known.discard(folder)
        self.listed.discard(folder)
        self.shut.discard(folder)
