"""The lifecycle of a mount, by hand or as a service: settings, daemon, configs, services."""

__all__ = [
    "config",
    "lifecycle",
    "named_mount",
    "options",
    "own_mount",
    "root_helper",
    "service",
    "service_users",
    "settings",
    "systemd_units",
    "umount",
]
