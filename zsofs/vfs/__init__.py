"""The shown tree: nodes, views, and what follows changes. For the event loop only.

No pyfuse3, no containers.
"""

__all__ = [
    "disc_counter",
    "disc_counts",
    "folder_state",
    "follower",
    "inodes",
    "listings",
    "node",
    "open_contents",
    "plain_view",
    "present",
    "shown_owner",
    "view",
    "write_policy",
]
