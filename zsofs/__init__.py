"""zsofs: a directory of compressed disc images, mounted as plain .iso files."""

__version__ = "0.2.0"
