"""Location and protocol of the control socket of a mount.

One socket per mount and one request per connection: a JSON object on one line, with a reply of the
same form. Both sides, client.py and server.py, use these definitions. The command line must
start quickly, so this uses only the standard library.
"""

import json
import os
import socket
import struct
import time
import zlib
from typing import Any, Protocol

MAX_REQUEST = 1 << 16
"""The longest request in bytes, with its end of line."""

MAX_REPLY = 1 << 20
"""The longest reply in bytes, with its end of line."""

ENDING = ".sock"
"""Extension of a socket name."""

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
    """Return the address of a socket in an open directory, whatever the length of its path."""
    return f"/proc/self/fd/{folder}/{name}"


def connect(folder: int, name: str, until: float) -> socket.socket:
    """Return a connection to the daemon that listens on a socket.

    Args:
        folder: descriptor of the directory where the socket lies.
        name: of the socket.
        until: when to give up, as time.monotonic() counts.

    Raises:
        TimeoutError: its queue was full all the time.
        OSError: no process listens, or the socket does not exist.
    """
    return connect_to(socket_address(folder, name), until)


def connect_to(address: str, until: float) -> socket.socket:
    """Connect to the socket with this address."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # With blocking sockets, the kernel wakes waiting clients in order (fairness), so that
        # clients that connect again and again are not always first. A Python timeout makes the
        # socket non-blocking.
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
    """Return the JSON object in a line, or None if it is something else. Never raises."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
