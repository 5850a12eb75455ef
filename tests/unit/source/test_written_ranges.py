"""Which bytes of a file were written, in bounded memory."""

import random

from hypothesis import given
from hypothesis import strategies as st

from zsofs.source.written_ranges import MOST_RANGES, WrittenRanges

SIZE = 60
CHANGES = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE), st.booleans()), max_size=30
)


@given(CHANGES)
def test_as_a_set_of_bytes(changes: list[tuple[int, int, bool]]) -> None:
    ranges, model = WrittenRanges(), set[int]()
    for begin, end, is_cut in changes:
        if is_cut:
            ranges.cut(begin)
            model = {at for at in model if at < begin}
        else:
            ranges.add(begin, end)
            model |= set(range(begin, end))
        for size in range(0, SIZE + 1, 7):
            assert ranges.count(size) == sum(at < size for at in model)


def test_pieces_in_any_order_become_one() -> None:
    pieces = list(range(MOST_RANGES))
    random.Random(3).shuffle(pieces)
    ranges = WrittenRanges()
    for piece in pieces:
        ranges.add(piece * 4096, (piece + 1) * 4096)
    assert ranges.count(1 << 40) == MOST_RANGES * 4096


def test_too_many_pieces_never_count_as_more_than_was_written() -> None:
    """The shortest ones are forgotten, until they are written again."""
    ranges = WrittenRanges()
    for piece in range(3 * MOST_RANGES):
        ranges.add(piece * 100, piece * 100 + 50)
    assert ranges.count(1 << 40) == MOST_RANGES * 50
    ranges.add(0, 300 * MOST_RANGES)
    assert ranges.count(300 * MOST_RANGES) == 300 * MOST_RANGES
