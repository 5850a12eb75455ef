"""How a writable mount changes its source: names, attributes, files that change while open.

The order is always the same: what must not be is refused, a thread makes the change in the source,
and then, in one go of the event loop, library and view take it, so that no look at the source that
began before undoes it.
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
