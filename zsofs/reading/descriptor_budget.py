"""The limit of concurrently open source files."""

import errno
import resource
import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_RESERVED = 64
"""Descriptors reserved for other purposes: without them no directory could be read, and a disc
image could not be inspected and would be shown as a packed file."""


class DescriptorBudget:
    """Counts open files. For threads, so that a request waiting for a thread has no descriptor yet.

    Otherwise requests that wait for a hanging disk would leave none for others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0
        self._limit = _limit()

    def open(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *function*, which opens a file.

        Raises:
            OSError: EMFILE if the limit of open files is reached; or what *function* raises.
        """
        with self._lock:
            if self._used >= self._limit:
                raise OSError(
                    errno.EMFILE,
                    f"{self._used} discs are open and the limit of open files (ulimit -n) is"
                    " reached",
                )
            self._used += 1
        try:
            return function(*args, **kwargs)
        except BaseException:
            self._give_back()
            raise

    def close(self, function: Callable[[], None]) -> None:
        """Call *function*, which closes a file, and count it as closed even if that fails."""
        try:
            function()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        with self._lock:
            self._used -= 1


def _limit() -> int:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(allowed - _RESERVED, allowed // 2)
