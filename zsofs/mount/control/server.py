"""The control socket of the daemon: it answers `zsofs status` and `zsofs reload`.

It needs no thread, and no disk after startup: it answers while every disk hangs.
"""

import json
import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import trio

from zsofs.console.text import for_people
from zsofs.errors import ZsofsError, reason
from zsofs.mount.control.protocol import (
    MAX_REPLY,
    MAX_REQUEST,
    connect,
    credentials,
    parse,
    socket_address,
    socket_name,
)
from zsofs.system.full_write import checked
from zsofs.system.xdg import folders, opened, runtime_folders
from zsofs.timings import timings

log = logging.getLogger(__name__)

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

_MAX_PEERS = 32
"""Maximum number of connections; each takes a descriptor, and up to 1 MiB for a reply."""

_QUEUE = 4096
"""Connections that the kernel keeps until they are taken: as many as it allows by default."""

_PART = 4096


@dataclass(frozen=True, slots=True)
class _Bound:
    """A socket that listens, and where: its directory, and what lstat says of it there."""

    listener: socket.socket
    folder: Path
    status: os.stat_result


@dataclass(eq=False, slots=True)
class _Peer:
    """A connection.

    Attributes:
        stream: the connection.
        process: number of the process at its other end.
        may_ask: whether it is the owner's, or root's.
        scope: ends it.
        has_asked: whether its request has come.
        is_answered: whether its answer is being made, so that others are dropped first.
    """

    stream: trio.socket.SocketType
    process: int
    may_ask: bool
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    has_asked: bool = False
    is_answered: bool = False


class ControlSocket:
    """The control socket of a mount, which exists within the context and is served by a task.

    A mount must never fail because of it: what goes wrong is logged, and the mount is without.
    A mount of root's can have a second one, as a view for a group.
    """

    def __init__(self, mount_point: bytes, answer: Answer, view: Path | None = None) -> None:
        """Create it without side effects.

        Args:
            mount_point: real path of the mount, which exists by the time this is entered.
            answer: gets a request, a JSON object of any content, and returns the reply's fields;
                what it raises becomes ``{"ok": false}``. Cancelled if it takes seconds.
            view: directory that only the group of a view can enter; None for the socket of the
                user of this mount.
        """
        self._view = view
        self._mount_point = mount_point
        self._name = socket_name(mount_point)
        self._answer = answer
        self._peers: list[_Peer] = []
        self._bound: list[_Bound] = []  # the last one is in use; the loop closes those before it
        self._binding = threading.Lock()  # a thread may hold it while a disk hangs
        self._has_ended = threading.Event()
        self._taking = trio.CancelScope()

    def __enter__(self) -> Self:
        """Bind the socket."""
        self._bind(folders(os.geteuid()) if self._view is None else [self._view])
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the socket, unless a later mount has put its own in that place."""
        self._has_ended.set()
        if self._binding.acquire(timeout=timings().last_bind):
            self._remove()
            self._binding.release()

    def _remove(self) -> None:
        """Close what is bound and delete its name."""
        for bound in self._bound:
            bound.listener.close()
            with suppress(OSError), opened(bound.folder, os.geteuid()) as folder:
                if self._is_there(bound):
                    os.unlink(self._name, dir_fd=folder)

    def _bind(self, candidates: Iterable[Path]) -> None:
        """Bind in the first directory where that works. May wait for a disk."""
        problem: OSError | None = None
        for folder in candidates:
            try:
                bound = _listen(folder, self._name, is_view=self._view is not None)
            except _TakenError:
                log.warning(
                    "another daemon in a different mount namespace already answers for %s:"
                    " `zsofs status` and"
                    " `zsofs reload` reach that one",
                    for_people(self._mount_point),
                )
                return
            except OSError as error:
                problem = error
            else:
                self._bound.append(bound)
                return
        if not self._bound and self._view is not None:
            log.warning("the group of --view-group cannot see this mount: %s", problem)
        elif not self._bound:
            log.warning(
                "`zsofs status` and `zsofs reload` cannot reach this mount, because its control"
                " socket cannot be created: %s",
                problem or "there is no directory for it",
            )

    def _is_there(self, bound: _Bound) -> bool:
        """Return whether the socket still exists, and no later mount has replaced it."""
        try:
            return os.path.samestat(bound.status, os.lstat(bound.folder / self._name))
        except OSError:
            return False

    def _bind_again_if_gone(self) -> None:
        """Bind again if the directory was removed, at the user's logout, and exists again.

        For a thread: the environment may name a directory on a disk. If that disk hangs, the mount
        may end first; then the new socket is removed here.
        """
        with self._binding:
            candidates = runtime_folders(os.geteuid())
            if (
                self._has_ended.is_set()
                or not self._bound
                or self._bound[-1].folder not in candidates
            ):
                return  # a directory on a disk stays
            if os.path.lexists(self._bound[-1].folder / self._name):
                return
            self._bind(candidates)
            if self._has_ended.is_set():
                self._remove()

    async def serve(self) -> None:
        """Answer requests until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._view is None:
                nursery.start_soon(self._keep_bound)
            while True:
                with trio.CancelScope() as self._taking:
                    await self._take_peers(nursery)

    async def _keep_bound(self) -> None:
        limiter = trio.CapacityLimiter(1)
        while True:
            await trio.sleep(timings().socket_check)
            try:
                await trio.to_thread.run_sync(
                    self._bind_again_if_gone, abandon_on_cancel=True, limiter=limiter
                )
            except RuntimeError:  # the system gives no thread now
                continue
            if len(self._bound) > 1:
                for former in self._bound[:-1]:
                    former.listener.close()
                del self._bound[:-1]
                self._taking.cancel()

    async def _take_peers(self, nursery: trio.Nursery) -> None:
        if not self._bound:
            await trio.sleep_forever()
        listener = trio.socket.from_stdlib_socket(self._bound[-1].listener)
        while True:
            try:
                stream, _ = await listener.accept()
            except (OSError, MemoryError) as error:
                log.warning("a control connection could not be accepted: %s", reason(error))
                await trio.sleep(timings().retry_accept)
            else:
                nursery.start_soon(self._serve_peer, self._admitted(stream))

    def _admitted(self, stream: trio.socket.SocketType) -> _Peer:
        """Return a new connection; another one may be dropped for it, if it is authorized."""
        process, user, _ = credentials(stream)
        # Of a view, the directory of the socket lets in only members of the group.
        is_known = self._view is not None or user in (0, os.geteuid())
        peer = _Peer(stream, process, may_ask=is_known)
        if peer.may_ask:
            if len(self._peers) >= _MAX_PEERS:
                self._drop_one()
            self._peers.append(peer)
        return peer

    def _drop_one(self) -> None:
        """Drop a connection of the process that has most, one that has not asked, the oldest."""
        counts = Counter(peer.process for peer in self._peers)
        dropped = max(self._peers, key=lambda one: (counts[one.process], not one.is_answered))
        self._peers.remove(dropped)
        dropped.scope.cancel()

    async def _serve_peer(self, peer: _Peer) -> None:
        """One connection, which ends with it whatever happens; nothing is raised."""
        try:
            with peer.stream:
                with peer.scope:
                    await self._converse(peer)
                if peer.scope.cancelled_caught and not peer.has_asked:
                    with trio.move_on_after(timings().peer):
                        await _send(peer.stream, _failure("too many connections; try again"))
        except OSError as error:
            log.info("the client of the control socket has disconnected: %s", error.strerror)
        except Exception:
            log.exception("internal error in zsofs: a control client received no reply")
        finally:
            if peer in self._peers:
                self._peers.remove(peer)

    async def _converse(self, peer: _Peer) -> None:
        if peer.may_ask:
            reply = await self._reply(peer)
        else:
            reply = _failure("this mount belongs to another user, who can query it; root can, too")
        if reply is not None:
            peer.has_asked = True
            with trio.move_on_after(timings().peer):
                await _send(peer.stream, reply)

    async def _reply(self, peer: _Peer) -> bytes | None:
        """Return the reply to what *peer* asks, or None if it asks nothing."""
        line = None
        with trio.move_on_after(timings().peer) as limit:
            line = await _receive_line(peer.stream)
        if limit.cancelled_caught:
            return _failure(f"the request did not arrive within {timings().peer:.0f} seconds")
        if not line:
            return None
        request = parse(line)
        if request is None:
            return _failure("the request is not a JSON object on one line")
        peer.has_asked = peer.is_answered = True
        try:
            return await self._answer_in_time(request)
        finally:
            peer.is_answered = False

    async def _answer_in_time(self, request: dict[str, Any]) -> bytes:
        reply = None
        try:
            with trio.move_on_after(timings().peer):
                reply = _encode({"ok": True} | await self._answer(request))
        except (ZsofsError, MemoryError) as error:
            return _failure(reason(error))
        except Exception:
            log.exception("internal error in zsofs: a control request could not be answered")
            return _failure("internal error in zsofs; see the log of the mount")
        return reply or _failure(f"it took longer than {timings().peer:.0f} seconds")


class _TakenError(Exception):
    """A living daemon listens on the socket that was to be ours."""


def _listen(folder: Path, name: str, *, is_view: bool = False) -> _Bound:
    """Return a socket that listens as *name* in *folder*.

    Unless it is that of a view, the directory is this user's alone, and created if necessary.

    Raises:
        _TakenError: another daemon, in another view of the file system, has that name.
        OSError: the directory cannot be used.
    """
    if not is_view:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    with opened(folder, os.geteuid()) as fd:
        if not is_view:
            os.chmod(fd, 0o700)  # logs may lie there too, in a directory that others could read
        if _is_taken(fd, name):
            raise _TakenError
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            return _Bound(listener, folder, _put(listener, fd, name, 0o666 if is_view else 0o600))
        except BaseException:
            listener.close()
            raise


def _put(listener: socket.socket, folder: int, name: str, mode: int) -> os.stat_result:
    """Give *listener* its name, replacing an existing one; return its lstat.

    Until it listens, it has a temporary name, so that no other process takes it for stale.
    """
    unfinished = f"{os.getpid()}.new"
    with suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=folder)
    os.fchmod(listener.fileno(), mode)  # before it has a name, so that it never has more
    listener.bind(socket_address(folder, unfinished))
    os.chmod(unfinished, mode, dir_fd=folder)  # bind(2) applies the umask
    listener.listen(_QUEUE)
    os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _is_taken(folder: int, name: str) -> bool:
    """Return whether a daemon listens there that is not an earlier one of this mount point.

    An earlier one lives on where its mount was detached while in use. Its socket is replaced: the
    name stands for what is mounted there now. In another mount namespace, as of a container, the
    same path may be another place.
    """
    try:
        other = connect(folder, name, time.monotonic())
    except TimeoutError:
        return True
    except OSError:
        return False
    with other:
        pid, _, _ = credentials(other)
    try:
        return not os.path.samestat(os.stat(f"/proc/{pid}/ns/mnt"), os.stat("/proc/self/ns/mnt"))
    except OSError:
        return True


async def _receive_line(peer: trio.socket.SocketType) -> bytes:
    """Return what *peer* sends up to the first end of line, EOF, or just above the limit."""
    line = bytearray()
    while len(line) <= MAX_REQUEST:
        part = await peer.recv(_PART)
        line += part
        if not part or b"\n" in part:
            break
    return bytes(line.partition(b"\n")[0])


async def _send(peer: trio.socket.SocketType, reply: bytes) -> None:
    left = memoryview(reply)
    while left:
        left = left[checked(await peer.send(left)) :]


def _encode(reply: dict[str, Any]) -> bytes:
    line = json.dumps(reply).encode() + b"\n"
    if len(line) > MAX_REPLY:
        return _failure(f"the answer is longer than {MAX_REPLY:,} bytes")
    return line


def _failure(why: str) -> bytes:
    return json.dumps({"ok": False, "error": why}).encode() + b"\n"
