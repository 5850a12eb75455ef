"""What the benchmark asks the operating system for."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CLOCK_OF_A_PROCESS = 2  # CPUCLOCK_SCHED: all its threads, in nanoseconds


class BenchError(Exception):
    """Something that ends the benchmark."""


class Unavailable(Exception):
    """A peer that cannot be measured here; the text says why."""


@dataclass(frozen=True)
class MountEntry:
    """One line of the kernel's table of mounts; *options* are those of the file system."""

    path: Path
    device: str
    kind: str
    source: str
    options: list[str]


def mounts() -> list[MountEntry]:
    """Everything that is mounted, the topmost last."""
    entries = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, device, _, point, *_ = fields.split(" ")
        kind, source, options = rest.split(" ")
        path = Path(_unescape(point))
        entries.append(MountEntry(path, device, kind, _unescape(source), options.split(",")))
    return entries


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def is_mounted(path: Path) -> bool:
    return any(entry.path == path for entry in mounts())


def kind_of_file_system(path: Path) -> str:
    """The type of the file system that *path* lies on, as in ``tmpfs``."""
    device = device_of(path)
    return next((entry.kind for entry in mounts() if entry.device == device), "unknown")


def device_of(path: Path) -> str:
    """Major and minor number of the device that *path* lies on, as in ``0:52``."""
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def read_ahead_kb(path: Path) -> int | None:
    """The kernel's read-ahead for the mount that *path* lies on; None if it does not say."""
    try:
        return int(_read_ahead_setting(path).read_text())
    except OSError:
        return None


def set_read_ahead_kb(path: Path, wanted: int) -> bool:
    """Whether the mount that *path* lies on has the read-ahead *wanted*; root changes it."""
    if read_ahead_kb(path) != wanted:
        with suppress(OSError):
            _read_ahead_setting(path).write_text(str(wanted))
    return read_ahead_kb(path) == wanted


def _read_ahead_setting(path: Path) -> Path:
    return Path("/sys/class/bdi") / device_of(path) / "read_ahead_kb"


def drop_pages(path: Path) -> None:
    """Have the kernel forget what it holds of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def keep_pages(path: Path, size: int = 1 << 62) -> None:
    """Read the first *size* bytes of a file, so that the kernel holds them."""
    buffer = bytearray(1 << 20)
    fd = os.open(path, os.O_RDONLY)
    try:
        while size > 0 and os.readv(fd, [buffer]):
            size -= len(buffer)
    finally:
        os.close(fd)


def cpu_seconds(pids: list[int]) -> float:
    """The processor time that these processes have used so far."""
    return sum(time.clock_gettime(~pid << 3 | _CLOCK_OF_A_PROCESS) for pid in pids)


def peak_memory_mb(pids: list[int]) -> float:
    """The most memory that these processes have held (VmHWM), in MB."""
    return sum(_status_kb(pid, "VmHWM") for pid in pids) * 1024 / 1e6


def memory_mib(pids: list[int]) -> float:
    """The memory that these processes hold now (VmRSS), in MiB."""
    return sum(_status_kb(pid, "VmRSS") for pid in pids) / 1024


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def knows_nowait(path: Path) -> bool:
    """Whether reads of *path* can ask not to wait (RWF_NOWAIT)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)
