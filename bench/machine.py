"""What the measurements were taken on."""

import ctypes
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path


def describe() -> dict[str, str]:
    """The machine and the versions of all that takes part, without what cannot be told."""
    found = {
        "zsofs": _commit() or _package("zsofs"),
        "processor": _line("/proc/cpuinfo", "model name"),
        "processors": str(os.cpu_count()),
        "memory": _memory(),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "pyfuse3": _package("pyfuse3"),
        "trio": _package("trio"),
        "libfuse": _said("fusermount3", "--version"),
        "liblz4": _library_version("liblz4.so.1", "LZ4_versionString"),
        "libzstd": _library_version("libzstd.so.1", "ZSTD_versionString"),
        "libdeflate": _said("pkg-config", "--modversion", "libdeflate"),
        "squashfuse": _said("squashfuse", "--version"),
        "mksquashfs": _said("mksquashfs", "-version"),
        "mkfs.erofs": _said("mkfs.erofs", "--version"),
        "ratarmount": _package("ratarmount"),
        "fio": _said("fio", "--version"),
    }
    return {name: value for name, value in found.items() if value}


def busy() -> float:
    """How many programs have wanted a processor in the last minute."""
    return os.getloadavg()[0]


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    here = Path(__file__).parent
    base = [git, "--no-optional-locks", "-C", str(here)]
    name = _output([*base, "rev-parse", "--short=12", "HEAD"])
    if not name:
        return ""
    changed = _output([*base, "status", "--porcelain", "--untracked-files=no", "..", ":!../bench"])
    return f"commit {name}" + (" with changes" if changed else "")


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


def _said(program: str, *arguments: str) -> str:
    """The first version number that a program says."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    match = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return match[0] if match else ""


def _line(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return platform.machine()


def _memory() -> str:
    kib = int(_line("/proc/meminfo", "MemTotal").split()[0])
    return f"{kib / (1 << 20):.1f} GiB"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _library_version(library: str, function: str) -> str:
    """What the system's own copy of a library says of itself; empty where there is none."""
    try:
        tell = getattr(ctypes.CDLL(library), function)
    except OSError:
        return ""
    tell.restype = ctypes.c_char_p
    return str(tell().decode())
