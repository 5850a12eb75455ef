"""The seal of a ZSOZ file: what it says, and that damage to it or to the header is noticed."""

import hashlib
import json
import os
import struct
import zlib
from pathlib import Path

import pytest

from tests.support import writers
from zsofs.errors import DamagedError
from zsofs.formats import seal
from zsofs.formats.containers import identify
from zsofs.images.source_file import OpenSource

IMAGE = bytes(range(256)) * 40 + b"the end"


def sealed(image: bytes = IMAGE, **changed: object) -> bytes:
    """A ZSOZ file with a seal that is made here, by the document, with some values *changed*."""
    plain = writers.zsoz(image)
    count = -(-len(image) // 2048)
    said = {
        "zsofs": "0.1.0",
        "header": plain[:24].hex(),
        "index_crc32": f"{zlib.crc32(plain[24 : 28 + 4 * count]):08x}",
        "size": len(image),
        "crc32": f"{zlib.crc32(image):08x}",
        "md5": hashlib.md5(image).hexdigest(),
        "sha1": hashlib.sha1(image).hexdigest(),
    } | changed
    text = json.dumps({key: value for key, value in said.items() if value is not None}).encode()
    return plain + struct.pack("<II", 0x184D2A5A, len(text)) + text


def opened(path: Path, data: bytes) -> OpenSource:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    return OpenSource(fd, len(data), 0, 0, 0)


def remarks_of(path: Path, data: bytes) -> tuple[str, ...]:
    source = opened(path, data)
    try:
        geometry = identify(source)
    finally:
        source.close()
    assert geometry is not None
    return geometry.remarks


def test_it_comes_back_as_it_was_written() -> None:
    made = seal.Seal("1.2", bytes(8) + struct.pack("<Q", 77) + bytes(8), "0a" * 4, 77, "12" * 4,
                     "ab" * 16, "cd" * 20)  # fmt: skip
    assert seal.parse(made.to_bytes()) == made
    assert seal.parse(made.to_bytes() + b"whatever follows") == made
    assert len(made.to_bytes()) < 512


def test_other_bytes_are_no_seal() -> None:
    for data in (b"", b"\0" * 100, writers.SKIPPABLE, b"\x5a\x2a\x4d\x19" + bytes(50)):
        assert seal.parse(data) is None


@pytest.mark.parametrize("changed", [
    {"sha1": None}, {"sha1": "AB" * 20}, {"md5": "ab" * 15}, {"crc32": 7}, {"zsofs": 1},
    {"size": len(IMAGE) + 1}, {"size": float(len(IMAGE))}, {"header": "zz" * 24},
    {"index_crc32": "0" * 9}, {"more": "x" * 5000},
])  # fmt: skip
def test_a_broken_one_is_remarked_and_the_image_stays(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    (remark,) = remarks_of(tmp_path / "a.zso", sealed(IMAGE, **changed))
    assert "the seal is damaged" in remark
    assert "the image can be read" in remark


def test_a_key_of_a_later_version_does_no_harm(tmp_path: Path) -> None:
    assert remarks_of(tmp_path / "a.zso", sealed(IMAGE, later="something")) == ()


def test_wherever_it_is_cut_it_says_so(tmp_path: Path) -> None:
    whole = sealed()
    start = len(writers.zsoz(IMAGE))
    assert remarks_of(tmp_path / "none.zso", whole[:start]) == ()
    for end in range(start + 1, len(whole)):
        (remark,) = remarks_of(tmp_path / "cut.zso", whole[:end])
        assert "the file is truncated" in remark, end


def test_a_header_that_is_not_the_one_sealed_is_refused(tmp_path: Path) -> None:
    whole = bytearray(sealed())
    for at in range(4, 24):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            source = opened(tmp_path / "flipped.zso", bytes(flipped))
            with pytest.raises(DamagedError):
                identify(source)
            source.close()


def test_a_shorter_index_than_the_file_has_is_noticed_without_a_seal(tmp_path: Path) -> None:
    """One that hides behind alignment: the first block begins where it would anyway."""
    whole = bytearray(writers.zsoz(os.urandom(20 * 2048), shift=8))
    struct.pack_into("<Q", whole, 8, 17 * 2048)
    with pytest.raises(DamagedError, match="there is data for a block after the last one"):
        remarks_of(tmp_path / "short.zso", bytes(whole))
