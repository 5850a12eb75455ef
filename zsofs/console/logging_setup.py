"""Log destinations, and suppression of repeated messages.

A console retries a bad block dozens of times; the log has one line for it.
"""

import logging
import os
import sys
import time
import traceback
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from zsofs.console import stdio
from zsofs.console.log_file import LogFile
from zsofs.console.log_thread import ThreadedHandler
from zsofs.errors import SystemFailureError, ZsofsError
from zsofs.system.xdg import runtime_folders, state_folders
from zsofs.timings import timings

log = logging.getLogger(__name__)

REPORT = 45
"""Level of requested reports: written even by a quiet mount, and never suppressed as repeated."""

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_REMEMBERED = 4096


class _Once(logging.Filter):
    """Filter that passes a message once per hour."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: OrderedDict[str, float] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.levelno == REPORT:
            return True
        message, now = record.getMessage(), time.monotonic()
        logged = self._logged.get(message)
        if logged is not None and now < logged + timings().log_again:
            return False
        self._logged[message] = now
        self._logged.move_to_end(message)
        if len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)
        return True


class _JournalFormatter(logging.Formatter):
    """Formatter for the journal: each line starts with its syslog(3) priority."""

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelno
        priority = next((number for least, number in _PRIORITIES if level >= least), 7)
        priority = 5 if level == REPORT else priority
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def _leads_to_journal(stream: TextIO | None) -> bool:
    """Return whether a stream is the journal stream of the service manager ($JOURNAL_STREAM)."""
    said = os.environ.get("JOURNAL_STREAM", "")
    if stream is None or not said:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return said == f"{found.st_dev}:{found.st_ino}"


def complain(error: Exception) -> None:
    """Print why a command failed; in the journal, with error priority."""
    mark = f"<{_PRIORITIES[0][1]}>" if _leads_to_journal(sys.stderr) else ""
    stdio.complain("\n".join(mark + line for line in f"zsofs: {error}".split("\n")))


def fail(error: ZsofsError) -> int:
    """Print why a command failed; return its exit code."""
    complain(error)
    return error.exit_code


def exit_code_of(run: Callable[[], int]) -> int:
    """Serve a mount, and print the reason in one line if it fails.

    Args:
        run: serves the mount; returns an exit code.

    Returns:
        The exit code of *run*, or that of the exception that it raised.
    """
    try:
        return run()
    except ZsofsError as error:
        return fail(error)
    except OSError as error:
        return fail(SystemFailureError(error))
    except Exception as error:  # noqa: BLE001 - nothing above could report it
        complain_of_bug(error)
        return 1


def finish() -> bool:
    """Wait briefly until a slow log has taken all messages.

    Returns:
        Whether all messages are written. If not, a thread is blocked in a write.
    """
    threaded = [one for one in logging.getLogger().handlers if isinstance(one, ThreadedHandler)]
    return all(handler.finish() for handler in threaded)


def lasting_descriptor() -> int:
    """Return a descriptor that refers to the log for the lifetime of this process.

    It is that of standard error if there is no log, or if the log is written there.
    """
    for handler in logging.getLogger().handlers:
        inner = handler.inner if isinstance(handler, ThreadedHandler) else handler
        if isinstance(inner, LogFile):
            return inner.lasting_descriptor()
    return 2


def complain_of_bug(error: Exception) -> None:
    """Print in one line that a bug terminated the command; the log has the traceback."""
    log.error("internal error in zsofs: the mount has stopped", exc_info=error)
    what = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    complain(
        ZsofsError(f"internal error, the mount has stopped: {what}; please report it, with its log")
    )


def to_terminal(level: int, *, threaded: bool = False) -> None:
    """Log to standard error; in the journal, with a priority per line.

    Args:
        level: minimum level.
        threaded: use a thread, so that a blocked stream does not block the process.
    """
    handler = logging.StreamHandler(sys.stderr)
    if _leads_to_journal(sys.stderr):
        handler.setFormatter(_JournalFormatter())
    else:
        handler.setFormatter(logging.Formatter("zsofs: %(levelname)s: %(message)s"))
    _install(ThreadedHandler(handler) if threaded else handler, level)


def to_file(path: Path, level: int) -> None:
    """Log to *path*, which is rotated at 1 MiB, with one older file.

    Raises:
        OSError: the file cannot be written.
    """
    _install(ThreadedHandler(_file_handler(path)), level)


def to_default_file(mount_point: bytes, level: int) -> None:
    """Log to a file named after the mount point, in the first usable directory.

    Directories in memory follow the one in the home directory: server users usually have no home,
    and other homes may be on a disk that is attached later. A mount never fails because of its log.
    """
    name = os.fsdecode(os.path.basename(mount_point))[:100] or "root"
    user, problem = os.geteuid(), ""
    for folder in state_folders(user) + runtime_folders(user):
        path = folder / f"{name}-{zlib.crc32(mount_point):08x}.log"
        try:
            handler = _file_handler(path)
        except OSError as error:
            problem = problem or f"{path} cannot be written: {error.strerror}"
            continue
        if problem:
            log.warning("the log of this mount is %s, because %s", path, problem)
        _install(ThreadedHandler(handler), level)
        return
    log.warning(
        "this mount has no log, because %s; give a path for it with --log-file",
        problem or "there is no directory for it",
    )


def _file_handler(path: Path) -> logging.Handler:
    handler = LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
    return handler


def _install(handler: logging.Handler, level: int) -> None:
    logging.addLevelName(REPORT, "REPORT")
    handler.addFilter(_Once())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    logging.raiseExceptions = False  # a full disk must not flood the terminal with tracebacks
    logging.getLogger("pyfuse3").setLevel(max(level, logging.WARNING))
