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

    def __init__(self, *, at_once: bool = False) -> None:
        self.ranges = trace()
        self.following = Following(self.ranges, at_once=at_once)
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
        while window := self.following.next_window():
            self.fetched += window
            self.following.take(window)


def test_what_identifies_a_disc_starts_nothing() -> None:
    reader = Reader()
    reader.read(*range(5), *range(5), 2, 1, 0)
    assert not reader.following.active
    assert reader.fetched == []


def test_the_first_read_of_a_start_suffices() -> None:
    reader = Reader(at_once=True)
    reader.read(0)
    assert 0 < len(reader.fetched) * _PAGES * PAGE <= MAX_LOOK
    assert reader.fetched == sorted(reader.fetched), "in the order of the trace"
    reader.stray(random.Random(6))
    reader.read(1, 2, 3)
    assert not reader.following.active


def test_a_first_read_elsewhere_does_not_suffice() -> None:
    for first in (100, 399):
        reader = Reader(at_once=True)
        reader.read(first)
        assert reader.fetched == []


def test_who_reads_little_more_has_little_fetched() -> None:
    reader = Reader()
    reader.read(*range(6))
    assert 0 < len(reader.fetched) * _PAGES * PAGE <= MAX_LOOK


def test_who_follows_has_everything_fetched_ahead() -> None:
    reader = Reader()
    reader.read(*range(100))
    assert reader.following.active
    assert len(reader.fetched) == len(set(reader.fetched)), "nothing is fetched twice"
    assert set(range(20, 150)) <= set(reader.fetched)
    assert max(reader.fetched) < 99 + (32 << 20) // (_PAGES * PAGE), "and not more"
    reader.read(*range(100, _COUNT))
    assert set(range(20, _COUNT)) <= set(reader.fetched)


def test_a_film_is_no_evidence_for_what_is_read_after_it() -> None:
    """Only jumps are; else a start that differs then wastes what was read ahead."""
    film = [Range(256 * _COUNT + 64 * n, 256 * _COUNT + 64 * (n + 1)) for n in range(100)]
    reader = Reader()
    reader.ranges = trace()[:20] + film + trace()[20:]
    reader.following = Following(reader.ranges)
    reader.read(*range(120))
    ahead = sum(reader.ranges[n].pages for n in reader.fetched if n >= 120) * PAGE
    assert 0 < ahead <= 20 << 20


def test_what_is_needed_next_comes_first_if_little_is_ahead() -> None:
    reader = Reader()
    reader.read(*range(20))
    left = [[399], [50], [35], [45]]
    assert reader.following.choose([[300], [299]]) == 0, "the order of the disk"
    following = Following(reader.ranges, at_once=True)
    following.note(reader.ranges[0].begin * PAGE, PAGE)
    assert following.choose(left) == 2
    assert following.choose([]) == -1


def test_a_range_is_fetched_in_pieces() -> None:
    following = Following([Range(0, 1000)], at_once=True)
    following.note(0, 32 * PAGE)
    assert following.next_window() == [0], "the rest of it"
    assert [one.pages for one in following.ranges] == [64] * 15 + [40]
    following.note(0, 200 * PAGE)
    assert [following.share_used(number) for number in range(4)] == [1.0, 1.0, 1.0, 0.125]


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
    assert reader.following.next_window() == []
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
