"""The shown tree: nodes, views, and following of changes. For the event loop only.

No pyfuse3, no containers.
"""

__all__ = [
    "counted_folders",
    "disc_counter",
    "disc_counts",
    "folder_state",
    "follower",
    "inodes",
    "listings",
    "node",
    "open_contents",
    "own_changes",
    "plain_view",
    "present",
    "shown_owner",
    "slow_read_files",
    "unsettled_files",
    "view",
    "write_policy",
]
