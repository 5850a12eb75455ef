"""Whether a file lies on a hard disk."""

import os
from contextlib import suppress
from pathlib import Path

from zsofs.system.mountinfo import mount_of

_DEVICES = Path("/sys/dev/block")


def is_on_hard_disk(fd: int) -> bool:
    """Return whether an open file lies on a disk that rotates, by what the kernel says of it.

    False for network file systems, and for what the kernel cannot tell. May wait for a disk.
    """
    device = os.fstat(fd).st_dev
    if not os.major(device):  # btrfs has numbers of its own; the mount names one of its disks
        mounted = mount_of(fd)
        if mounted is None or not mounted.source.startswith(b"/dev/"):
            return False
        try:
            device = os.stat(mounted.source).st_rdev
        except OSError:
            return False
    disk = _DEVICES / f"{os.major(device)}:{os.minor(device)}"
    for queue in (disk / "queue", disk / "../queue"):  # of a disk, or of a partition of one
        with suppress(OSError):
            return (queue / "rotational").read_text().strip() == "1"
    return False
