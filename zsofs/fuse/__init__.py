"""The FUSE protocol: requests in, data or an errno out. The only room that uses pyfuse3.

No policy: the rooms below decide what is a disc and what may be written.
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
