"""The control socket of a mount: protocol, server, client, and `status`."""

__all__ = ["activity", "client", "metrics", "mount_status", "server", "status"]
