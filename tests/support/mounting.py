"""Real mounts for tests: start the command, wait until it is ready, always take it down."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.system.mountinfo import mounted_at
from zsofs.timings import timings

ZSOFS = (sys.executable, "-m", "zsofs")


def timed(**seconds: float) -> tuple[str, ...]:
    """What to run for zsofs with other timings, by the names in `zsofs.timings`."""
    return (sys.executable, "-m", "tests.support.timed", json.dumps(seconds))


DATA = Path(__file__).parents[1] / "data"

RACY_SECONDS = 0.05
"""How old a change must be for zsofs to keep what it finds in the file."""


@dataclass
class Mount:
    """A mount under test.

    Attributes:
        source: the folder with the packed files.
        path: where it is mounted.
        daemon: the process that serves it, in the foreground.
        log: file that has what the daemon said.
        may_end: set by a test that ends the daemon itself.
    """

    source: Path
    path: Path
    daemon: "subprocess.Popen[bytes]"
    log: Path
    may_end: bool = False

    def log_lines(self, word: str = "") -> list[str]:
        """Lines of the log that contain *word*."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if word in line]

    def is_alive(self) -> bool:
        """Whether the daemon runs and the mount answers."""
        return self.daemon.poll() is None and os.path.ismount(self.path)


@contextmanager
def mounted(
    source: Path, path: Path, *arguments: str, command: tuple[str, ...] = ZSOFS
) -> Iterator[Mount]:
    """Mount *source* at *path* with a daemon in the foreground; unmount and check its end.

    Args:
        source: the folder with the packed files.
        path: the mount point; made if need be.
        arguments: more of the command line.
        command: what to run instead of zsofs, with the same arguments.
    """
    log = path.with_name(path.name + ".log")
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [*command, "mount", "-f", *arguments, str(source), str(path)],
            stdout=output,
            stderr=output,
        )
    mount = Mount(source, path, daemon, log)
    try:
        wait_until(
            lambda: daemon.poll() is not None or mounted_at(os.fsencode(path)) is not None,
            "the mount",
        )
        assert daemon.poll() is None, f"the daemon ended: {log.read_text(errors='replace')}"
        os.stat(path)
        yield mount
        assert mount.may_end or daemon.poll() is None, (
            f"the daemon died: {log.read_text(errors='replace')}"
        )
    finally:
        unmount(path)
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(60)
        if daemon.poll() is None:
            where = _where_it_hangs(daemon, log)
            daemon.kill()
            daemon.wait(60)
            raise AssertionError(f"the daemon did not end after its mount was unmounted: {where}")
    assert daemon.returncode == 0, log.read_text(errors="replace")


def _where_it_hangs(daemon: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return what each thread waits for in the kernel, and the log with their stacks."""
    waits = []
    for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
        with suppress(OSError):  # it has ended
            waits.append([(thread / name).read_text().strip() for name in ("comm", "wchan")])
    daemon.send_signal(signal.SIGUSR2)
    with suppress(subprocess.TimeoutExpired):
        daemon.wait(timings().stacks + 1)  # they are written meanwhile
    return f"{waits}\n{log.read_text(errors='replace')[-8000:]}"


def unmount(path: Path) -> None:
    """Take down whatever is mounted at *path*."""
    if mounted_at(os.fsencode(path)) is not None:
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=True)


def wait_until_kept(source: Path) -> None:
    """Let so much time pass that what zsofs finds in the files now may be kept in its cache."""
    newest = max(path.lstat().st_ctime_ns for path in source.rglob("*"))
    wait_until(lambda: time.time_ns() > newest + 2 * RACY_SECONDS * 1e9, "a moment")


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait until *condition* holds; fail if it does not within *seconds*."""
    end = time.monotonic() + seconds
    begun = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now >= end:  # once more: the machine may have stood still meanwhile
            assert condition(), f"waited {seconds} s in vain for {what}"
            return
        # A condition may run a command, or read all that there is: most of the time is for others.
        time.sleep(min(max(2 * (now - begun), 0.01), 0.5))
        begun = time.monotonic()


def in_time(act: Callable[[], object], seconds: float = 30.0) -> None:
    """Fail if *act* does not end: it runs in a process of its own, which may hang for ever."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    raise AssertionError(f"waited {seconds} s in vain")


def names(folder: Path) -> list[str]:
    """What a folder shows, sorted."""
    return sorted(os.listdir(folder))


def wait_for(folder: Path, *wanted: str, seconds: float = 20.0) -> None:
    """Wait until a folder shows just these names."""
    wait_until(lambda: names(folder) == sorted(wanted), f"{wanted} in {folder}", seconds)


def status_of(made: Mount) -> dict[str, Any]:
    """What `zsofs status --json` says of a mount."""
    done = subprocess.run(
        [*ZSOFS, "status", "--json", str(made.path)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def open_to_others(folder: Path, *others: Path) -> None:
    """Let other users look into the folder of a test, for which pytest's own must be open, too."""
    above = (path for path in folder.parents if path.is_relative_to(tempfile.gettempdir()))
    for path in (folder, *others, *list(above)[:-1]):
        path.chmod(0o755)


@contextmanager
def opened(path: Path | str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of a file or folder."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def all_the_time(act: Callable[[], object]) -> Iterator[None]:
    """Do this again and again in a thread within the context, which fails if that does."""
    end = threading.Event()

    def repeat() -> None:
        while not end.is_set():
            act()

    with ThreadPoolExecutor(1) as pool:
        repeated = pool.submit(repeat)
        try:
            yield
        finally:
            end.set()
        repeated.result(300)


def open_files(process: int) -> dict[str, str]:
    """What a process has open, by descriptor; without what it closes at this moment."""
    folder = f"/proc/{process}/fd"
    found = {}
    for fd in os.listdir(folder):
        with suppress(FileNotFoundError):
            found[fd] = os.readlink(f"{folder}/{fd}")
    return found


def waits_for_fuse(made: Mount) -> int:
    """How many threads of a mount wait for the answer of another FUSE daemon."""
    count = 0
    for thread in Path(f"/proc/{made.daemon.pid}/task").iterdir():
        with suppress(OSError):  # it has ended
            count += (thread / "wchan").read_text() == "request_wait_answer"
    return count


def change_owner(path: Path) -> None:
    """Set the owner of a file, to another one if this is root: nobody else can give files away."""
    os.chown(path, *((1, 1) if os.geteuid() == 0 else (-1, os.getegid())))


def is_in_memory(folder: Path) -> bool:
    """Whether the file system of *folder* has no disk."""
    words = ["stat", "--file-system", "--format=%T", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.strip() in ("tmpfs", "ramfs")


def drop_pages(path: Path) -> None:
    """Have the kernel forget its cached pages of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
