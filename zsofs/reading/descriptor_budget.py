"""The limit of concurrently open source files."""

import errno
import resource
import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

P = ParamSpec("P")
R = TypeVar("R")

_RESERVED = 64
"""Descriptors reserved for other purposes: without them no directory could be read, and a disc
image could not be inspected and would be shown as a packed file."""


class Closable(Protocol):
    """An open file."""

    def close(self) -> None:
        """Close it. May wait for a disk."""


@runtime_checkable
class ManyDescriptors(Closable, Protocol):
    """An open file that may have more than one descriptor."""

    @property
    def descriptors(self) -> int:
        """Return how many there are."""


class DescriptorBudget:
    """Counts open files. For threads, so that a request waiting for a thread has no descriptor yet.

    Otherwise requests that wait for a hanging disk would leave none for others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0
        self._limit = _limit()

    def open(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *function*, which opens a file, perhaps with others that belong to it.

        Only the file is known before the call; the others, parents of a CHD, are counted when they
        are open, and closed again if that exceeds the limit.

        Raises:
            OSError: EMFILE if the limit of open files is reached; or what *function* raises.
        """
        self._take(1)
        try:
            opened = function(*args, **kwargs)
        except BaseException:
            self._give_back(1)
            raise
        if isinstance(opened, ManyDescriptors):
            try:
                self._take(opened.descriptors - 1)
            except OSError:
                self._give_back(1)
                opened.close()
                raise
        return opened

    def close(self, file: Closable) -> None:
        """Close *file*, and count it as closed even if that fails."""
        count = file.descriptors if isinstance(file, ManyDescriptors) else 1
        try:
            file.close()
        finally:
            self._give_back(count)

    def _take(self, count: int) -> None:
        with self._lock:
            if self._used + count > self._limit:
                raise OSError(
                    errno.EMFILE,
                    f"{self._used} discs are open and the limit of open files (ulimit -n) is"
                    " reached",
                )
            self._used += count

    def _give_back(self, count: int) -> None:
        with self._lock:
            self._used -= count


def _limit() -> int:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(allowed - _RESERVED, allowed // 2)
