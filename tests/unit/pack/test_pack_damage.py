"""A wrong bit in a ZSOZ file is an error or does no harm: never a wrong byte."""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.packed import zsofs
from tests.support.rounds import rounds
from tests.support.zsoz_reader import Refused, Zsoz
from tests.unit.native.test_encoder import Silent
from zsofs.errors import ZsofsError
from zsofs.images.input_image import original
from zsofs.pack.packer import PackOptions, pack
from zsofs.pack.presets import PURPOSES


def packed(folder: Path, image: bytes, *words: str) -> bytearray:
    (folder / "Game.iso").write_bytes(image)
    if len(image) > 1:
        zsofs("pack", "--any", "--force", *words, folder / "Game.iso")
    else:  # no file, or a text, which the command refuses
        target = str(folder / "Game.zso")
        with original(str(folder / "Game.iso")) as opened:
            pack(opened, target, PURPOSES["mount"], PackOptions(replace=True), Silent())
    return bytearray((folder / "Game.zso").read_bytes())


def read_back(path: Path, data: bytes | bytearray) -> tuple[bytes, tuple[str, ...], str]:
    """The image, the remarks, and the SHA-1 of the seal."""
    path.write_bytes(data)
    with original(str(path)) as image:
        out = bytearray(image.size)
        if out:
            image.read_into(0, memoryview(out))
        return bytes(out), image.remarks, image.seal.sha1 if image.seal else ""


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (3 * 2048 + 1, ("--block-size", "2K")),
        (9_000, ()),
        (1, ()),
        (0, ()),
        (5000, ("--block-size", "2K", "--level", "1")),
    ],
)
def test_every_single_bit(tmp_path: Path, size: int, words: tuple[str, ...]) -> None:
    """One bit of each byte, by turns; all bits with --thorough."""
    image = writers.content(size, ["text", "zeros", "tight"], 3)[:size]
    data = packed(tmp_path, image, *words)
    whole = Zsoz(bytes(data))
    sha1 = whole.seal and whole.seal["sha1"]
    noticed = tried = 0
    bits = rounds(1, 8)
    for at in range(len(data)):
        for bit in {(at + number) % 8 for number in range(bits)}:
            tried += 1
            data[at] ^= 1 << bit
            try:
                got, remarks, sealed = read_back(tmp_path / "bad.zso", data)
            except ZsofsError:
                noticed += 1
            else:
                if data[:4] == b"ZSOZ":
                    assert got == image, f"byte {at} bit {bit}: wrong bytes"
                    # A few bits of Zstandard's own headers and tables mean nothing.
                    in_index = at < whole.index_end
                    assert not in_index or (size == 0 and (at, bit) == (27, 7)), (at, bit)
                    noticed += bool(remarks) or sealed != sha1
                else:
                    assert at < 4, "without the magic it is no container"
            data[at] ^= 1 << bit
    assert noticed > 0.9 * (tried - 4 * bits)


def test_the_document_s_reader_notices_the_same(tmp_path: Path) -> None:
    image = writers.content(5 * 2048 + 9, ["text", "zeros", "tight"], 3)
    data = packed(tmp_path, image, "--block-size", "2K")
    rng = random.Random(4)
    for _ in range(rounds(500, 3000)):
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        data[at] ^= 1 << bit
        with suppress(Refused):
            assert Zsoz(bytes(data)).image() == image
        data[at] ^= 1 << bit


def test_blocks_that_are_swapped_or_moved_are_noticed(tmp_path: Path) -> None:
    image = os.urandom(6 * 2048)
    data = packed(tmp_path, image, "--block-size", "2K")
    for first in range(6):
        moved = bytearray(data)
        at = 24 + 4 * first
        moved[at : at + 4], moved[at + 4 : at + 8] = data[at + 4 : at + 8], data[at : at + 4]
        with pytest.raises(ZsofsError):
            read_back(tmp_path / "bad.zso", moved)


def test_unpacking_against_a_seal_of_another_image_fails(tmp_path: Path) -> None:
    """All blocks decode, but it is not the image that was packed."""
    first = packed(tmp_path, os.urandom(4096), "--block-size", "2K")
    second = packed(tmp_path, os.urandom(4096), "--block-size", "2K")
    end = Zsoz(bytes(first)).end
    assert end == Zsoz(bytes(second)).end
    (tmp_path / "mixed.zso").write_bytes(first[:end] + second[end:])
    done = zsofs("unpack", tmp_path / "mixed.zso", code=8)
    assert "the image has SHA-1 " in done.stderr
    assert ", but the seal has " in done.stderr
    assert not (tmp_path / "mixed.iso").exists()
    done = zsofs("pack", tmp_path / "mixed.zso", "-o", tmp_path / "new.zso", code=8)
    assert not (tmp_path / "new.zso").exists()


def test_a_disc_whose_seal_was_hit_can_be_packed_anew(tmp_path: Path) -> None:
    image = writers.disc(100_000, ["text"], 3)
    data = packed(tmp_path, image)
    data[Zsoz(bytes(data)).end + 30] ^= 0x80
    (tmp_path / "Game.zso").write_bytes(data)
    done = zsofs("pack", "--force", tmp_path / "Game.zso")
    assert "the seal is damaged" in done.stderr
    whole = Zsoz((tmp_path / "Game.zso").read_bytes())
    assert whole.image() == image
    assert whole.agrees(image)
