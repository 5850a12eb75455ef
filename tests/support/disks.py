"""File systems of their own for tests: created in a file, mounted, always unmounted."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.mounting import wait_until
from zsofs.system.mountinfo import mounted_at

MIB = 1 << 20


def make_disk(image: Path, size: int, *command: str) -> Path:
    """A file of *size* bytes with the file system that *command* makes."""
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([*command, image], check=True, capture_output=True)
    return image


def make_ext4(image: Path, size: int, *options: str) -> Path:
    """ext4, all of it for whoever writes: nothing is kept for root."""
    return make_disk(image, size, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", *options)


_SHUTDOWN = 0x8004587D
"""The call after which a file system does nothing any more, as if its disk had gone."""

_KEEP_NOTHING = struct.pack("I", 2)


def cut_off(path: Path) -> None:
    """Take the disk away from the file system mounted at *path*; what was not synced is lost."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, _KEEP_NOTHING)
    finally:
        os.close(fd)


@contextmanager
def disk_mounted(image: Path, path: Path, *options: str) -> Iterator[Path]:
    """The file system in *image*, mounted at *path* by a loop device."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", ",".join(("loop", *options)), image, path], check=True)
    try:
        yield path
    finally:
        take_down(path)


@contextmanager
def exfat_mounted(folder: Path, path: Path) -> Iterator[Path]:
    """exFAT, by its FUSE driver: all files are root's, and everybody may write them.

    The kernel's own is not there in every kernel.
    """
    image = make_disk(folder / "exfat.img", 64 * MIB, "mkfs.exfat")
    path.mkdir(exist_ok=True)
    done = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    )
    device = done.stdout.strip()
    try:
        subprocess.run(
            ["mount.exfat-fuse", "-o", "allow_other,uid=0,gid=0,umask=0", device, path],
            check=True,
            capture_output=True,
        )
        yield path
    finally:
        take_down(path)
        subprocess.run(["losetup", "--detach", device], check=True)


def take_down(path: Path) -> None:
    """Unmount what a daemon may have open for a moment yet."""
    wait_until(
        lambda: (
            mounted_at(os.fsencode(path)) is None
            or subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0
        ),
        f"{path} to be free",
    )
