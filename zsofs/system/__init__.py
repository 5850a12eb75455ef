"""Linux interfaces that Python does not wrap: mounts, inotify, privileges, XDG directories.

Nothing here depends on discs.
"""

__all__ = [
    "background",
    "bounded_stat",
    "daemonize",
    "deletion",
    "file_lease",
    "file_watch",
    "full_write",
    "fuse_mount",
    "fusermount",
    "hard_disk",
    "inotify",
    "limits",
    "mountinfo",
    "mountpoint",
    "nofollow",
    "own_processes",
    "privileges",
    "processes",
    "renames",
    "same_file",
    "sd_notify",
    "sqlite_store",
    "unwritten",
    "view_folders",
    "volume_id",
    "xdg",
]
