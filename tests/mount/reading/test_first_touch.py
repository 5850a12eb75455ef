"""What the first listing of a disc costs: three short reads, in three places of the file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import DATA, ZSOFS, unmount, wait_until
from tests.support.packed import zsofs
from tests.support.rounds import rounds
from zsofs.formats.geometry import Codec
from zsofs.images.input_image import original

LISTED = """
import logging, os, sys
from zsofs.source.scan_cache import ScanCache
from zsofs.source.tree import SourceTree
from zsofs.source.scan import Scanner
from zsofs.source.scan_result import ScanHints
source = os.fsencode(sys.argv[1])
scanner = Scanner(SourceTree(source), ScanCache(None, source), identities=len(sys.argv) > 2)
for name, entry in scanner.survey(b"", [b""], ScanHints()).entries.items():
    assert entry.disc is not None, name
"""


def reads_of_discs(source: Path, *arguments: str) -> dict[str, list[tuple[int, int]]]:
    """Offset and length of each read of each `.zso` and `.cso` file while a folder is listed."""
    log = source.with_name("strace.log")
    command = ["strace", "-f", "-y", "-e", "trace=pread64,preadv,preadv2,read", "-o", str(log)]
    subprocess.run([*command, sys.executable, "-c", LISTED, str(source), *arguments], check=True)
    found: dict[str, list[tuple[int, int]]] = {}
    # pread64(fd<path>, bytes, length, offset) or preadv2(fd<path>, [vector], 1, offset, flags)
    endings = {"pread64": r", \d+, (\d+)\) += (\d+)$", "preadv2": r"\], 1, (\d+), \w+\) += (\d+)$"}
    for line in log.read_text(errors="replace").splitlines():
        match = re.search(r"(\w+)\(\d+<([^>]*\.(?:zso|cso|dax))>", line)
        if match:
            ending = re.search(endings[match[1]], line)
            assert ending, line
            reads = found.setdefault(os.path.basename(match[2]), [])
            reads.append((int(ending[1]), int(ending[2])))
    return found


def places(reads: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The reads as pieces of the file; what lies within 64 KiB of each other is one piece."""
    merged: list[tuple[int, int]] = []
    for begin, length in sorted(reads):
        if merged and begin <= merged[-1][1] + (64 << 10):
            merged[-1] = merged[-1][0], max(merged[-1][1], begin + length)
        else:
            merged.append((begin, begin + length))
    return merged


@pytest.fixture
def discs(source: Path) -> Path:
    """Discs of real writers, and one large enough that its index is megabytes long."""
    for path in (*DATA.glob("*.zso"), *DATA.glob("*.cso"), *DATA.glob("*.dax")):
        (source / path.name).write_bytes(path.read_bytes())
    image = bytes(32 << 10) + (DATA / "ps2.iso").read_bytes() + bytes(200 << 20)
    (source / "large.zso").write_bytes(writers.maxcso_zso(image, block_size=2048))
    return source


def test_a_listing_reads_three_short_pieces_of_each_disc(discs: Path) -> None:
    found = reads_of_discs(discs)
    assert len(found) == len(os.listdir(discs))
    for name, reads in found.items():
        assert len(places(reads)) <= 3, (name, reads)
        assert sum(length for _, length in reads) < 128 << 10, (name, reads)
        assert len(reads) <= 6, (name, reads)


@pytest.mark.parametrize("names", [[], ["identities"]], ids=["plain", "opl"])
def test_an_index_without_a_packed_block_is_not_read_whole(source: Path, names: list[str]) -> None:
    size = rounds(8, 63) << 30  # its index has 16 or 126 MiB, in a directory that may be in memory
    writers.sparse_ziso(source / "huge.zso", size, writer="maxcso")
    (reads,) = reads_of_discs(source, *names).values()
    assert len(reads) < 100
    assert sum(length for _, length in reads) < 1 << 20


def test_a_packed_block_is_found_far_behind_the_beginning(source: Path) -> None:
    """Of another codec than the one that is taken where there is none."""
    image = os.urandom(40 << 20) + bytes(60 << 20)
    (source / "Late.zso").write_bytes(writers.zstd_ziso(image))
    with original(str(source / "Late.zso")) as found:
        assert found.geometry is not None
        assert found.geometry.codecs == (Codec.ZSTD,)
        assert found.read(90 << 20, 4096) == bytes(4096)


def test_a_seal_is_one_piece_more(source: Path, tmp_path: Path) -> None:
    with (tmp_path / "Large.iso").open("wb") as large:
        large.write((DATA / "ps2.iso").read_bytes())
        large.truncate(large.tell() + (200 << 20))  # it takes no space
    zsofs("pack", "--block-size", "2K", tmp_path / "Large.iso", "-o", source / "Large.zso")
    for name, reads in reads_of_discs(source).items():
        assert len(places(reads)) <= 4, (name, reads)
        assert sum(length for _, length in reads) < 128 << 10, (name, reads)
        assert len(reads) <= 7, (name, reads)


def test_which_disc_it_is_takes_at_most_eight_reads_more(discs: Path) -> None:
    without = reads_of_discs(discs)
    for name, reads in reads_of_discs(discs, "identities").items():
        # A read of the plain image is one of the index and one of the blocks.
        assert len(reads) - len(without[name]) <= 2 * 8 + 3, (name, reads)


def test_walks_of_other_programs_are_clean(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    for number in range(40):
        folder = source / f"folder {number % 4}" / "below"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"Disc {number}.zso").write_bytes((DATA / "ziso-py.zso").read_bytes())
        (folder / f"cover {number}.jpg").write_bytes(bytes(number * 100))
    made = mount(source)
    for command in (
        ["find", str(made.path), "-ls"],
        ["du", "-s", str(made.path)],
        ["rsync", "-n", "-a", "-v", f"{made.path}/", str(tmp_path / "copy")],
        ["ls", "-lR", str(made.path)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
    copy = tmp_path / "copy"
    subprocess.run(["rsync", "-a", f"{made.path}/", str(copy)], check=True)
    again = ["rsync", "-n", "-a", "-i", f"{made.path}/", str(copy)]
    said = subprocess.run(again, capture_output=True, text=True, check=True)
    assert said.stdout == "", "nothing to do the second time"
    assert (copy / "folder 1" / "below" / "Disc 5.iso").read_bytes() == (
        DATA / "ps2.iso"
    ).read_bytes()
    # The copied directories are as read-only as those of the mount: pytest could not remove them.
    subprocess.run(["chmod", "-R", "u+w", copy], check=True)


def test_no_disc_is_opened_before_the_mount_exists(
    source: Path, tmp_path: Path, as_root: None
) -> None:
    """As root: with strace around it, fusermount3 gets no right to mount for another user."""
    (source / "Game.zso").write_bytes((DATA / "ziso-py.zso").read_bytes())
    log, point = tmp_path / "strace.log", tmp_path / "mnt"
    command = ["strace", "-f", "-e", "trace=open,openat,mount", "-o", str(log), *ZSOFS]
    daemon = subprocess.Popen([*command, "mount", "-f", str(source), str(point)])
    try:
        wait_until(lambda: os.path.ismount(point), "the mount")
        assert os.listdir(point) == ["Game.iso"]
    finally:
        unmount(point)
        assert daemon.wait(20) == 0
    before, _, after = log.read_text(errors="replace").partition('"fuse.zsofs"')
    assert "Game.zso" not in before
    assert "Game.zso" in after
