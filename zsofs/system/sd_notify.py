"""Notification of the service manager (sd_notify(3), without a library)."""

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Sends messages to the service manager; does nothing without one."""

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        """Create it without side effects.

        Args:
            address: address of its socket: a path, or an abstract name after @.
            watchdog_seconds: watchdog timeout; None: no watchdog.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that the mount is ready."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Set the status line of ``systemctl status``."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Reset the watchdog."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Report that a reload has started; :meth:`ready` reports its end."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the mount is stopping."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A full queue must not block the loop, and a missing manager must not end a mount.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.sendto(message.encode(errors="replace"), self._address)


def from_environment() -> Notifier:
    """Create it from the environment variables, and unset these for child processes."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    pid = os.environ.pop("WATCHDOG_PID", "")
    if address[:1] not in ("/", "@"):
        address = ""
    is_meant = address and microseconds.isdecimal() and pid in ("", str(os.getpid()))
    return Notifier(address, int(microseconds) / 1e6 if is_meant else None)
