"""The daemon's side of the control socket: it answers `zsofs status` and `zsofs reload`.

Nothing here needs a thread, nor a disk after the start: it answers while every disk hangs.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import trio

from zsofs.control import (
    MAX_REPLY,
    MAX_REQUEST,
    connect,
    credentials,
    folders,
    opened,
    parse,
    runtime_folders,
    socket_address,
    socket_name,
)
from zsofs.errors import ZsofsError
from zsofs.full_write import checked
from zsofs.names import for_people

log = logging.getLogger(__name__)

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

_MAX_PEERS = 8
_QUEUE = 32
_PART = 4096

_PEER_SECONDS = 4.0
"""Time for each of: the request, the answer, sending it. The command line waits for 5 seconds."""

_LOOK_SECONDS = 30.0
"""How often is looked whether the socket is still there: runtime folders go at a user's logout."""

_PAUSE_SECONDS = 0.5
"""Before the next try, where a connection could not be taken; for want of descriptors, say."""


class ControlSocket:
    """The socket of one mount, there for as long as this is entered; to be served by a task.

    A mount must never fail because of it: what goes wrong is logged, and the mount is without.
    """

    def __init__(self, mount_point: bytes, answer: Answer) -> None:
        """Prepare, without touching anything.

        Args:
            mount_point: real path of the mount, which exists by the time this is entered.
            answer: gets a request, a JSON object of any content, and returns the reply's fields;
                what it raises becomes ``{"ok": false}``. Cancelled if it takes seconds.
        """
        self._mount_point = mount_point
        self._name = socket_name(mount_point)
        self._answer = answer
        self._peers = trio.Semaphore(_MAX_PEERS)
        self._listener: socket.socket | None = None
        self._folder = Path()
        self._bound: os.stat_result | None = None

    def __enter__(self) -> Self:
        """Bind the socket."""
        self._bind(folders(os.geteuid()))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the socket, unless a later mount has put its own in that place."""
        if self._listener is None:
            return
        self._listener.close()
        with suppress(OSError), opened(self._folder, os.geteuid()) as folder:
            if self._is_there():
                os.unlink(self._name, dir_fd=folder)

    def _bind(self, candidates: Iterable[Path]) -> None:
        """Bind in the first folder where that works."""
        problem: OSError | None = None
        for folder in candidates:
            try:
                listener, found = _listen(folder, self._name)
            except _TakenError:
                log.warning(
                    "another daemon, which this one cannot see, answers for %s: `zsofs status` and"
                    " `zsofs reload` will go to that one",
                    for_people(self._mount_point),
                )
                return
            except OSError as error:
                problem = error
            else:
                if self._listener is not None:
                    self._listener.close()
                self._listener, self._folder, self._bound = listener, folder, found
                return
        if self._listener is None:
            log.warning(
                "`zsofs status` and `zsofs reload` cannot reach this mount, for no socket can be"
                " made: %s",
                problem or "there is no folder for it",
            )

    def _is_there(self) -> bool:
        """Whether the socket can still be found; False also if a later mount took its place."""
        try:
            return self._bound is not None and os.path.samestat(
                self._bound, os.lstat(self._folder / self._name)
            )
        except OSError:
            return False

    def _bind_again_if_gone(self) -> None:
        """Bind anew if the folder was removed, at the user's logout, and is there again."""
        candidates = runtime_folders(os.geteuid())
        if self._bound is None or self._folder not in candidates:
            return  # a folder on a disk stays, and the loop must not wait for a disk
        if not os.path.lexists(self._folder / self._name):
            self._bind(candidates)

    async def serve(self) -> None:
        """Answer requests until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                with trio.move_on_after(_LOOK_SECONDS):
                    await self._take_peers(nursery)
                self._bind_again_if_gone()

    async def _take_peers(self, nursery: trio.Nursery) -> None:
        if self._listener is None:
            await trio.sleep_forever()
        listener = trio.socket.from_stdlib_socket(self._listener)
        while True:
            await self._peers.acquire()
            try:
                peer, _ = await listener.accept()
            except OSError as error:
                self._peers.release()
                log.warning("a request to this mount could not be taken: %s", error.strerror)
                await trio.sleep(_PAUSE_SECONDS)
            except BaseException:
                self._peers.release()
                raise
            else:
                nursery.start_soon(self._serve_peer, peer)

    async def _serve_peer(self, peer: trio.socket.SocketType) -> None:
        """One connection, which ends with it whatever happens; nothing is raised."""
        try:
            with peer:
                reply = await self._reply(peer)
                if reply is not None:
                    with trio.move_on_after(_PEER_SECONDS):
                        await _send(peer, reply)
        except OSError as error:
            log.info("who asked about this mount has gone: %s", error.strerror)
        except Exception:
            log.exception("a bug in zsofs: somebody who asked about this mount got no answer")
        finally:
            self._peers.release()

    async def _reply(self, peer: trio.socket.SocketType) -> bytes | None:
        """The reply to what *peer* asks, or None if it asks nothing."""
        if credentials(peer)[1] not in (0, os.geteuid()):
            return _failure("this mount belongs to another user, who can ask it, as root can")
        line = None
        with trio.move_on_after(_PEER_SECONDS) as limit:
            line = await _receive_line(peer)
        if limit.cancelled_caught:
            return _failure(f"the request did not come within {_PEER_SECONDS:.0f} seconds")
        if not line:
            return None
        request = parse(line)
        if request is None:
            return _failure("the request is not one line with a JSON object")
        return await self._answer_in_time(request)

    async def _answer_in_time(self, request: dict[str, Any]) -> bytes:
        reply = None
        try:
            with trio.move_on_after(_PEER_SECONDS):
                reply = _encode({"ok": True} | await self._answer(request))
        except ZsofsError as error:
            return _failure(str(error))
        except Exception:
            log.exception("a bug in zsofs: a request to this mount could not be answered")
            return _failure("there is a bug in zsofs; the mount's log says more")
        return reply or _failure(f"it took longer than {_PEER_SECONDS:.0f} seconds")


class _TakenError(Exception):
    """A living daemon listens on the socket that was to be ours."""


def _listen(folder: Path, name: str) -> tuple[socket.socket, os.stat_result]:
    """A socket that listens as *name* in *folder*, which is made if need be, and its place.

    Raises:
        _TakenError: another daemon, in another view of the file system, has that name.
        OSError: the folder cannot be used.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    with opened(folder, os.geteuid()) as fd:
        os.chmod(fd, 0o700)  # logs may lie there too, in a folder that others could read
        if _is_taken(fd, name):
            raise _TakenError
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            return listener, _put(listener, fd, name)
        except BaseException:
            listener.close()
            raise


def _put(listener: socket.socket, folder: int, name: str) -> os.stat_result:
    """Give *listener* its name, in place of what may be there; returns what is there then.

    Until it listens it has another name, so that nobody finds it deaf and takes it for stale.
    """
    unfinished = f"{os.getpid()}.new"
    with suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=folder)
    os.fchmod(listener.fileno(), 0o600)  # before it has a name, so that it never has more
    listener.bind(socket_address(folder, unfinished))
    listener.listen(_QUEUE)
    os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _is_taken(folder: int, name: str) -> bool:
    """Whether a daemon listens there that is not merely an earlier one of this mount point.

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
    """What *peer* sends up to the first end of line, its own end, or a little past the limit."""
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
