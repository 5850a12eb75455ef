"""Sectors of form 2, by the directory records of a disc."""

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rounds import rounds
from tests.unit.discs.test_identify import made, raw
from zsofs.discs.form2 import Form2, find_form2
from zsofs.discs.iso9660 import records
from zsofs.errors import BlockError

SECTOR = 2048
FILES = {
    "/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\n",
    "/DATA/ONE.BIN": b"1" * 5000,
    "/DATA/DEEP/MOVIE.STR": b"2" * 10_000,
}
PS1 = {**FILES, "/SYSTEM.CNF": b"BOOT = cdrom:\\SLUS_009.63;1\r\n"}
FORM_1, FORM_2, MIXED, SOUND = 0x0D55, 0x1555, 0x3D55, 0x4555


def xa_image(files: dict[str, bytes], attributes: dict[bytes, int]) -> bytes:
    """An image of CD-ROM XA; *attributes* are those of files by their names, else of form 1."""
    image = bytearray(made(files, xa=True))
    for path in files:
        name = path.rpartition("/")[2].encode() + b";1"
        at = image.index(name)
        begin = at + len(name) + (1 - len(name) % 2)
        assert image[begin + 6 : begin + 8] == b"XA", "pycdlib puts it elsewhere"
        value = attributes.get(name[:-2], FORM_1)
        image[begin + 4 : begin + 6] = value.to_bytes(2, "big")
    return bytes(image)


def found(image: bytes, *, raw_cd: bool = False) -> Form2:
    def read(offset: int, size: int) -> bytes:
        assert offset + size <= len(image)
        return image[offset : offset + size]

    return find_form2(read, len(image), raw_cd=raw_cd)


@pytest.mark.parametrize("name", [b"SYSTEM.CNF", b"ONE.BIN", b"MOVIE.STR"])
@pytest.mark.parametrize("attributes", [FORM_2, MIXED, SOUND, 0x1000, 0x2000, 0x4000])
def test_a_file_with_more_than_form_1(name: bytes, attributes: int) -> None:
    image = xa_image(FILES, {name: attributes})
    path = next(path for path in FILES if path.encode().endswith(name))
    assert found(image) == Form2(path)
    assert not found(image).is_excluded
    assert found(raw(image, 2), raw_cd=True) == Form2(path)


def test_a_disc_with_form_1_alone() -> None:
    for image in (xa_image(FILES, {}), xa_image(FILES, dict.fromkeys((b"ONE.BIN",), 0x8FFF))):
        assert found(image) == Form2()
        assert found(image).is_excluded


def test_a_disc_without_attributes() -> None:
    assert found(made(FILES)).is_excluded


def test_the_attributes_that_genisoimage_writes(tmp_path: Path) -> None:
    """Another writer: its files are of form 1, and their records have other fields, too."""
    (tmp_path / "in").mkdir()
    for name in ("A", "AB.TXT", "ABC.BIN"):
        (tmp_path / "in" / name).write_bytes(b"x" * 3000)
    image = tmp_path / "xa.iso"
    subprocess.run(
        ["genisoimage", "-quiet", "-XA", "-o", image, tmp_path / "in"], check=True, timeout=60
    )
    data = image.read_bytes()
    root = data.index(b"AB.TXT;1") // SECTOR * SECTOR
    by_name = {one.name: one.xa_attributes for one in records(data[root : root + SECTOR])}
    assert {by_name[name] & 0x7800 for name in (b"A", b"AB.TXT", b"ABC.BIN")} == {0x0800}
    assert found(data).is_excluded


def test_what_is_damaged_or_no_volume_is_unknown() -> None:
    image = xa_image(FILES, {})
    deep = image.index(b"MOVIE.STR") // SECTOR

    def read(offset: int, size: int) -> bytes:
        if offset <= deep * SECTOR < offset + size:
            raise BlockError(deep, 0, "damaged")
        return image[offset : offset + size]

    unknown = find_form2(read, len(image))
    assert unknown == Form2(unknown="its directories are damaged")
    assert not unknown.is_excluded
    assert found(bytes(100_000)) == Form2(unknown="it has no ISO 9660 volume")
    assert found(b"") == Form2(unknown="it has no ISO 9660 volume")


@settings(max_examples=rounds(60, 2000), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_hostile_image_gives_an_answer(seed: int) -> None:
    chance = random.Random(seed)
    image = bytearray(HOSTILE)
    for _ in range(chance.randint(1, 200)):
        at = 16 * SECTOR + chance.randrange(12 * SECTOR)
        image[at] = chance.choice((0, 1, 2, 0x22, 0xFF, chance.randrange(256)))
    assert isinstance(found(bytes(image[: chance.choice((len(image), 40_000))])), Form2)


HOSTILE = xa_image(FILES, {})
