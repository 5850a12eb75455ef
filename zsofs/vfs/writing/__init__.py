"""Changes of the source through a writable mount: names, attributes, changing files.

The order is always the same: forbidden changes are refused, a thread makes the change in the
source, and then, without interruption on the event loop, inode table and view apply it, so that no
scan that started before reverts it.
"""

__all__ = [
    "attribute_changes",
    "file_handles",
    "live_files",
    "name_changes",
    "path_locks",
    "renames",
    "writable_tree",
]
