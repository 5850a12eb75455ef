"""Stored blocks to bytes and back, without the GIL; system calls that Python lacks.

No file names, no caches, no headers of containers.
"""

__all__ = [
    "block_reader",
    "cd_codecs",
    "chd_map",
    "codecs",
    "encoder",
    "fetch",
    "fileio",
    "index_scan",
    "meters",
    "read_log",
    "stack_signal",
    "stored_ranges",
]
