"""`zsofs watch`: pack what arrives in directories, without supervision.

Synchronous, without trio: one loop waits for events, and one child process at a time packs.
"""

__all__ = ["command", "service", "settings", "state_file", "status"]
