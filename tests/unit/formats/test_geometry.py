"""Which blocks hold a range of an image: every range of small images, against a count by hand."""

import pytest

from zsofs.formats.geometry import Codec, Geometry, Rule, Span


def geometry(size: int, block_size: int) -> Geometry:
    return Geometry("ZSO", size, block_size, Rule.FLAGGED, 0, 24, 24, 24, (Codec.LZ4,))


@pytest.mark.parametrize("block_size", range(1, 6))
@pytest.mark.parametrize("size", range(14))
def test_every_range_of_a_small_image(size: int, block_size: int) -> None:
    image = geometry(size, block_size)
    blocks = [
        set(range(begin, min(begin + block_size, size))) for begin in range(0, size, block_size)
    ]
    assert image.block_count == len(blocks)
    for offset in range(size + 3):
        for length in range(size + 6):
            wanted = set(range(offset, min(offset + length, size)))
            touched = [number for number, block in enumerate(blocks) if block & wanted]
            span = image.span(offset, length)
            assert list(range(span.first, span.first + span.block_count)) == touched
            assert span.first * block_size + span.skip == offset
            assert 0 <= span.skip < block_size
            if touched:
                held = set[int]().union(*(blocks[number] for number in touched))
                assert span.is_exact == (held == wanted)


def test_a_range_beyond_32_bits() -> None:
    image = geometry((64 << 30) - 1, 2048)
    assert image.span((64 << 30) - 2049, 4096) == Span((64 << 19) - 2, 2, 2047, is_exact=False)
    assert image.span((64 << 30) - 4096, 4095) == Span((64 << 19) - 2, 2, 0, is_exact=True)
