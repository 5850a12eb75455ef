"""Starts of a game from a hard disk: the rows of :mod:`bench.spinning` in the results."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import Discs
from bench.measure import Figure, Figures, Occasion, Workload
from bench.servers import Contender, Served
from bench.spinning import LEAST_SIZE, Bench, disk_image, start, wasted
from bench.system import Unavailable

_ROUNDS = 2
"""Each start takes 15 seconds, most of them pauses of the game."""


@dataclass(frozen=True, kw_only=True)
class _OnHardDisk(Served):
    """A disc on a disk that is mounted for each start.

    Attributes:
        image: the disk.
        folder: for mounts.
        kind: of the start.
    """

    image: Path
    folder: Path
    kind: str


def _make(discs: Discs) -> Path:
    if discs.size < LEAST_SIZE:
        raise Unavailable(f"a game needs a disc of {LEAST_SIZE} MB")
    return disk_image(discs)


@contextmanager
def _serve(kind: str, discs: Discs, point: Path) -> Iterator[Served]:
    point.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=point.parent) as folder:
        yield _OnHardDisk([], [], image=_make(discs), folder=Path(folder), kind=kind)


def _measure(served: Served, occasion: Occasion) -> Figures:
    if not isinstance(served, _OnHardDisk):
        raise TypeError("there is no hard disk")
    if occasion.round >= _ROUNDS:
        return {}
    bench = Bench(served.image, served.folder)
    seed, size = occasion.round, occasion.image_size
    one = start(bench, served.folder, seed, size, served.kind)
    figures = {
        "waited": one.played.waited,
        "longest": max(one.played.waits) * 1e3,
        "at_disk": sum(one.at_disk),
        "longest_at_disk": max(one.at_disk) * 1e3,
    }
    return figures | ({"wasted": 100 * wasted(one)} if one.preload.get("fetched_bytes") else {})


def _contender(name: str, title: str, kind: str, what: str) -> Contender:
    serve: Callable[[Discs, Path], AbstractContextManager[Served]] = partial(_serve, what)
    return Contender(name, title, kind, _make, serve, read_ahead_kb=None)


STARTS = Workload(
    "starts",
    "Starts of a game from a hard disk",
    "A model of a hard disk (7200 rpm, 8.5 ms average seek, 120 MB/s; `bench/spinning_disk.py`)"
    " with an ext4; nothing of the disc is in memory. A game reads its modules, a film and two"
    f" levels with pauses, in reads of 128 KiB. {_ROUNDS} games, one start each. «First» is of a"
    " library that was scanned, «second» one whose boot trace is known, «other» one of which half"
    " of the files after the film are others than in the trace. «At the disk» is the part of the"
    " waiting during which the disk was at work: on a busy machine, reads also wait for the"
    " processor.",
    {
        "waited": Figure("waited", "s", 2),
        "longest": Figure("longest wait", "ms", 1),
        "at_disk": Figure("at the disk", "s", 2),
        "longest_at_disk": Figure("longest at the disk", "ms", 1),
        "wasted": Figure("wasted", "%", 1),
    },
    _measure,
    (
        _contender("zsofs-start-first", "zsofs, first start", "zsofs", "first"),
        _contender("zsofs-start-second", "zsofs, second start", "zsofs", "second"),
        _contender("zsofs-start-other", "zsofs, other start", "zsofs", "diverging"),
        _contender(
            "zsofs-start-without", "zsofs, other start, no traces", "zsofs", "diverging, without"
        ),
        _contender("plain-start", "plain ISO, from that disk", "limit", "plain"),
    ),
    fresh=True,
)
