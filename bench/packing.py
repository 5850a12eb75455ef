"""Packing a disc beside mksquashfs, and what each way to pack is worth when it is read."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import Discs
from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb
from bench.mounting import served
from bench.random_reads import read_randomly
from bench.sequential import read_through
from bench.servers import READ_AHEAD_KB, Contender, Served, zsofs_command
from bench.system import BenchError, Unavailable, drop_pages

_BARE = ("--no-verify", "--no-digests")
_ZSTD = ("--codec", "zstd", "--level", "9", "--block-size", "32K")
_LZ4 = ("--codec", "lz4", "--level", "12", "--block-size", "16K")
_PURPOSES = ("mount", "small", "fast", "console", "psp")


@dataclass(frozen=True, kw_only=True)
class Packer(Served):
    """A program that packs the disc.

    Attributes:
        command: what to run; it writes *target*.
        target: what it makes.
    """

    command: list[str]
    target: Path


def _zsofs_pack(image: Path, target: Path, words: tuple[str, ...]) -> list[str]:
    return [
        sys.executable,
        "-m",
        "zsofs",
        "pack",
        "-q",
        "--any",
        *words,
        str(image),
        "-o",
        str(target),
    ]


@contextmanager
def _packer(words: tuple[str, ...], discs: Discs, point: Path) -> Iterator[Served]:
    target = point.with_name(point.name + ".zso")
    yield Packer(
        [],
        [discs.image()],
        command=_zsofs_pack(discs.image(), target, words),
        target=target,
    )


@contextmanager
def _mksquashfs(
    codec: str, options: tuple[str, ...], discs: Discs, point: Path
) -> Iterator[Served]:
    program = shutil.which("mksquashfs")
    if program is None:
        raise Unavailable("mksquashfs is not installed")
    target = point.with_name(point.name + ".squashfs")
    command = [program, str(discs.image()), str(target), "-comp", codec, *options, "-noappend"]
    command += ["-no-xattrs", "-no-progress", "-quiet", "-all-root"]
    yield Packer([], [discs.image()], command=command, target=target)


def _timed(command: list[str], target: Path) -> float:
    """Run a packer with nothing else left to write; gives the seconds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    os.sync()
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begin
    if done.returncode:
        raise BenchError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return took


def _pack(server: Served, occasion: Occasion) -> Figures:
    if not isinstance(server, Packer):
        return {}
    try:
        took = _timed(server.command, server.target)
        share = 100 * server.target.stat().st_size / occasion.image_size
    finally:
        server.target.unlink(missing_ok=True)
    return {"mbs": per_second_mb(occasion.image_size, took), "share": share}


def _disc_for(discs: Discs, purpose: str) -> Path:
    """A folder with the disc as ``--for`` *purpose* packs it."""

    def write(folder: Path) -> None:
        folder.mkdir()
        command = _zsofs_pack(discs.image(), folder / "Disc.zso", ("--for", purpose))
        subprocess.run(command, check=True)

    return discs.made(f"for-{purpose}", write)


@contextmanager
def _mounted(purpose: str, discs: Discs, point: Path) -> Iterator[Served]:
    folder = _disc_for(discs, purpose)
    target = point.with_name(point.name + ".zso")
    command = _zsofs_pack(discs.image(), target, ("--for", purpose))
    with served(zsofs_command(folder, point), point) as pid:
        yield Packer(
            [point / "Disc.iso"],
            [folder / "Disc.zso", discs.image()],
            [pid],
            command=command,
            target=target,
        )


def _purpose(server: Served, occasion: Occasion) -> Figures:
    figures = _pack(server, occasion)
    disc = server.discs[0]
    read_through(disc, 0, occasion.image_size)
    drop_pages(disc)
    took = sum(read_through(disc, 0, occasion.image_size))
    figures["read_mbs"] = per_second_mb(occasion.image_size, took)
    for kib in (4, 32):
        drop_pages(disc)
        figures[f"iops_{kib}k"] = read_randomly(kib, server, occasion)["iops"]
    return figures


def _contenders() -> Iterator[Contender]:
    ways = (("zstd-32k", "zstd 32 KiB", _ZSTD), ("lz4-16k", "LZ4 16 KiB", _LZ4))
    peers = {
        "zstd-32k": ("zstd", ("-Xcompression-level", "9", "-b", "32K")),
        "lz4-16k": ("lz4", ("-Xhc", "-b", "16K")),
    }
    for name, title, words in ways:
        for more, end, said in (((), "", ""), (_BARE, "-bare", ", unchecked")):
            yield Contender(
                f"pack-{name}{end}",
                f"zsofs pack, {title}{said}",
                "zsofs",
                Discs.image,
                partial(_packer, words + more),
                None,
            )
        yield Contender(
            f"mksquashfs-{name}",
            f"mksquashfs, {title}",
            "peer",
            Discs.image,
            partial(_mksquashfs, *peers[name]),
            None,
        )


PACKING = Workload(
    "packing",
    "Packing a disc",
    "The plain disc is in memory, and nothing waits to be written when a packer begins. zstd at"
    " level 9, LZ4 at 12 for both programs. «Unchecked» is `--no-verify` and without checksums of"
    " the image, as mksquashfs packs; else the file is read back from the disk, decoded and"
    " compared. zsofs waits in any case until all of it is on the disk, mksquashfs does not.",
    {"mbs": Figure("throughput", "MB/s"), "share": Figure("packed", "% of the disc", 2)},
    _pack,
    tuple(_contenders()),
    fresh=True,
)

PURPOSES = Workload(
    "purposes",
    "What each --for is worth",
    "The disc packed with everything on, then read through a mount with a read_ahead_kb of 128: the"
    " whole disc in order with nothing of it in the page cache, and random reads, one at a time."
    " The packed file is in memory.",
    {
        "share": Figure("packed", "% of the disc", 1),
        "mbs": Figure("packing", "MB/s"),
        "read_mbs": Figure("whole disc", "MB/s"),
        "iops_4k": Figure("random 4 KiB", "1/s"),
        "iops_32k": Figure("random 32 KiB", "1/s"),
    },
    _purpose,
    tuple(
        Contender(
            f"for-{purpose}",
            f"--for {purpose}",
            "zsofs",
            partial(_disc_for, purpose=purpose),
            partial(_mounted, purpose),
            READ_AHEAD_KB,
        )
        for purpose in _PURPOSES
    ),
    fresh=True,
)
