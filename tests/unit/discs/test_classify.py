"""What content is by its bytes: a table of discs, of other files, and of what cannot be told."""

import gzip
import io
import os
import random
import shutil
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import writers
from tests.support.mounting import DATA
from tests.unit.discs.test_identify import PS2_IMAGE, raw
from zsofs.discs.classify import Classification, ContentKind, classify, looks_like_disc

NOISE = random.Random(1).randbytes(700_000)


def classified(data: bytes) -> Classification:
    """What *data* is; reads have to lie within it, and to be short."""
    reads = []

    def read(offset: int, size: int) -> bytes:
        assert 0 <= offset < len(data)
        assert 0 < size <= len(data) - offset
        assert size <= 32768
        reads.append((offset, size))
        return data[offset : offset + size]

    content = classify(read, len(data))
    assert len(reads) <= 16
    return content


def at(offset: int, mark: bytes, size: int = 700_000) -> bytes:
    """Noise with a mark in it."""
    return NOISE[:offset] + mark + NOISE[offset + len(mark) : size]


def tagged(identifier: int, sector: int) -> bytes:
    """The descriptor tag of UDF, with its checksum."""
    tag = bytearray(struct.pack("<HH", identifier, 2) + bytes(8) + struct.pack("<I", sector))
    tag[4] = sum(tag) & 0xFF
    return bytes(tag)


DISCS = {
    "an ISO 9660 image of the PS2": PS2_IMAGE,
    "of the PSP": (DATA / "psp.iso").read_bytes(),
    "with an MBR in its system area": b"\x33\xed" + bytes(508) + b"\x55\xaa" + PS2_IMAGE[512:],
    "with an ELF in its system area": b"\x7fELF" + PS2_IMAGE[4:],
    "with text in its system area": b"text" * 1024 + PS2_IMAGE[4096:],
    "cut within its first directory": PS2_IMAGE[: 20 * 2048],
    "raw, mode 1": raw(PS2_IMAGE, 1),
    "raw, mode 2": raw(PS2_IMAGE, 2),
    "raw with subchannels": b"".join(
        raw(PS2_IMAGE, 2)[n : n + 2352] + bytes(96) for n in range(0, 2352 * 50, 2352)
    ),
    "sectors of 2336 bytes": at(16 * 2336 + 8, b"\x01CD001"),
    "behind a pregap": at(166 * 2048, b"\x01CD001"),
    "El Torito alone": at(17 * 2048, b"\0CD001\x01EL TORITO SPECIFICATION"),
    "High Sierra": at(16 * 2048 + 9, b"CDROM\x01"),
    "CD-i": at(16 * 2048, b"\x01CD-I \x01"),
    "UDF without ISO 9660": at(16 * 2048, b"\0BEA01\x01"),
    "UDF by its anchor": at(256 * 2048, tagged(2, 256)),
    "GameCube": at(0, b"GALE01".ljust(0x1C, b"\0") + b"\xc2\x33\x9f\x3d"),
    "Wii": at(0, b"RSPE01".ljust(0x18, b"\0") + b"\x5d\x1c\x9e\xa3"),
    "Xbox": at(0x10000, b"MICROSOFT*XBOX*MEDIA"),
    "Saturn": at(0, b"SEGA SEGASATURN SEGA"),
    "Dreamcast": at(0, b"SEGA SEGAKATANA SEGA"),
    "Mega-CD": at(0, b"SEGADISCSYSTEM  "),
    "3DO": at(0, b"\x01ZZZZZ\x01\0"),
    "PC Engine": at(0x820, b"PC Engine CD-ROM SYSTEM"),
    "PC-FX": at(0, b"PC-FX:Hu_CD-ROM "),
    "Apple partition map": at(0, b"ER\x02\0".ljust(512, b"\0") + b"PM\0\0"),
    "HFS": at(1024, b"BD".ljust(18, b"\0") + struct.pack(">HI", 900, 512)),
    "HFS+": at(1024, b"H+\0\x04"),
}


def tar_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("Game.iso")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def zip_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("Game.iso", data)
    return out.getvalue()


OTHERS = {
    "an empty file": b"",
    "a JPEG picture": b"\xff\xd8\xff\xe0\0\x10JFIF" + NOISE[:5000],
    "a PNG picture": (Path(__file__).parents[3] / "docs" / "performance.png").read_bytes(),
    "a GIF picture": b"GIF89a" + NOISE[:5000],
    "a BMP picture": b"BM" + struct.pack("<IIII", 9000, 0, 54, 40) + NOISE[:9000],
    "a WebP picture": b"RIFF\0\0\1\0WEBPVP8 " + NOISE[:5000],
    "a WAV audio file": b"RIFF\0\0\1\0WAVEfmt " + NOISE[:5000],
    "an MP3 file": b"ID3\x03" + NOISE[:5000],
    "a PDF document": b"%PDF-1.4\n" + NOISE[:5000],
    "a CHD": b"MComprHD" + NOISE[:5000],
    "a ZIP archive": zip_of(PS2_IMAGE),
    "a tar archive": tar_of(PS2_IMAGE),
    "a gzip file": gzip.compress(PS2_IMAGE),
    "a RAR archive": b"Rar!\x1a\x07\x01\0" + NOISE[:5000],
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\x04" + NOISE[:5000],
    "a ZSO": writers.ziso_py(PS2_IMAGE),
    "a CSO": writers.maxcso_cso1(PS2_IMAGE),
    "a DAX": writers.dax(PS2_IMAGE),
    "a PS2 memory card": b"Sony PS2 Memory Card Format 1.2.0.0" + bytes(70_000),
    "a PS1 memory card": b"MC".ljust(127, b"\0") + b"\x0e" + bytes(131072 - 128),
    "an ELF program": b"\x7fELF" + NOISE[:5000],
    "a Windows or DOS program": b"MZ".ljust(60, b"\0") + b"\x40\0\0\0PE\0\0" + NOISE[:5000],
    "an SQLite database": b"SQLite format 3\0" + NOISE[:5000],
    "a cue sheet": b'\xef\xbb\xbfREM made\r\nFILE "Game.bin" BINARY\r\n  TRACK 01 MODE2/2352\r\n',
    "a GDI file": b"3\n1 0 4 2352 track01.bin 0\n",
    "a CloneCD control file": b"[CloneCD]\r\nVersion=3\r\n",
    "an HTML page": b"\n <!DOCTYPE html>\n<html><body>404</body></html>",
    "an XML file": b"<?xml version='1.0'?>\n<datafile/>\n",
    "a text file": b"notes\n",
    "a text file in Latin-1": "gr\u00fc\u00dfe und mehr\n".encode("latin1"),
    "a text file in UTF-16": "notes of mine\n".encode("utf-16"),
    "a text file of some length": "The quick brown fox, \u00fcber alles.\n".encode() * 3000,
}


@pytest.mark.parametrize("name", DISCS)
def test_discs(name: str) -> None:
    content = classified(DISCS[name])
    assert content.kind is ContentKind.DISC, content
    assert content.name
    assert content.remark == ""


@pytest.mark.parametrize("name", OTHERS)
def test_other_files(name: str) -> None:
    content = classified(OTHERS[name])
    assert content.kind is ContentKind.OTHER, content
    assert name.startswith(content.name)
    assert content.refusal.startswith(f"it is {content.name}, not a disc image")
    assert content.remark == f"its content is {content.name}, not a disc image"


@pytest.mark.parametrize(
    "data",
    [
        NOISE,
        NOISE[:5000],
        bytes(100_000),
        b"a text\n" * 1000 + NOISE[:50_000],
        b"a text\n" * 1000 + bytes(1000),
        at(256 * 2048, tagged(2, 256)[:15] + b"\xff"),
        b"MZ" + NOISE[:5000],
        b"BM" + NOISE[:5000],
    ],
)
def test_what_cannot_be_told(data: bytes) -> None:
    content = classified(data)
    assert content == Classification(ContentKind.UNKNOWN)
    assert content.refusal == content.remark == "its content is not recognized as a disc image"


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="needs genisoimage")
@pytest.mark.parametrize("words", [(), ("-udf",), ("-hfs",), ("-J", "-R")])
def test_what_genisoimage_makes(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "A.TXT").write_text("a")
    command = ["genisoimage", "-quiet", *words, "-o", str(tmp_path / "a.iso"), str(tmp_path / "in")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert classified((tmp_path / "a.iso").read_bytes()).kind is ContentKind.DISC


@given(
    st.binary(max_size=300)
    | st.integers(0, 2**32).map(lambda n: random.Random(n).randbytes(70_000))
)
@example(b"\xff\xfe")
@example(b"MZ" + b"\xff" * 70)
@example(b"BD")
@example(b"\x1f\x8b")
def test_hostile_content_raises_nothing(data: bytes) -> None:
    content = classified(data)
    assert content.kind is not ContentKind.DISC
    assert bool(content.name) == (content.kind is ContentKind.OTHER)


def test_errors_of_reading_are_passed_on() -> None:
    def read(offset: int, size: int) -> bytes:
        raise OSError(5, os.strerror(5))

    with pytest.raises(OSError, match="Input/output"):
        classify(read, 100)


MARKED = {
    "a ZSO": (b"ZISO" + bytes(20), True),
    "a broken ZSO": (b"ZISO", True),
    "a ZSOZ": (b"ZSOZ" + bytes(99), True),
    "a CSO": (b"CISO" + bytes(99), True),
    "a DAX": (b"DAX\0" + bytes(99), True),
    "a raw CD": (raw(PS2_IMAGE, 2), True),
    "the sync of a raw CD alone": (b"\0" + b"\xff" * 10 + b"\0", True),
    "an ISO 9660 image": (PS2_IMAGE, True),
    "one that is cut behind its mark": (PS2_IMAGE[:32774], True),
    "one that is cut in its mark": (PS2_IMAGE[:32773], False),
    "an empty file": (b"", False),
    "one byte": (b"Z", False),
    "a memory card": (b"Sony PS2 Memory Card Format " + bytes(65536), False),
    "noise": (NOISE, False),
}


@pytest.mark.parametrize("what", MARKED)
def test_the_marks_of_a_disc_alone(tmp_path: Path, what: str) -> None:
    data, is_disc = MARKED[what]
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert looks_like_disc(fd) is is_disc
    finally:
        os.close(fd)
