"""The state of a running watch, in a file that `zsofs status` reads.

A file rather than a socket: the watch writes it whether or not anything asks, and nothing that
asks can keep the watch waiting. It has the process ID and start time, so that the file of a watch
that was killed is recognized.
"""

import json
import os
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import ESRCH
from pathlib import Path
from typing import Any, Self

from zsofs import __version__
from zsofs.errors import ControlError, reason
from zsofs.mount.control.typed_json import decoded, encoded
from zsofs.system import xdg
from zsofs.system.full_write import new_file
from zsofs.watch.ledger import Result

_SERVICES = Path("/run/zsofs-watch")
"""Directory with the RuntimeDirectory= of each system service."""

_MOST = 1 << 24
"""Bytes of a state file that are read. Each byte of a path may take six: ``\\udcff``."""

HOLD, CONTINUE = signal.SIGUSR1, signal.SIGUSR2
"""Signals that pause a watch, and let it continue."""

MOST_NAMED = 100
"""Inputs of the queue that the file names."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The process of a watch: its ID, its start time in clock ticks since boot, and its version."""

    pid: int = 0
    start_ticks: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class CurrentFile:
    """The image that is packed; without one, the path is empty.

    Attributes:
        path: of the image.
        bytes: its size.
        done_bytes: bytes that were packed or read back.
        reading_back: whether the output is being verified.
        bytes_per_second: speed.
        eta_seconds: time that this pass, packing or reading back, will still take; -1 if unknown.
    """

    path: str = ""
    bytes: int = 0
    done_bytes: int = 0
    reading_back: bool = False
    bytes_per_second: float = 0.0
    eta_seconds: float = -1.0


@dataclass(frozen=True, slots=True)
class QueuedInput:
    """An input that is complete, or waits or was kept for the reason."""

    path: str = ""
    bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Inputs in the queue, their bytes, inputs that wait or were kept, and results since start."""

    queue: int = 0
    queue_bytes: int = 0
    waiting: int = 0
    kept: int = 0
    packed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """State of a watch.

    Attributes:
        process: its process.
        inboxes: the directories that it watches.
        library: directory of the outputs.
        state: ``idle``, ``packing``, ``paused`` or ``waiting``.
        note: why it is paused or waits, or what is wrong meanwhile.
        current: the image that is packed.
        queue: the first inputs that will be packed.
        waiting: inputs that are not complete, with the reason.
        kept: inputs that were packed and neither deleted nor moved, with the reason.
        counts: numbers of all of them.
        results: the last results, the newest last.
        can_be_held: whether :func:`hold` may be used: an older version would end.
        is_held: whether it is paused by that.
    """

    process: ProcessFacts = ProcessFacts()
    inboxes: tuple[str, ...] = ()
    library: str = ""
    state: str = ""
    note: str = ""
    current: CurrentFile = CurrentFile()
    queue: tuple[QueuedInput, ...] = ()
    waiting: tuple[QueuedInput, ...] = ()
    kept: tuple[QueuedInput, ...] = ()
    counts: Counts = Counts()
    results: tuple[Result, ...] = ()
    can_be_held: bool = False
    is_held: bool = False

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> Self:
        """Return the state that a watch of any version has written. Never raises."""
        return decoded(cls, found, set())

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for json.dumps."""
        return encoded(self)


class StateFile:
    """The state file of this process."""

    def __init__(self, key: str) -> None:
        """Choose its path; *key* identifies the watch."""
        self._path: Path | None = None
        self.process = ProcessFacts(os.getpid(), _start_ticks(os.getpid()), __version__)
        self._last = b""
        for folder in _folders():
            with suppress(OSError):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if os.access(folder, os.W_OK):
                    self._path = folder / f"watch-{key}.json"
                    return

    def write(self, status: WatchStatus) -> None:
        """Write the state; a failure is ignored, because nothing depends on it."""
        text = json.dumps(status.to_json()) + "\n"
        if self._path is None or text.encode() == self._last:
            return
        unfinished = self._path.with_suffix(".new")
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
            with new_file(unfinished, text, 0o600):
                unfinished.rename(self._path)
            self._last = text.encode()

    def remove(self) -> None:
        """Delete it at the end of the watch."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _folders() -> list[Path]:
    """Return the directories that a state file may be in, in order of preference."""
    own = os.environ.get("RUNTIME_DIRECTORY", "")  # set by the service manager
    user = os.geteuid()
    return [*([Path(own)] if os.path.isabs(own) else []), *xdg.folders(user)]


def running() -> Iterator[WatchStatus]:
    """Yield the states of this user's running watches; for root, also those of all services."""
    seen = set()
    folders = xdg.folders(os.geteuid())
    with suppress(OSError):
        folders += sorted(_SERVICES.iterdir())
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if name.startswith("watch-") and name.endswith(".json"):
                found = _read(folder / name)
                if found is not None and found.process.pid not in seen:
                    seen.add(found.process.pid)
                    yield found


def hold(watch: WatchStatus, *, is_held: bool) -> None:
    """Pause a watch until this is called again, or until it is started again.

    Args:
        watch: its state.
        is_held: whether to pause it, or to let it continue.

    Raises:
        ControlError: it has ended, is of an older version, or of another user; or the process
            does not catch the signal, which would end it.
    """
    if not watch.can_be_held:
        raise ControlError("this watch cannot be paused: it runs an older version; restart it")
    process = watch.process
    try:
        fd = os.pidfd_open(process.pid)
        try:
            number = HOLD if is_held else CONTINUE
            is_same = _start_ticks(process.pid) == process.start_ticks
            if not is_same or not _catches(process.pid, number):
                raise ProcessLookupError(ESRCH, os.strerror(ESRCH))
            signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
    except OSError as error:
        raise ControlError(f"the watch cannot be paused or continued: {reason(error)}") from None


def _read(path: Path) -> WatchStatus | None:
    """Return the state in a file; None if its process has ended, or it cannot be read.

    The process must be of the owner of the file: root reads files of other users, who could name
    any process for root to pause.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or os.geteuid() not in (0, status.st_uid):
                return None
            found = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    state = WatchStatus.from_json(found)
    process = state.process
    is_running = process.start_ticks and _start_ticks(process.pid) == process.start_ticks
    is_owners = is_running and _status_field(process.pid, b"Uid", 1) == b"%d" % status.st_uid
    return state if is_owners else None


def _catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    return bool(int(_status_field(pid, b"SigCgt", 0) or b"0", 16) >> (number - 1) & 1)


def _status_field(pid: int, name: bytes, index: int) -> bytes:
    """Return a value in /proc/PID/status, see proc_pid_status(5); empty if there is none.

    ``Uid`` has the real user, then the effective one, which is that of the files it makes.
    """
    with suppress(OSError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(name + b":"):
                return line.split()[1 + index]
    return b""


def _start_ticks(pid: int) -> int:
    """Return when a process started, see proc_pid_stat(5); 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0
