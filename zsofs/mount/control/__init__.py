"""The control socket of a mount: protocol, server, client, and `status`."""

__all__ = [
    "activity",
    "activity_client",
    "client",
    "library",
    "metrics",
    "mount_status",
    "server",
    "status",
    "typed_json",
    "where_mounted",
]
