"""Kinds of archives, recognized by their first bytes."""

import struct
from enum import Enum

from zsofs.formats import archive_magic

HEAD = 512
"""Bytes from which a kind follows."""


class ArchiveKind(Enum):
    """A kind of archive, with its name and article."""

    SEVEN_ZIP = "a 7z archive"
    ZIP = "a ZIP archive"
    RAR_3 = "a RAR 3 or 4 archive"
    RAR_5 = "a RAR 5 archive"
    TAR = "a tar archive"
    GZIP = "a gzip file"
    BZIP2 = "a bzip2 file"
    XZ = "an xz file"
    ZSTD = "a Zstandard file"


_SIGNATURES = (
    (0, archive_magic.SEVEN_ZIP, ArchiveKind.SEVEN_ZIP),
    (0, b"PK\5\6", ArchiveKind.ZIP),  # empty
    (0, b"PK\7\x08", ArchiveKind.ZIP),  # the first one of several volumes
    (0, archive_magic.RAR_3, ArchiveKind.RAR_3),
    (0, archive_magic.RAR_5, ArchiveKind.RAR_5),
    (0, b"\x1f\x8b\x08", ArchiveKind.GZIP),
    (4, b"1AY&SY", ArchiveKind.BZIP2),
    (0, b"\xfd7zXZ\0", ArchiveKind.XZ),
    (0, b"\x28\xb5\x2f\xfd", ArchiveKind.ZSTD),
)


def kind_of(head: bytes) -> ArchiveKind | None:
    """Return the kind of an archive; None for any other content.

    Args:
        head: the first :data:`HEAD` bytes, or all.
    """
    if is_tar(head):
        return ArchiveKind.TAR
    if _is_zip(head):
        return ArchiveKind.ZIP
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    return None


SURE = frozenset(
    (
        ArchiveKind.SEVEN_ZIP,
        ArchiveKind.ZIP,
        ArchiveKind.RAR_3,
        ArchiveKind.RAR_5,
        ArchiveKind.TAR,
        ArchiveKind.XZ,
    )
)
"""Kinds with signatures that the system area of a disc does not match by chance."""


def _is_zip(head: bytes) -> bool:
    """Return whether content begins with a local file header (APPNOTE.TXT, section 4.3.7)."""
    if len(head) < 30 or not head.startswith(b"PK\3\4"):
        return False
    version, _, method = struct.unpack_from("<3H", head, 4)
    length = int.from_bytes(head[26:28], "little")
    name = head[30 : 30 + length]
    return (version & 0xFF) <= 63 and method < 100 and length > 0 and b"\0" not in name


def is_tar(head: bytes) -> bool:
    """Return whether content begins with a header of tar, whose checksum fits (POSIX.1, pax)."""
    if len(head) < HEAD or not head.startswith(b"ustar", 257):
        return False
    digits = head[148:156].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return False
    return sum(head[:148]) + 8 * 0x20 + sum(head[156:HEAD]) == int(digits, 8)
