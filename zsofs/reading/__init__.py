"""How one read is answered: cache, threads for each disk, admission.

No FUSE, no containers.
"""

__all__ = [
    "admission",
    "descriptor_budget",
    "extent_cache",
    "io_pool",
    "reader",
    "tasks",
    "worker_threads",
]
