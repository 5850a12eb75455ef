"""Stored blocks to bytes and back, without the GIL; file calls that Python lacks.

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
    "stored_ranges",
]
