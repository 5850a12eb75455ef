"""Maps of CHDs in memory: bounded however many there are, and whatever their headers say."""

import binascii
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cd_library import ROOT
from tests.support.chd_reference import crc16
from tests.support.mounting import DATA
from zsofs.errors import InputError, SourceChangedError
from zsofs.images.input_image import original
from zsofs.native.block_reader import ASK, NO_NOWAIT, WOULD_WAIT
from zsofs.native.chd_map import drop_idle_maps, loaded_bytes

_HUNK = 16
_MOST = 16 << 20
_SAME_SELF, _PLAIN, _LONG_REPEAT = 9, 4, 8


def chd_of_one_hunk(count: int, content: bytes) -> bytes:
    """A small CHD with a large map: all hunks but the first refer to it."""
    # Each type has a code of 4 bits, its own number. A repeat of 274 is written as 8, 15, 15.
    types = [_PLAIN, _SAME_SELF]
    left = count - 2
    types += [_LONG_REPEAT, 15, 15] * (left // 274) + [_SAME_SELF] * (left % 274)
    digits = "4" * 16 + "".join(f"{symbol:x}" for symbol in types) + f"{crc16(content):04x}"
    stream = bytes.fromhex(digits + "0" * (len(digits) % 2))
    first = bytes([_PLAIN]) + _HUNK.to_bytes(3, "big") + (124).to_bytes(6, "big")
    first += crc16(content).to_bytes(2, "big")
    expanded = binascii.crc_hqx(first, 0xFFFF)
    expanded = binascii.crc_hqx(bytes([5, *bytes(11)]) * (count - 1), expanded)
    return header(count, map_at=124 + _HUNK) + content + map_header(len(stream), expanded) + stream


def header(count: int, *, map_at: int) -> bytes:
    return (
        b"MComprHD"
        + (124).to_bytes(4, "big")
        + (5).to_bytes(4, "big")
        + b"zlib"
        + bytes(12)
        + (count * _HUNK).to_bytes(8, "big")
        + map_at.to_bytes(8, "big")
        + bytes(8)
        + _HUNK.to_bytes(4, "big")
        + _HUNK.to_bytes(4, "big")
        + bytes(60)
    )


def map_header(size: int, crc: int) -> bytes:
    return size.to_bytes(4, "big") + (124).to_bytes(6, "big") + crc.to_bytes(2, "big") + bytes(4)


def test_all_maps_together_stay_small(tmp_path: Path) -> None:
    """Those of open files are dropped, too, and made again by the next read."""
    content, count = bytes(range(_HUNK)), 1 << 21
    data = chd_of_one_hunk(count, content)
    for number in range(66):
        (tmp_path / f"{number}.chd").write_bytes(data)
    time.sleep(0.05)  # then a file is opened with one pass over its map
    drop_idle_maps()
    with ExitStack() as stack:
        images = []
        for number in range(66):
            images.append(stack.enter_context(original(str(tmp_path / f"{number}.chd"))))
            assert 0 < loaded_bytes() <= _MOST
        reader = images[0].reader
        assert reader is not None
        assert reader.chd_map is not None
        assert 66 * reader.chd_map.memory > _MOST
        drop_idle_maps()
        assert loaded_bytes() == 0
        out = bytearray(_HUNK)
        fd = images[0].source.fd
        assert reader.read(fd, count - 1, 1, out, ASK) == WOULD_WAIT  # not on the event loop
        assert reader.read(fd, count - 1, 1, out) == _HUNK
        assert out == content
        assert loaded_bytes() == reader.chd_map.memory
        assert reader.read(fd, 0, 1, out, ASK) in (_HUNK, NO_NOWAIT)
    del images, reader


def test_a_map_that_is_made_again_must_be_the_same(tmp_path: Path) -> None:
    content = bytes(range(_HUNK))
    path = tmp_path / "disc.chd"
    path.write_bytes(chd_of_one_hunk(5000, content))
    with original(str(path)) as image:
        assert image.read(_HUNK * 4000, _HUNK) == content
        drop_idle_maps()
        before = path.stat()
        path.write_bytes(chd_of_one_hunk(5000, content)[:-2] + b"\1\1")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises((SourceChangedError, InputError)):
            image.read(_HUNK * 4000, _HUNK)


_PEAK = """
import sys
from zsofs.errors import InputError
from zsofs.images.input_image import original
try:
    with original(sys.argv[1]):
        print("opened")
except InputError as error:
    print(error)
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("VmHWM")))
"""


def test_a_hostile_map_needs_no_memory(tmp_path: Path) -> None:
    """256 MiB of map in a file that takes 4 KiB of the disk: all types 0, all checksums 0."""
    path = tmp_path / "hostile.chd"
    count, size = 1 << 22, 256 << 20
    peaks = []
    for stream_size in (64 << 10, size):
        with path.open("wb") as file:
            file.write(header(count, map_at=124) + map_header(stream_size, 0x1234))
            file.write(bytes([0x44] * 8))
            file.truncate(140 + stream_size)
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        why, peak = done.stdout.splitlines()
        assert why == (
            "its map ends before the last hunk"
            if stream_size < size
            else "its map is damaged: the CRC-16 does not match"
        )
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 8 << 10  # KiB


@pytest.mark.parametrize("name", ["dvd-default.chd", "cd-mixed.chd", "dvd-child.chd"])
def test_each_changed_byte_of_a_map_is_found(tmp_path: Path, name: str) -> None:
    """By its CRC-16, or because it is no map; unless no hunk needs that byte."""
    parent = DATA / "chd" / "dvd-default.chd"
    (tmp_path / parent.name).write_bytes(parent.read_bytes())
    data = (DATA / "chd" / name).read_bytes()
    with original(str(DATA / "chd" / name)) as image:
        whole = image.read(0, image.size)
    begin = int.from_bytes(data[40:48], "big")
    size = int.from_bytes(data[begin : begin + 4], "big")
    chance = random.Random(name)
    path = tmp_path / "changed.chd"
    reasons = []
    for at in range(begin + 4, begin + 16 + size):
        other = data[at] ^ 1 << chance.randrange(8)
        path.write_bytes(data[:at] + bytes([other]) + data[at + 1 :])
        try:
            with original(str(path)) as image:
                assert image.read(0, image.size) == whole
        except InputError as error:
            reasons.append(str(error))
    assert len(reasons) > size
    assert all("map" in reason for reason in reasons)
