"""Magic bytes of archives, in a module of their own: few runs of zsofs need the parsers."""

SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
"""LZMA SDK, ``7zFormat.txt``."""

RAR_3 = b"Rar!\x1a\x07\x00"
"""RAR 1.5 to 4 (``technote.txt`` of RAR)."""

RAR_5 = b"Rar!\x1a\x07\x01\x00"
"""RARLAB, "RAR 5.0 archive format"."""
