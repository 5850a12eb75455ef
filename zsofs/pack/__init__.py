"""Pack and unpack disc images; output files are complete or absent.

No FUSE, no trio.
"""

__all__ = [
    "archive_file",
    "atomic_file",
    "batch",
    "cd_input",
    "comparison",
    "in_place",
    "interrupted_exchange",
    "jobs",
    "packer",
    "presets",
    "read_back",
    "report",
    "targets",
]
