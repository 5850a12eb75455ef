"""Identification of discs, by content or by a DAT.

No containers.
"""

__all__ = [
    "cd_forms",
    "cd_image",
    "classify",
    "clrmamepro",
    "cue_files",
    "dat",
    "dat_file",
    "dat_game",
    "dat_games",
    "dat_tracks",
    "examination",
    "file_map",
    "identify",
    "iso9660",
    "opl_support",
    "raw_track",
    "region",
    "shortage",
]
