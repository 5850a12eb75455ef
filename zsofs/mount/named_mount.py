"""Mounts by the name of their config: one rule for all commands that expect a mount point."""

import os
from collections.abc import Callable

from zsofs.errors import UsageError
from zsofs.mount import config
from zsofs.mount.control.client import check_mount
from zsofs.system.mountinfo import mounted_at
from zsofs.system.mountpoint import real_path


def path_of(target: str, real: Callable[[str], bytes] = real_path) -> str:
    """Return the path of a mount point, which may be given as the name of a config.

    Args:
        target: path or name. A path where something is mounted comes first.
        real: returns the real path of a path.

    Raises:
        UsageError: the config cannot be read.
        ZsofsError: what *real* raises.
    """
    if os.sep in target or mounted_at(real(target)) is not None:
        return target
    try:
        path = config.find(target)
    except UsageError:  # neither a path nor a config
        return target
    return str(config.load(path)["mountpoint"])


def mount_point_of(target: str, real: Callable[[str], bytes] = real_path) -> bytes:
    """Return the real path of a mount point; arguments and errors as of :func:`path_of`."""
    return real(path_of(target, real))


def directory_of(target: str) -> str:
    """Return the path of a source directory, or as :func:`path_of` that of a mount point.

    Args:
        target: path or name. A directory comes before a config.

    Raises:
        ControlError: it is the name of a config whose mount does not exist.
        UsageError: the config cannot be read.
    """
    if mounted_at(real_path(target)) is not None or os.path.isdir(target):
        return target  # whatever is in a config of that name
    path = path_of(target)
    if path != target:
        check_mount(real_path(path))
    return path
