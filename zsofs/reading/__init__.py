"""How one read is answered: cache, threads for each disk, admission.

No FUSE, no containers.
"""

__all__ = [
    "admission",
    "cycle_answers",
    "extent_cache",
    "file_opener",
    "io_pool",
    "reader",
    "statfs_cache",
    "stats",
    "tasks",
    "worker_threads",
]
