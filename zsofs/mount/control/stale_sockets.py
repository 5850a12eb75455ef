"""Control sockets that daemons left behind when they were killed."""

import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from zsofs.mount.control.protocol import ENDING, connect, socket_address, socket_name
from zsofs.system.mountinfo import Mounted
from zsofs.system.xdg import folders, opened


def remove_stale_sockets(mounts: Callable[[], Iterable[Mounted]]) -> None:
    """Remove the sockets of this user on which no process listens; may wait for a disk.

    Args:
        mounts: returns all mounts of zsofs, which keep their sockets.
    """
    user = os.geteuid()
    for folder in folders(user):
        with suppress(OSError), opened(folder, user) as fd:
            names = [name for name in os.listdir(fd) if name.endswith(ENDING)]
            mounted = {socket_name(mounted.path) for mounted in mounts()}
            for name in names:
                if name not in mounted:
                    _remove_if_stale(fd, name)


def _remove_if_stale(folder: int, name: str) -> None:
    """Remove a stale socket, on which no process listens."""
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
