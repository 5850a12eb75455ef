"""The source directory. Every call may wait for a disk, so this room is synchronous.

No trio, no pyfuse3.
"""

__all__ = [
    "disc_state",
    "entry",
    "filters",
    "finding",
    "left_out",
    "live_file",
    "mount_cycles",
    "new_disc_mark",
    "new_discs",
    "ownership",
    "relpath",
    "roots",
    "scan",
    "scan_cache",
    "scan_result",
    "shown_part",
    "traversal",
    "tree",
    "writer",
]
