"""A FUSE mount that its own daemon creates and removes, as root or by fusermount3.

For a mount that root creates for the daemon of another user, see root_helper.py.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from zsofs.errors import MountError, reason
from zsofs.mount.settings import MountSettings
from zsofs.system import fuse_mount, fusermount
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, mounted_at
from zsofs.system.nofollow import reached


class ServedMount(Protocol):
    """A mount, as seen by its daemon.

    Attributes:
        fd: descriptor of /dev/fuse.
        device: device number of the mount, such as ``0:52``.
    """

    fd: int

    @property
    def device(self) -> str:
        """See above."""

    def ready(self) -> None:
        """Report that the mount is being served."""

    def detach(self) -> None:
        """Detach the mount, if it still exists; open files stay usable. Never raises."""

    def raise_limits(self) -> None:
        """Raise the kernel's limits for it, as far as this user may."""

    def abort(self) -> None:
        """Make the kernel fail all requests that wait for an answer."""


class OwnMount:
    """A mount created by this process; see :class:`ServedMount`."""

    def __init__(self, settings: MountSettings) -> None:
        """Mount.

        Raises:
            MountError: it cannot be mounted; nothing remains.
        """
        self._read_ahead = settings.read_ahead
        self._is_roots = os.geteuid() == 0
        if self._is_roots:
            self.fd, self._mounted = mount_as_root(settings, user=0, group=os.getegid())
            return
        point = settings.mount_point
        self._detacher = fusermount.Detacher()
        self.fd = fusermount.mount(
            settings.source,
            point,
            writable=settings.writing.files,
            allow_other=settings.allow_other,
        )
        mounted = mounted_at(point)
        if mounted is None or (mounted.kind, mounted.user) != (FILE_SYSTEM_TYPE, os.geteuid()):
            os.close(self.fd)
            raise MountError(f"the mount at {os.fsdecode(point)} failed: it was moved or unmounted")
        self._mounted = mounted

    @property
    def device(self) -> str:
        """Device number of the mount, such as ``0:52``."""
        return self._mounted.device

    def ready(self) -> None:
        """Do nothing: no other process waits for it."""

    def detach(self) -> None:
        """Detach the mount, if it still exists; open files stay usable. Never raises."""
        if not fuse_mount.is_connected(self.fd):
            return  # already unmounted, and its number may have been reused
        now = fuse_mount.located(self._mounted)
        if now is None:
            return
        if self._is_roots:
            with suppress(OSError):
                fuse_mount.detach(now)
        else:
            self._detacher.detach(now.path)

    def raise_limits(self) -> None:
        """Raise the kernel's limits for it, as far as this user may."""
        fuse_mount.raise_limits(self._mounted, self._read_ahead)

    def abort(self) -> None:
        """Make the kernel fail all requests that wait for an answer."""
        if fuse_mount.is_connected(self.fd):
            fuse_mount.abort(self._mounted)


def mount_as_root(settings: MountSettings, *, user: int, group: int) -> tuple[int, Mounted]:
    """Mount a file system that *user* is going to serve.

    Returns:
        A descriptor of /dev/fuse, and the mount.

    Raises:
        MountError: it cannot be mounted; nothing remains.
    """
    point = os.fsdecode(settings.mount_point)
    try:
        # By descriptor: another user may own a directory above, and change what has this path.
        with reached(Path(point), None) as place:
            return fuse_mount.mount(
                settings.source,
                place,
                user=user,
                group=group,
                writable=settings.writing.files,
                allow_other=settings.allow_other,
            )
    except OSError as error:
        raise MountError(f"the mount at {point} failed: {reason(error)}") from None
