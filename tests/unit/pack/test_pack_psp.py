"""What `--for psp` writes is what PPSSPP, maxcso and ciso.py read."""

import random
import struct
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.mounting import DATA, names
from tests.support.packed import image_of, reports, zsofs
from tests.support.readers import CSO_READERS, check_every_sector
from tests.unit.pack.test_pack import sparse
from zsofs.pack.presets import OTHER_NAMES, PURPOSES, packing

FLAG = 1 << 31
KINDS = {
    "mixed": ["zeros", "text", "mixed", "noise", "tight"],
    "noise": ["noise"],
    "zeros": ["zeros"],
}


def check_rules(path: Path, size: int, shift: int = 0) -> None:
    """Header, index, and that no block is longer than an uncompressed one."""
    data = path.read_bytes()
    header = writers.HEADER.unpack_from(data)
    assert header == (b"CISO", 24, size, 2048, 1, shift)
    count = size // 2048
    entries = struct.unpack_from(f"<{count + 1}I", data, 24)
    offsets = [(entry & ~FLAG) << shift for entry in entries]
    assert 0 <= offsets[0] - (24 + 4 * (count + 1)) < 1 << shift
    assert not entries[-1] & FLAG
    assert offsets[-1] == len(data)
    for entry, begin, end in zip(entries, offsets, offsets[1:], strict=False):
        assert 0 < end - begin <= 2048
        assert bool(entry & FLAG) == (end - begin == 2048)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_gets_every_sector(tmp_path: Path, kind: str) -> None:
    image = writers.disc(2048 * 301, KINDS[kind], 5)
    (tmp_path / "Game.iso").write_bytes(image)
    zsofs("pack", "--for", "psp", tmp_path / "Game.iso")
    assert names(tmp_path) == ["Game.cso", "Game.iso"]
    check_rules(tmp_path / "Game.cso", len(image))
    assert image_of(tmp_path / "Game.cso") == image
    check_every_sector(tmp_path / "Game.cso", image, 301, CSO_READERS, kind)


def test_a_real_disc(tmp_path: Path) -> None:
    zsofs("pack", "--for", "ppsspp", DATA / "psp.iso", "-o", tmp_path / "Game.cso")
    image = (DATA / "psp.iso").read_bytes()
    check_rules(tmp_path / "Game.cso", len(image))
    for reader in CSO_READERS.values():
        with (tmp_path / "Game.cso").open("rb") as file:
            assert reader(file).read(0, len(image) // 2048) == image


@pytest.mark.system
def test_more_than_two_gibibytes(tmp_path: Path) -> None:
    """The index counts units of two bytes, and so do all readers."""
    size = (2 << 30) + 64 * 2048
    pieces = {0: writers.disc(2048 * 40, KINDS["mixed"], 3), size - 81920: bytes([7, 9]) * 40960}
    noise = random.Random(4).randbytes(2048 * 30)
    pieces[1 << 30] = noise
    sparse(tmp_path / "Game.iso", size, pieces)
    zsofs("pack", "--for", "psp", "--level", "1", "--any", tmp_path / "Game.iso")
    target = tmp_path / "Game.cso"
    with target.open("rb") as file:
        assert writers.HEADER.unpack(file.read(24))[5] == 1
    for name, reader in CSO_READERS.items():
        with target.open("rb") as file:
            opened = reader(file)
            for offset, piece in pieces.items():
                got = opened.read(offset // 2048, len(piece) // 2048)
                assert got == piece, (name, offset)


def test_the_shift_follows_from_the_size() -> None:
    """The smallest one by which a file of plain blocks alone can be addressed."""
    layouts = {
        size: PURPOSES["psp"].layout(size << 20, raw_cd=False) for size in (2000, 2048, 8000)
    }
    assert [layout.shift for layout in layouts.values()] == [0, 1, 2]


def test_what_others_cannot_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(writers.disc(2048 * 20, ["text"], 1) + b"x" * 100)
    done = zsofs("pack", "--for", "psp", "--any", tmp_path / "Game.iso", code=8)
    assert "consoles would lose the last 100; omit --for psp to keep every byte" in done.stderr
    for words in (("--codec", "lz4"), ("--block-size", "4K")):
        done = zsofs("pack", "--for", "psp", *words, tmp_path / "Game.iso", code=2)
        assert "--for psp writes only deflate in blocks of 2K" in done.stderr
    done = zsofs("pack", "--for", "psp", "--level", "13", tmp_path / "Game.iso", code=2)
    assert "deflate has the levels 1 to 12, not 13" in done.stderr
    assert names(tmp_path) == ["Game.iso"]


def test_devices_stand_for_presets(tmp_path: Path) -> None:
    for name, preset in OTHER_NAMES.items():
        assert packing(name, None, None, None) == PURPOSES[preset]
    (tmp_path / "Game.iso").write_bytes(writers.disc(2048 * 20, ["text"], 1))
    zsofs("pack", "--for", "opl", tmp_path / "Game.iso")
    assert (tmp_path / "Game.zso").read_bytes().startswith(b"ZISO")


def test_the_summary_says_that_only_zsofs_reads_it(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(writers.disc(2048 * 20, ["text"], 1))
    line = "only zsofs reads these files; for files that other programs read, use --for console"
    assert line in zsofs("pack", "--for", "small", tmp_path / "Game.iso").stdout
    assert line not in zsofs("pack", "--for", "small", tmp_path / "Game.iso").stdout  # skipped
    assert line not in zsofs("pack", "--for", "psp", tmp_path / "Game.iso").stdout
    (report,) = reports("pack", "--force", tmp_path / "Game.iso")
    assert report["state"] == "packed"
