"""What a workload is, and what its figures mean."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.payload import numbers
from bench.servers import CONTENDERS, Contender, Served


@dataclass(frozen=True)
class Figure:
    """One number that a workload gives."""

    title: str
    unit: str
    digits: int = 0


@dataclass(frozen=True)
class Occasion:
    """When a workload is run.

    Attributes:
        round: its number; it decides which places are read, the same for all contenders.
        image_size: bytes of the disc.
        quick: do less of everything.
    """

    round: int
    image_size: int
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def places(self, label: str, count: int, size: int, unit: int) -> list[int]:
        """*count* offsets, multiples of *unit*, with *size* bytes of the disc after each."""
        picks = numbers(f"{label} {self.round}", 2 * count)
        room = (self.image_size - size) // unit + 1
        return [(picks[2 * i] << 16 | picks[2 * i + 1]) % room * unit for i in range(count)]


Figures = dict[str, float]


@dataclass(frozen=True)
class Workload:
    """One way to read.

    Attributes:
        name: short, for ``--only`` and the results.
        title: for people.
        how: how its figures were taken.
        figures: what it gives.
        run: does it; no figures mean that the contender cannot take part.
        contenders: who takes part.
        fresh: each run has a mount of its own.
    """

    name: str
    title: str
    how: str
    figures: dict[str, Figure]
    run: Callable[[Served, Occasion], Figures]
    contenders: tuple[Contender, ...] = CONTENDERS
    fresh: bool = False


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def per_second_mb(size: int, seconds: float) -> float:
    return size / seconds / 1e6
