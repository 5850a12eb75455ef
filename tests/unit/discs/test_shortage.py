"""Images that are shorter than their own volume descriptors say, and those that only seem so."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mounting import DATA
from tests.unit.discs.test_identify import PS2_IMAGE, made, raw
from zsofs.discs.shortage import FILLER_SECTORS, Shortage, find_shortage

SECTOR = 2048
LARGE = made({"/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_209.63;1", "/A.BIN": b"a" * 900_000})


def shortage(image: bytes, *, raw_cd: bool = False, names: bool = True) -> Shortage | None:
    """What is missing; reads have to lie within the image."""

    def read(offset: int, size: int) -> bytes:
        assert 0 <= offset < len(image)
        assert 0 < size <= len(image) - offset
        return image[offset : offset + size]

    return find_shortage(read, len(image), raw_cd=raw_cd, names=names)


def padded(image: bytes, sectors: int, *, block_size: int = SECTOR) -> bytes:
    """The image with so many sectors of padding, which its descriptor counts."""
    count = (len(image) // SECTOR + sectors) * SECTOR // block_size
    changed = bytearray(image + bytes(sectors * SECTOR))
    changed[32768 + 80 : 32768 + 88] = struct.pack("<I", count) + struct.pack(">I", count)
    changed[32768 + 128 : 32768 + 132] = struct.pack("<H", block_size) + struct.pack(
        ">H", block_size
    )
    return bytes(changed)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.iso")), ids=lambda path: path.name)
def test_whole_images(path: Path) -> None:
    image = path.read_bytes()
    assert shortage(image) is None
    assert shortage(image + bytes(1)) is None
    assert shortage(image + bytes(500 * SECTOR)) is None, "a longer image is normal"
    assert shortage(raw(image, 1), raw_cd=True) is None
    assert shortage(raw(image, 2), raw_cd=True) is None


@pytest.mark.parametrize("missing", [1, 2, FILLER_SECTORS])
def test_filler(missing: int) -> None:
    image = padded(PS2_IMAGE, FILLER_SECTORS)
    found = shortage(image[: -missing * SECTOR])
    assert found is not None
    assert (found.declared - found.present, found.files) == (missing, ())
    assert not found.is_cut
    assert "no file has data there" in found.sentence
    quick = shortage(image[: -missing * SECTOR], names=False)
    assert quick is not None
    assert not quick.is_cut
    assert "`zsofs verify`" in quick.sentence


def test_one_sector_more_than_filler_is_a_cut() -> None:
    image = padded(PS2_IMAGE, FILLER_SECTORS + 1)
    for names in (True, False):
        found = shortage(image[: -(FILLER_SECTORS + 1) * SECTOR], names=names)
        assert found is not None
        assert found.is_cut


def test_a_file_with_data_in_the_missing_part_is_a_cut_however_short() -> None:
    found = shortage(LARGE[: -2 * SECTOR])
    assert found is not None
    assert found.is_cut
    assert found.files
    assert "with data of /" in found.sentence
    early = shortage(LARGE[: 18 * SECTOR])
    assert early is not None
    assert "/" in (early.files or ()), "the root directory itself is missing"
    assert early.is_cut


def test_a_umd_that_was_trimmed_and_one_that_was_cut() -> None:
    image = bytearray(padded(LARGE, 1000))
    image[32768 + 8 : 32768 + 40] = b"PSP GAME".ljust(32)
    trimmed = bytes(image[: -900 * SECTOR])
    for names in (True, False):
        found = shortage(trimmed, names=names)
        assert found is not None
        assert not found.is_cut
        assert "900 of its" in found.sentence
    cut = shortage(bytes(image[: -1050 * SECTOR]))
    assert cut is not None
    assert cut.is_cut


def test_raw_sectors_count_as_they_are() -> None:
    """The raw image is longer than the descriptor's number of bytes, and yet it is cut."""
    whole = raw(LARGE, 2)
    image = whole[: len(whole) - 20 * 2352]
    assert len(image) > len(LARGE)
    found = shortage(image, raw_cd=True)
    assert found is not None
    assert found.declared - found.present == 20


def test_long_names_are_shortened() -> None:
    found = Shortage(1000, 10, ("/" + "D" * 100_000 + "/A.BIN", "/B"))
    assert found.sentence.endswith("DDD/A.BIN, /B")
    assert len(found.sentence) < 500


def test_a_partial_last_sector_is_not_missing() -> None:
    assert shortage(PS2_IMAGE[:-1000]) is None


@pytest.mark.parametrize("block_size", [512, 1024])
def test_smaller_logical_blocks(block_size: int) -> None:
    image = padded(PS2_IMAGE, 400, block_size=block_size)
    assert shortage(image) is None
    found = shortage(image[: -300 * SECTOR])
    assert found is not None
    assert found.declared - found.present == 300


def second_layer(first: bytes, second: bytes) -> bytes:
    """A DVD9 of the PS2: the descriptor of layer 1 lies where layer 0 ends."""
    return first + second[16 * SECTOR :]


def test_both_layers() -> None:
    image = second_layer(PS2_IMAGE, LARGE)
    assert shortage(image) is None, "the descriptor of layer 0 counts layer 0 alone"
    assert shortage(image + bytes(16 * SECTOR)) is None
    found = shortage(image[: -400 * SECTOR])
    assert found is not None
    assert found.is_cut
    assert found.declared - found.present == 400
    assert shortage(image[: -1000 - 400 * SECTOR]) is not None


def test_a_later_session_is_not_cut() -> None:
    """The data track of a GD-ROM counts sectors from the start of its disc."""
    image = bytearray(PS2_IMAGE)
    root = int.from_bytes(image[32768 + 158 : 32768 + 162], "little")
    for at in (32768 + 158, root * SECTOR + 2):
        image[at : at + 4] = struct.pack("<I", root + 45_000)
    size = 504_150
    image[32768 + 80 : 32768 + 88] = struct.pack("<I", size) + struct.pack(">I", size)
    assert shortage(bytes(image)) is None
    image[32768 + 158 : 32768 + 162] = struct.pack("<I", root)
    image[root * SECTOR + 2 : root * SECTOR + 6] = struct.pack("<I", root)
    assert shortage(bytes(image)) is not None


def test_the_smaller_of_two_sizes_that_differ() -> None:
    image = bytearray(PS2_IMAGE)
    image[32768 + 80 : 32768 + 84] = struct.pack("<I", 1_000_000)
    assert shortage(bytes(image)) is None
    image[32768 + 84 : 32768 + 88] = bytes(4)
    assert shortage(bytes(image)) is not None, "some programs write one of them only"


def without_iso9660(image: bytes) -> bytes:
    changed = bytearray(image)
    for sector in range(16, 24):
        at = sector * SECTOR
        if changed[at + 1 : at + 6] == b"CD001":
            changed[at : at + SECTOR] = bytes(SECTOR)
    return bytes(changed)


def test_udf_alone() -> None:
    image = without_iso9660(made({"/A.BIN": b"a" * 3_000_000}, udf=True))
    assert shortage(image) is None
    found = shortage(image[: -900 * SECTOR])
    assert found is not None
    assert found.is_cut
    assert shortage(image[: 250 * SECTOR]) is None, "nothing is known without the anchor"


def test_a_udf_partition_that_is_as_long_as_its_medium() -> None:
    image = bytearray(without_iso9660(made({"/A.BIN": b"a" * 3_000_000}, udf=True)))
    for number in range(len(image) // SECTOR):
        at = number * SECTOR
        if image[at : at + 2] == b"\x05\0" and image[at + 12 : at + 16] == struct.pack(
            "<I", number
        ):
            image[at + 192 : at + 196] = struct.pack("<I", 2_000_000)
    assert shortage(bytes(image)) is not None
    for access in (2, 3):
        for number in range(len(image) // SECTOR):
            at = number * SECTOR
            tag = struct.pack("<I", number)
            if image[at : at + 2] == b"\x05\0" and image[at + 12 : at + 16] == tag:
                image[at + 184 : at + 188] = struct.pack("<I", access)
        assert shortage(bytes(image)) is None


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="needs genisoimage")
@pytest.mark.parametrize("words", [(), ("-udf",), ("-hfs",), ("-no-pad",), ("-udf", "-no-pad")])
def test_what_genisoimage_makes(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "A.BIN").write_bytes(b"a" * 1_000_000)
    command = ["genisoimage", "-quiet", *words, "-o", str(tmp_path / "a.iso"), str(tmp_path / "in")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    image = (tmp_path / "a.iso").read_bytes()
    assert shortage(image) is None
    found = shortage(image[: len(image) // 2])
    assert found is not None
    assert found.files == ("/A.BIN",)


@given(
    st.lists(st.tuples(st.integers(0, 300 * SECTOR - 1), st.binary(min_size=1, max_size=8))),
    st.integers(0, len(LARGE)),
    st.booleans(),
)
def test_hostile_images_raise_nothing(
    changes: list[tuple[int, bytes]], size: int, raw_cd: bool
) -> None:
    image = bytearray(LARGE[:size])
    for at, data in changes:
        image[at : at + len(data)] = data
    shortage(bytes(image[:size]), raw_cd=raw_cd)
