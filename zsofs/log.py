"""Where messages go, and that each is said once.

A console retries a bad block dozens of times; the log has one line for it.
"""

import logging
import os
import sys
import time
import zlib
from collections import OrderedDict
from logging.handlers import RotatingFileHandler
from pathlib import Path

REPORT = 45
"""Level of what somebody asked for: it is written even by a quiet mount, and as often as asked."""

_REMEMBERED = 4096
_SILENT_SECONDS = 3600.0
_LOG_SIZE = 1 << 20


class _Once(logging.Filter):
    """Lets a message pass that was not logged within the last hour."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: OrderedDict[str, float] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.levelno == REPORT:
            return True
        message, now = record.getMessage(), time.monotonic()
        logged = self._logged.get(message)
        if logged is not None and now < logged + _SILENT_SECONDS:
            return False
        self._logged[message] = now
        self._logged.move_to_end(message)
        if len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)
        return True


def default_log_file(mount_point: bytes) -> Path:
    """Where a mount in the background logs unless told otherwise: a file named after it."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = os.fsdecode(os.path.basename(mount_point))[:100] or "root"
    return Path(state) / "zsofs" / f"{name}-{zlib.crc32(mount_point):08x}.log"


def to_terminal(level: int) -> None:
    """Log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("zsofs: %(levelname)s: %(message)s"))
    _install(handler, level)


def to_file(path: Path, level: int) -> None:
    """Log to *path*, which is kept under 1 MiB, with one older file beside it.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(
        path, maxBytes=_LOG_SIZE, backupCount=1, errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
    _install(handler, level)


def _install(handler: logging.Handler, level: int) -> None:
    logging.addLevelName(REPORT, "REPORT")
    handler.addFilter(_Once())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("pyfuse3").setLevel(max(level, logging.WARNING))
