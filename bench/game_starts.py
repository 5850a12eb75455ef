"""What a game reads when it starts, and playing it: reads with the pauses between them."""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

KB, MB = 1 << 10, 1 << 20
_SECTOR = 2048

READERS = {"pcsx2": 128 * KB, "opl": 8 * KB, "ppsspp": 32 * KB}
"""Bytes of a read. PCSX2 keeps aligned chunks of that size; the others read what they need."""


@dataclass(frozen=True, slots=True)
class Step:
    """A file that is read from end to end.

    Attributes:
        offset: in bytes of the disc.
        size: in bytes.
        pause: seconds of other work before it.
        rate: bytes per second at which it is used; 0: as fast as it comes.
    """

    offset: int
    size: int
    pause: float = 0.0
    rate: float = 0.0


@dataclass(slots=True)
class Played:
    """What a start of a game took.

    Attributes:
        reads: of each read when it began, in seconds of the monotonic clock, and its offset in the
            disc; that of opening it is -1.
        waits: how long each took, in seconds.
        seconds: the whole time.
    """

    reads: list[tuple[float, int]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def waited(self) -> float:
        """Seconds of waiting for reads."""
        return sum(self.waits)


def start_of_game(disc_size: int, seed: int, divergence: float = 0.0) -> list[Step]:
    """Return what a game reads when it starts.

    SYSTEM.CNF and directories, the ELF, 30 IRX modules, a film until the player skips it, the
    menu, and two levels: files in an order of their own, in bursts with work between them.

    Args:
        disc_size: in bytes.
        seed: of the game.
        divergence: part of the files after the film that are others than last time, at random.
    """
    game, other = random.Random(seed), random.Random(f"{seed} {divergence}")
    steps = [Step(16 * _SECTOR, _SECTOR), Step(257 * _SECTOR, 2 * _SECTOR)]
    steps += [Step(300 * _SECTOR, _SECTOR, 0.01), Step(MB, 3 * MB, 0.02)]
    modules = _files(game, 5 * MB, 8 * MB, (8 * KB, 120 * KB), 30)
    steps += [Step(offset, size, 0.01) for offset, size in modules]
    steps.append(Step(disc_size // 2, 12 * MB, 0.5, rate=4e6))
    late: list[Step] = []
    for zone, count in ((disc_size // 5, 60), (disc_size // 3, 120), (disc_size * 3 // 4, 120)):
        files = _files(game, zone, 80 * MB, (4 * KB, 400 * KB), count)
        pauses = [2.0, *(game.choice((0.0, 0.0, 0.002, 0.02)) for _ in files)]
        late += [Step(*file, pause) for file, pause in zip(files, pauses, strict=False)]
    for step in late:
        if other.random() < divergence:
            place = other.randrange(disc_size // _SECTOR) * _SECTOR
            steps.append(Step(min(place, disc_size - step.size), step.size, step.pause))
        else:
            steps.append(step)
    return steps


def _files(
    numbers: random.Random, begin: int, span: int, sizes: tuple[int, int], count: int
) -> list[tuple[int, int]]:
    """Files in a part of a disc in the order in which they are read, which is not theirs."""
    places = sorted(numbers.sample(range(span // (512 * KB)), min(count, span // (512 * KB))))
    found = [(begin + place * 512 * KB, numbers.randrange(*sizes, 512)) for place in places]
    if len(found) < count:
        found = [
            (begin + i * span // count // _SECTOR * _SECTOR, numbers.randrange(*sizes, 512))
            for i in range(count)
        ]
    for first in range(0, len(found), 12):
        some = found[first : first + 12]
        numbers.shuffle(some)
        found[first : first + 12] = some
    return found


def without_pauses(steps: list[Step]) -> list[Step]:
    """The same reads, as fast as they come."""
    return [Step(step.offset, step.size) for step in steps]


def play(disc: Path, steps: list[Step], read_size: int) -> Played:
    """Open a disc and read *steps* of it, *read_size* bytes at a time."""
    played, buffer = Played(), bytearray(read_size)
    begun = time.monotonic()
    fd = os.open(disc, os.O_RDONLY)
    played.reads.append((begun, -1))
    played.waits.append(time.monotonic() - begun)
    try:
        last = -1
        for step in steps:
            time.sleep(step.pause)
            started = time.monotonic()
            for place in chunks(step, read_size):
                if step.rate:
                    due = started + (place - step.offset) / step.rate
                    time.sleep(max(due - time.monotonic(), 0))
                if place == last:  # the reader has that chunk
                    continue
                last = place
                before = time.monotonic()
                os.preadv(fd, [buffer], place)
                played.waits.append(time.monotonic() - before)
                played.reads.append((before, place))
    finally:
        os.close(fd)
    played.seconds = time.monotonic() - begun
    return played


def chunks(step: Step, read_size: int) -> Iterator[int]:
    """Yield where the reads of a step begin, in bytes of the disc."""
    first = step.offset
    if read_size == READERS["pcsx2"]:
        first = first // read_size * read_size
    yield from range(first, step.offset + step.size, read_size)
