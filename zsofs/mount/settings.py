"""The settings of a mount, from the command line."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountSettings:
    """The settings of a mount.

    Attributes:
        source: real path of the source directory.
        mount_point: real path of the mount point, an empty directory.
        cache_size: maximum bytes of decoded blocks.
        threads: maximum number of blocking reads per disk.
        read_ahead: kernel read-ahead in bytes; only effective as root.
        allow_other: whether other users may use the mount.
        layout: ``plain``, or ``opl`` for Open PS2 Loader.
        titles: file with game titles, for ``opl``.
        include: patterns of files to show; empty: all.
        exclude: patterns of files and directories to hide.
        allow_links_to: real paths of directories into which symlinks are followed.
        show_raw: whether packed files are shown beside their discs.
        remember: whether scan results are cached for the next mount of this source.
        writable: whether files other than discs can be changed.
        uid: reported owner of all files, and owner of new ones; None: as in the source.
        gid: the same for the group.
        umask: mask of the reported mode of all files; None: modes as in the source.
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
