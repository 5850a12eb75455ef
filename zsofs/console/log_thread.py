"""A logging thread, so that a log that cannot be written never blocks the daemon.

A log file may be on a disk that hangs, and standard error may be a terminal that was stopped with
Ctrl-S, or a pipe that nobody reads. The event loop must not wait for either.
"""

import logging
import os
import threading
import time
from collections import deque

from zsofs.timings import timings

_MAX_WAITING = 1000
"""Maximum number of queued messages; later ones are counted and dropped."""


class ThreadedHandler(logging.Handler):
    """Pass records to another handler in a thread, which starts with the first record."""

    def __init__(self, handler: logging.Handler) -> None:
        """Prepare, without starting the thread: the process may still fork.

        Args:
            handler: writes the records; used only by the thread.
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
        """Handle *record* without the lock of :class:`logging.Handler` around :meth:`emit`.

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
        """Queue *record*; wait briefly until it is written, unless the log is late."""
        try:
            record.msg, record.args = record.getMessage(), None  # the arguments may change later
        except Exception:  # noqa: BLE001 - as any handler does
            self.handleError(record)
            return
        if not self._has_thread():  # write late rather than never
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
        """Return whether the thread runs; the first message of a process starts it."""
        if self._process == os.getpid():
            return True
        with self._starting:
            if self._process != os.getpid():
                self._reset()
                try:
                    threading.Thread(target=self._write_all, name="log", daemon=True).start()
                except RuntimeError:  # no thread available; the next message tries again
                    return False
                self._process = os.getpid()
        return True

    def finish(self) -> bool:
        """Wait briefly until all records are written; return whether they are."""
        if self._process != os.getpid():
            return True
        with self._changed:
            return self._wait_written(timings().last_log_messages)

    def close(self) -> None:
        """Write the remaining records; the file stays open until exit, because close may hang."""
        self.finish()
        super().close()

    def _wait_written(self, seconds: float) -> bool:
        """Return whether all records so far are written within *seconds*. Lock held."""
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
