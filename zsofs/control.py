"""Where the socket of a mount lies, how it is reached, and in which form things are said over it.

One socket for each mount and one request for each connection: a JSON object in one line, answered
by another. Both sides take their rules from here: who asks is asking.py, the daemon's side is
answers.py. The command line must stay quick, so this is standard library only.
"""

import json
import os
import pwd
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from zsofs.xdg import base_directory

MAX_REQUEST = 1 << 16
"""The longest request, in bytes, with its end of line."""

MAX_REPLY = 1 << 20
"""The longest reply, in the same way."""

ENDING = ".sock"
"""How the name of a socket ends."""

_SHOWN_NAME = 60


class _Peer(Protocol):
    """A socket, the standard library's or an event loop's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def socket_name(mount_point: bytes) -> str:
    """Name of the socket of the mount at a real path, as its log file is named."""
    # Of an address the kernel takes 107 bytes, and some of those are `/proc/self/fd/N/`. What is
    # not ASCII would be other bytes where the daemon and the command line have other locales.
    shown = os.path.basename(mount_point)[:_SHOWN_NAME].decode("ascii", errors="ignore")
    return f"{shown or 'root'}-{zlib.crc32(mount_point):08x}{ENDING}"


def socket_address(folder: int, name: str) -> str:
    """The address of a socket in an open folder, however long the folder's own path is."""
    return f"/proc/self/fd/{folder}/{name}"


def runtime_folders(user: int) -> list[Path]:
    """Folders in memory for the sockets of a user's mounts, the best first.

    They may go when the user logs out. One that belongs to somebody else is left out: ``sudo``
    may hand on the user's environment to root. Those of another user are not looked at here.
    """
    bases = [Path("/run")] if user == 0 else [service_folder(user), Path("/run/user") / str(user)]
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if user == os.geteuid() and given.is_absolute():
        bases.insert(0, given)
    ours = user == os.geteuid()
    return [base / "zsofs" for base in dict.fromkeys(bases) if not ours or _owner(base) == user]


def service_folder(user: int) -> Path:
    """What root makes for the mounts that it makes for a user, who need not be logged in."""
    return Path(f"/run/zsofs-{user}")


def folders(user: int) -> list[Path]:
    """Every folder where the sockets of a user's mounts may lie, the best first."""
    return runtime_folders(user) + state_folders(user)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def state_folders(user: int) -> list[Path]:
    """The folder on a disk where a user's logs lie, and sockets if nowhere else; or none."""
    if user == os.geteuid():
        state = base_directory("XDG_STATE_HOME", ".local/state")
    else:
        home = ""
        with suppress(KeyError):
            home = pwd.getpwuid(user).pw_dir
        state = Path(home) / ".local" / "state" if os.path.isabs(home) else None
    return [state / "zsofs"] if state is not None else []


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
    return connect_to(socket_address(folder, name), until)


def connect_to(address: str, until: float) -> socket.socket:
    """The same by the address of the socket."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel has those who wait for room in the queue take turns, if their sockets block:
        # others who connect again and again must not always be the first. Not so with a timeout of
        # Python's, under which they do not block.
        seconds, fraction = divmod(left(until), 1)
        limit = struct.pack("@ll", int(seconds), int(fraction * 1e6))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        peer.connect(address)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 0))
        peer.settimeout(left(until))
    except BlockingIOError:  # the queue was full all the time
        peer.close()
        raise TimeoutError from None
    except BaseException:
        peer.close()
        raise
    return peer


def credentials(peer: "_Peer") -> tuple[int, int, int]:
    """Process, user and group at the other end of a connection, as the kernel knows them.

    Of a daemon they are those that it had when it began to listen.
    """
    layout = struct.Struct("3i")
    pid, user, group = layout.unpack(
        peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    )
    return pid, user, group


def left(until: float) -> float:
    """Seconds until then; a little more than 0, which would mean not to wait at all."""
    return max(until - time.monotonic(), 0.001)


def parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line, or None if it is something else. Never raises."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
