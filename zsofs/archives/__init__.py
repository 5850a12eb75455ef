"""Archives read as streams of their files: nothing is unpacked to disk.

A process of its own with limited memory decodes, so that no archive can harm the one that packs.
"""

__all__ = ["decoder", "kinds"]
