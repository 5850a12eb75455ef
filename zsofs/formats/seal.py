"""The seal of a ZSOZ file: checksums of header, index and image after its last block.

A seal is one zstd skippable frame (RFC 8878, 3.1.2) at the offset in the last index entry: u32
magic, u32 length, and that many bytes of JSON. ``docs/dev/zsoz.md`` specifies it for authors of
other readers.
"""

import json
import re
import struct
from dataclasses import dataclass

from zsofs.errors import DamagedError
from zsofs.formats.ciso_header import HEADER_SIZE

_FRAME = struct.Struct("<II")
_MAGIC = 0x184D2A5A
_MAX_TEXT = 4096
MAX_SIZE = _FRAME.size + _MAX_TEXT
"""Size of the longest seal in bytes; those of zsofs have about 300."""

_DIGITS = {"header": 2 * HEADER_SIZE, "index_crc32": 8, "crc32": 8, "md5": 32, "sha1": 40}
"""Number of hexadecimal digits of each checksum, in lower case."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The contents of a seal.

    Attributes:
        version: version of the zsofs that wrote it.
        header: the 24 bytes of the file's header.
        index_crc32: CRC-32 of the index as it is stored, eight hexadecimal digits.
        size: size of the plain image in bytes.
        crc32: of the plain image, eight hexadecimal digits.
        md5: of the plain image, 32 hexadecimal digits.
        sha1: of the plain image, 40 hexadecimal digits.
    """

    version: str
    header: bytes
    index_crc32: str
    size: int
    crc32: str
    md5: str
    sha1: str

    def to_bytes(self) -> bytes:
        """Return the seal as it is stored."""
        said = {
            "zsofs": self.version,
            "header": self.header.hex(),
            "index_crc32": self.index_crc32,
            "size": self.size,
            "crc32": self.crc32,
            "md5": self.md5,
            "sha1": self.sha1,
        }
        text = json.dumps(said, separators=(",", ":")).encode()
        return _FRAME.pack(_MAGIC, len(text)) + text

    def check_header(self, header: bytes) -> None:
        """Compare the copy of the header with the header.

        Args:
            header: the first 24 bytes of the file.

        Raises:
            DamagedError: they differ.
        """
        if header != self.header:
            at = next(at for at in range(HEADER_SIZE) if header[at] != self.header[at])
            raise DamagedError(
                f"the header and its copy in the seal differ at byte {at}: one of them is damaged"
            )


def parse(data: bytes) -> Seal | None:
    """Return the seal at the start of *data*.

    Args:
        data: the :data:`MAX_SIZE` bytes after the last block; fewer at the end of the file.

    Returns:
        The seal, or None if there is none, which is valid.

    Raises:
        DamagedError: the seal is truncated or damaged.
    """
    magic = _FRAME.pack(_MAGIC, 0)[:4]
    if not data or data[:4] != magic[: len(data)]:
        return None
    if len(data) < _FRAME.size:
        raise DamagedError(f"the file is truncated: it ends {len(data)} bytes into its seal")
    length = _FRAME.unpack_from(data)[1]
    if length > _MAX_TEXT:
        raise DamagedError(f"the seal is damaged: it specifies its length as {length}")
    if len(data) < _FRAME.size + length:
        raise DamagedError(
            f"the file is truncated: it ends {len(data)} bytes into its seal, which has"
            f" {_FRAME.size + length}"
        )
    try:
        said = json.loads(data[_FRAME.size : _FRAME.size + length].decode())
    except (ValueError, RecursionError):
        raise DamagedError("the seal is damaged: it is not valid JSON") from None
    return _checked(said)


def _checked(said: object) -> Seal:
    """Validate the values of a seal, and return it."""
    if not isinstance(said, dict):
        raise DamagedError("the seal is damaged: it is not a JSON object")
    for key, digits in _DIGITS.items():
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", str(said.get(key))):
            raise DamagedError(f"the seal is damaged: its {key} is not {digits} hexadecimal digits")
    version, size = said.get("zsofs"), said.get("size")
    if not isinstance(version, str):
        raise DamagedError("the seal is damaged: the zsofs version is missing")
    header = bytes.fromhex(said["header"])
    if type(size) is not int or size != int.from_bytes(header[8:16], "little"):
        raise DamagedError("the seal is damaged: its size field differs from the header")
    return Seal(
        version, header, said["index_crc32"], size, said["crc32"], said["md5"], said["sha1"]
    )
