"""Reads of discs: cache, per-disk threads, admission control.

No FUSE, no containers.
"""

__all__ = [
    "admission",
    "cycle_answers",
    "extent_cache",
    "file_opener",
    "io_pool",
    "reader",
    "slow_reads",
    "statfs_cache",
    "stats",
    "tasks",
    "worker_threads",
]
