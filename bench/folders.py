"""What happens before a disc is read: opening a huge one."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.discs import Discs
from bench.measure import Figure, Figures, Occasion, Workload, percentile
from bench.mounting import served
from bench.payload import MB
from bench.servers import Contender, Served, zsofs_command
from bench.system import drop_pages, keep_pages

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
