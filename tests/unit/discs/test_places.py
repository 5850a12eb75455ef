"""Which file of a disc lies at a place of its image."""

import random
import resource
import struct
import subprocess
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import writers
from tests.support.mounting import DATA, ZSOFS
from tests.unit.discs.test_disc import made, raw
from zsofs.discs.file_map import FileMap, files_at
from zsofs.errors import BlockError

SECTOR = 2048
FIRST = 18
"""The sector of the root directory in images that :func:`disc` makes."""

FILES = {
    "/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\n",
    "/DATA/ONE.BIN": b"1" * 5000,
    "/DATA/DEEP/TWO.BIN": b"2" * 10_000,
    "/EMPTY.BIN": b"",
}


def places(image: bytes, *, raw_cd: bool = False) -> dict[str, list[int]]:
    """The sectors of each file, as they are found one by one."""
    found: dict[str, list[int]] = {}
    step = 2352 if raw_cd else SECTOR
    for begin in range(0, len(image), step):
        names = files_at(
            lambda at, n: image[at : at + n], len(image), begin, begin + step, raw_cd=raw_cd
        ).files
        for name in names:
            found.setdefault(name, []).append(begin // step)
    return found


def check_contents(image: bytes, found: dict[str, list[int]]) -> None:
    for path, content in FILES.items():
        sectors = found.get(path, [])
        assert len(sectors) == -(-len(content) // SECTOR)
        if sectors:
            assert sectors == list(range(sectors[0], sectors[0] + len(sectors)))
            assert image[sectors[0] * SECTOR :].startswith(content)


def test_every_sector_of_a_disc() -> None:
    image = made(FILES)
    found = places(image)
    check_contents(image, found)
    assert {"/", "/DATA/", "/DATA/DEEP/"} <= set(found)
    assert 0 not in {sector for sectors in found.values() for sector in sectors}


@pytest.mark.parametrize("mode", [1, 2])
def test_raw_sectors(mode: int) -> None:
    assert places(raw(made(FILES), mode), raw_cd=True) == places(made(FILES))


def test_a_part_that_several_files_share() -> None:
    image = made(FILES)
    named = files_at(
        lambda at, n: image[at : at + n], len(image), 0, len(image), raw_cd=False
    ).files
    assert set(named) >= {path for path, content in FILES.items() if content}


def test_the_second_layer_of_a_dvd9() -> None:
    """It is a volume of its own, which counts from sixteen sectors before the first one's end."""
    first, second = bytearray(made({"/FIRST.BIN": b"1" * 9000})), made({"/SECOND.BIN": b"2" * 9000})
    layer = len(first) // SECTOR
    struct.pack_into("<I", first, 16 * SECTOR + 80, layer)
    image = bytes(first) + second[16 * SECTOR :]
    found = places(image)
    assert image[found["/FIRST.BIN"][0] * SECTOR :].startswith(b"1" * 9000)
    assert image[found["/SECOND.BIN"][0] * SECTOR :].startswith(b"2" * 9000)
    assert found["/SECOND.BIN"][0] >= layer


def test_a_damaged_folder_costs_what_is_in_it_alone() -> None:
    image = made(FILES)
    deep = places(image)["/DATA/DEEP/"][0]

    def read(offset: int, size: int) -> bytes:
        if offset <= deep * SECTOR < offset + size:
            raise BlockError(deep, 0, "damaged")
        return image[offset : offset + size]

    at = image.index(b"1" * 5000)
    assert files_at(read, len(image), at, at + 1, raw_cd=False).files == ("/DATA/ONE.BIN",)
    at = image.index(b"2" * 10_000)
    assert files_at(read, len(image), at, at + 1, raw_cd=False).files == ()
    at = deep * SECTOR
    damaged = files_at(read, len(image), at, at + 1, raw_cd=False)
    assert damaged == FileMap(("/DATA/DEEP/",), "its directories are damaged")


def test_a_tree_that_leads_round_in_a_circle_has_an_end() -> None:
    image = bytearray(made(FILES))
    found = places(bytes(image))
    root, deep = found["/"][0], found["/DATA/DEEP/"][0]
    data = image[found["/DATA/"][0] * SECTOR :][:SECTOR]
    at = found["/DATA/"][0] * SECTOR + data.index(b"DEEP") - 33
    assert struct.unpack_from("<I", image, at + 2) == (deep,)
    struct.pack_into("<I", image, at + 2, root)
    assert "/DATA/ONE.BIN" in places(bytes(image))


@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_nothing_that_is_in_an_image_raises(noise: bytes, seed: int) -> None:
    image = bytearray((DATA / "ps2.iso").read_bytes()[: 40 * SECTOR])
    source = random.Random(seed)
    for byte in noise:
        image[source.randrange(16 * SECTOR, 25 * SECTOR)] = byte
    data = bytes(image)
    files_at(lambda at, n: data[at : at + n], len(data), 0, len(data), raw_cd=False)


def record(name: bytes, sector: int, size: int, *, folder: bool) -> bytes:
    """A directory record as ISO 9660 has it."""
    length = 33 + len(name) + (len(name) + 1) % 2
    fixed = struct.pack("<BBI4xI4x7xBBB2x2xB", length, 0, sector, size, 2 * folder, 0, 0, len(name))
    return (fixed + name).ljust(length, b"\0")


def disc(directories: list[bytes]) -> bytes:
    """An image with these directories, one after another; the first is the root."""
    descriptor = bytearray(SECTOR)
    descriptor[:7] = b"\x01CD001\x01"
    root = record(b"\0", FIRST, len(directories[0]), folder=True)
    descriptor[156 : 156 + len(root)] = root
    body = b"".join(one + bytes(-len(one) % SECTOR) for one in directories)
    head = bytes(16 * SECTOR) + descriptor + b"\xffCD001\x01".ljust(SECTOR, b"\0")
    return head + body + bytes(SECTOR)


def all_of(image: bytes, *, at: int = 0) -> FileMap:
    """What lies from the offset *at* to the end."""
    return files_at(
        lambda offset, size: image[offset : offset + size], len(image), at, len(image), raw_cd=False
    )


def chain(depth: int, name: bytes) -> bytes:
    """Directories within each other, and one file in the last one."""
    end = FIRST + depth
    below = [record(name, FIRST + 1 + number, SECTOR, folder=True) for number in range(depth - 1)]
    return disc([*below, record(b"LAST.BIN", end, 100, folder=False)])


def filled(count: int, first: int) -> bytes:
    """A directory with so many files, all of them in one sector."""
    per_sector = SECTOR // len(record(b"00000000", 0, 0, folder=False))
    return b"".join(
        b"".join(
            record(b"%08X" % number, first, 10, folder=False)
            for number in range(at, min(at + per_sector, count))
        ).ljust(SECTOR, b"\0")
        for at in range(0, count, per_sector)
    )


def test_as_many_levels_as_anybody_needs_are_walked() -> None:
    found = all_of(chain(64, b"D"))
    assert found.incomplete == ""
    assert found.files[-1] == "/" + "D/" * 63 + "LAST.BIN"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (chain(65, b"D"), "it has more than 64 levels of directories"),
        (chain(20, b"\xff" * 220), "one of its paths has more than 1024 characters"),
        (chain(2000, b"D"), "it has more than 64 levels of directories"),
        (disc([filled(900, 5)]), ""),
        (disc([filled(25_000, 5)]), "one of its directories has more than 1 MiB"),
    ],
)
def test_a_map_says_that_it_is_incomplete(image: bytes, why: str) -> None:
    assert all_of(image).incomplete == why


def test_the_number_of_files_that_are_named_is_bounded() -> None:
    image = disc([filled(3_000, 400)])
    found = files_at(
        lambda at, size: image[at : at + size], 1 << 30, 400 * SECTOR, 401 * SECTOR, raw_cd=False
    )
    assert len(found.files) == 1000
    assert found.incomplete == "more than 1000 files have data there"


def directory_of_directories(count: int, size: int) -> bytes:
    """An image whose root has so many directories, which all claim *size* bytes."""
    length = len(record(b"0000", 0, 0, folder=True))
    per_sector = SECTOR // length
    taken = -(-count // per_sector)
    root = b""
    for at in range(0, count, per_sector):
        sector = b"".join(
            record(b"%04x" % number, FIRST + taken + number, size, folder=True)
            for number in range(at, min(at + per_sector, count))
        )
        root += sector.ljust(SECTOR, b"\0")
    return disc([root])


@pytest.mark.parametrize(
    ("count", "size", "why"),
    [
        (5000, SECTOR, "it has more than 4096 directories"),
        (1000, 1 << 20, "its directories have more than 32 MiB"),
    ],
)
def test_directories_that_claim_too_much_are_not_all_read(count: int, size: int, why: str) -> None:
    """Although each of them overlaps the next one, so that the image is small."""
    image = directory_of_directories(count, size)
    taken = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal taken
        taken += length
        return image[offset : offset + length].ljust(length, b"\0")

    assert files_at(read, 1 << 32, 0, 1, raw_cd=False).incomplete == why
    assert taken < 40 << 20


def test_a_failing_disk_is_not_asked_for_each_sector_of_a_large_directory() -> None:
    image = directory_of_directories(1000, 1 << 20)
    asked = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal asked
        if offset >= (FIRST + 20) * SECTOR:
            asked += 1
            raise OSError(5, "Input/output error")
        return image[offset : offset + length]

    found = files_at(read, 1 << 32, 0, 1, raw_cd=False)
    assert found.incomplete == "its directories are damaged"
    assert asked < 400


def test_a_hostile_tree_costs_verify_no_memory(tmp_path: Path) -> None:
    """600 directories with long names within each other, and 27,000 files in the last one."""
    name = b"\xff" * 220
    below = [record(name, FIRST + 1 + number, SECTOR, folder=True) for number in range(599)]
    below.append(record(name, FIRST + 600, 512 * SECTOR, folder=True))
    image = disc([*below, filled(27_000, FIRST + 1200)]) + random.Random(3).randbytes(900 * SECTOR)
    path = tmp_path / "deep.zso"
    packed = bytearray(writers.zsoz(image))
    packed[struct.unpack_from("<I", packed, 24 + 4 * (FIRST + 1200))[0] + 100] ^= 0xFF
    path.write_bytes(packed)
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (4 << 30, 4 << 30))
    done = subprocess.run(
        [*ZSOFS, "verify", "--no-cache", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=limit,
    )
    assert done.returncode == 9, done.stderr
    assert "file map incomplete: one of its paths has more than 1024 characters" in done.stdout
    assert "Traceback" not in done.stderr
