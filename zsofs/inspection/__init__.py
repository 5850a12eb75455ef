"""Inspection of disc images: the work of `zsofs info` and `zsofs verify`.

No FUSE.
"""

__all__ = ["info", "verify", "verify_cache", "verify_report"]
