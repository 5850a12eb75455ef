"""Writes raw LZMA without an end mark, symbol by symbol, as hunks of CHDs have it.

Written from the LZMA SDK's ``lzma-specification.txt`` (lc 3, lp 0, pb 2): liblzma's encoder ends
raw streams with a mark, and chooses the symbols itself.
"""

from collections import defaultdict

_CERTAIN = 2048


class LzmaWriter:
    """A stream that grows by one symbol a call.

    Attributes:
        data: what the stream decodes to so far.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self._chances: dict[tuple[object, ...], int] = defaultdict(lambda: _CERTAIN // 2)
        self._low, self._range = 0, 0xFFFFFFFF
        self._state = 0
        self._back = [0, 0, 0, 0]

    @property
    def back(self) -> tuple[int, ...]:
        """The last four distances, each less one."""
        return tuple(self._back)

    def literal(self, byte: int) -> None:
        """One byte."""
        self._bit(0, "match", self._state, self._position)
        context = self.data[-1] >> 5 if self.data else 0
        symbol, same = 1, self._state >= 7
        expected = self.data[-self._back[0] - 1] if same else 0
        for shift in range(7, -1, -1):
            bit, other = byte >> shift & 1, expected >> shift & 1
            self._bit(bit, "literal", context, 1 + other if same else 0, symbol)
            same = same and bit == other
            symbol = symbol * 2 + bit
        self.data.append(byte)
        self._state = (0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5)[self._state]

    def match(self, distance: int, length: int) -> None:
        """*length* bytes, 2 to 273, from *distance* + 1 bytes back."""
        self._bit(1, "match", self._state, self._position)
        self._bit(0, "repeat", self._state)
        self._length("new", length)
        bits = distance.bit_length()
        slot = distance if distance < 4 else (bits - 1) * 2 + (distance >> (bits - 2) & 1)
        self._tree(slot, 6, "slot", min(length - 2, 3))
        if slot >= 14:
            for shift in range(bits - 3, 3, -1):
                self._direct(distance >> shift & 1)
            self._reversed(distance & 15, 4, "align")
        elif slot >= 4:
            self._reversed(distance & ((1 << (bits - 2)) - 1), bits - 2, "low", slot)
        self._back = [distance, *self._back[:3]]
        self._copy(length, 7, 10)

    def repeat(self, nth: int, length: int) -> None:
        """*length* bytes from the *nth* of the last four distances."""
        self._bit(1, "match", self._state, self._position)
        self._bit(1, "repeat", self._state)
        self._bit(int(nth > 0), "older", self._state)
        if nth == 0:
            self._bit(1, "long", self._state, self._position)
        else:
            self._bit(int(nth > 1), "older still", self._state)
        if nth > 1:
            self._bit(nth - 2, "oldest", self._state)
        self._length("again", length)
        self._back.insert(0, self._back.pop(nth))
        self._copy(length, 8, 11)

    def single(self) -> None:
        """One byte from the last distance."""
        self._bit(1, "match", self._state, self._position)
        self._bit(1, "repeat", self._state)
        self._bit(0, "older", self._state)
        self._bit(0, "long", self._state, self._position)
        self._copy(1, 9, 11)

    def stored(self) -> bytes:
        """The whole stream; the range coder's last five bytes make it whole."""
        return self._low.to_bytes(self._fed + 5, "big")

    # The range coder keeps all of *low*, so that no carry has to run through bytes that were
    # written: quadratic, and simple.
    _fed = 0

    def _narrowed(self) -> None:
        if self._range < 1 << 24:
            self._range <<= 8
            self._low <<= 8
            self._fed += 1

    def _bit(self, bit: int, *place: object) -> None:
        chance = self._chances[place]
        bound = (self._range >> 11) * chance
        if bit:
            self._low += bound
            self._range -= bound
            self._chances[place] = chance - (chance >> 5)
        else:
            self._range = bound
            self._chances[place] = chance + ((_CERTAIN - chance) >> 5)
        self._narrowed()

    def _direct(self, bit: int) -> None:
        self._range >>= 1
        self._low += self._range * bit
        self._narrowed()

    def _tree(self, value: int, bits: int, *place: object) -> None:
        symbol = 1
        for shift in range(bits - 1, -1, -1):
            bit = value >> shift & 1
            self._bit(bit, *place, symbol)
            symbol = symbol * 2 + bit

    def _reversed(self, value: int, bits: int, *place: object) -> None:
        symbol = 1
        for shift in range(bits):
            bit = value >> shift & 1
            self._bit(bit, *place, symbol)
            symbol = symbol * 2 + bit

    def _length(self, kind: str, length: int) -> None:
        self._bit(int(length >= 10), kind, "longer")
        if length < 10:
            self._tree(length - 2, 3, kind, "low", self._position)
            return
        self._bit(int(length >= 18), kind, "longest")
        if length < 18:
            self._tree(length - 10, 3, kind, "middle", self._position)
        else:
            self._tree(length - 18, 8, kind, "high")

    def _copy(self, length: int, after_literal: int, after_match: int) -> None:
        for _ in range(length):
            self.data.append(self.data[-self._back[0] - 1])
        self._state = after_literal if self._state < 7 else after_match

    @property
    def _position(self) -> int:
        return len(self.data) & 3
