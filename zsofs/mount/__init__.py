"""The life of one mount, and of mounts under a name: settings, daemon, service."""

__all__ = [
    "config",
    "lifecycle",
    "options",
    "own_mount",
    "root_helper",
    "service",
    "settings",
    "umount",
]
