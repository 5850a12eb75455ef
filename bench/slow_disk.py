"""A disk that is held to a rate: a file behind a loop device, and a control group for who reads.

The kernel holds back requests in the queue of the loop device, before they reach the file behind
it, so it does not matter what it holds of that file in memory. Read-ahead counts as its reader's.
Control groups of version 1 (controller blkio) and 2 (controller io) both do.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.mounting import unmount
from bench.system import Unavailable, device_of, mounts, set_read_ahead_kb

_GROUP = "zsofs-bench"
_SPARE = 64 << 20
_READ_AHEAD_KB = 128
"""Of the disk, as most have; a loop device may get 2560."""

_READ = "blkio.throttle.read_bps_device"


def write_disk(target: Path, files: dict[str, Path]) -> None:
    """Make the image of a disk: an ext4 with copies of *files* in it, by their paths there.

    Raises:
        Unavailable: this cannot be done here.
    """
    if os.geteuid() != 0:
        raise Unavailable("only root can slow a disk down")
    size = sum(file.stat().st_size for file in files.values())
    with target.open("wb") as image:
        image.truncate((size + size // 20 + _SPARE) >> 20 << 20)
    # The option -d would copy them too, but make holes of zeros, which cost nothing to read.
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(target))
    point = target.with_name(target.name + ".mount")
    with _mounted(target, point, "rw"):
        for path, file in files.items():
            (point / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, point / path)
        os.sync()


@contextmanager
def slow_disk(image: Path, point: Path, rate: int) -> Iterator[list[str]]:
    """Mount the ext4 in *image*, at *rate* bytes per second for those who read in a group.

    Gives the words to put before a command so that it runs in that group.

    Raises:
        Unavailable: this cannot be done here.
    """
    if os.geteuid() != 0:
        raise Unavailable("only root can slow a disk down")
    parent, is_v2 = _hierarchy()
    with _mounted(image, point, "ro"), _controller(parent, is_v2), _group(parent / _GROUP) as group:
        device = device_of(point)
        name, rule = ("io.max", f"{device} rbps={rate}") if is_v2 else (_READ, f"{device} {rate}")
        try:
            (group / name).write_text(rule)
        except OSError as error:
            raise Unavailable(f"the kernel does not take {name}: {error.strerror}") from error
        if not set_read_ahead_kb(point, _READ_AHEAD_KB):
            raise Unavailable("the read-ahead of a loop device cannot be set")
        yield ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(group / "cgroup.procs")]


def clear_slow_disks(work: Path) -> None:
    """Remove what a benchmark that was killed has left, once its mounts are down."""
    with suppress(Unavailable):
        with suppress(OSError):
            (_hierarchy()[0] / _GROUP).rmdir()
        for image in (*work.glob("discs-*/*.ext4"), *work.glob("discs-*/*.ext4.part")):
            for line in _run("losetup", "-j", str(image)).splitlines():
                _run("losetup", "-d", line.partition(":")[0])


def _hierarchy() -> tuple[Path, bool]:
    """Where groups that limit reads of disks are made, and whether it is of version 2."""
    for entry in mounts():
        if entry.kind == "cgroup" and "blkio" in entry.options:
            return entry.path, False
        if entry.kind == "cgroup2":
            controllers = entry.path / "cgroup.controllers"
            if "io" in controllers.read_text().split():
                return entry.path, True
    raise Unavailable("no control groups for disks (io or blkio) are mounted")


@contextmanager
def _controller(parent: Path, is_v2: bool) -> Iterator[None]:
    """Have groups below *parent* limit disks; version 2 wants to be asked."""
    control = parent / "cgroup.subtree_control"
    if not is_v2 or "io" in control.read_text().split():
        yield
        return
    try:
        control.write_text("+io")
    except OSError as error:
        raise Unavailable(f"groups cannot limit disks here: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            control.write_text("-io")


@contextmanager
def _group(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise Unavailable(f"no control group can be made: {error.strerror}") from error
    try:
        yield folder
    finally:
        _remove_group(folder)


def _remove_group(folder: Path) -> None:
    """It can be removed a moment after the last process in it has ended."""
    for _ in range(50):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return


@contextmanager
def _mounted(image: Path, point: Path, option: str) -> Iterator[None]:
    point.mkdir(parents=True, exist_ok=True)
    device = _loop_device(image)
    try:
        _run("mount", "-t", "ext4", "-o", option, device, str(point))
        # It goes when the mount does, also if we are killed.
        _run("losetup", "-d", device)
        yield
    finally:
        unmount(point)
        with suppress(Unavailable):
            if device in _run("losetup", "-n", "-O", "NAME", "-j", str(image)).split():
                _run("losetup", "-d", device)
        with suppress(OSError):
            point.rmdir()


def _loop_device(image: Path) -> str:
    """A loop device for *image*, past the page cache where its file system can do that."""
    command = ["losetup", "-f", "--show"]
    try:
        return _run(*command, "--direct-io=on", str(image))
    except Unavailable:
        return _run(*command, str(image))


def _run(*command: str) -> str:
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise Unavailable(f"{command[0]} is not installed")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
