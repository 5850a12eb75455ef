"""Finds mounts inside a source directory that lead back to the mount that shows the directory.

A read of such a directory would be answered by the daemon that requests it, directly or through
other daemons, and block all of them. The mount table shows most of them, without a request to a
daemon: even ``stat`` of a directory that one serves may never return. It does not show what
other mount namespaces, such as containers, call their source directories. So before a daemon first
enters another zsofs mount, it looks up a name there that stands for the question whether that mount
leads back to it. The daemon asked passes the question on to the mounts that it has entered itself.
It notes that it enters a mount before it asks, so that of two that do so at the same time at least
one gives way.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from zsofs.console.text import for_people
from zsofs.source.relpath import is_at_or_below
from zsofs.source.roots import Roots
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, MountTable
from zsofs.timings import timings

QUESTION = b".zsofs-leads-to-"
"""How the name begins that is looked up; a device number and a random text follow."""

_ROOT: Mapping[bytes, str] = {b"": "the mount covers its own source directory"}
_COVERED = "shown empty: it is inside the mount of this source directory"
_BY_ANSWER = "shown empty: the mount there leads back to this mount, according to its daemon"

_KEPT_QUESTIONS = 1000


class MountCycles:
    """The directories of one source that must not be entered. Any thread may use it."""

    def __init__(self) -> None:
        self._table = MountTable()
        self._device = ""
        self._known: tuple[Sequence[Mounted], Roots, str] | None = None
        self._refused: Mapping[bytes, str] = {}
        self._inside: Mapping[bytes, str] = {}
        self._entered: dict[bytes, str] = {}
        self._led_back: dict[bytes, float] = {}
        self._questions: deque[bytes] = deque(maxlen=_KEPT_QUESTIONS)
        self._lock = threading.Lock()

    def serve_as(self, device: str) -> None:
        """Set the device number of the mount that shows the source, as ``0:52``.

        Until then, and in a program that mounts nothing, each zsofs mount of the same source
        counts as that mount.
        """
        self._device = device

    def mounts(self) -> Sequence[Mounted]:
        """Return the table of mounts."""
        return self._table.current()

    def refused(self, roots: Roots) -> Mapping[bytes, str]:
        """Return the directories that must not be entered, with the reason for each.

        Args:
            roots: the source directory, and others that it leads to.

        Returns:
            Reasons by path in the tree; the empty path stands for the whole source.
        """
        table = self._table.current()
        with self._lock:
            self._take_table(table, roots)
            if not self._led_back:
                return self._refused
            now = time.monotonic()
            self._led_back = {path: end for path, end in self._led_back.items() if end > now}
            return {**self._refused, **dict.fromkeys(self._led_back, _BY_ANSWER)}

    def _take_table(self, table: Sequence[Mounted], roots: Roots) -> None:
        device = self._device
        known = self._known
        if known is not None and known[0] is table and known[1:] == (roots, device):
            return
        self._refused = find_cycles(table, roots, device)
        self._inside = {
            path: mounted.device
            for mounted in _zsofs_mounts(table)
            if (path := roots.path_of(mounted.path))
        }
        self._entered = {
            path: number
            for path, number in self._entered.items()
            if self._inside.get(path) == number
        }
        for root in roots.all:
            around = _mount_of_path(table, root)
            path = roots.path_of(root) or b""
            if around is None or around.kind != FILE_SYSTEM_TYPE or path in self._inside:
                continue
            self._entered[path] = around.device
        self._led_back.clear()
        self._known = table, roots, device

    def unasked(self, path: bytes) -> bytes | None:
        """Return the mount point of another zsofs mount that *path* lies in and that is new."""
        with self._lock:
            for point in self._inside if self._device else ():
                if is_at_or_below(path, point) and point not in self._entered:
                    return point
        return None

    def may_enter(self, path: bytes, fd: int) -> bool:
        """Ask a mount whether it leads back here. May wait for its daemon.

        Args:
            path: where it is mounted, in the source.
            fd: descriptor of that directory.
        """
        with self._lock:
            self._entered[path] = self._inside.get(path, "")
        question = b"%s%s-%s" % (QUESTION, self._device.encode(), os.urandom(12).hex().encode())
        with self._lock:
            self._questions.append(question)
        if not leads_there(fd, question):
            return True
        with self._lock:
            self._entered.pop(path, None)
            self._led_back[path] = time.monotonic() + timings().trust_cycle
        return False

    def answer(self, question: bytes) -> bool | list[bytes]:
        """Return whether this mount leads to the one that a question is about.

        Returns:
            The answer, or the paths of the mounts in the source that the question is for as well.
        """
        device = question[len(QUESTION) :].partition(b"-")[0].decode(errors="replace")
        with self._lock:
            if question in self._questions:
                return False
            self._questions.append(question)
            return device in self._entered.values() or list(self._entered)


def leads_there(fd: int, question: bytes) -> bool:
    """Return what the mount at a directory answers. May wait for its daemon."""
    try:
        os.stat(question, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _zsofs_mounts(table: Sequence[Mounted]) -> list[Mounted]:
    """Return the zsofs mounts that are not covered by another mount at the same path."""
    topmost = {mounted.path: mounted for mounted in table}
    return [mounted for mounted in topmost.values() if mounted.kind == FILE_SYSTEM_TYPE]


def find_cycles(table: Sequence[Mounted], roots: Roots, device: str) -> dict[bytes, str]:
    """Return the directories of a source that lead back to a mount of it.

    Args:
        table: all mounts.
        roots: the source directory, and others that it leads to.
        device: device number of its mount; empty for all mounts of that source.

    Returns:
        Reasons by path in the source; see :meth:`MountCycles.refused`.
    """
    mounts = _zsofs_mounts(table)
    own = {mounted.device for mounted in mounts if mounted.source == roots.source}
    own = {device} if device else own
    if any(mounted.device in own for mounted in _chain(table, roots.source)):
        return dict(_ROOT)
    refused = {}
    for other in roots.others:
        if any(mounted.device in own for mounted in _chain(table, other)):
            refused[other] = _COVERED
    for mounted in mounts:
        path = roots.path_of(mounted.path)
        if path:
            reason = _reason(table, mounts, mounted, own)
            if reason:
                refused[path] = reason
    return refused


def _reason(
    table: Sequence[Mounted], mounts: Sequence[Mounted], found: Mounted, own: set[str]
) -> str:
    """Return why a mount inside the source leads back to it; empty if it does not."""
    if found.device in own:
        return "shown empty: it is a mount of this source directory itself"
    seen = {found.device}
    todo = [found]
    while todo:
        for mounted in _reachable(table, mounts, todo.pop().source):
            if mounted.device in own:
                shown = for_people(found.source)
                return f"shown empty: the mount of {shown} there contains a mount of this source"
            if mounted.device not in seen:
                seen.add(mounted.device)
                todo.append(mounted)
    return ""


def _reachable(
    table: Sequence[Mounted], mounts: Sequence[Mounted], source: bytes
) -> Iterator[Mounted]:
    """Yield the zsofs mounts in *source*, and the one that contains it."""
    below = [one for one in mounts if is_at_or_below(one.path, source.rstrip(b"/"))]
    yield from below
    around = _mount_of_path(table, source)
    if around is not None and around.kind == FILE_SYSTEM_TYPE:
        yield around


def _chain(table: Sequence[Mounted], source: bytes) -> Iterator[Mounted]:
    """Yield the zsofs mount that contains a source, the one that contains its source, and so on."""
    seen: set[str] = set()
    while True:
        mounted = _mount_of_path(table, source)
        if mounted is None or mounted.kind != FILE_SYSTEM_TYPE or mounted.device in seen:
            return
        yield mounted
        seen.add(mounted.device)
        source = mounted.source


def _mount_of_path(table: Sequence[Mounted], path: bytes) -> Mounted | None:
    """Return the mount that a path lies on, by its text; the topmost one."""
    found = None
    for mounted in table:
        if is_at_or_below(path, mounted.path.rstrip(b"/")) and (
            found is None or len(mounted.path) >= len(found.path)
        ):
            found = mounted
    return found
