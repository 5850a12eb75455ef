"""Every real file by every real writer, through a real mount."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.mounting import DATA, Mount, mounted

pytestmark = pytest.mark.xdist_group("fixtures")  # they share what takes long to make

MANIFEST = {
    name: about
    for name, about in json.loads((DATA / "manifest.json").read_text()).items()
    if name != "_"
}


@pytest.fixture(scope="module")
def tree(module_path: Path) -> Iterator[Mount]:
    source = module_path / "source"
    (source / "deep" / "folder").mkdir(parents=True)
    for name in MANIFEST:
        folder = source / "deep" / "folder" / name.replace(".", "_")
        folder.mkdir()
        shutil.copy(DATA / name, folder)
    with mounted(source, module_path / "mnt") as mount:
        yield mount


def shown(tree: Mount, name: str) -> Path:
    return tree.path / "deep" / "folder" / name.replace(".", "_") / (Path(name).stem + ".iso")


def plain(name: str) -> bytes:
    image: str = MANIFEST[name]["image"]
    return (DATA / f"{image}.iso").read_bytes()


@pytest.mark.parametrize("name", MANIFEST)
def test_size_and_sha1_as_the_manifest_says(tree: Mount, name: str) -> None:
    path = shown(tree, name)
    assert os.listdir(path.parent) == [path.name]
    assert path.stat().st_size == MANIFEST[name]["size"]
    said = subprocess.run(["sha1sum", str(path)], capture_output=True, check=True, text=True)
    assert said.stdout.split()[0].lstrip("\\") == MANIFEST[name]["sha1"]


@pytest.mark.parametrize("name", MANIFEST)
def test_date_and_blocks(tree: Mount, name: str) -> None:
    status = shown(tree, name).stat()
    packed = (tree.source / shown(tree, name).parent.relative_to(tree.path) / name).stat()
    assert status.st_mtime_ns == packed.st_mtime_ns
    assert status.st_blocks == -(-status.st_size // 512)
    assert status.st_nlink >= 1


def random_reads(path: Path, image: bytes, seed: int, count: int, flags: int = 0) -> None:
    generator = random.Random(seed)
    fd = os.open(path, os.O_RDONLY | flags)
    try:
        for _ in range(count):
            offset = generator.randrange(-20, len(image) + 5000)
            size = int(2 ** generator.uniform(0, 18))
            offset = max(offset, 0)
            if generator.random() < 0.1:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(fd, size, offset) == image[offset : offset + size], (offset, size)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", MANIFEST)
def test_random_reads(tree: Mount, name: str) -> None:
    random_reads(shown(tree, name), plain(name), seed=1, count=400)


def test_random_reads_of_all_from_eight_threads(tree: Mount) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = [
            pool.submit(random_reads, shown(tree, name), plain(name), seed, 150)
            for seed in range(4)
            for name in MANIFEST
        ]
        for run in runs:
            run.result(300)


def test_the_lost_last_byte_is_logged_once(tree: Mount) -> None:
    name = "ziso-compressor.zso"
    for _ in range(3):
        assert shown(tree, name).read_bytes() == plain(name)
    assert len(tree.log_lines("the last byte of the image was not stored")) == 1
