"""Headers, indexes, seals and file names of containers, read and written, as integers and bytes.

No files, no threads.
"""

__all__ = [
    "cd_tracks",
    "cd_views",
    "chd",
    "chd_layout",
    "chd_metadata",
    "ciso_header",
    "containers",
    "dax",
    "file_names",
    "geometry",
    "seal",
    "ziso",
    "ziso_writer",
]
