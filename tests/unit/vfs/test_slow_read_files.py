"""Which file of a disc is at an offset, against what isoinfo says of the sample discs."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import DATA
from zsofs.vfs.slow_read_files import files_by_offset

SECTOR = 2048


def listed(path: Path) -> dict[str, tuple[int, int]]:
    """The first byte of each file, and its size, by path, as isoinfo lists them."""
    done = subprocess.run(
        ["isoinfo", "-l", "-i", path], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, tuple[int, int]] = {}
    folder = ""
    for line in done.splitlines():
        if line.startswith("Directory listing of "):
            folder = line.removeprefix("Directory listing of ")
        elif match := re.match(r"-\S+ +\d+ +\d+ +\d+ +(\d+) .*\[ *(\d+) \d+\] +(.*?);1 $", line):
            found[folder + match[3]] = int(match[2]) * SECTOR, int(match[1])
    return found


@pytest.mark.parametrize("name", ["ps2.iso", "psp.iso"])
def test_every_sector_of_every_file(name: str) -> None:
    image = (DATA / name).read_bytes()
    wanted = {
        offset: path
        for path, (begin, size) in listed(DATA / name).items()
        for offset in range(begin, begin + size, SECTOR)
    }
    assert len(set(wanted.values())) > 3
    offsets = sorted({*wanted, 0})
    found = files_by_offset(lambda offset, size: image[offset : offset + size], len(image), offsets)
    assert found == wanted
    assert (
        files_by_offset(lambda offset, size: image[offset : offset + size], len(image), [0]) == {}
    )


def test_what_is_no_disc_has_no_files() -> None:
    assert files_by_offset(lambda offset, size: bytes(size), 1 << 20, [0, 4096]) == {}
    assert files_by_offset(lambda offset, size: b"", 0, [0]) == {}
