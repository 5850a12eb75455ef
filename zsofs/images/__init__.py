"""One open file as plain bytes: random access for a mount, or sequential on all cores.

No directories, no FUSE.
"""

__all__ = [
    "checksums",
    "content_check",
    "input_image",
    "open_image",
    "pipeline",
    "probe",
    "random_access",
    "source_file",
    "view_content",
]
