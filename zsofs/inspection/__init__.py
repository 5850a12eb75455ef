"""What `info` and `verify` say of a disc image.

No FUSE.
"""

__all__ = ["info", "verify", "verify_cache", "verify_report"]
