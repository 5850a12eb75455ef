"""Pack and unpack disc images; output files are complete or absent.

No FUSE, no trio.
"""

__all__ = [
    "archive_file",
    "atomic_file",
    "batch",
    "cd_input",
    "in_place",
    "input_files",
    "interrupted_exchange",
    "jobs",
    "packer",
    "presets",
    "report",
    "targets",
]
