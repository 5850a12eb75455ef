"""The lines of `zsofs top`, whatever the names, the numbers and the size of the terminal."""

import random

import pytest

from zsofs.console.tables import width
from zsofs.mount.control.activity import (
    Activity,
    DiscActivity,
    DiskActivity,
    MountFacts,
    MountReads,
    Rates,
    ReadCounts,
    ReaderActivity,
    SlowReadActivity,
    SlowTimes,
    WaitingRead,
)
from zsofs.mount.top.layout import Choice, Sort, report, screen, slow_read_text
from zsofs.mount.top.watched import Watched

NAMES = ("Game.zso", "\x1b[2J\x1b]0;x\x07.iso", "大神" * 30, "a" * 300, "\udcff\u202e\n", "é̂")


def watched(chosen: random.Random) -> Watched:
    def number() -> int:
        return chosen.choice((0, 1, 999, 10**6, 10**15))

    def name() -> str:
        return chosen.choice(NAMES)

    counts = ReadCounts(number(), number(), number(), number(), number(), number(), number())
    rates = Rates(*(float(number()) for _ in range(6)))
    activity = Activity(
        1,
        "1",
        mount=MountFacts("/mnt", compressed_discs=number(), counting=chosen.random() < 0.5),
        reads=MountReads(counts, rates, tuple(number() for _ in range(60))),
        readers=tuple(ReaderActivity(number(), name(), 1.5, counts, rates) for _ in range(9)),
        waiting=(WaitingRead(name(), 1, name(), number(), 1, 9.0),),
        disks=(DiskActivity(name(), 3, 9.0),),
    )
    return Watched(
        "/" + name(),
        activity,
        discs={str(n): DiscActivity(f"{n} {name()}", 1, counts, rates) for n in range(50)},
        slow_reads={
            n: SlowReadActivity(n, 1e9, name(), name(), cause="disk", program=name())
            for n in range(50)
        },
    )


def test_every_size_is_filled_and_no_line_is_too_long() -> None:
    chosen = random.Random(4)
    for _ in range(300):
        mounts = [watched(chosen) for _ in range(chosen.randrange(4))]
        mounts += [Watched("/x", error=chosen.choice(NAMES)) for _ in range(chosen.randrange(2))]
        choice = Choice(chosen.choice(list(Sort)), chosen.choice(("", "game", "\x1b")))
        columns, rows = chosen.randrange(1, 220), chosen.randrange(1, 70)
        lines = screen(mounts, choice, columns, rows)
        assert len(lines) == rows
        for line in lines:
            assert width(line.text) <= columns
            assert line.text.isprintable() or "\udcff" in line.text
        assert all("\x1b" not in line for line in report(mounts, choice, 80, 20))


def test_a_tall_terminal_shows_all_and_a_short_one_some_of_each() -> None:
    one = watched(random.Random(5))
    tall = [line.text for line in screen([one], Choice(), 3000, 150)]
    assert sum("waiting for the disk" in line for line in tall) == 50
    short = [line.text for line in screen([one], Choice(), 100, 24)]
    for heading in ("PROGRAM", "DISC", "SLOW READS (50)"):
        (at,) = (number for number, line in enumerate(short) if line.startswith(heading))
        assert short[at + 1].strip()


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (
            SlowReadActivity(
                1, 0, "Okami.iso", "/MOVIE/INTRO.PSS", cause="disk", seconds=SlowTimes(0.31)
            ),
            "Okami.iso, /MOVIE/INTRO.PSS: 310 ms, waiting for the disk",
        ),
        (
            SlowReadActivity(1, 0, "a.iso", cause="hang", failed=True, seconds=SlowTimes(12.34)),
            "a.iso: 12.3 s, the disk did not answer, failed",
        ),
        (
            SlowReadActivity(1, 0, "a.iso", cause="new", program="smbd", seconds=SlowTimes(0.05)),
            "a.iso: 50 ms, new (smbd)",
        ),
    ],
)
def test_a_slow_read_in_words(read: SlowReadActivity, text: str) -> None:
    assert slow_read_text(read)[10:] == text
