"""Which file of a disc lies at a place of its image."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mounting import DATA
from tests.test_disc import made, raw
from zsofs.errors import BlockError
from zsofs.places import files_at

SECTOR = 2048
FILES = {
    "/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\n",
    "/DATA/ONE.BIN": b"1" * 5000,
    "/DATA/DEEP/TWO.BIN": b"2" * 10_000,
    "/EMPTY.BIN": b"",
}


def places(image: bytes, *, raw_cd: bool = False) -> dict[str, list[int]]:
    """The sectors of each file, as they are found one by one."""
    found: dict[str, list[int]] = {}
    step = 2352 if raw_cd else SECTOR
    for begin in range(0, len(image), step):
        names = files_at(
            lambda at, n: image[at : at + n], len(image), begin, begin + step, raw_cd=raw_cd
        )
        for name in names:
            found.setdefault(name, []).append(begin // step)
    return found


def check_contents(image: bytes, found: dict[str, list[int]]) -> None:
    for path, content in FILES.items():
        sectors = found.get(path, [])
        assert len(sectors) == -(-len(content) // SECTOR)
        if sectors:
            assert sectors == list(range(sectors[0], sectors[0] + len(sectors)))
            assert image[sectors[0] * SECTOR :].startswith(content)


def test_every_sector_of_a_disc() -> None:
    image = made(FILES)
    found = places(image)
    check_contents(image, found)
    assert {"/", "/DATA/", "/DATA/DEEP/"} <= set(found)
    assert 0 not in {sector for sectors in found.values() for sector in sectors}


@pytest.mark.parametrize("mode", [1, 2])
def test_raw_sectors(mode: int) -> None:
    assert places(raw(made(FILES), mode), raw_cd=True) == places(made(FILES))


def test_a_part_that_several_files_share() -> None:
    image = made(FILES)
    named = files_at(lambda at, n: image[at : at + n], len(image), 0, len(image), raw_cd=False)
    assert set(named) >= {path for path, content in FILES.items() if content}


def test_the_second_layer_of_a_dvd9() -> None:
    """It is a volume of its own, which counts from sixteen sectors before the first one's end."""
    first, second = bytearray(made({"/FIRST.BIN": b"1" * 9000})), made({"/SECOND.BIN": b"2" * 9000})
    layer = len(first) // SECTOR
    struct.pack_into("<I", first, 16 * SECTOR + 80, layer)
    image = bytes(first) + second[16 * SECTOR :]
    found = places(image)
    assert image[found["/FIRST.BIN"][0] * SECTOR :].startswith(b"1" * 9000)
    assert image[found["/SECOND.BIN"][0] * SECTOR :].startswith(b"2" * 9000)
    assert found["/SECOND.BIN"][0] >= layer


def test_a_damaged_folder_costs_what_is_in_it_alone() -> None:
    image = made(FILES)
    deep = places(image)["/DATA/DEEP/"][0]

    def read(offset: int, size: int) -> bytes:
        if offset <= deep * SECTOR < offset + size:
            raise BlockError(deep, 0, "damaged")
        return image[offset : offset + size]

    at = image.index(b"1" * 5000)
    assert files_at(read, len(image), at, at + 1, raw_cd=False) == ("/DATA/ONE.BIN",)
    at = image.index(b"2" * 10_000)
    assert files_at(read, len(image), at, at + 1, raw_cd=False) == ()
    at = deep * SECTOR
    assert files_at(read, len(image), at, at + 1, raw_cd=False) == ("/DATA/DEEP/",)


def test_a_tree_that_leads_round_in_a_circle_has_an_end() -> None:
    image = bytearray(made(FILES))
    found = places(bytes(image))
    root, deep = found["/"][0], found["/DATA/DEEP/"][0]
    data = image[found["/DATA/"][0] * SECTOR :][:SECTOR]
    at = found["/DATA/"][0] * SECTOR + data.index(b"DEEP") - 33
    assert struct.unpack_from("<I", image, at + 2) == (deep,)
    struct.pack_into("<I", image, at + 2, root)
    assert "/DATA/ONE.BIN" in places(bytes(image))


@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_nothing_that_is_in_an_image_raises(noise: bytes, seed: int) -> None:
    image = bytearray((DATA / "ps2.iso").read_bytes()[: 40 * SECTOR])
    source = random.Random(seed)
    for byte in noise:
        image[source.randrange(16 * SECTOR, 25 * SECTOR)] = byte
    data = bytes(image)
    files_at(lambda at, n: data[at : at + n], len(data), 0, len(data), raw_cd=False)
