"""A thread that writes the log, so that a log that cannot be written stops nobody.

A log file lies on a disk that may hang, and standard error may be a terminal that was stopped with
Ctrl-S, or a pipe that nobody empties. The event loop must not wait for either.
"""

import logging
import os
import threading
import time
from collections import deque

from zsofs.timings import timings

_MAX_WAITING = 1000
"""Messages kept for a log that does not take them; later ones are counted and dropped."""


class ThreadedHandler(logging.Handler):
    """Pass records to another handler, in a thread of its own that starts with the first one."""

    def __init__(self, handler: logging.Handler) -> None:
        """Prepare, without starting the thread: the process may still fork.

        Args:
            handler: writes the records; used by the thread alone.
        """
        super().__init__()
        self._handler = handler
        self._starting = threading.Lock()
        self._reset()

    @property
    def inner(self) -> logging.Handler:
        """The handler that writes the records."""
        return self._handler

    def handle(self, record: logging.LogRecord) -> bool:
        """Take *record*, without the lock of :class:`logging.Handler` around :meth:`emit`.

        A thread that logs must not wait while another one waits for the log.
        """
        found: bool | logging.LogRecord = self.filter(record)  # the latter from Python 3.12 on
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def _reset(self) -> None:
        self._process = 0
        self._changed = threading.Condition()
        self._waiting: deque[logging.LogRecord] = deque()
        self._accepted = 0
        self._written = 0
        self._dropped = 0
        self._is_late = False

    def emit(self, record: logging.LogRecord) -> None:
        """Have *record* written; wait for it, but only for a moment, and not if the log is late."""
        try:
            record.msg, record.args = record.getMessage(), None  # what it is about may change
        except Exception:  # noqa: BLE001 - as any handler does
            self.handleError(record)
            return
        if not self._has_thread():  # better late than never
            self._handler.handle(record)
            return
        with self._changed:
            if len(self._waiting) >= _MAX_WAITING:
                self._dropped += 1
                return
            self._waiting.append(record)
            self._accepted += 1
            self._changed.notify_all()
            if not self._is_late:
                self._is_late = not self._wait_written(timings().log_message)

    def _has_thread(self) -> bool:
        """Whether there is a thread; it is started by the first message of a process."""
        if self._process == os.getpid():
            return True
        with self._starting:
            if self._process != os.getpid():
                self._reset()
                try:
                    threading.Thread(target=self._write_all, name="log", daemon=True).start()
                except RuntimeError:  # the system gives none; the next message tries again
                    return False
                self._process = os.getpid()
        return True

    def finish(self) -> bool:
        """Wait until all is written, but not for long; return whether it is."""
        if self._process != os.getpid():
            return True
        with self._changed:
            return self._wait_written(timings().last_log_messages)

    def close(self) -> None:
        """Write what is left; the file is closed by the end of the process, which may hang."""
        self.finish()
        super().close()

    def _wait_written(self, seconds: float) -> bool:
        """Whether all records so far are written within *seconds*. Lock held."""
        number = self._accepted
        return self._changed.wait_for(lambda: self._written >= number, seconds)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                record = self._waiting.popleft()
                dropped = self._dropped if not self._waiting else 0
                self._dropped -= dropped
            try:
                self._handler.handle(record)
                if dropped:
                    self._handler.handle(_lost(dropped))
            except Exception:  # noqa: BLE001 - there is nowhere to log this
                pass
            with self._changed:
                self._written += 1
                if not self._waiting:
                    self._is_late = False
                self._changed.notify_all()


def _lost(count: int) -> logging.LogRecord:
    message = f"{count} messages were dropped because the log could not be written"
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, None, None)
    record.created = time.time()
    return record
