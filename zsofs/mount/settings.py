"""The settings of a mount, from the command line."""

from dataclasses import dataclass, field
from pathlib import Path

from zsofs.discs.cd_forms import CdForm
from zsofs.preload.settings import PreloadSettings
from zsofs.vfs.shown_owner import ShownOwner


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """Which files of the source are shown, and under which names.

    Attributes:
        layout: ``plain``, or ``opl`` for what Open PS2 Loader expects of a share.
        titles: a file with titles of games, for the layout ``opl``.
        include: patterns of the files to show; none for all.
        exclude: patterns of files and directories to leave out.
        allow_links_to: real paths of directories that symlinks in the source may lead to.
        show_raw: whether a packed file stays visible beside its disc.
        cd: the form in which CDs are shown; None for the default of each.
    """

    layout: str = "plain"
    titles: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_links_to: tuple[bytes, ...] = ()
    show_raw: bool = False
    cd: CdForm | None = None


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """What may be changed through the mount.

    Attributes:
        files: whether files other than discs may be changed.
        new_discs: whether new discs may be created; only with *files*.
    """

    files: bool = False
    new_discs: bool = False


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What is reported of reads, and to whom besides the user of the mount.

    Attributes:
        slow_ms: milliseconds from which on a read is reported as slow.
        view_group: number of the group that may see what is read; None for none.
    """

    slow_ms: int = 50
    view_group: int | None = None


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
        tree: which files are shown.
        owner: overrides of owner and mode.
        remember: whether the scan cache is stored for the next mount of this source.
        writing: what may be changed through the mount.
        reports: what is reported of reads.
        preload: what is read before it is asked for.
    """

    source: bytes
    mount_point: bytes
    cache_size: int
    threads: int
    read_ahead: int
    allow_other: bool
    tree: TreeSettings = field(default_factory=TreeSettings)
    owner: ShownOwner = field(default_factory=ShownOwner)
    remember: bool = True
    writing: WriteSettings = field(default_factory=WriteSettings)
    reports: ReportSettings = field(default_factory=ReportSettings)
    preload: PreloadSettings = field(default_factory=PreloadSettings)
