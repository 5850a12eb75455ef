"""Boot traces: how starts are merged, what counts as one, and what a stored one may be."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rounds import rounds
from zsofs.native.read_log import PAGE, ReadLog
from zsofs.preload.boot_trace import (
    MAX_BYTES,
    BootTrace,
    InvalidTraceError,
    first_reads,
    is_start,
    some_ranges,
)

Pages = tuple[int, int]

_RANGES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 40)).map(lambda one: (one[0], one[0] + one[1])),
    max_size=40,
)


def pages(ranges: list[Pages]) -> list[int]:
    return [page for begin, end in ranges for page in range(begin, end)]


def usual(trace: BootTrace) -> list[Pages]:
    return [(one.begin, one.end) for one in trace.ranges if one.is_usual]


def merged(*starts: list[Pages]) -> BootTrace:
    trace = BootTrace([])
    for start in starts:
        trace.merge(first_reads(start))
    return trace


START = [(100, 110), (50, 60), (200, 230), (10, 20), (300, 310)]


@settings(max_examples=rounds(100, 2000), deadline=None)
@given(_RANGES)
def test_each_page_is_kept_once_where_it_was_first_read(ranges: list[Pages]) -> None:
    assert pages(first_reads(ranges)) == list(dict.fromkeys(pages(ranges)))


@settings(max_examples=rounds(100, 2000), deadline=None)
@given(st.lists(_RANGES, min_size=1, max_size=4))
def test_a_trace_is_stored_as_it_is(starts: list[list[Pages]]) -> None:
    trace = merged(*starts)
    assert BootTrace.from_bytes(trace.to_bytes()) == trace
    found = [page for one in trace.ranges for page in range(one.begin, one.end)]
    assert len(found) == len(set(found)), "its ranges overlap"
    assert set(found) <= {page for start in starts for page in pages(start)}


def test_the_same_start_again_changes_nothing_but_counts() -> None:
    trace = merged(START, START, START)
    assert usual(trace) == START
    assert [one.seen for one in trace.ranges] == [3] * 5
    assert trace.starts == 3


def test_what_another_start_reads_is_put_where_it_was_read() -> None:
    trace = merged(START, [*START[:2], (400, 410), *START[2:]])
    assert usual(trace) == [*START[:2], (400, 410), *START[2:]]


def test_what_most_starts_do_not_read_is_dropped() -> None:
    once = [*START[:4], (500, 501), START[4]]
    assert (500, 501) in usual(merged(START, once))
    assert (500, 501) not in usual(merged(START, once, START))
    assert usual(merged(START, once, START, START)) == START
    assert len(merged(START, once, START, START).ranges) == len(START)


def test_that_the_kernel_had_it_is_no_evidence_against_a_range() -> None:
    """A start of which most was in the page cache."""
    few = [START[1], START[4]]
    trace = merged(START, few, few, few)
    assert usual(trace) == START
    assert not any(one.missed for one in trace.ranges)


def test_a_start_that_ended_early_says_nothing_of_the_rest() -> None:
    trace = merged(START, START[:2], START[:2], START[:2])
    assert usual(trace) == START


def test_counts_are_bounded() -> None:
    trace = merged(*[START] * 100)
    assert all(0 < one.seen <= 15 for one in trace.ranges)
    assert BootTrace.from_bytes(trace.to_bytes()) == trace


def test_a_stored_trace_is_bounded() -> None:
    numbers = random.Random(1)
    many = [(n * 40, n * 40 + 1 + numbers.randrange(39)) for n in range(20_000)]
    numbers.shuffle(many)
    trace = merged(many)
    stored = trace.to_bytes()
    assert len(stored) <= MAX_BYTES
    kept = BootTrace.from_bytes(stored)
    assert usual(kept) == many[: len(kept.ranges)], "the first ones are kept"
    assert len(kept.ranges) > 2000


def test_some_ranges_are_from_all_of_the_trace() -> None:
    trace = merged([(number * 10, number * 10 + 4) for number in range(1000)])
    some = some_ranges(trace.to_bytes(), 50)
    assert [one.begin for one in some] == list(range(0, 10_000, 200))
    assert all(one.pages == 4 for one in some)
    few = merged([(number * 10, number * 10 + 4) for number in range(20)])
    assert len(some_ranges(few.to_bytes(), 50)) == 20


@settings(max_examples=rounds(200, 5000), deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_trace_or_refused(data: bytes) -> None:
    try:
        trace = BootTrace.from_bytes(data)
    except InvalidTraceError:
        return
    assert BootTrace.from_bytes(trace.to_bytes()) == trace
    assert all(0 <= one.begin < one.end for one in trace.ranges)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x81", bytes(MAX_BYTES + 1), b"\xff" * 40, b"\x01\x00\x00\x10"),
        b"\x01\x00\xff\xff\x7f\x10",  # one range of 8 GiB
        b"\x01\x03\x01\x10",  # before the begin of the disc
        b"\x01\x00\x08\x10\x0b\x08\x10",  # two that overlap
        b"\x01\x00\x08",  # without its counts
        b"\x01" + b"\x80" * 6 + b"\x01\x08\x10",  # a number of seven bytes
    ],
)
def test_a_damaged_trace_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidTraceError):
        BootTrace.from_bytes(data)


def test_who_looks_what_disc_it_is_starts_nothing() -> None:
    assert not is_start([(0, 16), (32, 33), (257, 260), (1000, 1700)])
    assert not is_start([(n * 10, n * 10 + 1) for n in range(100)])


def test_single_pages_at_random_are_no_start() -> None:
    places = random.Random(1).sample(range(0, 100_000, 2), 1000)
    assert not is_start([(place, place + 1) for place in places])
    assert is_start([(place, place + 2) for place in places])


def test_a_copy_is_no_start() -> None:
    megabyte = (1 << 20) // PAGE
    copy = [(n * megabyte, (n + 1) * megabyte) for n in range(400)]
    assert not is_start(copy)
    assert is_start([*START, *((n * 500, n * 500 + 40) for n in range(10, 40)), *copy[:8]])


def test_reads_in_turn_from_two_files_are_one_range_each() -> None:
    log = ReadLog(1 << 30)
    for step in range(8):
        log.note(step * 2048, 2048)
        log.note((1 << 20) + step * 8192, 8192)
    assert log.ranges() == [(0, 4), (256, 272)]
    assert log.count == 2
    assert log.bytes == 8 * (2048 + 8192)


def test_a_long_read_in_order_is_several_ranges() -> None:
    log = ReadLog(1 << 30)
    for place in range(0, 3 << 20, 128 << 10):
        log.note(place, 128 << 10)
    assert log.ranges() == [(0, 256), (256, 512), (512, 768)]


def test_a_log_is_bounded() -> None:
    log = ReadLog(1 << 30)
    for number in range(10_000):
        log.note(number * 3 * PAGE, 1)
    assert log.full
    assert len(log.ranges()) == log.count == 4096
    log = ReadLog(10 << 20)
    for place in range(0, 30 << 20, 1 << 20):
        log.note(place, 1 << 20)
    assert log.full
    assert log.bytes == 10 << 20
    log = ReadLog(1 << 20)
    for offset, size in ((-1, 5), (0, 0), (1 << 62, 4096)):
        log.note(offset, size)
    assert log.count == 0
