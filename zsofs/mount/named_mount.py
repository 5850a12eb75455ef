"""Mounts by the name of their config."""

import os
from collections.abc import Callable

from zsofs.errors import UsageError
from zsofs.mount import config
from zsofs.system.mountinfo import mounted_at


def mount_point_of(target: str, real: Callable[[str], bytes]) -> bytes:
    """Return the real path of a mount point, given as a path or as the name of a config.

    Args:
        target: path or name. A path where something is mounted comes first.
        real: returns the real path of a path.

    Raises:
        UsageError: the config cannot be read.
        ZsofsError: what *real* raises.
    """
    point = real(target)
    if mounted_at(point) is not None or os.sep in target:
        return point
    try:
        path = config.find(target)
    except UsageError:  # neither a path nor a config
        return point
    return real(str(config.load(path)["mountpoint"]))
