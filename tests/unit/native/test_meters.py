"""What meters count of reads."""

import random

import pytest

from zsofs.native.meters import (
    BOUNDS_NS,
    CAUSES,
    HANG_NS,
    MAX_SIZE,
    PARTS,
    HandleMeter,
    Meter,
    Trace,
    now_ns,
)

SECOND = 1_000_000_000


def meters(disc_size: int, slow_ns: int = SECOND) -> tuple[Meter, Meter, Meter, HandleMeter]:
    total, disc, reader = Meter(), Meter(), Meter()
    total.keep_details()
    disc.keep_details(disc_size)
    reader.keep_details()
    return total, disc, reader, HandleMeter(total, disc, reader, disc_size, slow_ns, "label")


def test_a_read_counts_for_the_mount_the_disc_and_the_reader() -> None:
    *three, handle = meters(1 << 20)
    trace = handle.begin(4096, 8192)
    trace.blocks += 4
    trace.lookups += 1
    trace.loads += 1
    trace.inline += 1
    assert trace.handle.label == "label"
    assert not trace.end()
    for meter in three:
        counted = meter.requests, meter.bytes, meter.blocks, meter.lookups, meter.loads
        assert counted == (1, 8192, 4, 1, 1)
        assert (meter.inline, meter.threaded, meter.errors, meter.revision) == (1, 0, 0, 1)
        assert sum(meter.histogram()[CAUSES.index("decode")]) == 1
        assert meter.total_ns()[CAUSES.index("decode")] > 0


def test_what_is_behind_the_end_is_not_counted() -> None:
    total, disc, _, handle = meters(10_000)
    for offset, size in ((8192, 4096), (10_000, 4096), (1 << 40, 4096)):
        handle.begin(offset, size).end()
    assert (total.requests, total.bytes) == (3, 10_000 - 8192)
    assert len(disc.ages(now_ns())) == PARTS


@pytest.mark.parametrize(
    ("queue", "disk", "decode", "cause"),
    [
        (0, HANG_NS, 0, "hang"),
        (0, HANG_NS - 1, 0, "disk"),
        (0, 3 * SECOND, 4 * SECOND, "hang"),
        (0, SECOND, SECOND + 1, "decode"),
        (SECOND, 0, -1, "queue"),
    ],
)
def test_a_read_has_the_cause_that_took_longest(
    queue: int, disk: int, decode: int, cause: str
) -> None:
    trace = meters(4096)[-1].begin(0, 4096)
    trace.waited(queue, disk, decode)
    assert CAUSES[trace.cause] == cause


def test_a_read_without_decoding_or_waiting_is_from_memory() -> None:
    total, _, _, handle = meters(4096)
    handle.begin(0, 4096).end()
    assert sum(total.histogram()[CAUSES.index("memory")]) == 1


def test_each_part_that_a_read_touches_is_lit() -> None:
    """Against the definition: part N has the bytes from N to N + 1 of 1,024 parts of the size."""
    chosen = random.Random(3)
    for _ in range(200):
        size = chosen.randrange(1, 1 << 22)
        disc = Meter()
        disc.keep_details(size)
        handle = HandleMeter(Meter(), disc, Meter(), size, SECOND)
        offset = chosen.randrange(size)
        handle.begin(offset, chosen.randrange(1, 1 << 17)).end()
        end = offset + disc.bytes
        lit = [number for number, age in enumerate(disc.ages(now_ns())) if age >= 0]
        assert lit == list(range(offset * PARTS // size, (end - 1) * PARTS // size + 1))
    largest = HandleMeter(Meter(), Meter(), Meter(), MAX_SIZE, SECOND)
    largest.begin(MAX_SIZE - 4096, 4096).end()


def test_a_disc_of_another_size_has_another_map() -> None:
    """Handles of the longer file that was there before must not write behind the map."""
    _, disc, _, longer = meters(1 << 30)
    longer.begin(0, 4096).end()
    disc.keep_details(4096)
    assert disc.ages(now_ns()) == [-1] * PARTS
    assert sum(map(sum, disc.histogram())) == 1
    for _ in range(1000):
        longer.begin((1 << 30) - (1 << 20), 1 << 20).end()
    assert disc.ages(now_ns()) == [-1] * PARTS
    longer.begin(0, 1 << 20).end()
    assert min(disc.ages(now_ns())) >= 0


def test_a_handle_without_a_map_leaves_that_of_the_disc() -> None:
    _, disc, _, handle = meters(4096)
    handle.begin(0, 4096).end()
    disc.keep_details()
    assert min(disc.ages(now_ns())) >= 0
    assert sum(map(sum, disc.histogram())) == 1


def test_rates_are_of_whole_seconds_and_end() -> None:
    total, _, _, handle = meters(1 << 20)
    for _ in range(5):
        handle.begin(0, 4096).end()
    size = 5 * 4096
    at = total.last_ns
    assert sum(total.history(at + SECOND)) == size
    assert total.rates(at + SECOND)[0][1:] == (size / 10, size / 60)
    assert total.rates(at + 9 * SECOND)[0] == (0, size / 10, size / 60)
    assert total.rates(at + 30 * SECOND) == ((0, 0, size / 60), (0, 0, 5 / 60))
    assert total.rates(at + 70 * SECOND) == ((0, 0, 0), (0, 0, 0))
    assert sum(total.history(at + 70 * SECOND)) == 0


def test_failed_reads_return_nothing() -> None:
    total, disc, _, handle = meters(4096, slow_ns=0)
    trace = handle.begin(0, 4096)
    trace.failed = True
    assert trace.end()
    assert (total.requests, total.bytes, total.errors) == (1, 0, 1)
    assert sum(total.slow) == 1
    assert max(disc.ages(now_ns())) == -1


def test_what_has_no_details_counts_all_the_same() -> None:
    _, disc, _, handle = meters(4096)
    disc.drop_details()
    handle.begin(0, 4096).end()
    assert (disc.requests, disc.histogram(), disc.total_ns(), disc.ages(0)) == (1, [], [], [])
    assert disc.rates(now_ns() + SECOND) == ((0, 0, 0), (0, 0, 0))


def test_the_buckets() -> None:
    assert (BOUNDS_NS[0], BOUNDS_NS[-1], len(BOUNDS_NS)) == (10_000, 10 * SECOND, 19)
    assert sorted(BOUNDS_NS) == list(BOUNDS_NS)
    assert len(Meter().histogram()) == 0


def test_traces_are_made_by_meters_only() -> None:
    with pytest.raises(TypeError, match=r"HandleMeter\.begin"):
        Trace()
    with pytest.raises(ValueError, match="no disc is that long"):
        HandleMeter(Meter(), Meter(), Meter(), MAX_SIZE + 1, SECOND)
