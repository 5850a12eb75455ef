"""Desktop notifications, where a desktop listens; by programs of systemd or libnotify."""

import shutil
import subprocess
from contextlib import suppress

from zsofs.timings import timings

_SERVICE = "org.freedesktop.Notifications"
_PATH = "/org/freedesktop/Notifications"


def notify(title: str, body: str) -> bool:
    """Send a notification (Desktop Notifications Specification); return whether one took it.

    Args:
        title: first line.
        body: the text below.
    """
    return any(_sent(command) for command in _commands(title, body) if shutil.which(command[0]))


def _commands(title: str, body: str) -> list[list[str]]:
    call = ["busctl", "--user", "call", "--", _SERVICE, _PATH, _SERVICE, "Notify", "susssasa{sv}i"]
    text = body.replace("&", "&amp;").replace("<", "&lt;")  # the specification allows markup there
    return [
        [*call, "zsofs", "0", "", title, text, "0", "0", "-1"],
        ["notify-send", "--app-name=zsofs", "--", title, text],
    ]


def _sent(command: list[str]) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timings().program,
            check=False,
        )
        return done.returncode == 0
    return False
