"""CHDs through a mount and through the commands: what chdman packed, byte for byte."""

import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.mounting import DATA, ZSOFS, Mount, mounted, wait_until

pytestmark = pytest.mark.xdist_group("chd")  # they share a mount

CHDS = DATA / "chd"
ALL = json.loads((CHDS / "manifest.json").read_text())
ALL.pop("_")
KEPT = {"hd.chd": "this is a hard disk image"}
"""What is not shown as a disc, and how the reason begins."""

BINS = ("cd-mixed.chd", "cd-mode1-pregap.chd")
"""CDs that need a cue sheet and a .bin."""

SHOWN = {name: about for name, about in ALL.items() if name not in (*KEPT, *BINS)}


@pytest.fixture(scope="module")
def tree(module_path: Path) -> Iterator[Mount]:
    source = module_path / "source"
    source.mkdir()
    for name in ALL:
        shutil.copy(CHDS / name, source)
    with mounted(source, module_path / "mnt") as mount:
        yield mount


def iso(tree: Mount, name: str) -> Path:
    return tree.path / f"{Path(name).stem}.iso"


def zsofs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*ZSOFS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_names_and_reasons(tree: Mount) -> None:
    names = {f"{Path(name).stem}.iso" for name in SHOWN} | set(KEPT)
    names |= {Path(name).stem + ending for name in BINS for ending in (".cue", ".bin")}
    assert set(os.listdir(tree.path)) == names
    for name, reason in KEPT.items():
        assert (tree.path / name).read_bytes() == (CHDS / name).read_bytes()
        assert tree.log_lines(f"{name}: shown as a plain file, not as a disc: {reason}")


@pytest.mark.parametrize("name", SHOWN)
def test_size_and_sha1_as_the_manifest_says(tree: Mount, name: str) -> None:
    about = SHOWN[name]
    path = iso(tree, name)
    assert path.stat().st_size == about.get("size", about.get("iso_size"))
    said = hashlib.sha1(path.read_bytes()).hexdigest()
    assert said == about.get("sha1", about.get("iso_sha1"))


@pytest.mark.parametrize("name", BINS)
def test_cue_and_bin_as_chdman_extracts_them(tree: Mount, name: str) -> None:
    about = ALL[name]
    path = tree.path / f"{Path(name).stem}.bin"
    assert path.stat().st_size == about["bin_size"]
    assert hashlib.sha1(path.read_bytes()).hexdigest() == about["bin_sha1"]
    assert path.with_suffix(".cue").read_bytes() == (CHDS / about["cue"]).read_bytes()


def random_reads(path: Path, image: bytes, seed: int) -> None:
    chance = random.Random(seed)
    fd = os.open(path, os.O_RDONLY)
    try:
        for _ in range(150):
            offset = chance.randrange(len(image))
            size = int(2 ** chance.uniform(0, 18))
            if chance.random() < 0.2:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(fd, size, offset) == image[offset : offset + size]
    finally:
        os.close(fd)


def test_random_reads_from_eight_threads(tree: Mount) -> None:
    images = {name: iso(tree, name).read_bytes() for name in SHOWN}
    with ThreadPoolExecutor(8) as pool:
        runs = [
            pool.submit(random_reads, iso(tree, name), images[name], seed)
            for seed in range(3)
            for name in SHOWN
        ]
        for run in runs:
            run.result(300)


def test_a_parent_that_arrives_makes_a_disc_of_its_child(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "dvd-child.chd", source / "Child.chd")
    tree = mount(source)
    assert os.listdir(tree.path) == ["Child.chd"]
    for name in ("one.txt", "two.txt"):
        (source / name).touch()
        wait_until((tree.path / name).exists, "the file")
        (source / name).unlink()
        wait_until(lambda: os.listdir(tree.path) == ["Child.chd"], "the file to go")
    told = "Child.chd: shown as a plain file, not as a disc: it needs its parent"
    assert len(tree.log_lines(told)) == 1
    shutil.copy(CHDS / "dvd-default.chd", source / "Parent.chd")
    wait_until(lambda: sorted(os.listdir(tree.path)) == ["Child.iso", "Parent.iso"], "the disc")
    said = hashlib.sha1((tree.path / "Child.iso").read_bytes()).hexdigest()
    assert said == ALL["dvd-child.chd"]["sha1"]


def test_a_parent_that_is_copied_in_pieces_makes_a_disc_of_its_child(
    tmp_path: Path, mount: MountMaker
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "dvd-child.chd", source / "Child.chd")
    tree = mount(source)
    data = (CHDS / "dvd-default.chd").read_bytes()
    (source / "Parent.chd").write_bytes(data[:200_000])
    waits = "Child.chd: shown as a plain file, not as a disc: its parent Parent.chd cannot be used"
    wait_until(lambda: bool(os.listdir(tree.path) and tree.log_lines(waits)), "the reason")
    with (source / "Parent.chd").open("ab") as file:
        file.write(data[200_000:])
    wait_until(lambda: sorted(os.listdir(tree.path)) == ["Child.iso", "Parent.iso"], "the disc")
    said = hashlib.sha1((tree.path / "Child.iso").read_bytes()).hexdigest()
    assert said == ALL["dvd-child.chd"]["sha1"]


def test_a_parent_that_leaves_makes_a_plain_file_of_its_child(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "dvd-child.chd", source / "Child.chd")
    shutil.copy(CHDS / "dvd-default.chd", source / "Parent.chd")
    shutil.copy(CHDS / "cd-default.chd", source / "Other.chd")
    reason = "Child.chd: shown as a plain file, not as a disc: it needs its parent"
    with mounted(source, tmp_path / "mnt") as tree:
        assert sorted(os.listdir(tree.path)) == ["Child.iso", "Other.iso", "Parent.iso"]
        (source / "Parent.chd").rename(tmp_path / "Parent.chd")
        wait_until(lambda: sorted(os.listdir(tree.path)) == ["Child.chd", "Other.iso"], "the file")
        assert tree.log_lines(reason)
        assert (tree.path / "Child.chd").read_bytes() == (CHDS / "dvd-child.chd").read_bytes()
        (tmp_path / "Parent.chd").rename(source / "Parent.chd")
        wait_until((tree.path / "Child.iso").exists, "the disc")
    (source / "Parent.chd").unlink()
    with mounted(source, tmp_path / "mnt") as tree:
        assert sorted(os.listdir(tree.path)) == ["Child.chd", "Other.iso"]


def test_a_child_opens_again_after_its_parent_was_touched(
    tmp_path: Path, mount: MountMaker
) -> None:
    """Also while a program has it open."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(CHDS / "dvd-child.chd", source / "Child.chd")
    shutil.copy(CHDS / "dvd-default.chd", source / "Parent.chd")
    child = mount(source).path / "Child.iso"

    def is_right() -> bool:
        try:
            said = hashlib.sha1(child.read_bytes()).hexdigest()
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ESTALE):
                raise
            return False
        return bool(said == ALL["dvd-child.chd"]["sha1"])

    with child.open("rb", buffering=0) as old:
        assert len(old.read(4096)) == 4096
        os.utime(source / "Parent.chd")
        with suppress(OSError):
            os.pread(old.fileno(), 4096, 300_000)
        wait_until(is_right, "the disc")


def test_a_damaged_hunk_costs_its_range_alone(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    source.mkdir()
    data = bytearray((CHDS / "dvd-zstd-2048.chd").read_bytes())
    data[200_000] ^= 1
    (source / "Game.chd").write_bytes(data)
    tree = mount(source)
    whole = str(CHDS / "dvd-zstd-2048.chd")
    right = subprocess.run(
        [*ZSOFS, "unpack", whole, "-o", "-"], capture_output=True, timeout=60, check=True
    ).stdout
    bad = []
    fd = os.open(tree.path / "Game.iso", os.O_RDONLY | os.O_DIRECT)
    try:
        for offset in range(0, len(right), 4096):
            try:
                found = os.pread(fd, 4096, offset)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                bad.append(offset)
            else:
                assert found == right[offset : offset + 4096]
    finally:
        os.close(fd)
    assert len(bad) == 1
    assert len(tree.log_lines(": block ")) == 1


@pytest.mark.parametrize("name", [name for name, about in ALL.items() if about["kind"] == "cd"])
def test_unpack_and_verify_of_cds(tmp_path: Path, name: str) -> None:
    shutil.copy(CHDS / name, tmp_path)
    done = zsofs("unpack", tmp_path / name)
    assert done.returncode == 0, done.stderr
    stem = tmp_path / Path(name).stem
    if name in BINS:
        assert f" -> {stem}.bin and {stem}.cue: " in done.stdout
        assert stem.with_suffix(".cue").read_bytes() == (CHDS / ALL[name]["cue"]).read_bytes()
        said = hashlib.sha1(stem.with_suffix(".bin").read_bytes()).hexdigest()
        assert said == ALL[name]["bin_sha1"]
        assert "already exists" in zsofs("unpack", tmp_path / name).stdout
        stem.with_suffix(".cue").unlink()
        again = zsofs("unpack", tmp_path / name)
        assert again.returncode == 8
        assert "its cue sheet is missing or differs" in again.stderr
        stem.with_suffix(".cue").mkdir()
        again = zsofs("unpack", "--force", tmp_path / name)
        assert again.returncode == 8
        assert ".cue already exists and is not a regular file" in again.stderr
        stem.with_suffix(".cue").rmdir()
        assert zsofs("unpack", "--force", tmp_path / name).returncode == 0
        stem.with_suffix(".bin").unlink()
        again = zsofs("unpack", tmp_path / name)
        assert again.returncode == 8
        assert ".cue exists; --force replaces it" in again.stderr
        assert zsofs("unpack", "--force", tmp_path / name).returncode == 0
    else:
        said = hashlib.sha1(stem.with_suffix(".iso").read_bytes()).hexdigest()
        assert said == ALL[name]["iso_sha1"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == (
        [".bin", ".chd", ".cue"] if name in BINS else [".chd", ".iso"]
    )


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("hd.chd", "dvd-none.chd")])
def test_verify_compares_the_sha1s(tmp_path: Path, name: str) -> None:
    for each in CHDS.glob("*.chd"):
        shutil.copy(each, tmp_path)
    done = zsofs("verify", "--no-cache", "--json", tmp_path / name)
    state = json.loads(done.stdout)["state"]
    cut = name == "cd-mode1-pregap.chd"  # as it was when it was packed
    assert state == ("bad" if cut else "sealed")
    data = bytearray((CHDS / name).read_bytes())
    at = 64  # the SHA-1 of the data
    data[at] ^= 1
    (tmp_path / "other.chd").write_bytes(data)
    done = zsofs("verify", "--no-cache", "--json", tmp_path / "other.chd")
    found = json.loads(done.stdout)
    assert found["state"] == "bad"
    assert "have SHA-1" in found["reason"]
    assert done.returncode == 9


def test_info_in_words_and_json() -> None:
    done = zsofs("info", CHDS / "cd-mixed.chd")
    assert "CHD version 5, cdlz, cdzl, cdfl, hunks of 19584, units of 2448" in done.stdout
    assert (
        "track 2    AUDIO, 353 frames (00:04:53), INDEX 00 00:04:01, INDEX 01 00:06:01"
        in done.stdout
    )
    gap = zsofs("info", CHDS / "cd-mode1-pregap.chd").stdout
    assert "AUDIO, 97 frames (00:01:22), pregap of 150 frames, not stored, INDEX 01 00:02:72" in gap
    (found,) = json.loads(zsofs("info", "--json", CHDS / "dvd-child.chd").stdout)
    assert found["container"] == "CHD"
    assert found["chd"]["codecs"] == ["lzma", "zlib", "huff", "flac"]
    assert found["chd"]["hunks_by_type"]["of the parent"] == 357
    assert len(found["chd"]["parent_sha1"]) == 40


def test_a_parent_and_subcode_are_kept(tmp_path: Path) -> None:
    for name in ("dvd-default.chd", "dvd-child.chd", "cd-default.chd"):
        shutil.copy(CHDS / name, tmp_path)
    done = zsofs("pack", "--delete-source", tmp_path / "dvd-default.chd")
    assert done.returncode == 8
    assert "another CHD needs it as its parent" in done.stderr
    done = zsofs("pack", "--delete-source", tmp_path / "cd-default.chd")
    assert done.returncode == 8
    assert "whole CD sectors" in done.stderr
    done = zsofs("pack", "--delete-source", tmp_path / "dvd-child.chd")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cd-default.chd", "cd-default.zso", "dvd-child.zso", "dvd-default.chd", "dvd-default.zso",
    ]  # fmt: skip


def test_a_parent_is_kept_for_a_child_with_another_extension(tmp_path: Path) -> None:
    shutil.copy(CHDS / "dvd-default.chd", tmp_path)
    shutil.copy(CHDS / "dvd-child.chd", tmp_path / "child.iso")
    done = zsofs("unpack", "--delete-source", tmp_path / "dvd-default.chd")
    assert done.returncode == 8
    assert "another CHD needs it as its parent" in done.stderr
    assert (tmp_path / "dvd-default.chd").exists()


def test_a_directory_with_the_name_of_the_cue_sheet_is_kept(tmp_path: Path) -> None:
    shutil.copy(CHDS / "cd-mixed.chd", tmp_path)
    (tmp_path / "cd-mixed.cue").mkdir()
    done = zsofs("unpack", "--force", tmp_path / "cd-mixed.chd")
    assert done.returncode == 8
    assert "cd-mixed.cue already exists and is not a regular file" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cd-mixed.chd", "cd-mixed.cue"]


def test_an_uncompressed_chd_is_no_parent(tmp_path: Path) -> None:
    """It has no SHA-1, and CHDs without a parent name none either."""
    for name in ("dvd-none.chd", "dvd-default.chd"):
        shutil.copy(CHDS / name, tmp_path)
    done = zsofs("unpack", "--delete-source", tmp_path / "dvd-none.chd")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvd-default.chd", "dvd-none.iso"]


def test_a_cd_of_several_tracks_is_not_packed(tmp_path: Path) -> None:
    shutil.copy(CHDS / "cd-mixed.chd", tmp_path)
    done = zsofs("pack", tmp_path / "cd-mixed.chd")
    assert done.returncode == 8
    assert "unpack it to .cue and .bin with: zsofs unpack" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cd-mixed.chd"]
