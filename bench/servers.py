"""The contenders: zsofs with each kind of disc, its peers, and the limits above both."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.discs import NAMES, Discs, remove
from bench.mounting import loop_mounted, overlaid, served, unmount_below
from bench.packers import Packing
from bench.payload import MB
from bench.system import Unavailable, kind_of_file_system, knows_nowait

READ_AHEAD_KB = 128

_MEMORY = Path("/dev/shm")

LZ4_2K = Packing("lz4", 2048)
PACKINGS = (
    LZ4_2K,
    Packing("lz4", 16384),
    Packing("zstd", 2048),
    Packing("zstd", 32768),
    Packing("zstd", 131072),
    Packing("deflate", 2048, suffix=".cso"),
    Packing("lz4", 2048, shift=1),
)


@dataclass(frozen=True)
class Served:
    """A disc that can be read now.

    Attributes:
        discs: paths of the plain disc; four of them where a server can show four.
        sources: files that the server reads, to be held in memory by the kernel.
        pids: its processes; none where the kernel serves.
    """

    discs: list[Path]
    sources: list[Path]
    pids: list[int] = field(default_factory=list)


Serve = Callable[[Discs, Path], AbstractContextManager[Served]]


@dataclass(frozen=True)
class Contender:
    """Something to measure.

    Attributes:
        name: short, for ``--only`` and the results.
        title: for people.
        kind: ``zsofs``, ``peer`` or ``limit``.
        make: makes the discs that it needs.
        serve: mounts them at a path until the block ends.
        read_ahead_kb: of its mount; None leaves what the server or the system sets.
    """

    name: str
    title: str
    kind: str
    make: Callable[[Discs], object]
    serve: Serve
    read_ahead_kb: int | None = READ_AHEAD_KB


def zsofs_command(source: Path, point: Path) -> list[str]:
    return [sys.executable, "-m", "zsofs", "mount", "-f", "-q", str(source), str(point)]


def _iso_paths(point: Path) -> list[Path]:
    return [point / f"{name}.iso" for name in NAMES]


@contextmanager
def _zsofs(packing: Packing, discs: Discs, point: Path) -> Iterator[Served]:
    folder = discs.packed(packing)
    with served(zsofs_command(folder, point), point) as pid:
        yield Served(_iso_paths(point), [folder / (NAMES[0] + packing.suffix)], [pid])


@contextmanager
def _zsofs_without_nowait(discs: Discs, point: Path) -> Iterator[Served]:
    """From a file system where zsofs cannot ask the kernel not to wait: tmpfs."""
    if not _MEMORY.is_dir() or kind_of_file_system(_MEMORY) != "tmpfs":
        raise Unavailable(f"there is no tmpfs at {_MEMORY}")
    original = discs.container(LZ4_2K)
    if shutil.disk_usage(_MEMORY).free < original.stat().st_size + 64 * MB:
        raise Unavailable(f"{_MEMORY} has no room for the disc")
    folder = _folder_in_memory(discs.work)
    folder.mkdir()
    try:
        copy = folder / original.name
        shutil.copyfile(original, copy)
        for name in NAMES[1:]:
            os.link(copy, copy.with_name(name + LZ4_2K.suffix))
        if knows_nowait(copy):
            raise Unavailable("this kernel's tmpfs knows RWF_NOWAIT")
        with served(zsofs_command(folder, point), point) as pid:
            yield Served(_iso_paths(point), [], [pid])
    finally:
        remove(folder)


@contextmanager
def _zsofs_over_overlay(discs: Discs, point: Path) -> Iterator[Served]:
    """From a file system where zsofs can neither ask nor look: every read goes to a thread."""
    if os.geteuid() != 0:
        raise Unavailable("only root can mount an overlay")
    folder = discs.packed(LZ4_2K)
    name = NAMES[0] + LZ4_2K.suffix
    shown = point.with_name(point.name + "-source")
    with overlaid(folder, shown):
        if knows_nowait(shown / name):
            raise Unavailable("this kernel's overlayfs knows RWF_NOWAIT")
        with served(zsofs_command(shown, point), point) as pid:
            yield Served(_iso_paths(point), [folder / name], [pid])


@contextmanager
def _zsofs_over_exfat(discs: Discs, point: Path) -> Iterator[Served]:
    """From a FUSE file system, whose pages the kernel holds: the source of an exFAT disk."""
    image = discs.exfat(LZ4_2K)
    name = NAMES[0] + LZ4_2K.suffix
    shown = point.with_name(point.name + "-source")
    with loop_mounted(image, shown, "exfat-fuse"):
        if knows_nowait(shown / name):
            raise Unavailable("this kernel's FUSE knows RWF_NOWAIT")
        with served(zsofs_command(shown, point), point) as pid:
            yield Served(_iso_paths(point)[:1], [shown / name], [pid])


def _folder_in_memory(work: Path) -> Path:
    return _MEMORY / f"zsofs-bench{str(work).replace('/', '-')[-200:]}"


def clear_leftovers(work: Path) -> None:
    """Remove what a benchmark that was killed has left mounted, in memory, and in folders."""
    unmount_below(work)
    with suppress(OSError):  # what is still mounted stays
        for folder in (work / "mounts").iterdir():
            if folder.is_dir():
                remove(folder)
    remove(_folder_in_memory(work))


@contextmanager
def _squashfuse(make: Callable[[Discs], Path], discs: Discs, point: Path) -> Iterator[Served]:
    program = shutil.which("squashfuse_ll")
    if program is None:
        raise Unavailable("squashfuse_ll is not installed")
    image = make(discs)
    with served([program, "-f", str(image), str(point)], point) as pid:
        yield Served(_iso_paths(point), [image], [pid])


@contextmanager
def _by_kernel(
    kind: str, make: Callable[[Discs], Path], discs: Discs, point: Path
) -> Iterator[Served]:
    if os.geteuid() != 0:
        raise Unavailable("only root can have the kernel mount an image")
    image = make(discs)
    with loop_mounted(image, point, kind):
        yield Served(_iso_paths(point), [image])


@contextmanager
def _ratarmount(make: Callable[[Discs], Path], discs: Discs, point: Path) -> Iterator[Served]:
    if importlib.util.find_spec("ratarmount") is None:
        raise Unavailable("ratarmount is not installed beside this Python")
    archive = make(discs)
    index = archive.with_name(archive.name + ".index.sqlite")
    command = [sys.executable, "-m", "ratarmount", "-f", "--index-file", str(index)]
    with served([*command, str(archive), str(point)], point) as pid:
        yield Served([point / archive.stem], [archive], [pid])


@contextmanager
def _bare(discs: Discs, point: Path) -> Iterator[Served]:
    image = discs.image()
    command = [sys.executable, "-m", "bench.bare_pyfuse3", str(image), str(point)]
    with served(command, point) as pid:
        yield Served(_iso_paths(point), [image], [pid])


@contextmanager
def _plain(discs: Discs, point: Path) -> Iterator[Served]:
    yield Served([discs.image()], [])


def lz4_squashfs(discs: Discs) -> Path:
    return discs.squashfs("lz4", 16384, ("-Xhc",))


def _zstd_squashfs(discs: Discs) -> Path:
    return discs.squashfs("zstd", 32768, ("-Xcompression-level", "9"))


def _title(packing: Packing) -> str:
    codec = {"lz4": "LZ4", "zstd": "zstd", "deflate": "CSO"}[packing.codec]
    padded = ", padded" if packing.shift else ""
    return f"zsofs {codec} {packing.block_size >> 10} KiB{padded}"


def _peer(
    name: str,
    title: str,
    make: Callable[[Discs], Path],
    serve: Callable[[Callable[[Discs], Path], Discs, Path], AbstractContextManager[Served]],
) -> Contender:
    return Contender(name, title, "peer", make, partial(serve, make))


def zsofs_contender(packing: Packing) -> Contender:
    """A mount of the disc in one of our own containers."""
    return Contender(
        f"zsofs-{packing.name}",
        _title(packing),
        "zsofs",
        partial(Discs.packed, packing=packing),
        partial(_zsofs, packing),
    )


_KERNEL_SQUASHFS = partial(_by_kernel, "squashfs")

CONTENDERS: tuple[Contender, ...] = (
    *map(zsofs_contender, PACKINGS),
    Contender(
        "zsofs-lz4-2k-tmpfs",
        "zsofs LZ4 2 KiB, source on tmpfs",
        "zsofs",
        partial(Discs.packed, packing=LZ4_2K),
        _zsofs_without_nowait,
    ),
    Contender(
        "zsofs-lz4-2k-overlay",
        "zsofs LZ4 2 KiB, source on overlayfs",
        "zsofs",
        partial(Discs.packed, packing=LZ4_2K),
        _zsofs_over_overlay,
    ),
    Contender(
        "zsofs-lz4-2k-exfat",
        "zsofs LZ4 2 KiB, source on exfat-fuse",
        "zsofs",
        partial(Discs.exfat, packing=LZ4_2K),
        _zsofs_over_exfat,
    ),
    _peer("squashfuse-lz4", "squashfuse_ll LZ4 16 KiB", lz4_squashfs, _squashfuse),
    _peer("squashfuse-zstd", "squashfuse_ll zstd 32 KiB", _zstd_squashfs, _squashfuse),
    _peer("kernel-lz4", "kernel squashfs LZ4 16 KiB", lz4_squashfs, _KERNEL_SQUASHFS),
    _peer("kernel-zstd", "kernel squashfs zstd 32 KiB", _zstd_squashfs, _KERNEL_SQUASHFS),
    _peer("erofs", "kernel EROFS LZ4-HC 16 KiB", Discs.erofs, partial(_by_kernel, "erofs")),
    _peer("ratarmount-zst", "ratarmount .iso.zst", Discs.zst, _ratarmount),
    _peer("ratarmount-gz", "ratarmount .iso.gz", Discs.gz, _ratarmount),
    Contender("bare", "bare pyfuse3, plain ISO", "limit", Discs.image, _bare),
    Contender("plain", "plain ISO, from the disk", "limit", Discs.image, _plain, None),
)

OWN_READ_AHEAD: tuple[Contender, ...] = tuple(
    Contender(
        f"zsofs-{packing.name}-own-read-ahead",
        f"{_title(packing)}, own read-ahead",
        "zsofs",
        partial(Discs.packed, packing=packing),
        partial(_zsofs, packing),
        None,
    )
    for packing in (LZ4_2K, Packing("zstd", 2048))
)
"""Mounts that keep the read-ahead that zsofs sets by itself."""
