"""Asking a running mount: where its socket lies, and the few words that are said over it.

One socket for each mount and one request for each connection: a JSON object in one line, answered
by another. Both sides take their rules from here; the daemon's side is in answers.py. The command
line must stay quick, so this is standard library only.
"""

import json
import os
import pwd
import socket
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from zsofs.errors import ControlError
from zsofs.mountpoint import COMMAND, FILE_SYSTEM_TYPE
from zsofs.mounts import Mounted, mount_table, mounted_at
from zsofs.names import for_people

MAX_REQUEST = 1 << 16
"""The longest request, in bytes, with its end of line."""

MAX_REPLY = 1 << 20
"""The longest reply, in the same way."""

_ENDING = ".sock"
_SHOWN_NAME = 60
_ANSWER_SECONDS = 5.0
_QUEUE_SECONDS = 0.02
_PART = 1 << 16


class _Peer(Protocol):
    """A socket, the standard library's or an event loop's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def socket_name(mount_point: bytes) -> str:
    """Name of the socket of the mount at a real path, as its log file is named."""
    # Of an address the kernel takes 107 bytes, and some of those are `/proc/self/fd/N/`. What is
    # not ASCII would be other bytes where the daemon and the command line have other locales.
    shown = os.path.basename(mount_point)[:_SHOWN_NAME].decode("ascii", errors="ignore")
    return f"{shown or 'root'}-{zlib.crc32(mount_point):08x}{_ENDING}"


def socket_address(folder: int, name: str) -> str:
    """The address of a socket in an open folder, however long the folder's own path is."""
    return f"/proc/self/fd/{folder}/{name}"


def runtime_folders(user: int) -> list[Path]:
    """Folders in memory for the sockets of a user's mounts, the best first.

    They may go when the user logs out. One that belongs to somebody else is left out: ``sudo``
    may hand on the user's environment to root.
    """
    bases = [Path("/run")] if user == 0 else [service_folder(user), Path("/run/user") / str(user)]
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if user == os.geteuid() and given.is_absolute():
        bases.insert(0, given)
    return [base / "zsofs" for base in dict.fromkeys(bases) if _owner(base) == user]


def service_folder(user: int) -> Path:
    """What root makes for the mounts that it makes for a user, who need not be logged in."""
    return Path(f"/run/zsofs-{user}")


def folders(user: int) -> list[Path]:
    """Every folder where the sockets of a user's mounts may lie, the best first."""
    return runtime_folders(user) + _state_folders(user)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _state_folders(user: int) -> list[Path]:
    state = Path(os.environ.get("XDG_STATE_HOME", "")) if user == os.geteuid() else Path()
    if not state.is_absolute():
        home = os.environ.get("HOME", "") if user == os.geteuid() else ""
        with suppress(KeyError):
            home = home or pwd.getpwuid(user).pw_dir
        state = Path(home) / ".local" / "state"
    return [state / "zsofs"] if state.is_absolute() else []


@contextmanager
def opened(folder: Path, user: int) -> Iterator[int]:
    """Descriptor of a folder with the sockets of *user*, who must own it.

    Raises:
        OSError: it is not there, or somebody else's.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid != user:
            raise PermissionError(f"{folder} belongs to another user")
        yield fd
    finally:
        os.close(fd)


def connect(folder: int, name: str, until: float) -> socket.socket:
    """A connection to the daemon that listens on a socket.

    Args:
        folder: descriptor of the folder where the socket lies.
        name: of the socket.
        until: when to give up, as time.monotonic() counts.

    Raises:
        TimeoutError: its queue was full all the time.
        OSError: nobody listens, or nothing is there.
    """
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        while True:
            peer.settimeout(_left(until))
            try:
                peer.connect(socket_address(folder, name))
            except BlockingIOError:  # the queue is full, and the kernel does not wait for it
                if time.monotonic() >= until:
                    raise TimeoutError from None
                time.sleep(_QUEUE_SECONDS)
            else:
                return peer
    except BaseException:
        peer.close()
        raise


def credentials(peer: "_Peer") -> tuple[int, int, int]:
    """Process, user and group at the other end of a connection, as the kernel knows them.

    Of a daemon they are those that it had when it began to listen.
    """
    layout = struct.Struct("3i")
    pid, user, group = layout.unpack(
        peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    )
    return pid, user, group


def _left(until: float) -> float:
    """Seconds until then; a little more than 0, which would mean not to wait at all."""
    return max(until - time.monotonic(), 0.001)


def parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line, or None if it is something else. Never raises."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def check_mount(mount_point: bytes) -> Mounted:
    """The mount of ours at a real path.

    Raises:
        ControlError: there is none, or this user may not ask it.
    """
    path = for_people(mount_point)
    mounted = mounted_at(mount_point)
    if mounted is None:
        raise ControlError(f"nothing is mounted at {path}; see what is with: {COMMAND} status")
    if mounted.kind != FILE_SYSTEM_TYPE:
        raise ControlError(
            f"what is mounted at {path} is not zsofs but {mounted.kind}; see what is with:"
            f" {COMMAND} status"
        )
    if os.geteuid() not in (0, mounted.user):
        raise ControlError(
            f"the mount at {path} belongs to another user (number {mounted.user}), who can ask it,"
            " as root can"
        )
    return mounted


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
    path = for_people(mount_point)
    until = time.monotonic() + _ANSWER_SECONDS
    try:
        line = _exchange(mounted, json.dumps({"command": command}).encode() + b"\n", until)
    except TimeoutError:
        raise ControlError(
            f"the daemon behind {path} does not answer within {_ANSWER_SECONDS:.0f} seconds; try"
            " again, and look into its log"
        ) from None
    except OSError as error:
        raise ControlError(
            f"the daemon behind {path} does not answer: {error.strerror}; if {path} cannot be"
            f" read either, take it down with: {COMMAND} umount {path}"
        ) from None
    reply = parse(line)
    if reply is None or not isinstance(reply.get("ok"), bool):
        raise ControlError(
            f"the daemon behind {path} does not answer in a way that this zsofs understands; mount"
            " it again, so that both are of one version"
        )
    if not reply["ok"]:
        raise ControlError(f"the daemon behind {path} could not do it: {_reason(reply)}")
    return reply


def _reason(reply: dict[str, Any]) -> str:
    said = str(reply.get("error") or "it does not say why")
    return for_people(said.encode(errors="backslashreplace"))


def _exchange(mounted: Mounted, request: bytes, until: float) -> bytes:
    """Send *request* to the daemon of a mount and return its answer, without the end of line.

    Raises:
        OSError: why there is none; its strerror is for people.
    """
    with _reach(mounted, until) as peer:
        peer.settimeout(_left(until))
        with suppress(BrokenPipeError):  # it may have said why before it hung up
            peer.sendall(request)
        line = bytearray()
        while b"\n" not in line[-_PART:]:
            if len(line) > MAX_REPLY:
                raise OSError(0, "what it says has no end")
            if time.monotonic() > until:
                raise TimeoutError
            peer.settimeout(_left(until))
            part = peer.recv(_PART)
            if not part:
                raise OSError(0, "it hung up")
            line += part
        return bytes(line.partition(b"\n")[0])


def _reach(mounted: Mounted, until: float) -> socket.socket:
    user = os.geteuid() if mounted.user is None else mounted.user
    for name in map(socket_name, _places(mounted)):
        for folder in folders(user):
            try:
                with opened(folder, user) as fd:
                    peer = connect(fd, name, until)
            except TimeoutError:
                raise
            except OSError:
                continue
            # A link in a user's folder would lead root to whoever listens elsewhere.
            if credentials(peer)[1] == user:
                return peer
            peer.close()
    raise OSError(0, "nobody listens for it")


def _places(mounted: Mounted) -> list[bytes]:
    """The paths of a mount: that one first, then those where ``mount --bind`` shows it, too."""
    others = [other.path for other in _mounts() if other.device == mounted.device]
    return list(dict.fromkeys((mounted.path, *others)))


def ask_status(mount_point: bytes) -> dict[str, Any]:
    """What a running mount says about itself.

    Where it is mounted, the kernel has the last word: of another user's mount a daemon of that
    user's speaks, which must not pass for another one.

    Raises:
        ControlError: as of :func:`ask`.
    """
    places = list(map(os.fsdecode, _places(check_mount(mount_point))))
    reply = ask(mount_point, "status")
    if reply.get("mount_point") not in places:
        reply["mount_point"] = places[0]
    return reply


def _mounts() -> list[Mounted]:
    """Every zsofs mount that can be reached, in the kernel's order."""
    topmost = {mounted.path: mounted for mounted in mount_table()}
    return [mounted for mounted in topmost.values() if mounted.kind == FILE_SYSTEM_TYPE]


def running() -> list[bytes]:
    """The real paths of the mounts that this user may ask, whether or not their daemons answer.

    Those are the user's own; for root all. Sockets that this user's daemons left behind when they
    were killed are removed on the way.
    """
    _remove_stale_sockets()
    first: dict[str, bytes] = {}
    for mounted in _mounts():
        if os.geteuid() in (0, mounted.user):
            first.setdefault(mounted.device, mounted.path)
    return list(first.values())


def _remove_stale_sockets() -> None:
    user = os.geteuid()
    for folder in folders(user):
        with suppress(OSError), opened(folder, user) as fd:
            names = [name for name in os.listdir(fd) if name.endswith(_ENDING)]
            mounted = {socket_name(mounted.path) for mounted in _mounts()}
            for name in names:
                if name not in mounted:
                    _remove_if_stale(fd, name)


def _remove_if_stale(folder: int, name: str) -> None:
    """Remove a socket on which nobody listens."""
    with suppress(OSError):
        before = os.lstat(socket_address(folder, name))
        if not stat.S_ISSOCK(before.st_mode):
            return
        try:
            connect(folder, name, time.monotonic()).close()
        except ConnectionRefusedError:
            # A daemon that starts just now may have put its own in this place.
            if os.path.samestat(before, os.lstat(socket_address(folder, name))):
                os.unlink(name, dir_fd=folder)
