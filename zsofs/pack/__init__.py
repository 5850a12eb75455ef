"""Discs to files that are whole or not there.

No FUSE, no trio.
"""

__all__ = ["batch", "jobs", "packer", "presets", "report"]
