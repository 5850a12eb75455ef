"""Status of a running mount: from the daemon to `status`, `list` and JSON.

Daemon and command may be of different versions, for example after an update: unknown fields are
ignored; missing fields, and fields of another type, get their defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from zsofs.mount.control.typed_json import decoded, encoded


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A file or directory that is not shown as expected, with the reason."""

    path: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """A program, a file of the mount that it has open, and the number of its handles."""

    pid: int = 0
    program: str = ""
    path: str = ""
    handles: int = 0


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """The extent cache: bytes in use, its limit in bytes, hits and all lookups so far."""

    bytes: int = 0
    limit: int = 0
    hits: int = 0
    lookups: int = 0


@dataclass(frozen=True, slots=True)
class PreloadStatus:
    """Boot traces: whether they are used, how many starts were stored and how many followed one.

    Then the requests of the source for the latter, and their bytes: all, those that were read
    since, and those that were not until the disc was closed.
    """

    enabled: bool = False
    stored_starts: int = 0
    followed_starts: int = 0
    requests: int = 0
    fetched_bytes: int = 0
    used_bytes: int = 0
    wasted_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The process that serves the mount."""

    version: str = ""
    pid: int = 0
    uptime_seconds: float = 0.0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class SettingsStatus:
    """The settings that determine the shown tree, as in MountSettings; paths are text."""

    source: str = ""
    mount_point: str = ""
    layout: str = ""
    titles: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_links_to: tuple[str, ...] = ()
    show_raw: bool = False
    cd: str = "auto"
    writable: bool = False


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The source directory: whether it is available, a note on that, and how it is followed."""

    source_state: str = ""
    source_note: str = ""
    following: str = ""


@dataclass(frozen=True, slots=True)
class DiscStatus:
    """Number of discs, whether the count is still in progress, and number of files being copied."""

    discs: int = 0
    compressed_discs: int = 0
    plain_discs: int = 0
    counting: bool = False
    copying: int = 0


@dataclass(frozen=True, slots=True)
class NotShownStatus:
    """Files not shown as discs: the first of each kind, and their number."""

    refused: tuple[FileStatus, ...] = ()
    refused_total: int = 0
    links_not_followed: tuple[FileStatus, ...] = ()
    links_not_followed_total: int = 0
    shown_empty: tuple[FileStatus, ...] = ()
    left_out: tuple[FileStatus, ...] = ()
    left_out_total: int = 0


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Programs with open files, the cache, requests, bytes and errors of reads, boot traces.

    `waiting` reads wait for a disk, the oldest of them since `waiting_seconds`.
    """

    readers: tuple[ReaderStatus, ...] = ()
    cache: CacheStatus = CacheStatus()
    requests: int = 0
    bytes: int = 0
    errors: int = 0
    waiting: int = 0
    waiting_seconds: float = 0.0
    preload: PreloadStatus = PreloadStatus()


@dataclass(frozen=True, slots=True)
class MountStatus:
    """Status of a running mount.

    In JSON, the fields of all parts are in one flat object, under the same names.

    Attributes:
        malformed: names of the JSON fields that had a value of another type, and have their
            defaults instead; not part of the JSON.
    """

    daemon: DaemonStatus = DaemonStatus()
    settings: SettingsStatus = SettingsStatus()
    source: SourceStatus = SourceStatus()
    discs: DiscStatus = DiscStatus()
    not_shown: NotShownStatus = NotShownStatus()
    reads: ReadStatus = ReadStatus()
    malformed: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Self:
        """Return the status in a reply of a daemon of any version. Never raises."""
        malformed: set[str] = set()
        return cls(
            decoded(DaemonStatus, fields, malformed),
            decoded(SettingsStatus, fields, malformed),
            decoded(SourceStatus, fields, malformed),
            decoded(DiscStatus, fields, malformed),
            decoded(NotShownStatus, fields, malformed),
            decoded(ReadStatus, fields, malformed),
            frozenset(malformed),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields of a reply, for json.dumps."""
        parts = self.daemon, self.settings, self.source, self.discs, self.not_shown, self.reads
        return {name: value for part in parts for name, value in encoded(part).items()}
