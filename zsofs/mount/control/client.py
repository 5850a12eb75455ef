"""Asking running mounts, none of which may keep who asks waiting: they may be other users'.

A user has 5 seconds for all mounts together, and whatever a daemon says is taken for text of a
stranger's.
"""

import dataclasses
import json
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zsofs.console.text import for_people
from zsofs.errors import ControlError
from zsofs.mount.control.mount_status import MountStatus
from zsofs.mount.control.protocol import (
    MAX_REPLY,
    connect,
    connect_to,
    credentials,
    left,
    parse,
    socket_name,
)
from zsofs.mount.control.stale_sockets import remove_stale_sockets
from zsofs.mount.control.where_mounted import where_mounted
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, mount_table, mounted_at
from zsofs.system.mountpoint import COMMAND
from zsofs.system.nofollow import Kinds, answering_kinds, reached
from zsofs.system.view_folders import view_folders_of
from zsofs.system.xdg import folders, opened
from zsofs.timings import timings

MAX_TEXT = 4096
"""The longest text of a reply that is shown, in characters: as long as a path can be."""

_ALL_REPLIES = 16 << 20
"""How long the replies of one user's mounts may be together, in bytes."""

_AT_ONCE = 32
"""Mounts of one user that are asked at the same time."""

_DEPTH = 8
"""How deep a reply may go; half of that is in use."""

_PART = 1 << 16

_STATUS = {"command": "status"}

_PAUSE = 0.02
"""Seconds before a daemon that hung up is asked again."""


def check_mount(mount_point: bytes, *, views: bool = False) -> Mounted:
    """The mount of ours at a real path.

    Args:
        mount_point: the path.
        views: also one of another user that this user may see, but not change.

    Raises:
        ControlError: there is none, or this user may not ask it.
    """
    path = for_people(mount_point)
    mounted = mounted_at(mount_point)
    if mounted is None:
        raise ControlError(f"nothing is mounted at {path}; {where_mounted(mount_point)}")
    if mounted.kind != FILE_SYSTEM_TYPE:
        raise ControlError(
            f"what is mounted at {path} is not zsofs but {mounted.kind};"
            f" {where_mounted(mount_point)}"
        )
    if not is_own(mounted) and not (views and _view_places(mounted)):
        raise ControlError(
            f"the mount at {path} belongs to another user (number {mounted.user}), who can"
            " query it; root can, too"
        )
    return mounted


def is_own(mounted: Mounted) -> bool:
    """Return whether this user may ask everything of a mount: as its user, or as root."""
    return os.geteuid() in (0, mounted.user)


def _view_places(mounted: Mounted) -> list[Path]:
    """Return the sockets by which this user may see a mount of another user."""
    if mounted.user is None:
        return []
    name = socket_name(mounted.path)
    found = [folder / name for folder in view_folders_of(mounted.user)]
    return [place for place in found if os.path.lexists(place)]


def ask(mount_point: bytes, command: str) -> dict[str, Any]:
    """Have a running mount do something.

    Args:
        mount_point: its real path.
        command: ``status`` or ``reload``.

    Returns:
        The daemon's reply, of whatever version that is: its fields may be missing, and of any
        type.

    Raises:
        ControlError: nothing of ours is mounted there, the daemon does not answer, or it says why
            it could not do it.
    """
    mounted = check_mount(mount_point)
    ((_, answer),) = _ask_all([mounted], {"command": command})
    return _understood(mounted, answer)


def ask_each(
    mounts: Sequence[Mounted], request: Mapping[str, object]
) -> Iterator[tuple[Mounted, dict[str, Any] | ControlError]]:
    """Send a request to several mounts at the same time; yield the reply of each, or the error."""
    for mounted, answer in _ask_all(mounts, request):
        try:
            yield mounted, _understood(mounted, answer)
        except ControlError as error:
            yield mounted, error


def daemon_of(mounted: Mounted, seconds: float) -> tuple[bool | None, int]:
    """Return whether the daemon of a mount answers, and its process.

    Args:
        mounted: the mount.
        seconds: timeout for the answer.

    Returns:
        True if it answers, False if it listens but does not answer, None if no process listens
        (any more); and its process ID, 0 if unknown.
    """
    until = time.monotonic() + seconds
    process = 0
    while True:
        listening: dict[bytes, int] = {}
        ((_, answer),) = _ask_all([mounted], _STATUS, left(until), listening)
        process = listening.get(mounted.path, process)
        if isinstance(answer, bytes):
            return True, process
        if mounted.path not in listening and not isinstance(answer, TimeoutError):
            return None, process
        if isinstance(answer, TimeoutError) or time.monotonic() >= until:
            return False, process
        time.sleep(_PAUSE)  # it hung up: a daemon that is just ending will not listen any more


def _understood(mounted: Mounted, answer: bytes | OSError) -> dict[str, Any]:
    """The reply in what came of a question.

    Raises:
        ControlError: there is none, or the daemon says why it could not do it.
    """
    path = for_people(mounted.path)
    if isinstance(answer, TimeoutError):
        raise ControlError(
            f"the daemon behind {path} does not answer within {timings().answer:.0f} seconds;"
            " try again, and check its log"
        )
    if isinstance(answer, OSError):
        raise ControlError(
            f"the daemon behind {path} does not answer: {answer.strerror}; if {path} cannot be"
            f" read either, unmount it with: {COMMAND} umount {path}"
        )
    reply = _shallow(parse(answer) or {})
    if not isinstance(reply.get("ok"), bool):
        raise ControlError(
            f"the daemon behind {path} sent a reply that this version of zsofs does not"
            " understand; mount it again, so that both have the same version"
        )
    if not reply["ok"]:
        raise ControlError(f"the daemon behind {path} reported an error: {_reason(reply)}")
    return reply


def _shallow(fields: dict[str, Any], depth: int = _DEPTH) -> dict[str, Any]:
    """A reply without what lies deeper than any reply goes, which could not be printed."""

    def inner(value: object, depth: int) -> object:
        if isinstance(value, dict):
            return _shallow(value, depth)
        if isinstance(value, list):
            return [inner(one, depth - 1) for one in value] if depth else []
        return value

    return {name: inner(value, depth - 1) for name, value in fields.items()} if depth else {}


def _reason(reply: dict[str, Any]) -> str:
    said = str(reply.get("error") or "no reason was given")[:MAX_TEXT]
    return for_people(said.encode(errors="backslashreplace"))


def _ask_all(
    mounts: Sequence[Mounted],
    request: Mapping[str, object],
    seconds: float | None = None,
    processes: dict[bytes, int] | None = None,
) -> Iterator[tuple[Mounted, bytes | OSError]]:
    """Ask all of *mounts*, all together for as long as one may take; what came of each, in order.

    What hangs although nothing should is left behind in its thread, so that this ends in any case;
    and of those whose mounts do not answer only their own others go unasked.
    """
    table = list(mount_table())
    until = time.monotonic() + (timings().answer if seconds is None else seconds)
    listening = {} if processes is None else processes
    askers: defaultdict[int | None, _Askers] = defaultdict(
        lambda: _Askers(table, request, until, listening)
    )
    for mounted in mounts:
        askers[mounted.user].mounts.append(mounted)
    threads = [
        threading.Thread(target=asker.work, daemon=True)
        for asker in askers.values()
        for _ in asker.mounts[:_AT_ONCE]
    ]
    for thread in threads:
        with suppress(RuntimeError):  # there are as many as the system lets us have
            thread.start()
    for thread in threads:
        if thread.ident is not None:
            thread.join(left(until))
    for mounted in mounts:
        yield mounted, askers[mounted.user].answers.pop(mounted.path, TimeoutError())


class _Askers:
    """Threads that ask the mounts of one user.

    Attributes:
        mounts: those to be asked, all before the work begins.
        answers: what came of each that was asked, by its path.
    """

    def __init__(
        self,
        table: Sequence[Mounted],
        request: Mapping[str, object],
        until: float,
        processes: dict[bytes, int],
    ) -> None:
        """Prepare; *processes* receives the process of each daemon that listens, by path."""
        self.mounts: list[Mounted] = []
        self.answers: dict[bytes, bytes | OSError] = {}
        self._table = table
        self._kinds = answering_kinds(table)
        self._request = json.dumps(request).encode() + b"\n"
        self._until = until
        self._processes = processes
        self._left_to_take = _ALL_REPLIES
        self._asked = 0
        self._lock = threading.Lock()

    def work(self) -> None:
        """Ask one after the other; to be run by several threads."""
        while time.monotonic() < self._until:
            with self._lock:
                number, self._asked = self._asked, self._asked + 1
            if number >= len(self.mounts):
                return
            mounted = self.mounts[number]
            try:
                answer: bytes | OSError = self._exchange(mounted)
            except OSError as error:
                answer = error
            self.answers[mounted.path] = answer

    def _exchange(self, mounted: Mounted) -> bytes:
        """Send the request to the daemon of a mount; its answer, without the end of line.

        Raises:
            OSError: why there is none; its strerror is human-readable.
        """
        names = [socket_name(path) for path in _places(mounted, self._table)]
        with _reach(mounted, names, self._kinds, self._until) as peer:
            self._processes[mounted.path] = credentials(peer)[0]
            peer.settimeout(left(self._until))
            with suppress(BrokenPipeError):  # it may have said why before it closed the connection
                peer.sendall(self._request)
            line = bytearray()
            while b"\n" not in line[-_PART:]:
                if len(line) > MAX_REPLY or self._left_to_take < 0:
                    raise OSError(0, "its reply is too long")
                if time.monotonic() > self._until:
                    raise TimeoutError
                peer.settimeout(left(self._until))
                part = peer.recv(_PART)
                if not part:
                    raise OSError(0, "it closed the connection")
                line += part
                with self._lock:
                    self._left_to_take -= len(part)
            return bytes(line.partition(b"\n")[0])


def _reach(mounted: Mounted, names: Sequence[str], kinds: Kinds, until: float) -> socket.socket:
    """A connection to the daemon of a mount, whose socket has one of *names*."""
    user = os.geteuid() if mounted.user is None else mounted.user
    places = folders(user) if os.geteuid() in (0, user) else view_folders_of(user)
    for name in names:
        for folder in places:
            try:
                peer = _peer_in(folder, name, user, kinds, until)
            except TimeoutError:
                raise
            except OSError:
                continue
            # A symlink in a user's directory could lead root to the socket of another process.
            if credentials(peer)[1] == user:
                return peer
            peer.close()
    raise OSError(0, "nothing is listening on its control socket")


def _peer_in(folder: Path, name: str, user: int, kinds: Kinds, until: float) -> socket.socket:
    if user == os.geteuid():
        with opened(folder, user) as fd:
            return connect(fd, name, until)
    with reached(folder / name, kinds) as fd:
        return connect_to(f"/proc/self/fd/{fd}", until)


def _places(mounted: Mounted, table: Sequence[Mounted]) -> list[bytes]:
    """The paths of a mount: that one first, then those where ``mount --bind`` shows it, too."""
    topmost = {other.path: other for other in table}.values()
    others = [other.path for other in topmost if other.device == mounted.device]
    return list(dict.fromkeys((mounted.path, *others)))


def ask_status(mount_point: bytes) -> MountStatus:
    """What the running mount at a real path says about itself.

    Raises:
        ControlError: as of :func:`ask`.
    """
    ((_, reply),) = ask_statuses([check_mount(mount_point)])
    if isinstance(reply, ControlError):
        raise reply
    return reply


def ask_statuses(
    mounts: Sequence[Mounted],
) -> Iterator[tuple[Mounted, MountStatus | ControlError]]:
    """What several mounts say about themselves, or why they say nothing; they are asked together.

    Where one is mounted, the kernel has the last word: of another user's mount a daemon of that
    user's speaks, which must not pass for another one.
    """
    table = list(mount_table())
    for mounted, reply in ask_each(mounts, _STATUS):
        if isinstance(reply, ControlError):
            yield mounted, reply
            continue
        status = MountStatus.from_json(reply)
        places = list(map(os.fsdecode, _places(mounted, table)))
        if status.settings.mount_point not in places:
            settings = dataclasses.replace(status.settings, mount_point=places[0])
            status = dataclasses.replace(status, settings=settings)
        yield mounted, status


def _mounts() -> list[Mounted]:
    """Every zsofs mount that can be reached, in the kernel's order."""
    topmost = {mounted.path: mounted for mounted in mount_table()}
    return [mounted for mounted in topmost.values() if mounted.kind == FILE_SYSTEM_TYPE]


def running(*, views: bool = False) -> list[Mounted]:
    """The mounts that this user may ask, whether or not their daemons answer.

    Those are the user's own; for root all. Sockets that this user's daemons left behind when they
    were killed are removed on the way.

    Args:
        views: also mounts of other users that this user may see, but not change.
    """
    removing = threading.Thread(target=remove_stale_sockets, args=(_mounts,), daemon=True)
    removing.start()
    removing.join(timings().answer)  # a home may hang, and `sudo -E` hand on that of another user
    first: dict[str, Mounted] = {}
    for mounted in _mounts():
        if is_own(mounted) or (views and _view_places(mounted)):
            first.setdefault(mounted.device, mounted)
    return list(first.values())
