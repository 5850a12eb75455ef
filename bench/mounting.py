"""Starting a server for a mount, and always ending it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.system import BenchError, is_mounted, mounts

_READY_SECONDS = 120
_END_SECONDS = 20


@contextmanager
def served(command: list[str], point: Path, log: Path | None = None) -> Iterator[int]:
    """Run a FUSE server in the foreground until the block ends; gives its process id.

    What it says goes to *log*, by default beside *point*.

    Raises:
        BenchError: it did not mount, or ended by itself.
    """
    point.mkdir(parents=True, exist_ok=True)
    log = log or point.with_name(point.name + ".log")
    with log.open("wb") as output:
        # In a session of its own, so that Ctrl-C in the terminal reaches us alone.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_mounted(process, point, log)
        yield process.pid
        if process.poll() is not None:
            raise BenchError(f"the server ended by itself: {_said(log)}")
    finally:
        unmount(point)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait(60)
        with suppress(OSError):  # zsofs may have removed it
            point.rmdir()


def _wait_until_mounted(process: "subprocess.Popen[bytes]", point: Path, log: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not is_mounted(point):
        if process.poll() is not None:
            raise BenchError(f"the server did not mount: {_said(log)}")
        if time.monotonic() > end:
            raise BenchError(f"the server did not mount within {_READY_SECONDS} s: {_said(log)}")
        time.sleep(0.01)
    point.stat()


def _said(log: Path) -> str:
    return log.read_text(errors="replace").strip() or "no reason given"


@contextmanager
def loop_mounted(image: Path, point: Path, kind: str, access: str = "ro") -> Iterator[None]:
    """Mount *image* over a loop device, by the kernel itself or by the helper of its kind.

    Raises:
        BenchError: it could not.
    """
    with _mounted(["-t", kind, "-o", f"loop,{access}", str(image)], point):
        yield


@contextmanager
def overlaid(folder: Path, point: Path) -> Iterator[None]:
    """Show *folder* through overlayfs, read-only.

    Raises:
        BenchError: it could not.
    """
    empty = point.with_name(point.name + ".empty")
    empty.mkdir(parents=True, exist_ok=True)
    try:
        options = f"ro,lowerdir={folder}:{empty}"
        with _mounted(["-t", "overlay", "-o", options, "overlay"], point):
            yield
    finally:
        empty.rmdir()


@contextmanager
def _mounted(arguments: list[str], point: Path) -> Iterator[None]:
    point.mkdir(parents=True, exist_ok=True)
    command = ["mount", *arguments, str(point)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            raise BenchError(done.stderr.strip())
        yield
    finally:
        unmount(point)
        with suppress(OSError):
            point.rmdir()


def unmount(point: Path) -> None:
    """Take down whatever is mounted at *point*, at once if nothing has it open."""
    for attempt in range(20):
        kind = next((entry.kind for entry in mounts() if entry.path == point), None)
        if kind is None:
            return
        lazy = attempt == 19
        if kind.startswith("fuse"):
            command = ["fusermount3", "-u", *(["-z"] if lazy else []), str(point)]
        else:
            command = ["umount", *(["-l"] if lazy else []), str(point)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            time.sleep(0.1)


def unmount_below(folder: Path) -> None:
    """Take down everything that is mounted below *folder*."""
    for entry in reversed(mounts()):
        if folder in entry.path.parents:
            unmount(entry.path)
