"""What a mount is made from, as the command line gives it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountSettings:
    """What a mount is made from.

    Attributes:
        source: real path of the folder with the discs.
        mount_point: real path of an empty folder.
        cache_size: bytes for decoded blocks.
        threads: reads that may wait for one disk at a time.
        read_ahead: bytes that the kernel may read ahead of a sequential reader, if we are root.
        allow_other: whether other users may use the mount.
        layout: ``plain``, or ``opl`` for what Open PS2 Loader expects of a share.
        titles: a file with titles of games, for the latter.
        include: patterns of the files to show; none for all.
        exclude: patterns of files and folders to leave out.
        allow_links_to: real paths of directories that symlinks in the source may lead to.
        show_raw: whether a packed file stays visible beside its disc.
        remember: whether what is found is kept for the next mount of this source.
        writable: whether everything that is no disc may be changed through the mount.
        uid: the user all files are shown to belong to, and new ones do; None for their own.
        gid: the same for the group.
        umask: the rights taken from all files as they are shown; None for their own rights.
    """

    source: bytes
    mount_point: bytes
    cache_size: int
    threads: int
    read_ahead: int
    allow_other: bool
    layout: str = "plain"
    titles: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_links_to: tuple[bytes, ...] = ()
    show_raw: bool = False
    remember: bool = True
    writable: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
