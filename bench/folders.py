"""What happens before a disc is read: opening a huge one, and listing very many."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.discs import SMALL_IMAGES, Discs
from bench.measure import Figure, Figures, Occasion, Workload, percentile
from bench.mounting import served
from bench.payload import MB
from bench.servers import Contender, Served, zsofs_command
from bench.system import drop_pages, keep_pages, peak_memory_mb

_HEAD = 32 * MB
"""Of a DVD9: its header and index."""


@contextmanager
def _dvd9(discs: Discs, point: Path) -> Iterator[Served]:
    folder = discs.dvd9()
    keep_pages(folder / "DVD9.zso", _HEAD)
    with served(zsofs_command(folder, point), point) as pid:
        yield Served([point / "DVD9.iso"], [], [pid])


@contextmanager
def _plain_through_zsofs(discs: Discs, point: Path) -> Iterator[Served]:
    folder = discs.dvd9()
    with served(zsofs_command(folder, point), point) as pid:
        yield Served([point / "plain.dat"], [folder / "plain.dat"], [pid])


@contextmanager
def _plain(discs: Discs, point: Path) -> Iterator[Served]:
    yield Served([discs.dvd9() / "plain.dat"], [])


@contextmanager
def _small(discs: Discs, point: Path) -> Iterator[Served]:
    with served(zsofs_command(discs.small_images(), point), point) as pid:
        yield Served([point], [], [pid])


@contextmanager
def _small_source(discs: Discs, point: Path) -> Iterator[Served]:
    yield Served([discs.small_images()], [])


def _first_byte(served: Served, occasion: Occasion) -> Figures:
    path = served.discs[0]
    os.listdir(path.parent)
    path.stat()
    first = _open_and_read(path)
    again = []
    for _ in range(50):
        drop_pages(path)
        again.append(_open_and_read(path))
    return {"first_ms": first * 1e3, "again_ms": percentile(again, 50) * 1e3}


def _open_and_read(path: Path) -> float:
    before = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    try:
        os.pread(fd, 1, 0)
        return time.perf_counter() - before
    finally:
        os.close(fd)


def _list(served: Served, occasion: Occasion) -> Figures:
    figures = {"cold_s": _ls(served.discs[0]), "again_s": _ls(served.discs[0])}
    if served.pids:
        figures["peak_mb"] = peak_memory_mb(served.pids)
    return figures


def _ls(folder: Path) -> float:
    before = time.perf_counter()
    subprocess.run(
        ["ls", "-lR", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"LC_ALL": "C"},
    )
    return time.perf_counter() - before


FIRST_BYTE = Workload(
    "first-byte",
    "From opening a file to its first byte",
    "A DVD9 of 8.5 GB (2 KiB blocks, 4.2 million index entries, nearly all holes) beside a plain"
    " file on the same mount. The folder was listed before. «First» is the first time on a new"
    " mount; «again» is the median of 50 with the mount's pages dropped. The index is in memory.",
    {"first_ms": Figure("first", "ms", 2), "again_ms": Figure("again", "ms", 3)},
    _first_byte,
    (
        Contender("zsofs-dvd9", "zsofs, packed DVD9", "zsofs", Discs.dvd9, _dvd9),
        Contender("zsofs-plain", "zsofs, plain file", "zsofs", Discs.dvd9, _plain_through_zsofs),
        Contender("source", "plain file, from the disk", "limit", Discs.dvd9, _plain, None),
    ),
    fresh=True,
)

LISTING = Workload(
    "listing",
    f"ls -lR of {SMALL_IMAGES:,} discs",
    f"{SMALL_IMAGES:,} packed images in ten folders; «cold» is on a new mount, «again» at once"
    " after it. What the source's own file system has to tell is in memory.",
    {
        "cold_s": Figure("cold", "s", 2),
        "again_s": Figure("again", "s", 2),
        "peak_mb": Figure("server memory, peak", "MB"),
    },
    _list,
    (
        Contender("zsofs-small", "zsofs", "zsofs", Discs.small_images, _small),
        Contender(
            "source-small", "the source itself", "limit", Discs.small_images, _small_source, None
        ),
    ),
    fresh=True,
)
