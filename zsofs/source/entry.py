"""One entry of a directory of the source: what it is, and what is known of what is inside it."""

import os
import stat
from dataclasses import dataclass
from enum import Enum

from zsofs.images.probe import Disc
from zsofs.images.source_file import Key
from zsofs.source.finding import NOTHING, FileFinding


class Kind(Enum):
    """What an entry is to the reader of the mount."""

    FOLDER = "folder"
    DISC = "disc"
    FILE = "file"
    LINK = "link"
    SPECIAL = "special"


KINDS = {stat.S_IFDIR: Kind.FOLDER, stat.S_IFREG: Kind.FILE}
"""What a directory or regular file is before it was looked into, by its type."""


@dataclass(slots=True)
class Entry:
    """One entry of a directory, never changed once it is made.

    It is not frozen because that makes it 1.3 instead of 0.4 microseconds to make, and a listing
    makes one for each file.

    Attributes:
        name: its name in the source.
        kind: what it is shown as.
        path: where its content lies: its own path, or that of the symlink's target.
        status: what lstat says of the file at *path*.
        target: where a LINK leads to, as it stands in the source.
        followed: whether it is a symlink that is shown as what it leads to.
        reason: why a directory is shown empty, or a symlink that may lead to discs is not followed.
        finding: what is inside the file; where kind is DISC, its container.
        ignored: why a file that is named like a disc is never taken for one; empty if it may be.
        settled: False where the file could not be read, or is still being written: it is looked
            into again.
        copying_since: when a file that is still being written was first seen as it is now, by the
            monotonic clock.
    """

    name: bytes
    kind: Kind
    path: bytes
    status: os.stat_result
    target: bytes = b""
    followed: bool = False
    reason: str = ""
    finding: FileFinding = NOTHING
    ignored: str = ""
    settled: bool = True
    copying_since: float | None = None

    @property
    def disc(self) -> Disc | None:
        """What is in the container; None where kind is not DISC."""
        return self.finding.disc

    @property
    def key(self) -> Key:
        """What stands for one content of the file, beside its path."""
        status = self.status
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def same_content(self, other: "Entry") -> bool:
        """Whether *other* stands for the same bytes, under the same name."""
        return (
            self.key == other.key
            and self.name == other.name
            and self.path == other.path
            and stat.S_IFMT(self.status.st_mode) == stat.S_IFMT(other.status.st_mode)
        )
