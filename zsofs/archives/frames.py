"""What the decoding process writes to its pipe: frames of a kind, a length and bytes.

A file is a MEMBER, its first bytes as DATA, and ASK; the answer decides whether the rest follows,
as DATA, GAP and END. The archive ends with DONE, or with FAILED at any place.
"""

import os
import struct
from enum import IntEnum

from zsofs.system.full_write import write_all

HEADER = struct.Struct("<BQ")
"""Kind of the frame; length of the bytes that follow, or for GAP, of zeros that do not."""

HEAD_SIZE = 1 << 20
"""Bytes of a file before ASK. They identify every disc except those of the Xbox: volume descriptors
are at 32 KiB, an anchor of UDF at 512 KiB."""

TAKE, SKIP = b"T", b"S"
"""The answers."""


class Frame(IntEnum):
    """Kinds of frames."""

    MEMBER = 1
    """JSON: see :class:`zsofs.archives.decoder.Member`."""
    DATA = 2
    GAP = 3
    ASK = 4
    END = 5
    DONE = 6
    """What the archive must be kept for, as a sentence; usually empty."""
    FAILED = 7
    """Why, as a sentence."""


def send(fd: int, kind: Frame, data: "bytes | memoryview" = b"") -> None:
    """Write a frame."""
    header = HEADER.pack(kind, len(data))
    done = os.writev(fd, (header, data))
    for piece in (header, data):
        write_all(fd, memoryview(piece)[done:])
        done = max(done - len(piece), 0)


def send_gap(fd: int, size: int) -> None:
    """Write a frame for *size* zeros."""
    write_all(fd, HEADER.pack(Frame.GAP, size))
