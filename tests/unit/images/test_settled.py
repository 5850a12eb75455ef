"""When a change time is old enough that the next change would show in it."""

import os
import time
from pathlib import Path

from zsofs.images.content_check import seconds_until_settled

COARSE_CLOCK = 5
TICK_NS = 1_000_000


def test_a_time_of_just_now_is_not_settled_until_the_clock_of_time_stamps_has_passed_it() -> None:
    """Also where it was taken from the exact clock, which is ahead of that by several ms."""
    for _ in range(200):
        changed = time.time_ns()
        left = seconds_until_settled(changed)
        if time.clock_gettime_ns(COARSE_CLOCK) < changed + TICK_NS:
            assert left > 0, changed
        time.sleep(0.0003)


def test_it_stays_settled(tmp_path: Path) -> None:
    """After a wait of that length, the next change of a file has another time."""
    path = tmp_path / "file"
    for number in range(20):
        path.write_bytes(bytes(number))
        changed = path.stat().st_ctime_ns
        while left := seconds_until_settled(changed):
            time.sleep(left)
        for _ in range(20):
            assert seconds_until_settled(changed) == 0
            time.sleep(0.0003)
        os.utime(path)
        assert path.stat().st_ctime_ns != changed


def test_a_time_of_the_future_is_settled() -> None:
    for seconds in (1, 60, 10**9):
        assert seconds_until_settled(time.time_ns() + seconds * 10**9 + 1) == 0
