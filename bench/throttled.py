"""Reading a disc whose packed form comes from a disk that is slow, which is what packing is for."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import NAMES, Discs
from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb
from bench.mounting import served
from bench.packers import Packing
from bench.payload import MB, stream
from bench.servers import LZ4_2K, Contender, Served, lz4_squashfs, zsofs_command
from bench.slow_disk import slow_disk, write_disk
from bench.system import BenchError, Unavailable, drop_pages

_RATE = 100_000_000
"""Bytes per second: a hard disk of some years, or a share over gigabit Ethernet."""

_MOST = 300 * MB
"""Read of a disc in one run."""

_ZSTD_32K = Packing("zstd", 32768)
_SQUASHFS = "Discs.squashfs"
_DISC = f"{NAMES[0]}.iso"

_BEFORE = "before"
"""Read before a measurement: the kernel gives a group that was idle a few MB at once."""

Command = Callable[[Path, Path], list[str]]


@dataclass(frozen=True, kw_only=True)
class _OnSlowDisk(Served):
    """A disc whose packed form is on a slow disk.

    Attributes:
        disk: where that is mounted.
        stored: the packed file on it.
        slowly: words to put before a command whose reads are to be held to the rate.
    """

    disk: Path
    stored: Path
    slowly: list[str]


def _disk(discs: Discs) -> Path:
    """The image of a disk with everything on it that is read here."""
    before = discs.made(_BEFORE, _write_before)
    files = {
        _BEFORE: before,
        "plain/" + _DISC: discs.image(),
        _SQUASHFS: lz4_squashfs(discs),
    }
    for packing in (LZ4_2K, _ZSTD_32K):
        container = discs.container(packing)
        files[f"{packing.name}/{container.name}"] = container
    return discs.made("slow-disk.ext4", lambda target: write_disk(target, files))


def _write_before(target: Path) -> None:
    target.write_bytes(stream("before", 32 * MB))


def _zsofs(disk: Path, point: Path, packing: Packing) -> list[str]:
    return zsofs_command(disk / packing.name, point)


def _squashfuse(disk: Path, point: Path) -> list[str]:
    program = shutil.which("squashfuse_ll")
    if program is None:
        raise Unavailable("squashfuse_ll is not installed")
    return [program, "-f", str(disk / _SQUASHFS), str(point)]


@contextmanager
def _served(stored: str, server: Command, discs: Discs, point: Path) -> Iterator[Served]:
    disk = point.with_name(point.name + "-disk")
    with slow_disk(_disk(discs), disk, _RATE) as slowly:
        command = server(disk, point)
        with served([*slowly, *command], point) as pid:
            yield _OnSlowDisk(
                [point / _DISC], [], [pid], disk=disk, stored=disk / stored, slowly=slowly
            )


@contextmanager
def _plain(discs: Discs, point: Path) -> Iterator[Served]:
    disk = point.with_name(point.name + "-disk")
    with slow_disk(_disk(discs), disk, _RATE) as slowly:
        path = disk / "plain" / _DISC
        yield _OnSlowDisk([path], [], disk=disk, stored=path, slowly=slowly)


def _measure(served: Served, occasion: Occasion) -> Figures:
    if not isinstance(served, _OnSlowDisk):
        raise TypeError("there is no slow disk")
    disc, size = served.discs[0], min(_MOST, occasion.image_size)
    drop_pages(served.stored)
    drop_pages(disc)
    before = served.disk / _BEFORE
    drop_pages(before)
    command = [*served.slowly, sys.executable, "-m", "bench.sequential"]
    command += [str(disc), str(size), str(before)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the reader failed: {done.stderr.strip()}")
    rate = per_second_mb(size, float(done.stdout))
    ratio = occasion.image_size / served.stored.stat().st_size
    if rate / ratio > 2 * _RATE / 1e6:
        raise Unavailable(f"the kernel does not hold the disk to {_RATE / 1e6:.0f} MB/s here")
    return {"mbs": rate, "ratio": ratio, "stored_mbs": rate / ratio}


def _contender(
    name: str, title: str, kind: str, serve: Callable[[Discs, Path], AbstractContextManager[Served]]
) -> Contender:
    read_ahead = {} if kind != "limit" else {"read_ahead_kb": None}
    return Contender(name, title, kind, _disk, serve, **read_ahead)


def _of_zsofs(packing: Packing) -> Callable[[Discs, Path], AbstractContextManager[Served]]:
    stored = f"{packing.name}/{NAMES[0]}{packing.suffix}"
    return partial(_served, stored, partial(_zsofs, packing=packing))


THROTTLED = Workload(
    "slow-disk",
    f"From a disk held to {_RATE / 1e6:.0f} MB/s",
    "An ext4 over a loop device (read_ahead_kb 128), whose reads a control group holds to that"
    f" rate; nothing of what is read is in memory. The first {_MOST >> 20} MiB of the disc, in"
    " order, 1 MiB reads. «Packed»"
    " is the size of the disc divided by that of the file on the disk; «from the disk» is the"
    " throughput divided by that, the rate at which stored bytes are used, which is what to compare"
    " with the plain ISO. Each run has a mount of its own.",
    {
        "mbs": Figure("throughput", "MB/s"),
        "ratio": Figure("packed", "", 2),
        "stored_mbs": Figure("from the disk", "MB/s", 1),
    },
    _measure,
    (
        _contender("zsofs-slow-lz4-2k", "zsofs LZ4 2 KiB", "zsofs", _of_zsofs(LZ4_2K)),
        _contender("zsofs-slow-zstd-32k", "zsofs zstd 32 KiB", "zsofs", _of_zsofs(_ZSTD_32K)),
        _contender(
            "squashfuse-slow-lz4",
            "squashfuse_ll LZ4 16 KiB",
            "peer",
            partial(_served, _SQUASHFS, _squashfuse),
        ),
        _contender("plain-slow", "plain ISO, from that disk", "limit", _plain),
    ),
    fresh=True,
)
