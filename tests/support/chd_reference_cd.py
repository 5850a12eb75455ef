"""The CD side of CHD in plain Python, slowly: the parity of sectors, FLAC, and hunks of CDs.

Written from ECMA-130 (annex A), RFC 9639 and what chdman writes; it shares no code with zsofs.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress

SECTOR = 2352
SUBCODE = 96
FRAME = SECTOR + SUBCODE
SYNC = b"\0" + b"\xff" * 10 + b"\0"

Pack = Callable[[bytes], bytes]

# ---- Parity ---------------------------------------------------------------------------------


def times(one: int, other: int) -> int:
    """The product of two bytes in GF(2^8) over x^8+x^4+x^3+x^2+1."""
    product = 0
    for bit in range(8):
        if other >> bit & 1:
            product ^= one << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << (bit - 8)
    return product


POWERS = [1]
for _ in range(254):
    POWERS.append(times(POWERS[-1], 2))
INVERSE_OF_3 = next(byte for byte in range(256) if times(byte, 3) == 1)


def _products(factor: int) -> bytes:
    return bytes(times(factor, byte) for byte in range(256))


PRODUCTS = [_products(POWERS[power]) for power in range(45)]


def parity_of(code: Sequence[int]) -> tuple[int, int]:
    """The two bytes behind *code* with which both syndromes are zero (ECMA-130, annex A)."""
    plain = weighed = 0
    for place, byte in enumerate(code):
        plain ^= byte
        weighed ^= PRODUCTS[len(code) + 1 - place][byte]
    first = times(plain ^ weighed, INVERSE_OF_3)
    return first, first ^ plain


def with_parity(sector: bytes) -> bytes:
    """A sector with its P and Q parity; in mode 2 the address and the mode count as zeros."""
    area = bytearray(sector[12:2076]) + bytes(276)
    if sector[15] == 2:
        area[:4] = bytes(4)
    for column in range(86):
        p = parity_of([area[86 * row + column] for row in range(24)])
        area[2064 + column], area[2150 + column] = p
    for diagonal in range(26):
        for low in range(2):
            places = [(86 * diagonal + 88 * step) % 2236 + low for step in range(43)]
            q = parity_of([area[place] for place in places])
            area[2236 + 2 * diagonal + low], area[2288 + 2 * diagonal + low] = q
    return sector[:2076] + bytes(area[2064:])


def data_sector(number: int, data: bytes, mode: int) -> bytes:
    """A raw sector of mode 1, or of mode 2 form 1; its EDC is left out, it plays no part here."""
    minute, rest = divmod(number + 150, 4500)
    address = bytes(
        value // 10 << 4 | value % 10 for value in (minute % 100, rest // 75, rest % 75)
    )
    head = SYNC + address + bytes([mode])
    body = data if mode == 1 else bytes.fromhex("00000800") * 2 + data
    return with_parity((head + body).ljust(SECTOR, b"\0"))


# ---- FLAC -----------------------------------------------------------------------------------


def _crc(data: bytes | bytearray, polynomial: int, width: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << (width - 8)
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> (width - 1) & 1 else 0)
            crc &= (1 << width) - 1
    return crc


def _low_bits(value: int, width: int) -> str:
    return f"{value & ((1 << width) - 1):0{width}b}" if width else ""


def _rice(value: int, parameter: int) -> str:
    folded = 2 * value if value >= 0 else -2 * value - 1
    return "0" * (folded >> parameter) + "1" + _low_bits(folded, parameter)


def _width(values: Sequence[int]) -> int:
    """The bits that hold all values, signed; 0 if all are zero."""
    most = max((value if value >= 0 else -1 - value for value in values), default=0)
    return most.bit_length() + 1 if any(values) else 0


class FlacWriter:
    """Writes frames of 16-bit stereo, with everything that the format has for them, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def frame(self, left: Sequence[int], right: Sequence[int], number: int = 0) -> bytes:
        """One frame of these samples."""
        count = len(left)
        channels = self.chance.choice((1, 8, 9, 10))
        side = [one - other for one, other in zip(left, right, strict=True)]
        middle = [one + other >> 1 for one, other in zip(left, right, strict=True)]
        pairs = {1: (left, right), 8: (left, side), 9: (side, right), 10: (middle, side)}
        first, second = pairs[channels]
        head = bytes([0xFF, 0xF8 | self.chance.randrange(2)])
        size_code, size_bytes = self._size(count)
        rate_code, rate_bytes = self.chance.choice(
            ((0, b""), (9, b""), (12, b"\x2c"), (13, b"\xac\x44"), (14, b"\x11\x3a"))
        )
        head += bytes([size_code << 4 | rate_code, channels << 4 | self.chance.choice((0, 8))])
        head += self._number(number) + size_bytes + rate_bytes
        head += bytes([_crc(head, 0x07, 8)])
        bits = self.subframe(first, 16 + (channels == 9))
        bits += self.subframe(second, 16 + (channels in (8, 10)))
        bits += "0" * (-len(bits) % 8)
        body = head + int(bits, 2).to_bytes(len(bits) // 8, "big")
        return body + _crc(body, 0x8005, 16).to_bytes(2, "big")

    def _size(self, count: int) -> tuple[int, bytes]:
        codes = {192: 1} | {576 << n: 2 + n for n in range(4)} | {256 << n: 8 + n for n in range(8)}
        choices = [(7, (count - 1).to_bytes(2, "big"))]
        if count <= 256:
            choices.append((6, bytes([count - 1])))
        if count in codes:
            choices.append((codes[count], b""))
        return self.chance.choice(choices)

    @staticmethod
    def _number(number: int) -> bytes:
        if number < 0x80:
            return bytes([number])
        count = next(count for count in range(2, 8) if number < 1 << (5 * count + 1))
        rest = [0x80 | number >> 6 * at & 0x3F for at in range(count - 2, -1, -1)]
        lead = (0xFF00 >> count & 0xFF) | (number >> 6 * (count - 1) if count < 7 else 0)
        return bytes([lead, *rest])

    def subframe(self, samples: Sequence[int], depth: int) -> str:
        """One channel, in one of the kinds that can hold it."""
        chance = self.chance
        wasted = 0
        if any(samples):
            while all(sample >> wasted & 1 == 0 for sample in samples):
                wasted += 1
            wasted = chance.randint(0, wasted)
        samples = [sample >> wasted for sample in samples]
        depth -= wasted
        flag = "0" * (wasted - 1) + "1" if wasted else ""

        def start(kind: int) -> str:
            return f"0{kind:06b}{1 if wasted else 0}{flag}"

        kinds = ["verbatim", "fixed", "linear"]
        if len(set(samples)) == 1:
            kinds.append("constant")
        kind = chance.choice(kinds)
        if kind == "constant":
            return start(0) + _low_bits(samples[0], depth)
        if kind == "verbatim":
            return start(1) + "".join(_low_bits(sample, depth) for sample in samples)
        if kind == "fixed":
            order = chance.randint(0, min(4, len(samples)))
            factors = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]][order]
            text = start(8 + order) + "".join(_low_bits(one, depth) for one in samples[:order])
            return text + self._residual(samples, factors, 0)
        order = chance.randint(1, min(32, len(samples)))
        precision = chance.randint(1, 15)
        shift = chance.randint(0, 15)
        limit = 1 << (precision - 1)
        factors = [chance.randint(-limit, limit - 1) for _ in range(order)]
        if chance.random() < 0.7:  # predicts well
            precision, shift = 12, 10
            factors = [1000, *(chance.randint(-30, 30) for _ in range(order - 1))]
        text = start(31 + order) + "".join(_low_bits(one, depth) for one in samples[:order])
        text += _low_bits(precision - 1, 4) + _low_bits(shift, 5)
        text += "".join(_low_bits(factor, precision) for factor in factors)
        return text + self._residual(samples, factors, shift)

    def _residual(self, samples: Sequence[int], factors: Sequence[int], shift: int) -> str:
        order = len(factors)
        left = [
            samples[at]
            - (sum(factor * samples[at - 1 - n] for n, factor in enumerate(factors)) >> shift)
            for at in range(order, len(samples))
        ]
        fitting = [
            bits
            for bits in range(7)
            if len(samples) % (1 << bits) == 0 and len(samples) >> bits >= order
        ]
        partition_bits = self.chance.choice(fitting)
        method = self.chance.randrange(2)
        size = len(samples) >> partition_bits
        text = f"{method:02b}{partition_bits:04b}"
        begin = 0
        for partition in range(1 << partition_bits):
            end = size * (partition + 1) - order
            text += self._partition(left[begin:end], 5 if method else 4)
            begin = end
        return text

    def _partition(self, values: Sequence[int], parameter_bits: int) -> str:
        width = _width(values)
        escape = (1 << parameter_bits) - 1
        if width <= 31 and self.chance.random() < 0.2:
            stored = self.chance.randint(width, min(31, width + 1))
            return (
                _low_bits(escape, parameter_bits)
                + f"{stored:05b}"
                + "".join(_low_bits(value, stored) for value in values)
            )
        parameter = min(max(width - self.chance.randint(1, 4), 0), escape - 1)
        return _low_bits(parameter, parameter_bits) + "".join(
            _rice(value, parameter) for value in values
        )


def samples_of(data: bytes, order: str) -> tuple[list[int], list[int]]:
    """Left and right samples of 16 bits; *order* is ``big`` or ``little``."""
    all_of = [
        int.from_bytes(data[at : at + 2], order, signed=True)  # type: ignore[arg-type]
        for at in range(0, len(data), 2)
    ]
    return all_of[::2], all_of[1::2]


def flac(data: bytes, chance: random.Random, block: int, order: str = "big") -> bytes:
    """Frames of at most *block* samples that hold *data*."""
    writer = FlacWriter(chance)
    left, right = samples_of(data, order)
    return b"".join(
        writer.frame(left[at : at + block], right[at : at + block], number)
        for number, at in enumerate(range(0, len(left), block))
    )


class Damaged(Exception):
    """A stream that no encoder writes."""


class OutOfRange(Exception):
    """Samples that need more bits than they have; what comes of them is not defined."""


class Bits:
    """Bits of a byte string, most significant first."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        if self.at + count > len(self.text):
            raise Damaged("the stream ends")
        self.at += count
        return int(self.text[self.at - count : self.at] or "0", 2)

    def signed(self, count: int) -> int:
        value = self.take(count)
        return value - (1 << count) if count and value >> (count - 1) else value

    def unary(self) -> int:
        one = self.text.find("1", self.at)
        if one < 0:
            raise Damaged("the stream ends")
        zeros = one - self.at
        self.at = one + 1
        return zeros


def _demand(right: bool) -> None:
    if not right:
        raise Damaged


def _read_residual(bits: Bits, count: int, order: int) -> list[int]:
    method, partition_bits = bits.take(2), bits.take(4)
    _demand(method < 2 and count % (1 << partition_bits) == 0 and count >> partition_bits >= order)
    parameter_bits = 5 if method else 4
    values: list[int] = []
    for partition in range(1 << partition_bits):
        size = (count >> partition_bits) - (order if partition == 0 else 0)
        parameter = bits.take(parameter_bits)
        if parameter == (1 << parameter_bits) - 1:
            width = bits.take(5)
            values += [bits.signed(width) for _ in range(size)]
            continue
        for _ in range(size):
            folded = bits.unary() << parameter | bits.take(parameter)
            if folded >= 1 << 32:
                raise OutOfRange
            values.append(-(folded >> 1) - 1 if folded & 1 else folded >> 1)
    return values


def _read_subframe(bits: Bits, count: int, depth: int) -> list[int]:
    _demand(bits.take(1) == 0)
    kind = bits.take(6)
    wasted = bits.unary() + 1 if bits.take(1) else 0
    _demand(wasted < depth)
    depth -= wasted
    shift, factors = 0, [list[int](), [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]]
    if kind == 0:
        samples = [bits.signed(depth)] * count
    elif kind == 1:
        samples = [bits.signed(depth) for _ in range(count)]
    else:
        is_linear = kind >= 32
        _demand(is_linear or 8 <= kind <= 12)
        order = kind - 31 if is_linear else kind - 8
        _demand(order <= count)
        samples = [bits.signed(depth) for _ in range(order)]
        by = [] if is_linear else factors[order]
        if is_linear:
            precision = bits.take(4) + 1
            shift = bits.signed(5)
            _demand(precision < 16 and shift >= 0)
            by = [bits.signed(precision) for _ in range(order)]
        for residual in _read_residual(bits, count, order):
            before = samples[: -order - 1 : -1]
            guess = sum(factor * one for factor, one in zip(by, before, strict=True)) >> shift
            samples.append(residual + guess)
            if not -(1 << (depth - 1)) <= samples[-1] < 1 << (depth - 1):
                raise OutOfRange
    return [sample << wasted for sample in samples]


def _read_frame(data: bytearray, order: str, *, mend: bool = False) -> tuple[bytes, int]:
    """The samples of a frame as bytes, and where it ends; *mend* its checksums before."""
    bits = Bits(data)
    _demand(bits.take(15) == 0x7FFC)
    bits.take(1)
    size_code, rate_code, channels, depth_code = (bits.take(n) for n in (4, 4, 4, 3))
    _demand(bits.take(1) == 0 and rate_code != 15 and depth_code in (0, 4))
    _demand(channels in (1, 8, 9, 10))
    lead = f"{bits.take(8):08b}"
    ones = len(lead) - len(lead.lstrip("1"))
    _demand(ones not in {1, 8})
    bits.take(8 * max(ones - 1, 0))
    _demand(size_code != 0)
    if size_code in (6, 7):
        count = bits.take(8 * (size_code - 5)) + 1
    else:
        count = 192 if size_code == 1 else 576 << size_code - 2
        count = 1 << size_code if size_code >= 8 else count
    bits.take({12: 8, 13: 16, 14: 16}.get(rate_code, 0))
    head = bits.at // 8
    if mend and head < len(data):
        data[head] = _crc(data[:head], 0x07, 8)
        bits.text = Bits(data).text
    _demand(bits.take(8) == _crc(data[:head], 0x07, 8) and count <= 4608)
    first = _read_subframe(bits, count, 16 + (channels == 9))
    second = _read_subframe(bits, count, 16 + (channels in (8, 10)))
    end = -(-bits.at // 8)
    if mend:
        data[end : end + 2] = _crc(data[:end], 0x8005, 16).to_bytes(2, "big")
    _demand(data[end : end + 2] == _crc(data[:end], 0x8005, 16).to_bytes(2, "big"))
    out = bytearray()
    for left, right in zip(first, second, strict=True):
        pair = {
            1: (left, right),
            8: (left, left - right),
            9: (left + right, right),
            10: ((2 * left + right % 2 + right) >> 1, (2 * left + right % 2 - right) >> 1),
        }[channels]
        for sample in pair:
            out += (sample & 0xFFFF).to_bytes(2, order)  # type: ignore[arg-type]
    return bytes(out), end + 2


def flac_mended(frame: bytes) -> bytes:
    """A changed frame with checksums that are right, as far as it can be read."""
    data = bytearray(frame)
    with suppress(Damaged, OutOfRange):
        _read_frame(data, "big", mend=True)
    return bytes(data)


def flac_read(data: bytes, size: int, order: str = "big") -> tuple[bytes, int]:
    """Samples of *size* bytes, and where the frames end.

    Raises:
        Damaged: the frames are not valid, or do not give just *size* bytes.
        OutOfRange: samples do not fit into their bits.
    """
    plain = b""
    at = 0
    _demand(size % 4 == 0)
    while len(plain) < size:
        samples, used = _read_frame(bytearray(data[at:]), order)
        plain += samples
        at += used
    _demand(len(plain) == size)
    return plain, at


# ---- Hunks ----------------------------------------------------------------------------------


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def cd_hunk(frames: Sequence[bytes], base: Pack, subcode: Pack = deflated) -> bytes:
    """A hunk of `cdlz`, `cdzl` or `cdzs`; frames whose sync and parity are right lack them."""
    bitmap = bytearray((len(frames) + 7) // 8)
    sectors = b""
    for number, frame in enumerate(frames):
        sector = frame[:SECTOR]
        if sector.startswith(SYNC) and with_parity(sector) == sector:
            bitmap[number // 8] |= 1 << number % 8
            sector = bytes(12) + sector[12:2076] + bytes(276)
        sectors += sector
    packed = base(sectors)
    width = 2 if len(frames) * FRAME < 65536 else 3
    return (
        bytes(bitmap)
        + len(packed).to_bytes(width, "big")
        + packed
        + subcode(b"".join(frame[SECTOR:] for frame in frames))
    )


def cd_flac_hunk(frames: Sequence[bytes], chance: random.Random, block: int) -> bytes:
    """A hunk of `cdfl`."""
    sectors = b"".join(frame[:SECTOR] for frame in frames)
    return flac(sectors, chance, block) + deflated(b"".join(frame[SECTOR:] for frame in frames))


Unpack = Callable[[bytes, int], bytes]


def inflated(data: bytes, size: int) -> bytes:
    """The first *size* bytes of a raw deflate stream."""
    return zlib.decompressobj(wbits=-15).decompress(data, size)


def read_cd_hunk(data: bytes, size: int, base: Unpack, subcode: Unpack = inflated) -> bytes:
    """A hunk of `cdlz`, `cdzl` or `cdzs`: frames with sync and parity."""
    count = size // FRAME
    bitmap = (count + 7) // 8
    head = bitmap + (2 if size < 65536 else 3)
    length = int.from_bytes(data[bitmap:head], "big")
    sectors = base(data[head : head + length], count * SECTOR)
    subcodes = subcode(data[head + length :], count * SUBCODE)
    frames = b""
    for number in range(count):
        sector = sectors[number * SECTOR :][:SECTOR]
        if data[number // 8] >> number % 8 & 1:
            sector = with_parity(SYNC + sector[12:])
        frames += sector + subcodes[number * SUBCODE :][:SUBCODE]
    return frames


def read_cd_flac_hunk(data: bytes, size: int) -> bytes:
    """A hunk of `cdfl`."""
    count = size // FRAME
    sectors, used = flac_read(data, count * SECTOR)
    subcodes = inflated(data[used:], count * SUBCODE)
    return b"".join(
        sectors[number * SECTOR :][:SECTOR] + subcodes[number * SUBCODE :][:SUBCODE]
        for number in range(count)
    )


def read_flac_hunk(data: bytes, size: int) -> bytes:
    """A hunk of `flac`."""
    order = {b"L": "little", b"B": "big"}.get(data[:1])
    _demand(order is not None)
    return flac_read(data[1:], size, order or "")[0]
