"""Raw sectors of a CD around the bytes of an image, with the parity that a CHD leaves out.

One position of all sectors is computed at once, as a long string of bytes: Python is then fast
enough for a whole disc (ECMA-130, 14 and annex A).
"""

from collections.abc import Sequence

SECTOR = 2352
DATA = 2048
_HEADER = 12
_P = 2076
_Q = 2248
_ROWS, _ROW = 26, 86
_START = 150
"""The address of the first sector in frames: two seconds."""

_DOUBLED = bytes((value << 1 ^ (0x1D if value & 0x80 else 0)) & 0xFF for value in range(256))
"""Each byte times 2 in GF(2^8), x^8+x^4+x^3+x^2+1."""


def _third() -> bytes:
    """Each byte divided by 3."""
    table = bytearray(256)
    for value in range(256):
        table[value ^ _DOUBLED[value]] = value
    return bytes(table)


_THIRD = _third()


def _sum(one: bytes, other: bytes) -> bytes:
    both = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


def _parity(data: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two bytes of parity of each code, from its data, one position after the other."""
    total = products = bytes(len(data[0]))
    for value in data:
        total = _sum(total, value)
        products = _sum(products, value).translate(_DOUBLED)
    parity = _sum(total, products.translate(_DOUBLED)).translate(_THIRD)
    return parity, _sum(parity, total)


def raw_sectors(data: bytes, first: int) -> bytes:
    """Sectors of mode 1, without the checksum of the data (EDC), which no reader here looks at.

    Args:
        data: 2048 bytes for each sector.
        first: number of the first one on the disc.
    """
    count = len(data) // DATA
    columns = [bytes(count)] * SECTOR
    columns[1:11] = [b"\xff" * count] * 10
    frames = range(first + _START, first + _START + count)
    for at, parts in enumerate(((4500, 100), (75, 60), (1, 75))):
        values = (frame // parts[0] % parts[1] for frame in frames)
        columns[_HEADER + at] = bytes(value // 10 << 4 | value % 10 for value in values)
    columns[_HEADER + 3] = b"\x01" * count
    for at in range(DATA):
        columns[16 + at] = data[at::DATA]
    for column in range(_ROW):
        code = [columns[_HEADER + column + _ROW * row] for row in range(_ROWS - 2)]
        columns[_P + column], columns[_P + _ROW + column] = _parity(code)
    for diagonal in range(_ROWS):
        for low in range(2):
            code = [
                columns[_HEADER + (diagonal + at) % _ROWS * _ROW + 2 * at + low]
                for at in range(_ROW // 2)
            ]
            at = _Q + 2 * diagonal + low
            columns[at], columns[at + 2 * _ROWS] = _parity(code)
    sectors = bytearray(count * SECTOR)
    for place, stored in enumerate(columns):
        sectors[place::SECTOR] = stored
    return bytes(sectors)
