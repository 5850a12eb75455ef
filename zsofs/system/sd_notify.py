"""Telling the service manager how a daemon is doing (sd_notify(3), without a library)."""

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Messages to the service manager; none where it did not start us, or went away."""

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        """Prepare, without touching anything.

        Args:
            address: of its socket; a path, or an abstract one after an @.
            watchdog_seconds: after how long without a sign of life it ends us; None for never.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self) -> None:
        """The mount can be used."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows, in one line."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload has begun; :meth:`ready` says that it is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The mount will be gone soon."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A full queue must not hold up the loop, and a manager that is away must not end a mount.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.sendto(message.encode(errors="replace"), self._address)


def from_environment() -> Notifier:
    """What the service manager said to this process; programs it starts do not get to see it."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    pid = os.environ.pop("WATCHDOG_PID", "")
    if address[:1] not in ("/", "@"):
        address = ""
    is_meant = address and microseconds.isdecimal() and pid in ("", str(os.getpid()))
    return Notifier(address, int(microseconds) / 1e6 if is_meant else None)
