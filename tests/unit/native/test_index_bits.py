"""A bit that flips in the index of a real file never makes a block give the bytes of another one.

An entry is the offset of its block and the end of the one before: both are looked at.
"""

import json
import random
import struct
from pathlib import Path

import pytest

from tests.support.mounting import DATA
from zsofs.errors import ZsofsError
from zsofs.images.input_image import Original, original

MANIFEST = json.loads((DATA / "manifest.json").read_text())
FLIPS = 250


def block(image: Original, number: int, size: int) -> bytes | None:
    """A block of an image; None if it is refused."""
    out = bytearray(min(size, image.size - number * size))
    try:
        image.read_into(number * size, memoryview(out))
    except ZsofsError:
        return None
    return bytes(out)


@pytest.mark.parametrize("name", sorted(name for name in MANIFEST if name != "_"))
def test_no_bit_of_an_index_gives_wrong_bytes(tmp_path: Path, name: str) -> None:
    data = (DATA / name).read_bytes()
    plain = (DATA / f"{MANIFEST[name]['image']}.iso").read_bytes()
    is_dax = data.startswith(b"DAX\0")
    begin = 32 if is_dax else 24
    size = 8192 if is_dax else struct.unpack_from("<I", data, 16)[0]
    count = -(-len(plain) // size)
    flipped = tmp_path / "flipped.zso"
    served = 0
    for bit in random.Random(name).sample(range(32 * count), FLIPS):
        content = bytearray(data)
        content[begin + bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(content)
        try:
            with original(str(flipped)) as image:
                for number in {max(bit // 32 - 1, 0), bit // 32}:
                    found = block(image, number, size)
                    right = plain[number * size : (number + 1) * size]
                    assert found in (None, right[: len(found or b"")]), (bit, number)
                    served += found is not None
        except ZsofsError:  # the file as a whole
            continue
    assert served, "some bits do no harm to the block before"
