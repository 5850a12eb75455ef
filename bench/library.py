"""Listing a library of very many discs: the first time, again, and when it was mounted before."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.discs import LIBRARY_SIZE, Discs, remove
from bench.measure import Figure, Figures, Occasion, Workload
from bench.mounting import loop_mounted, served
from bench.servers import Contender, Served, zsofs_command
from bench.system import drop_pages, peak_memory_mb


@dataclass(frozen=True, kw_only=True)
class Started(Served):
    """A mount that was listed once.

    Attributes:
        start_s: from the start of its program to the end of the first listing of its top.
    """

    start_s: float


_HEADER = 24
"""Bytes: what a program that only wants to know what each file is has to read."""


@contextmanager
def _zsofs(source: Path, point: Path, *, known: bool) -> Iterator[Served]:
    """A new mount of *source*; *known* if it was listed by an earlier one."""
    catalogs = point.with_name(point.name + "-catalogs")
    remove(catalogs)
    command = ["env", f"XDG_CACHE_HOME={catalogs}", *zsofs_command(source, point)]
    try:
        if known:
            with served(command, point):
                _ls(point)
        with served(command, point) as pid:
            yield Served([point], [], [pid])
    finally:
        remove(catalogs)


@contextmanager
def _started(command: list[str], point: Path) -> Iterator[Served]:
    before = time.perf_counter()
    with served(command, point) as pid:
        os.listdir(point)
        yield Started([point], [], [pid], start_s=time.perf_counter() - before)


@contextmanager
def _started_known(discs: Discs, point: Path) -> Iterator[Served]:
    """A library that an earlier mount has listed."""
    catalogs = point.with_name(point.name + "-catalogs")
    remove(catalogs)
    command = ["env", f"XDG_CACHE_HOME={catalogs}", *zsofs_command(discs.library(), point)]
    try:
        with served(command, point):
            _ls(point)
        with _started(command, point) as server:
            yield server
    finally:
        remove(catalogs)


@contextmanager
def _started_small(discs: Discs, point: Path) -> Iterator[Served]:
    """One disc: what the program takes to start."""
    with _started(zsofs_command(discs.dvd9(), point), point) as server:
        yield server


@contextmanager
def _started_listed(discs: Discs, point: Path) -> Iterator[Served]:
    with _started(_listed_command(point), point) as server:
        yield server


@contextmanager
def _new(discs: Discs, point: Path) -> Iterator[Served]:
    with _zsofs(discs.library(), point, known=False) as server:
        yield server


@contextmanager
def _known(discs: Discs, point: Path) -> Iterator[Served]:
    with _zsofs(discs.library(), point, known=True) as server:
        yield server


def _listed_command(point: Path) -> list[str]:
    return [sys.executable, "-m", "bench.listed_pyfuse3", "10", str(LIBRARY_SIZE), str(point)]


@contextmanager
def _listed(discs: Discs, point: Path) -> Iterator[Served]:
    with served(_listed_command(point), point) as pid:
        yield Served([point], [], [pid])


@contextmanager
def _source(discs: Discs, point: Path) -> Iterator[Served]:
    yield Served([discs.library()], [])


@contextmanager
def _cold_disk(discs: Discs, point: Path) -> Iterator[Path]:
    """The library on a file system of which the kernel has nothing in memory."""
    image = discs.library_disk()
    drop_pages(image)
    with loop_mounted(image, point.with_name(point.name + "-disk"), "ext4"):
        yield point.with_name(point.name + "-disk")


@contextmanager
def _new_cold(discs: Discs, point: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        source = stack.enter_context(_cold_disk(discs, point))
        yield stack.enter_context(_zsofs(source, point, known=False))


@contextmanager
def _source_cold(discs: Discs, point: Path) -> Iterator[Served]:
    with _cold_disk(discs, point) as source:
        yield Served([source], [])


def _ls(folder: Path) -> float:
    before = time.perf_counter()
    subprocess.run(
        ["ls", "-lR", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"LC_ALL": "C"},
    )
    return time.perf_counter() - before


def _read_headers(folder: Path) -> float:
    before = time.perf_counter()
    for path, _, names in os.walk(folder):
        for name in names:
            fd = os.open(f"{path}/{name}", os.O_RDONLY)
            os.pread(fd, _HEADER, 0)
            os.close(fd)
    return time.perf_counter() - before


def _list(served: Served, occasion: Occasion) -> Figures:
    if not served.pids:
        return {"headers_s": _read_headers(served.discs[0]), "first_s": _ls(served.discs[0])}
    figures = {"first_s": _ls(served.discs[0]), "again_s": _ls(served.discs[0])}
    return figures | {"peak_mb": peak_memory_mb(served.pids)}


def _list_cold(served: Served, occasion: Occasion) -> Figures:
    take: Callable[[Path], float] = _ls if served.pids else _read_headers
    return {"first_s": take(served.discs[0])}


def _start(served: Served, occasion: Occasion) -> Figures:
    assert isinstance(served, Started)
    return {"start_s": served.start_s}


_FIGURES = {
    "first_s": Figure("first ls -lR", "s", 3),
    "again_s": Figure("again", "s", 3),
    "headers_s": Figure("24 bytes of each file", "s", 3),
    "peak_mb": Figure("server memory, peak", "MB"),
}

LISTING = Workload(
    "listing",
    f"ls -lR of {LIBRARY_SIZE:,} discs",
    f"{LIBRARY_SIZE:,} packed discs in ten folders, which the kernel has in memory. «First» is on a"
    " new mount, «again» at once after it. A library that is known was listed by an earlier mount.",
    _FIGURES,
    _list,
    (
        Contender("zsofs-new", "zsofs, a new library", "zsofs", Discs.library, _new),
        Contender("zsofs-known", "zsofs, a known library", "zsofs", Discs.library, _known),
        Contender("listed", "pyfuse3, as many names from memory", "peer", Discs.library, _listed),
        Contender("source-library", "the source itself", "limit", Discs.library, _source, None),
    ),
    fresh=True,
)

LISTING_COLD = Workload(
    "listing-cold",
    f"ls -lR of {LIBRARY_SIZE:,} discs from a disk of which nothing is in memory",
    "An ext4 over a loop device, mounted anew for each run, with the pages of its image dropped"
    " before (what is beneath this machine's own disk may have them still). zsofs lists a new"
    " library; beside it, each file is opened and 24 bytes of it are read, one after another.",
    {"first_s": Figure("ls -lR, or 24 bytes of each", "s", 3)},
    _list_cold,
    (
        Contender("zsofs-cold", "zsofs, a new library", "zsofs", Discs.library_disk, _new_cold),
        Contender(
            "source-cold", "24 bytes of each file", "limit", Discs.library_disk, _source_cold, None
        ),
    ),
    fresh=True,
)

MOUNTING = Workload(
    "mounting",
    f"start of a mount of {LIBRARY_SIZE:,} known discs",
    "From the start of the program in the foreground until the top of the mount has been listed."
    " The library was mounted and listed before.",
    {"start_s": Figure("until it is listed", "s", 3)},
    _start,
    (
        Contender(
            "zsofs-known-start", "zsofs, a known library", "zsofs", Discs.library, _started_known
        ),
        Contender("zsofs-start", "zsofs, one disc", "limit", Discs.dvd9, _started_small),
        Contender(
            "listed-start",
            "pyfuse3, as many names from memory",
            "peer",
            Discs.library,
            _started_listed,
        ),
    ),
    fresh=True,
)
