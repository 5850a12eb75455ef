"""Whether a reader follows a trace, and how far it is fetched ahead of it."""

import random

from zsofs.native.read_log import PAGE
from zsofs.preload.boot_trace import Range
from zsofs.preload.following import MAX_LOOK, Following

_PAGES = 25
_COUNT = 400


def trace() -> list[Range]:
    """Ranges of 100 KiB, in an order of their own, with gaps of 1 MiB between them."""
    places = list(range(_COUNT))
    random.Random(1).shuffle(places)
    return [Range(256 * place, 256 * place + _PAGES) for place in places]


class Reader:
    """Reads ranges of a trace, and fetches whatever it may."""

    def __init__(self) -> None:
        self.ranges = trace()
        self.following = Following(self.ranges)
        self.fetched: list[int] = []

    def read(self, *numbers: int) -> None:
        for number in numbers:
            one = self.ranges[number]
            self.following.note(one.begin * PAGE, one.pages * PAGE)
            self.fetch()

    def stray(self, numbers: random.Random) -> None:
        """Read where the trace is not."""
        self.following.note((256 * numbers.randrange(_COUNT) + 200) * PAGE, 8 * PAGE)
        self.fetch()

    def is_lost(self) -> bool:
        return self.following.lost

    def fetch(self) -> None:
        while window := self.following.next_window(8 << 20):
            self.fetched += window
            self.following.take(window)


def test_what_identifies_a_disc_starts_nothing() -> None:
    reader = Reader()
    reader.read(*range(5), *range(5), 2, 1, 0)
    assert not reader.following.active
    assert reader.fetched == []


def test_who_reads_little_more_has_little_fetched() -> None:
    reader = Reader()
    reader.read(*range(11))
    assert 0 < len(reader.fetched) * _PAGES * PAGE <= MAX_LOOK


def test_who_follows_has_everything_fetched_ahead() -> None:
    reader = Reader()
    reader.read(*range(100))
    assert reader.following.active
    assert len(reader.fetched) == len(set(reader.fetched)), "nothing is fetched twice"
    assert set(range(20, 150)) <= set(reader.fetched)
    assert max(reader.fetched) < 99 + (20 << 20) // (_PAGES * PAGE), "and not more"
    reader.read(*range(100, _COUNT))
    assert set(range(20, _COUNT)) <= set(reader.fetched)


def test_reads_that_the_kernel_answered_are_no_divergence() -> None:
    reader = Reader()
    reader.read(*range(10), *range(10, 200, 3))
    assert reader.following.active
    assert set(range(40, 200)) <= set(reader.fetched) | set(range(10, 200, 3))


def test_read_ahead_of_the_kernel_is_no_divergence() -> None:
    reader = Reader()
    reader.read(*range(20))
    behind = reader.ranges[19].end
    reader.following.note(behind * PAGE, 128 << 10)
    assert reader.following.active


def test_who_leaves_stops_it_at_once_and_resumes_it() -> None:
    reader = Reader()
    reader.read(*range(30))
    reader.stray(random.Random(2))
    assert not reader.following.active
    assert reader.following.next_window(8 << 20) == []
    reader.read(*range(30, 40))
    assert reader.following.active


def test_who_reads_at_random_has_nothing_more_fetched() -> None:
    reader, numbers = Reader(), random.Random(3)
    reader.read(*range(30))
    at = 30
    for _ in range(60):  # half of the reads are where the trace is
        reader.stray(numbers)
        reader.read(at)
        at += 1
    fetched = len(reader.fetched)
    for _ in range(60):
        reader.stray(numbers)
        reader.read(at)
        at += 1
    assert len(reader.fetched) == fetched


def test_random_reads_of_a_disc_that_is_all_in_the_trace_are_not_followed() -> None:
    reader, numbers = Reader(), random.Random(4)
    for _ in range(300):
        reader.read(numbers.randrange(_COUNT))
    assert len(reader.fetched) < 40


def test_who_does_not_follow_at_all_is_no_longer_compared() -> None:
    reader, numbers = Reader(), random.Random(5)
    reader.read(*range(10))
    for _ in range(64):
        reader.stray(numbers)
    assert not reader.is_lost()
    reader.stray(numbers)
    assert reader.is_lost()
    reader.read(*range(10, 100))
    assert not reader.following.active


def test_a_start_over_is_followed_where_it_is() -> None:
    reader = Reader()
    reader.read(*range(250, 300))
    assert reader.following.active
    assert set(range(270, 300)) <= set(reader.fetched)


def test_what_cannot_be_read_is_not_tried_again() -> None:
    reader = Reader()
    reader.read(*range(20))
    reader.following.end()
    before = len(reader.fetched)
    reader.read(*range(20, 300))
    assert len(reader.fetched) == before


def test_how_much_was_used() -> None:
    reader = Reader()
    reader.read(0)
    one = reader.ranges[1]
    reader.following.note(one.begin * PAGE, 5 * PAGE)
    shares = [reader.following.share_used(number) for number in range(3)]
    assert shares == [1.0, 0.2, 0.0]
