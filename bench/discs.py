"""The discs that are measured: made when first asked for, kept, and used again."""

import os
import shutil
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import lz4.block

from bench.mounting import loop_mounted
from bench.packers import Packing, pack, pack_gz, pack_zst
from bench.payload import MB, game_image, stream
from bench.system import BenchError, Unavailable

_FORMAT = 1
"""To be raised when anything that is made here changes."""

NAMES = ("Disc 1", "Disc 2", "Disc 3", "Disc 4")
"""The same disc under four names."""

LIBRARY_SIZE = 10_000

_DVD9_SIZE = 8_540_000 * 1000 // 2048 * 2048
_PLAIN_SIZE = 64 * MB


class Discs:
    """A folder with everything that was made from one image of *size* MB.

    Attributes:
        folder: where it all lies.
        size: of the image, in MB.
        work: the folder that it lies in, with those of other sizes.
    """

    def __init__(self, work: Path, size: int) -> None:
        self.folder = work / f"discs-{_FORMAT}-{size}"
        self.size = size
        self.work = work
        self.folder.mkdir(parents=True, exist_ok=True)

    def image(self) -> Path:
        """The plain image."""
        return self.made("Disc.iso", self._write_image)

    def four_images(self) -> Path:
        """A folder with the plain image under four names."""
        return self.made("plain", lambda target: _links(self.image(), target, ".iso"))

    def packed(self, packing: Packing) -> Path:
        """A folder with the packed disc under four names."""

        def write(target: Path) -> None:
            container = target.with_name(f"{target.name}{packing.suffix}")
            pack(self.image(), container, packing)
            _links(container, target, packing.suffix)
            container.unlink()

        self.image()
        return self.made(packing.name, write)

    def container(self, packing: Packing) -> Path:
        """The packed disc under the first of these names."""
        return self.packed(packing) / (NAMES[0] + packing.suffix)

    def squashfs(self, codec: str, block_size: int, options: tuple[str, ...]) -> Path:
        """A squashfs with the plain image under four names."""
        program = shutil.which("mksquashfs")
        if program is None:
            raise Unavailable("mksquashfs is not installed")
        source = self.four_images()

        def write(target: Path) -> None:
            command = [program, str(source), str(target), "-comp", codec, *options]
            command += ["-b", str(block_size), "-noappend", "-no-hardlinks", "-all-root"]
            done = subprocess.run(
                [*command, "-no-xattrs", "-no-progress", "-quiet"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise Unavailable(f"mksquashfs failed: {done.stderr.strip()}")

        return self.made(f"{codec}-{block_size >> 10}k.squashfs", write)

    def erofs(self) -> Path:
        """An EROFS of LZ4-HC clusters of 16 KiB with the plain image under four names."""
        program = shutil.which("mkfs.erofs")
        if program is None:
            raise Unavailable("mkfs.erofs is not installed")

        def write(target: Path) -> None:
            copies = target.with_name(f"{target.name}.files")
            remove(copies)
            copies.mkdir()
            try:
                for name in NAMES:  # links to one file would be one file in it
                    shutil.copy(self.image(), copies / f"{name}.iso")
                command = [program, "-zlz4hc,12", "-C16384", "--all-root", str(target), str(copies)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            finally:
                remove(copies)
            if done.returncode:
                raise Unavailable(f"mkfs.erofs failed: {done.stderr.strip()}")

        return self.made("lz4hc-16k.erofs", write)

    def exfat(self, packing: Packing) -> Path:
        """The image of an exFAT with the packed disc; made by exfat-fuse, which also shows it."""
        tools = (shutil.which("mkfs.exfat"), shutil.which("mount.exfat-fuse"))
        if os.geteuid() != 0 or not all(tools):
            raise Unavailable("an exFAT needs root, exfatprogs and exfat-fuse")
        container = self.container(packing)

        def write(target: Path) -> None:
            with target.open("wb") as image:
                image.truncate(container.stat().st_size // MB * MB + 64 * MB)
            subprocess.run(["mkfs.exfat", str(target)], check=True, capture_output=True)
            point = target.with_name(f"{target.name}.mount")
            with loop_mounted(target, point, "exfat-fuse", "rw"):
                shutil.copyfile(container, point / container.name)

        return self.made(f"{packing.name}.exfat", write)

    def zst(self) -> Path:
        """The image as ``.iso.zst``."""
        image = self.image()
        return self.made("Disc 1.iso.zst", lambda target: pack_zst(image, target))

    def gz(self) -> Path:
        """The image as ``.iso.gz``."""
        image = self.image()
        return self.made("Disc 1.iso.gz", lambda target: pack_gz(image, target))

    def dvd9(self) -> Path:
        """A folder with a DVD9 of 2 KiB blocks, nearly all of them zeros, and a plain file."""
        return self.made("dvd9", _write_dvd9)

    def library(self) -> Path:
        """A folder with 10,000 small packed discs."""
        return self.made("library", _write_library)

    def library_disk(self) -> Path:
        """The same as an image of an ext4."""
        return self.made("library.ext4", self._write_library_disk)

    def _write_library_disk(self, target: Path) -> None:
        if shutil.which("mkfs.ext4") is None:
            raise Unavailable("mkfs.ext4 is missing")
        command = ["mkfs.ext4", "-q", "-m", "0", "-d", str(self.library()), str(target), "768M"]
        subprocess.run(command, check=True, capture_output=True)

    def _write_image(self, target: Path) -> None:
        with target.open("wb") as file:
            for chunk in game_image(self.size * MB):
                file.write(chunk)

    def made(self, name: str, write: Callable[[Path], None]) -> Path:
        """The file or folder *name*; it takes that name once it is whole."""
        target = self.folder / name
        if target.exists():
            return target
        print(f"making {name}", file=sys.stderr, flush=True)
        unfinished = self.folder / f"{name}.part"
        remove(unfinished)
        write(unfinished)
        unfinished.rename(target)
        return target


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _links(file: Path, folder: Path, suffix: str) -> None:
    folder.mkdir()
    for name in NAMES:
        os.link(file, folder / (name + suffix))


def _lz4(block: bytes) -> bytes:
    return bytes(lz4.block.compress(block, mode="high_compression", store_size=False))


def _write_dvd9(folder: Path) -> None:
    """As ziso.py would: index entries shifted so that they reach; the blocks lie in a hole."""
    folder.mkdir()
    block_size, shift = 2048, 2
    count = _DVD9_SIZE // block_size
    step = block_size >> shift
    packed = _lz4(b"A volume descriptor, say.".ljust(block_size, b"\0"))
    packed += b"X" * (-len(packed) % (1 << shift))
    start = 24 + 4 * (count + 1)
    start += -start % (1 << shift)
    after = start + len(packed)
    first = after >> shift | 1 << 31
    index = array("I", [start >> shift])
    index.extend(range(first, first + step * (count - 1), step))
    end = after + block_size * (count - 1)
    index.append(end >> shift)
    if sys.byteorder == "big":
        index.byteswap()
    with (folder / "DVD9.zso").open("wb") as file:
        file.write(struct.pack("<4sIQIBBxx", b"ZISO", 24, _DVD9_SIZE, block_size, 1, shift))
        index.tofile(file)
        file.seek(start)
        file.write(packed)
        file.truncate(end)
    (folder / "plain.dat").write_bytes(stream("plain", _PLAIN_SIZE))


def _write_library(folder: Path) -> None:
    """Discs of 64 KiB, in ten folders: 32 KiB of zeros, as all discs begin, then data."""
    folder.mkdir()
    empty, sectors = bytes(2048), [stream(f"sector {i}", 1024) * 2 for i in range(16)]
    blocks = [_lz4(sector) for sector in (*[empty] * 16, *sectors)]
    index = [24 + 4 * (len(blocks) + 1)]
    for block in blocks:
        index.append(index[-1] + len(block))
    header = struct.pack("<4sIQIBBxx", b"ZISO", 24, 2048 * len(blocks), 2048, 1, 0)
    content = header + struct.pack(f"<{len(index)}I", *index) + b"".join(blocks)
    for number in range(LIBRARY_SIZE):
        inner = folder / f"Shelf {number // (LIBRARY_SIZE // 10)}"
        inner.mkdir(exist_ok=True)
        (inner / f"Game {number:05}.zso").write_bytes(content)


def check_space(work: Path, size: int) -> None:
    """Raise if the discs would not fit."""
    wanted = 11 * size * MB
    free = shutil.disk_usage(work).free
    if not any(work.glob(f"discs-{_FORMAT}-{size}/*")) and free < wanted:
        raise BenchError(
            f"the discs take up to {wanted >> 20} MB, and {work} has {free >> 20} MB free;"
            " give another folder with --work"
        )
