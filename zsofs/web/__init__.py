"""The web page: library, reads and slow reads in a browser.

A process of its own that asks mounts over their control sockets, so that no page slows a mount.
"""

__all__ = ["access", "command", "service"]
