"""Checksums of files in RARs, which libarchive does not check if they are stored."""

import zlib
from array import array

from zsofs.errors import DamagedError
from zsofs.formats.rar_headers import RarFile

_LANES = 8
_BLOCK = 64
_STRIPE = _LANES * _BLOCK
_WORDS = _BLOCK // 8


class Blake2sp:
    """BLAKE2sp: eight BLAKE2s that take blocks in turn (BLAKE2 paper, section 2.10)."""

    def __init__(self) -> None:
        from hashlib import blake2s  # here, because few archives need it, and it loads OpenSSL

        self._lanes = [
            blake2s(
                fanout=_LANES,
                depth=2,
                inner_size=32,
                node_offset=lane,
                last_node=lane == _LANES - 1,
            )
            for lane in range(_LANES)
        ]
        self._root = blake2s(fanout=_LANES, depth=2, inner_size=32, node_depth=1, last_node=True)
        self._rest = b""

    def update(self, data: "bytes | memoryview") -> None:
        """Add bytes."""
        whole = self._rest + bytes(data)
        stripes = len(whole) // _STRIPE
        self._rest = whole[stripes * _STRIPE :]
        words = array("Q", whole[: stripes * _STRIPE])
        for number, lane in enumerate(self._lanes if stripes else ()):
            own = array("Q", bytes(8 * _WORDS * stripes))
            for word in range(_WORDS):
                own[word::_WORDS] = words[number * _WORDS + word :: _LANES * _WORDS]
            lane.update(own)

    def digest(self) -> bytes:
        """Return the hash of all bytes."""
        for at in range(0, len(self._rest), _BLOCK):
            self._lanes[at // _BLOCK].update(self._rest[at : at + _BLOCK])
        self._rest = b""
        for lane in self._lanes:
            self._root.update(lane.digest())
        return self._root.digest()


class Check:
    """A comparison of the content of a file with the size and the checksums in its header."""

    def __init__(self, expected: RarFile) -> None:
        self._expected = expected
        self._size = self._crc32 = 0
        self._blake2sp = Blake2sp() if expected.blake2sp else None

    def update(self, data: memoryview) -> None:
        """Add the next bytes of the content."""
        self._size += len(data)
        self._crc32 = zlib.crc32(data, self._crc32)
        if self._blake2sp is not None:
            self._blake2sp.update(data)

    def finish(self) -> None:
        """Compare.

        Raises:
            DamagedError: they differ.
        """
        expected = self._expected
        is_same = self._size == expected.size and expected.crc32 in (None, self._crc32)
        if self._blake2sp is not None:
            is_same = is_same and self._blake2sp.digest() == expected.blake2sp
        if not is_same:
            raise DamagedError("the archive is damaged: the checksum of a file differs")
