"""Pack and unpack disc images; output files are complete or absent.

No FUSE, no trio.
"""

__all__ = ["batch", "jobs", "packer", "presets", "report"]
