"""Container formats: headers, indexes, seals and file names, read and written as bytes.

No files, no threads.
"""

__all__ = [
    "archive_magic",
    "archive_names",
    "cd_tracks",
    "cd_views",
    "chd",
    "chd_layout",
    "chd_metadata",
    "ciso_header",
    "containers",
    "cue_sheet",
    "dax",
    "file_names",
    "geometry",
    "rar_headers",
    "seal",
    "sevenzip",
    "sheets",
    "ziso",
    "ziso_writer",
]
