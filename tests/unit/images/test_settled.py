"""How long after a write a file can be opened."""

import time

import pytest

from zsofs.images.content_check import seconds_until_settled

MS = 1_000_000
NOW = 1_796_019_063_502_345_678


@pytest.mark.parametrize(
    ("ctime_ns", "milliseconds"),
    [
        (NOW, 1),
        (NOW - MS + 1, 1e-6),
        (NOW - MS, 0),
        (NOW + 3 * MS, 4),  # a stamp of a finer clock, which the coarse one has not reached
        (NOW + 9 * MS + 999_999, 10.999999),
        (NOW + 3600 * 1000 * MS, 0),  # of a clock that was wrong
        (NOW - NOW % (1000 * MS), 2000 - 502.345678),  # of a file system with whole seconds
        (NOW - NOW % (10 * MS), 10 - 2.345678),
    ],
)
def test_until_the_next_write_has_another_time(
    ctime_ns: int, milliseconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: NOW)
    assert seconds_until_settled(ctime_ns) == pytest.approx(milliseconds / 1000, abs=1e-12)
