"""CHDs made by chdman on the spot: read beside our own containers, unpacked beside chdman."""

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

from bench import liblzma
from bench.cd_sectors import DATA, raw_sectors
from bench.decoding import Packed, one_core, one_core_contender
from bench.discs import NAMES, Discs, remove
from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb
from bench.mounting import served
from bench.packers import Packing
from bench.random_reads import read_randomly
from bench.sequential import SEQUENTIAL
from bench.servers import Contender, Served, zsofs_command, zsofs_contender
from bench.system import BenchError, Unavailable
from zsofs.discs.cd_image import as_bin
from zsofs.images.input_image import original

_BATCH = 16384
"""Sectors of a CD that are made at once."""

_TITLES = {"zstd": "zstd", "zlib": "zlib", "lzma": "LZMA", "cdzl": "CD zlib", "cdzs": "CD zstd"}


@dataclass(frozen=True)
class ChdPacking:
    """One way in which chdman packs the disc.

    Attributes:
        codec: the only one; one of a CD packs raw sectors, which have parity.
        hunk_size: in bytes.
    """

    codec: str
    hunk_size: int

    @property
    def name(self) -> str:
        return f"chd-{self.codec}-{self.hunk_size // 1024}k"

    @property
    def title(self) -> str:
        return f"CHD {_TITLES[self.codec]} {self.hunk_size // 1024} KiB"

    @property
    def is_cd(self) -> bool:
        return self.codec.startswith("cd")

    def make(self, discs: Discs) -> Path:
        """The packed disc, in a directory of its own."""
        source = _raw_cd(discs) / "Disc.cue" if self.is_cd else discs.image()

        def write(folder: Path) -> None:
            folder.mkdir()
            command = [chdman(), "createcd" if self.is_cd else "createdvd", "-i", str(source)]
            command += ["-o", str(folder / f"{NAMES[0]}.chd"), "-c", self.codec]
            done = subprocess.run(
                [*command, "-hs", str(self.hunk_size)], capture_output=True, check=False
            )
            if done.returncode:
                raise Unavailable(f"chdman failed: {done.stderr.decode(errors='replace')[-300:]}")

        return discs.made(self.name, write) / f"{NAMES[0]}.chd"


ZSTD_2K, ZSTD_4K = ChdPacking("zstd", 2048), ChdPacking("zstd", 4096)
ZLIB_2K, ZLIB_4K = ChdPacking("zlib", 2048), ChdPacking("zlib", 4096)
LZMA_4K = ChdPacking("lzma", 4096)
CD_ZLIB, CD_ZSTD = ChdPacking("cdzl", 19584), ChdPacking("cdzs", 19584)
_BESIDE = (
    Packing("zstd", 2048),
    Packing("zstd", 4096),
    Packing("deflate", 2048, suffix=".cso"),
    Packing("deflate", 4096, suffix=".cso"),
)


def chdman() -> str:
    program = shutil.which("chdman")
    if program is None:
        raise Unavailable("chdman is not on the PATH")
    return program


def _raw_cd(discs: Discs) -> Path:
    """A directory with the image as a CD of raw sectors."""
    image = discs.image()

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "Disc.cue").write_text(
            'FILE "Disc.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
        )
        with image.open("rb") as plain, (folder / "Disc.bin").open("wb") as raw:
            first = 0
            while data := plain.read(_BATCH * DATA):
                raw.write(raw_sectors(data, first))
                first += _BATCH

    return discs.made("raw-cd", write)


@contextmanager
def _mounted(packing: ChdPacking, discs: Discs, point: Path) -> Iterator[Served]:
    disc = packing.make(discs)
    with served(zsofs_command(disc.parent, point), point) as pid:
        yield Served([point / f"{NAMES[0]}.iso"], [disc], [pid])


def contender(packing: ChdPacking, read_ahead_kb: int | None = 128) -> Contender:
    """A mount of the disc as chdman packed it."""
    return Contender(
        f"zsofs-{packing.name}",
        f"zsofs {packing.title}",
        "zsofs",
        packing.make,
        partial(_mounted, packing),
        read_ahead_kb,
    )


_ONE_CORE_LZMA = (
    one_core_contender("one-core-lzma", "one core decodes CHD LZMA 4 KiB", LZMA_4K.make),
    one_core_contender(
        "one-core-liblzma",
        "one core, liblzma, CHD LZMA 4 KiB",
        LZMA_4K.make,
        decode=liblzma.decode_all,
    ),
)
_READ = (ZSTD_2K, ZSTD_4K, ZLIB_2K, ZLIB_4K)
_MOUNTS = (*map(contender, _READ), *map(zsofs_contender, _BESIDE))
_LZMA = contender(LZMA_4K, None)

CHD_SEQUENTIAL = Workload(
    "chd-sequential",
    "A whole CHD in order, 1 MiB reads",
    "As the workload before, with hunks of one codec each, and our own containers with the same"
    " codec and block size. The mount of LZMA has the read-ahead that zsofs sets by itself.",
    SEQUENTIAL.figures,
    SEQUENTIAL.run,
    (*_MOUNTS, _LZMA, *_ONE_CORE_LZMA),
)

CHD_RANDOM = Workload(
    "chd-random-4k",
    "Random 4 KiB reads of a CHD",
    "As random 4 KiB reads of other containers.",
    {"iops": Figure("reads/s", "1/s"), "p99_us": Figure("99th percentile", "µs")},
    partial(read_randomly, 4),
    _MOUNTS,
)


@dataclass(frozen=True, kw_only=True)
class Unpacker(Served):
    """A program that unpacks the disc.

    Attributes:
        command: what to run; it writes into *target*.
        target: a directory.
    """

    command: list[str]
    target: Path


@contextmanager
def _unpacker(packing: ChdPacking, ours: bool, discs: Discs, point: Path) -> Iterator[Served]:
    disc = packing.make(discs)
    target = point.with_name(point.name + "-unpacked")
    if ours:
        command = [sys.executable, "-m", "zsofs", "unpack", "-q", str(disc), "-o", str(target)]
        command += ["--cd", "bin"] if packing.is_cd else []
    elif packing.is_cd:
        command = [chdman(), "extractcd", "-i", str(disc), "-o", str(target / "Disc.cue")]
        command += ["-ob", str(target / "Disc.bin")]
    else:
        command = [chdman(), "extractdvd", "-i", str(disc), "-o", str(target / "Disc.iso")]
    yield Unpacker([], [disc], command=command, target=target)


def _unpack(server: Served, occasion: Occasion) -> Figures:
    if not isinstance(server, Unpacker):
        return {}
    remove(server.target)
    server.target.mkdir(parents=True)
    try:
        os.sync()
        cpu, begin = os.times(), time.perf_counter()
        done = subprocess.run(server.command, capture_output=True, check=False)
        took, after = time.perf_counter() - begin, os.times()
        if done.returncode:
            raise BenchError(f"it failed: {done.stderr.decode(errors='replace')[-300:]}")
    finally:
        remove(server.target)
    used = after.children_user + after.children_system - cpu.children_user - cpu.children_system
    return {"mbs": per_second_mb(occasion.image_size, took), "cpu_s": used}


def _unpackers() -> Iterator[Contender]:
    for packing in (ZSTD_2K, ZLIB_4K, LZMA_4K, CD_ZLIB, CD_ZSTD):
        for ours in (True, False):
            program = "zsofs unpack" if ours else "chdman extract"
            yield Contender(
                f"{'unpack' if ours else 'chdman'}-{packing.name}",
                f"{program}, {packing.title}",
                "zsofs" if ours else "peer",
                packing.make,
                partial(_unpacker, packing, ours),
                None,
            )


UNPACKING = Workload(
    "chd-unpacking",
    "Unpacking a CHD beside chdman",
    "`zsofs unpack`, which reads back what it wrote and syncs it, and `chdman extractdvd`, which"
    " does neither; of a CD, `zsofs unpack --cd bin` and `chdman extractcd`, whose `.bin` has 15 %"
    " more bytes than the disc. The CHD is in memory.",
    {"mbs": Figure("of the plain disc", "MB/s"), "cpu_s": Figure("processor time", "s", 1)},
    _unpack,
    tuple(_unpackers()),
    fresh=True,
)


def _bin(server: Served, occasion: Occasion) -> Figures:
    if not isinstance(server, Packed):
        return {}
    with original(str(server.container)) as disc, one_core():
        image = as_bin(disc)
        part = memoryview(bytearray(128 << 10))
        begin = time.process_time()
        for offset in range(0, image.size, len(part)):
            image.read_into(offset, part[: image.size - offset])
        return {"mbs": per_second_mb(image.size, time.process_time() - begin)}


CD_BIN = Workload(
    "chd-cd-bin",
    "The .bin of a CD, with its parity computed, by one core",
    "All sectors of the disc as a CD, decoded in one thread of this process, by processor time.",
    {"mbs": Figure("of the .bin", "MB/s")},
    _bin,
    (one_core_contender("one-core-cdzl", f"one core, {CD_ZLIB.title}", CD_ZLIB.make, "zsofs"),),
    fresh=True,
)

CHD_WORKLOADS = (CHD_SEQUENTIAL, CHD_RANDOM, UNPACKING, CD_BIN)
