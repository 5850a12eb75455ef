"""What `--for console` writes is what every program that reads ZSO files can read."""

import os
import struct
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.mounting import DATA
from tests.support.packed import image_of, reports, zsofs
from tests.support.readers import READERS, Misread, Opl, check_every_sector
from tests.unit.pack.test_pack import sparse

FLAG = 1 << 31
KINDS = {
    "mixed": ["zeros", "text", "mixed", "noise", "tight"],
    "tight": ["tight", "noise"],
    "last-plain": ["text", "noise"],
    "last-packed": ["noise", "text"],
    "zeros": ["zeros"],
}


def check_rules(path: Path, image: bytes) -> None:
    """All that the programs expect of a file without saying so."""
    data = path.read_bytes()
    magic, header_size, size, block_size, version, shift = writers.HEADER.unpack_from(data)
    assert (magic, header_size, size, block_size) == (b"ZISO", 24, len(image), 2048)
    assert (version, shift, data[22:24]) == (1, 0, b"\0\0")
    assert len(data) % 2048 == 0
    count = len(image) // 2048
    entries = struct.unpack_from(f"<{count + 1}I", data, 24)
    offsets = [entry & ~FLAG for entry in entries]
    assert offsets[0] == 24 + 4 * (count + 1)
    assert not entries[-1] & FLAG
    for entry, begin, end in zip(entries, offsets, offsets[1:], strict=False):
        assert 0 < end - begin <= 2048
        assert bool(entry & FLAG) == (end - begin == 2048)
    filling = data[offsets[-1] :]
    assert len(set(filling)) <= 1, "one byte up to a whole sector, and nothing else"
    if count and not entries[-2] & FLAG:
        assert filling[:1] != data[offsets[-1] - 1 : offsets[-1]], "and not the block's last one"
    assert len(data) - offsets[-1] < 2048


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_gets_every_sector(tmp_path: Path, kind: str) -> None:
    image = writers.disc(2048 * 301, KINDS[kind], 5)
    (tmp_path / "Game.iso").write_bytes(image)
    zsofs("pack", "--for", "console", tmp_path / "Game.iso")
    check_rules(tmp_path / "Game.zso", image)
    assert image_of(tmp_path / "Game.zso") == image
    check_every_sector(tmp_path / "Game.zso", image, 301, READERS, kind)


def test_a_real_disc_of_a_few_files(tmp_path: Path) -> None:
    for name in ("ps2.iso", "psp.iso"):
        zsofs("pack", "--for", "console", DATA / name, "-o", tmp_path / "a.zso", "--force")
        image = (DATA / name).read_bytes()
        check_rules(tmp_path / "a.zso", image)
        for reader in READERS.values():
            with (tmp_path / "a.zso").open("rb") as file:
                assert reader(file).read(0, len(image) // 2048) == image


def test_the_models_notice_what_misleads_the_programs(tmp_path: Path) -> None:
    """The very rules of this output, broken one by one by other writers."""
    image = writers.content(2048 * 40, KINDS["mixed"], 5)
    cut = writers.ziso_py(image)
    assert len(cut) % 2048
    large = writers.maxcso_zso(image, block_size=16384).ljust(2048 * 40, b"\0")
    for number, data in enumerate((cut, large)):
        path = tmp_path / f"{number}.zso"
        path.write_bytes(data)
        with path.open("rb") as file, pytest.raises((Misread, IndexError)):
            assert Opl(file).read(0, 40) == image


@pytest.mark.parametrize("size", [2048])
def test_very_small_images(tmp_path: Path, size: int) -> None:
    (tmp_path / "Game.iso").write_bytes(b"\x01" * size)
    zsofs("pack", "--any", "--for", "console", tmp_path / "Game.iso")
    check_rules(tmp_path / "Game.zso", b"\x01" * size)
    zsofs("unpack", tmp_path / "Game.zso", "-o", tmp_path / "back.iso")
    assert (tmp_path / "back.iso").read_bytes() == b"\x01" * size


def test_padding_is_never_the_last_byte_of_a_block(tmp_path: Path) -> None:
    for last in (b"X", b"\0", b"Y"):
        image = (b"some text\1" * 300).ljust(2048 * 9, last)
        (tmp_path / "Game.iso").write_bytes(image)
        zsofs("pack", "--any", "--for", "console", "--force", tmp_path / "Game.iso")
        check_rules(tmp_path / "Game.zso", image)
        for name, reader in READERS.items():
            with (tmp_path / "Game.zso").open("rb") as file:
                assert reader(file).read(8, 1) == image[-2048:], (name, last)


def test_a_cd_with_raw_sectors_is_refused_with_the_reason(tmp_path: Path) -> None:
    sector = b"\0" + b"\xff" * 10 + b"\0" + bytes(2340)
    (tmp_path / "Rez.bin").write_bytes(sector * 2048)
    done = zsofs("pack", "--for", "console", tmp_path / "Rez.bin", code=8)
    assert "2352" in done.stderr
    assert os.listdir(tmp_path) == ["Rez.bin"]


def test_a_partial_sector_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "Odd.iso").write_bytes(bytes(5000))
    (report,) = reports("pack", "--any", "--for", "console", tmp_path / "Odd.iso", code=8)
    assert "the last 904" in report["error"]
    assert os.listdir(tmp_path) == ["Odd.iso"]


def test_what_consoles_cannot_read_cannot_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(bytes(4096))
    for more in (("--codec", "zstd"), ("--block-size", "4K")):
        done = zsofs("pack", "--for", "console", *more, tmp_path / "Game.iso", code=2)
        assert "writes only LZ4 in blocks of 2K" in done.stderr


@pytest.mark.system
def test_more_than_four_gib(tmp_path: Path) -> None:
    size = (4 << 30) + (64 << 20)
    pieces = {
        0: writers.disc(40 * 2048, KINDS["mixed"], 1),
        4 << 30: writers.content(40 * 2048, KINDS["tight"], 2),
        size - 40 * 2048: writers.content(40 * 2048, KINDS["last-packed"], 3),
    }
    sparse(tmp_path / "Big.iso", size, pieces)
    zsofs("pack", "--for", "console", tmp_path / "Big.iso")
    for name, reader in READERS.items():
        with (tmp_path / "Big.zso").open("rb") as file:
            opened = reader(file)
            for offset, piece in pieces.items():
                assert opened.read(offset // 2048, 40) == piece, (name, offset)
            assert opened.read(1 << 20, 16) == bytes(16 * 2048)
