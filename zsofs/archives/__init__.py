"""Archives read as streams of their files: nothing is unpacked to disk.

A process of its own with limited memory decodes, so that an archive cannot harm `zsofs pack`.
"""

__all__ = ["decoder", "kinds"]
