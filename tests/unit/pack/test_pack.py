"""Packing and unpacking give back every byte, whatever goes in and however it is packed."""

import hashlib
import os
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import DATA, ZSOFS
from tests.support.packed import image_of, left_in, reports, zsofs
from tests.support.zsoz_reader import Zsoz

ODD_SIZES = (1, 2047, 2048, 2049, 32768, 32769, 100_000, 3 * 1024 * 1024 + 5)
WAYS = {
    "mount": (),
    "small": ("--for", "small"),
    "fast": ("--for", "fast"),
    "lz4-16k": ("--codec", "lz4", "--block-size", "16K", "--level", "1"),
    "zstd-2k": ("--block-size", "2K", "--level", "1"),
    "zstd-1m": ("--block-size", "1M", "--level", "19"),
    "zstd-6k": ("--block-size", "6K"),
}


def content(size: int, seed: int = 1) -> bytes:
    """A disc image, if it is long enough for one."""
    made = writers.content(size, ["zeros", "text", "mixed", "noise", "tight"], seed)
    return writers.described(made) if size >= writers.DESCRIPTOR_END else made


def sparse(path: Path, size: int, pieces: dict[int, bytes]) -> None:
    """A file that is a hole but for the *pieces*, by offset."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, piece in pieces.items():
            file.seek(offset)
            file.write(piece)


@pytest.mark.parametrize("way", WAYS)
def test_odd_sizes_come_back(tmp_path: Path, way: str) -> None:
    plain, packed, back = (tmp_path / name for name in ("plain", "packed", "back"))
    plain.mkdir()
    for size in ODD_SIZES:
        (plain / f"{size}.iso").write_bytes(content(size))
        os.utime(plain / f"{size}.iso", ns=(10**18, 1_234_567_890_987_654_321))
        (plain / f"{size}.iso").chmod(0o640)
    assert {r["state"] for r in reports("pack", "--any", plain, "-o", packed, *WAYS[way])} == {
        "packed"
    }
    assert {r["state"] for r in reports("unpack", packed, "-o", back)} == {"unpacked"}
    for size in ODD_SIZES:
        image = content(size)
        assert (back / f"{size}.iso").read_bytes() == image
        container = (packed / f"{size}.zso").read_bytes()
        assert image_of(packed / f"{size}.zso") == image
        for made in (back / f"{size}.iso", packed / f"{size}.zso"):
            status = made.stat()
            assert status.st_mtime_ns == 1_234_567_890_987_654_321
            assert status.st_mode & 0o7777 == 0o640
        if container.startswith(b"ZSOZ"):
            read = Zsoz(container)
            assert read.image() == image
            assert read.agrees(image)
        else:
            assert len(container) % 2048 == 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("writer", writers.WRITERS)
def test_every_container_can_be_packed_anew(tmp_path: Path, writer: str) -> None:
    image = content(150_000, 7)
    ending = ".cso" if "ci" in writer else ".zso"
    (tmp_path / f"Game{ending}").write_bytes(writers.WRITERS[writer](image))
    expected = writers.kept(image) if writer in writers.DROPS_TAIL else image
    for number, way in enumerate(("mount", "lz4-16k", "zstd-6k")):
        out = tmp_path / str(number) / "Game.zso"
        (report,) = reports("pack", tmp_path / f"Game{ending}", "-o", out, *WAYS[way])
        assert image_of(out) == expected
        assert report["plain_bytes"] == len(expected)
        assert report["stored_bytes"] == out.stat().st_size
        assert report["sha1"] == hashlib.sha1(expected).hexdigest()


def test_what_real_programs_wrote_comes_back(tmp_path: Path) -> None:
    names = [path for path in DATA.iterdir() if path.suffix in (".zso", ".cso", ".dax")]
    for path in names:
        zsofs("unpack", path, "-o", tmp_path / f"{path.name}.iso")
        zsofs("pack", path, "-o", tmp_path / f"{path.name}.zso")
        plain = (tmp_path / f"{path.name}.iso").read_bytes()
        assert plain == image_of(path)
        assert Zsoz((tmp_path / f"{path.name}.zso").read_bytes()).image() == plain


def test_a_raw_cd_becomes_a_bin_again(tmp_path: Path) -> None:
    sector = b"\0" + b"\xff" * 10 + b"\0" + bytes(2340)
    image = b"".join(sector[:-4] + struct.pack("<I", n) for n in range(300))
    (tmp_path / "Rez.bin").write_bytes(image)
    zsofs("pack", tmp_path / "Rez.bin")
    (tmp_path / "Rez.bin").unlink()
    zsofs("unpack", tmp_path / "Rez.zso")
    assert (tmp_path / "Rez.bin").read_bytes() == image


def test_json_and_the_seal_have_the_checksums(tmp_path: Path) -> None:
    image = content(500_000)
    (tmp_path / "Game.iso").write_bytes(image)
    (report,) = reports("pack", tmp_path / "Game.iso")
    assert report["crc32"] == f"{zlib.crc32(image):08x}"
    assert report["md5"] == hashlib.md5(image).hexdigest()
    seal = Zsoz((tmp_path / "Game.zso").read_bytes()).seal
    assert seal is not None
    assert (seal["sha1"], seal["md5"]) == (report["sha1"], report["md5"])


def test_no_digests_leave_no_seal(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(content(500_000))
    zsofs("pack", "--no-verify", "--no-digests", tmp_path / "Game.iso")
    read = Zsoz((tmp_path / "Game.zso").read_bytes())
    assert read.seal is None
    assert read.end == len(read.data)
    assert read.image() == content(500_000)


def test_incompressible_blocks_are_frames_of_a_few_bytes_more(tmp_path: Path) -> None:
    image = writers.described(os.urandom(64 * 32768))
    (tmp_path / "Game.iso").write_bytes(image)
    zsofs("pack", tmp_path / "Game.iso")
    read = Zsoz((tmp_path / "Game.zso").read_bytes())
    assert read.end - read.start <= len(image) + 64 * 16


@pytest.mark.system
def test_more_than_four_gib_with_holes(tmp_path: Path) -> None:
    size = (4 << 30) + (3 << 20) + 2047
    plain, packed, back = (tmp_path / name for name in ("Big.iso", "Big.zso", "Back.iso"))
    pieces = {0: content(70_000), (4 << 30) - 1000: content(2_000_000, 3), size - 99: b"\x07" * 99}
    sparse(plain, size, pieces)
    (report,) = reports("pack", plain)
    assert report["plain_bytes"] == size
    with packed.open("rb") as file:
        assert file.read(24)[21] == 2, "the shift that reaches so far"
    (unpacked,) = reports("unpack", packed, "-o", back)
    assert unpacked["sha1"] == report["sha1"]
    assert back.stat().st_size == size
    assert back.stat().st_blocks * 512 < 8 << 20
    with back.open("rb") as file:
        for offset, piece in pieces.items():
            file.seek(offset)
            assert file.read(len(piece)) == piece


def test_a_pipe_gets_the_image(tmp_path: Path) -> None:
    image = content(3_000_000)
    (tmp_path / "Game.iso").write_bytes(image)
    zsofs("pack", tmp_path / "Game.iso")
    command = [*ZSOFS, "unpack", str(tmp_path / "Game.zso"), "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == image
    closed = subprocess.run(
        ["sh", "-c", '"$@" | head -c 5', "sh", *command], capture_output=True, check=True
    )
    assert closed.stdout == image[:5]
    assert closed.stderr == b""


def test_what_was_packed_can_be_mounted(tmp_path: Path, source: Path, mount: MountMaker) -> None:
    images = {way: content(400_000, number) for number, way in enumerate(WAYS)}
    for way, image in images.items():
        (tmp_path / f"{way}.iso").write_bytes(image)
        zsofs("pack", tmp_path / f"{way}.iso", "-o", source, *WAYS[way])
    made = mount(source)
    for way, image in images.items():
        assert (made.path / f"{way}.iso").read_bytes() == image


def test_measuring_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(content(1465 * 2048))
    (measured,) = reports("pack", "--measure", tmp_path / "Game.iso")
    assert os.listdir(tmp_path) == ["Game.iso"]
    assert measured["state"] == "measured"
    for words in ((), ("--no-verify", "--no-digests"), ("--for", "console")):
        (measured,) = reports("pack", "--measure", *words, tmp_path / "Game.iso")
        (packed,) = reports("pack", "--force", *words, tmp_path / "Game.iso")
        assert measured["stored_bytes"] == packed["stored_bytes"]
        assert packed["stored_bytes"] == (tmp_path / "Game.zso").stat().st_size
        assert packed["input_bytes"] == packed["plain_bytes"] == 1465 * 2048
