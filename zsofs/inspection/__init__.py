"""Inspection of disc images: the work of `zsofs info` and `zsofs verify`.

No FUSE.
"""

__all__ = ["bad_discs", "facts", "info", "verify", "verify_cache", "verify_report"]
