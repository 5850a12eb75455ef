"""The control socket of a mount: protocol, server, client, and `status`."""

__all__ = ["client", "mount_status", "server", "status"]
