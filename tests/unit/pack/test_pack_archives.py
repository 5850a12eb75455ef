"""Discs in archives and compressed files are packed as streams."""

import gzip
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.archives import MAKERS, RARS, STREAMS, archive, compressed, run
from tests.support.mounting import DATA, names
from tests.support.packed import image_of, left_in, reports, zsofs
from tests.unit.discs.test_classify import NOISE, OTHERS
from tests.unit.discs.test_identify import raw

IMAGE = writers.disc(2048 * 700, ["zeros", "text", "mixed", "noise"], 5)
"""More than the first bytes by which a file is recognized."""

SMALL = writers.disc(2048 * 60, ["text", "noise"], 6)
STORED = writers.disc(2048 * 700, ["noise"], 7)
"""An image that no program packs, so that its bytes are in the archive as they are."""

PICTURE = OTHERS["a JPEG picture"]
FILES = {"Okami/Okami.iso": IMAGE, "Okami/readme.txt": b"Have fun.\n" * 20, "cover.jpg": PICTURE}
DRAWING = b"\xdb\xb2\xb1\xb0\xdc\xdf" * 40 + b"\r\n"
"""Blocks in the code page of DOS, as in an .nfo."""

LEFT = FILES | {"no password": b"", "Group.NFO": DRAWING * 20}


def made(folder: Path, way: str, files: Mapping[str, bytes]) -> Path:
    """An archive of files."""
    return archive(folder / f"Games.{'rar' if way in RARS else way}", way, files)


@pytest.mark.parametrize("way", [*MAKERS, *RARS])
def test_the_disc_in_an_archive(tmp_path: Path, way: str) -> None:
    path = made(tmp_path, way, FILES)
    (report,) = reports("pack", path)
    assert report["input"] == f"{path}/Okami/Okami.iso"
    assert report["output"] == f"{tmp_path}/Okami.zso"
    assert report["state"] == "packed"
    assert report["plain_bytes"] == len(IMAGE)
    (remark,) = report["remarks"]
    assert "Okami/readme.txt (a text file)" in remark
    assert "cover.jpg (a JPEG picture)" in remark
    assert image_of(tmp_path / "Okami.zso") == IMAGE
    assert names(tmp_path) == sorted([path.name, "Okami.zso"])
    assert reports("pack", path)[0]["state"] == "skipped"


@pytest.mark.parametrize("way", STREAMS)
def test_a_compressed_image(tmp_path: Path, way: str) -> None:
    path = compressed(tmp_path, "Okami.iso", way, IMAGE)
    (report,) = reports("pack", "--for", "console", path)
    assert (report["input"], report["input_bytes"]) == (str(path), path.stat().st_size)
    assert image_of(tmp_path / "Okami.zso") == IMAGE
    assert names(tmp_path) == ["Okami.iso." + way, "Okami.zso"]


@pytest.mark.parametrize("way", STREAMS)
def test_an_image_that_is_longer_than_its_descriptors_say(tmp_path: Path, way: str) -> None:
    """The size is guessed, found to be wrong, and right in a second pass."""
    image = writers.described(writers.content(2048 * 900, ["mixed"], 3), sectors=650)
    path = compressed(tmp_path, "Okami.bin", way, image)
    zsofs("pack", path)
    assert image_of(tmp_path / "Okami.zso") == image


def test_an_image_that_is_shorter_than_its_descriptors_say(tmp_path: Path) -> None:
    image = writers.described(writers.content(2048 * 700, ["mixed"], 3), sectors=1000)
    path = compressed(tmp_path, "Okami.iso", "bz2", image)
    (report,) = reports("pack", "--delete-source", path, code=8)
    assert report["state"] == "packed"
    assert "the archive was not deleted: the image is truncated" in report["error"]
    assert image_of(tmp_path / "Okami.zso") == image
    assert path.exists()


def test_several_members(tmp_path: Path) -> None:
    """As `cat` and parallel compressors make them; the sizes in each are those of one."""
    half = len(IMAGE) // 2
    (tmp_path / "a.iso.gz").write_bytes(gzip.compress(IMAGE[:half]) + gzip.compress(IMAGE[half:]))
    for way in ("xz", "zst", "bz2"):
        first, second = (
            compressed(tmp_path, name, way, part).read_bytes()
            for name, part in (("1", IMAGE[:half]), ("2", IMAGE[half:]))
        )
        (tmp_path / f"{way}.iso.{way}").write_bytes(first + second)
        (tmp_path / f"1.{way}").unlink()
        (tmp_path / f"2.{way}").unlink()
    zsofs("pack", tmp_path)
    for name in ("a", "xz", "zst", "bz2"):
        assert image_of(tmp_path / f"{name}.zso") == IMAGE


def test_an_image_without_descriptors_in_a_file_that_does_not_say_its_size(
    tmp_path: Path,
) -> None:
    image = OTHERS_IMAGE
    path = compressed(tmp_path, "Game.iso", "bz2", image)
    zsofs("pack", path)
    assert image_of(tmp_path / "Game.zso") == image


OTHERS_IMAGE = b"SEGA SEGASATURN " + writers.content(2048 * 800, ["mixed"], 4)[16:]


@pytest.mark.parametrize("way", ["stored.7z", "stored.zip", "rar3", "rar5", "tar.gz", *STREAMS])
def test_a_flipped_byte(tmp_path: Path, way: str) -> None:
    """Wherever it is in the stored bytes of the disc, nothing gets a name."""
    if way in STREAMS:
        path = compressed(tmp_path, "Okami.iso", way, STORED)
    else:
        path = made(tmp_path, way, {"Okami.iso": STORED, "readme.txt": b"text"})
    good = path.read_bytes()
    size = len(good)
    for at in (size // 3, size // 2, size - size // 5):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        (report, *_) = reports("pack", "--delete-source", path, code=8)
        assert report["state"] == "failed"
        assert "damaged" in report["error"]
        assert names(tmp_path) == [path.name]
    path.write_bytes(good[: size // 2])
    zsofs("pack", "--delete-source", path, code=8)
    assert names(tmp_path) == [path.name]
    path.write_bytes(good)
    zsofs("pack", path)
    assert image_of(tmp_path / "Okami.zso") == STORED


@pytest.mark.parametrize("field", ["CRC-32", "length"])
def test_what_gzip_says_at_its_end(tmp_path: Path, field: str) -> None:
    """libarchive does not look at it."""
    data = bytearray(gzip.compress(IMAGE))
    data[-8 if field == "CRC-32" else -4] ^= 1
    (tmp_path / "Okami.iso.gz").write_bytes(data)
    done = zsofs("pack", tmp_path / "Okami.iso.gz", code=8)
    assert "it is damaged" in done.stderr
    assert names(tmp_path) == ["Okami.iso.gz"]


@pytest.mark.parametrize("way", ["7z", "zip", "tar.gz", "rar5"])
def test_several_discs_and_what_else_there_is(tmp_path: Path, way: str) -> None:
    files = {
        "One.iso": IMAGE,
        "sub/Two.bin": raw(SMALL, 1),
        "memory.bin": OTHERS["a PS2 memory card"],
        "three.cso": writers.maxcso_cso1(SMALL),
        "four.iso": OTHERS["an HTML page"],
        "Five.img": SMALL,
        "six": SMALL,
        "more.7z": OTHERS["a 7z archive"],
    }
    path = made(tmp_path, way, files)
    found = {r["input"].removeprefix(f"{path}/"): r for r in reports("pack", path, code=8)}
    assert {name: report["state"] for name, report in found.items()} == {
        "One.iso": "packed",
        "sub/Two.bin": "packed",
        "three.cso": "failed",
        "Five.img": "packed",
        "six": "packed",
    }
    assert "it is a CSO in an archive; extract it, then pack it" in found["three.cso"]["error"]
    (last,) = (r["remarks"][-1] for r in found.values() if "left in" in str(r["remarks"]))
    for name in ("memory.bin (a PS2 memory card)", "four.iso (an HTML page)", "more.7z (a 7z arch"):
        assert name in last
    for name, image in (("One", IMAGE), ("Two", files["sub/Two.bin"]), ("Five", SMALL)):
        assert image_of(tmp_path / f"{name}.zso") == image
    (failed, *_) = reports("pack", "--force", path, "-o", tmp_path / "x.zso", code=8)
    assert failed["output"] == str(tmp_path / "x.zso")


def test_discs_of_the_same_name(tmp_path: Path) -> None:
    path = made(tmp_path, "zip", {"1/Game.iso": IMAGE, "2/Game.iso": SMALL})
    first, second = reports("pack", path, code=8)
    assert (first["state"], second["state"]) == ("packed", "failed")
    assert f"is also the output of {path}/1/Game.iso" in second["error"]
    assert image_of(tmp_path / "Game.zso") == IMAGE


def test_a_name_that_says_nothing(tmp_path: Path) -> None:
    for name in ("disc1.iso", "image.iso", "GAME.ISO", "cd.bin", "01.iso"):
        path = archive(tmp_path / f"Ico ({name}).zip", "zip", {name: SMALL})
        zsofs("pack", path)
        assert image_of(tmp_path / f"Ico ({name}).zso") == SMALL
    several = archive(tmp_path / "Xenosaga.zip", "zip", {"disc1.iso": SMALL, "disc2.iso": IMAGE})
    zsofs("pack", several)
    assert image_of(tmp_path / "disc1.zso") == SMALL
    assert image_of(tmp_path / "disc2.zso") == IMAGE


def test_a_directory(tmp_path: Path) -> None:
    """Archives in it are inputs, and their other volumes are parts of them."""
    (tmp_path / "in").mkdir()
    archive(tmp_path / "in" / "a.7z", "7z", {"Ape.iso": SMALL})
    archive(tmp_path / "in" / "saves.zip", "zip", {"readme.txt": b"text"})
    (tmp_path / "in" / "B.iso").write_bytes(IMAGE)
    compressed(tmp_path / "in", "C.iso", "gz", SMALL)
    compressed(tmp_path / "in", "notes.txt", "gz", b"text")
    (tmp_path / "D.iso").write_bytes(IMAGE)
    run("7z", "a", "-bd", "-v100k", "in/d.7z", "D.iso", cwd=tmp_path)
    assert "d.7z.003" in names(tmp_path / "in")
    found = {
        r["input"].removeprefix(f"{tmp_path}/in/"): r["state"]
        for r in reports("pack", tmp_path / "in", "-o", tmp_path / "out")
    }
    assert found == {
        "a.7z/Ape.iso": "packed",
        "saves.zip": "skipped",
        "B.iso": "packed",
        "C.iso.gz": "packed",
        "d.7z.001/D.iso": "packed",
    }
    assert names(tmp_path / "out") == ["Ape.zso", "B.zso", "C.zso", "D.zso"]


def test_volumes(tmp_path: Path) -> None:
    (tmp_path / "Okami.iso").write_bytes(STORED)
    run("7z", "a", "-bd", "-v300k", "a.7z", "Okami.iso", cwd=tmp_path)
    run("zip", "-q", "-s", "300k", "b.zip", "Okami.iso", cwd=tmp_path)
    run("7z", "a", "-bd", "-tzip", "-v300k", "c.zip", "Okami.iso", cwd=tmp_path)
    (tmp_path / "Okami.iso").unlink()
    for first, second, last in (
        ("a.7z.001", "a.7z.002", "a.7z.005"),
        ("b.zip", "b.z02", "b.z04"),
        ("c.zip.001", "c.zip.002", "c.zip.005"),
    ):
        zsofs("pack", "--force", tmp_path / first)
        assert image_of(tmp_path / "Okami.zso") == STORED
        done = zsofs("pack", tmp_path / second)
        assert f"skipped, it is a volume of {first}" in done.stdout
        for missing in (second, last):
            hidden = tmp_path / "elsewhere"
            (tmp_path / missing).rename(hidden)
            done = zsofs("pack", "--force", "--delete-source", tmp_path / first, code=8)
            assert f"{missing} is missing" in done.stderr or missing == "b.z04", done.stderr
            hidden.rename(tmp_path / missing)
        (tmp_path / first).rename(tmp_path / "elsewhere")
        done = zsofs("pack", tmp_path / second, code=8)
        assert f"its volume {first} is missing" in done.stderr
        (tmp_path / "elsewhere").rename(tmp_path / first)


@pytest.mark.parametrize("way", ["7z", "gz", "volumes"])
def test_delete_source(tmp_path: Path, way: str) -> None:
    if way == "volumes":
        (tmp_path / "Okami.iso").write_bytes(STORED)
        run("7z", "a", "-bd", "-v300k", "a.7z", "Okami.iso", cwd=tmp_path)
        (tmp_path / "Okami.iso").unlink()
        path, image = tmp_path / "a.7z.001", STORED
    elif way == "gz":
        path, image = compressed(tmp_path, "Okami.iso", "gz", IMAGE), IMAGE
    else:
        path, image = archive(tmp_path / "a.7z", "7z", LEFT), IMAGE
    (report,) = reports("pack", "--delete-source", path)
    assert report["source_deleted"]
    assert names(tmp_path) == ["Okami.zso"]
    assert image_of(tmp_path / "Okami.zso") == image


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("manual.pdf", OTHERS["a PDF document"], "manual.pdf (a PDF document)"),
        ("Okami.cue", OTHERS["a cue sheet"], "Okami.cue (a cue sheet)"),
        ("Okami.M3U", b"disc1.iso\ndisc2.iso\n", "Okami.M3U (a text file)"),
        ("Two.cso", writers.maxcso_cso1(SMALL), "Two.cso was not packed"),
        ("bonus", NOISE, "bonus (not recognized)"),
        ("Two.iso", b"", "Two.iso (an empty file)"),
        ("save.dat", DRAWING, "save.dat (not recognized)"),
        ("bonus.nfo", DRAWING + b"\0\1\2", "bonus.nfo (not recognized)"),
        ("Cut.iso", writers.described(SMALL, sectors=5000), "the image is truncated"),
    ],
)
def test_an_archive_with_more_than_discs_is_kept(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    path = archive(tmp_path / "a.zip", "zip", {name: content, "zz.iso": SMALL})
    *_, last = reports("pack", "--delete-source", path, code=8)
    assert last["state"] == "packed"
    assert last["error"].startswith("packed, but the archive was not deleted: ")
    assert why in last["error"]
    assert path.exists()


def test_measure_writes_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.7z", "7z", FILES)
    (measured,) = reports("pack", "--measure", path)
    assert names(tmp_path) == ["a.7z"]
    (packed,) = reports("pack", path)
    assert measured["stored_bytes"] == packed["stored_bytes"]


def test_for_psp(tmp_path: Path) -> None:
    image = (DATA / "psp.iso").read_bytes()
    path = archive(tmp_path / "a.zip", "zip", {"Locoroco.iso": image})
    zsofs("pack", "--for", "psp", path)
    assert image_of(tmp_path / "Locoroco.cso") == image


def test_any(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "zip", {"Homebrew.iso": NOISE, "x.dat": NOISE})
    done = zsofs("pack", path, code=8)
    assert "its content is not recognized as a disc image; if it is one, use --any" in done.stderr
    assert names(tmp_path) == ["a.zip"]
    zsofs("pack", "--any", path)
    assert image_of(tmp_path / "Homebrew.zso") == NOISE


def test_an_image_that_begins_with_text(tmp_path: Path) -> None:
    """Only the first bytes are known before it is packed."""
    image = b"text\n" * (300 << 10) + NOISE
    path = archive(tmp_path / "a.zip", "zip", {"Homebrew.iso": image})
    zsofs("pack", "--any", path)
    assert image_of(tmp_path / "Homebrew.zso") == image


def test_a_disc_is_no_archive(tmp_path: Path) -> None:
    """The system area of a disc may have anything."""
    image = b"PK\3\4" + IMAGE[4:]
    (tmp_path / "Okami.iso").write_bytes(image)
    zsofs("pack", tmp_path / "Okami.iso")
    assert image_of(tmp_path / "Okami.zso") == image
    with tarfile.open(tmp_path / "aligned.tar", "w", format=tarfile.GNU_FORMAT) as file:
        for number in range(3):  # so that the disc begins at a sector of the tar
            file.addfile(tarfile.TarInfo(f"empty {number}"))
        (tmp_path / "In tar.iso").write_bytes(SMALL)
        file.add(tmp_path / "In tar.iso", "In tar.iso")
    zsofs("pack", "--force", tmp_path / "aligned.tar")
    assert image_of(tmp_path / "In tar.zso") == SMALL


def test_without_libarchive(tmp_path: Path) -> None:
    """Everything else works; the message says what to install."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libarchive.so.13").write_bytes(b"")
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "lib")}
    path = archive(tmp_path / "a.7z", "7z", {"Okami.iso": SMALL})
    done = zsofs("pack", path, code=8, env=env)
    assert done.stderr.startswith(f"zsofs: {path}: reading it needs libarchive (libarchive.so.13)")
    assert "apt install libarchive13" in done.stderr
    zsofs("pack", compressed(tmp_path, "Ico.iso", "gz", SMALL), env=env)
    assert names(tmp_path) == ["Ico.iso.gz", "Ico.zso", "a.7z", "lib"]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("x" * 252 + ".iso", SMALL)
        file.writestr("Good.iso", SMALL)
    first, second = reports("pack", tmp_path / "a.zip", code=8)
    assert "File name too long" in first["error"]
    assert second["state"] == "packed"
    assert left_in(tmp_path) == []


def test_many_files_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for number in range(100_001):
            file.writestr(f"{number}", b"")
    done = zsofs("pack", tmp_path / "a.zip", code=8)
    assert "it has more than 100000 files" in done.stderr


def _patched_7z(path: Path, old: bytes, new: bytes) -> None:
    """Change the header of a 7z, and its checksums."""
    data = bytearray(path.read_bytes())
    offset, length = struct.unpack_from("<QQ", data, 12)
    begin = 32 + offset
    header = bytes(data[begin : begin + length])
    assert header.count(old) == 1
    header = header.replace(old, new)
    data[begin : begin + length] = header
    data[28:32] = struct.pack("<I", zlib.crc32(header))
    data[8:12] = struct.pack("<I", zlib.crc32(data[12:32]))
    path.write_bytes(data)


def test_a_dictionary_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "Okami.iso").write_bytes(SMALL)
    run("7z", "a", "-bd", "-mhc=off", "-m0=lzma2:d=16m", "a.7z", "Okami.iso", cwd=tmp_path)
    path = tmp_path / "a.7z"
    begin = b"\x21\x21\x01"
    bits = path.read_bytes().partition(begin)[2][0]
    _patched_7z(path, begin + bytes([bits]), begin + bytes([38]))
    done = zsofs("pack", "--force", path, code=8)
    assert "its dictionary of 2048 MiB is larger than the 1536 MiB" in done.stderr
    _patched_7z(path, begin + bytes([38]), begin + bytes([37]))
    zsofs("pack", "--force", path)  # 1.5 GiB, of which only what is used takes memory
    assert image_of(tmp_path / "Okami.zso") == SMALL


def test_what_leads_out_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as file:
        for name in ("../Up.iso", "/tmp/Absolute.iso", "sub/../../Up.iso", "..", "Good.iso"):
            info = tarfile.TarInfo(name)
            info.size = len(SMALL)
            (tmp_path / "image").write_bytes(SMALL)
            with (tmp_path / "image").open("rb") as content:
                file.addfile(info, content)
        for kind, name in ((tarfile.SYMTYPE, "link.iso"), (tarfile.LNKTYPE, "hard.iso")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    (tmp_path / "image").unlink()
    found = reports("pack", tmp_path / "in" / "a.tar", code=8)
    assert [report["state"] for report in found] == ["failed"] * 4 + ["packed"]
    for report in found[:3]:
        assert report["error"] == "its name leads out of the archive; extract it first"
    assert "link.iso (it is a link or a special file, not a file)" in found[-1]["remarks"][-1]
    assert names(tmp_path) == ["in"]
    assert names(tmp_path / "in") == ["Good.zso", "a.tar"]


def test_bombs(tmp_path: Path) -> None:
    """What claims or gives more than any disc ends with a sentence."""
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("Okami.iso")
        info.size = 1 << 40
        file.fileobj.write(info.tobuf())
    done = zsofs("pack", tmp_path / "a.tar", code=8)
    assert "one of its files claims to have 1099511627776 bytes, more than any disc" in done.stderr


def test_pipes_and_their_order_are_followed_from_random_chunks(tmp_path: Path) -> None:
    """Blocks of 1 MiB, more threads than cores: each chunk waits for its turn."""
    image = writers.described(random.Random(9).randbytes(9 << 20))
    path = compressed(tmp_path, "Okami.iso", "gz", image)
    zsofs("pack", "--block-size", "1M", "--level", "1", path)
    assert image_of(tmp_path / "Okami.zso") == image
