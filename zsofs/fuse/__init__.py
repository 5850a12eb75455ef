"""The FUSE protocol: requests in, bytes or an errno out. The only room with pyfuse3.

No policy: what is a disc or may be written is decided below.
"""

__all__ = [
    "attributes",
    "kernel_cache",
    "operations",
    "parts",
    "receive",
    "request_loop",
    "write_operations",
]
