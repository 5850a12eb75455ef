"""Bytes that compress about like a game's, the same on every machine.

Everything comes out of SHAKE-128 and integer arithmetic, so nothing depends on the version of a
random generator or on what is installed.
"""

import hashlib
import struct
from collections.abc import Iterator

MB = 1 << 20
CHUNK_UNIT = 64 << 10

# Of twenty chunks: 30 % incompressible (video, sound), 20 % zeros, 35 % program, 15 % text.
_DECK = "r" * 6 + "z" * 4 + "p" * 7 + "t" * 3
_POOL = 8 * MB
_SYLLABLES = 64
_WORDS = 4096
_IDIOMS = 3000
_RECENT = 60
_NEAR = 30


def stream(label: str, size: int) -> bytes:
    """*size* bytes that look random and are always the same for *label*."""
    return hashlib.shake_128(label.encode()).digest(size)


def numbers(label: str, count: int) -> tuple[int, ...]:
    """*count* numbers below 65536 out of :func:`stream`."""
    return struct.unpack(f"<{count}H", stream(label, 2 * count))


def _skewed(number: int, count: int) -> int:
    """A number below *count*, the small ones much more often, from one below 65536."""
    return (number * number * number >> 32) * count >> 16


def _program() -> bytes:
    """Code-like: 32-bit instructions, some sequences of them again and again."""
    idioms = []
    for i, size in enumerate(numbers("idiom sizes", _IDIOMS)):
        words = numbers(f"idiom {i}", 3 * (2 + size % 7))
        idioms.append(b"".join(_instruction(*words[at : at + 3]) for at in range(0, len(words), 3)))
    picks = numbers("program", 4 * (_POOL // 10))
    parts: list[bytes] = []
    size = 0
    for at in range(0, len(picks), 4):
        pick, a, b, c = picks[at : at + 4]
        if pick % 100 < _NEAR and len(parts) > _RECENT:
            part = parts[-1 - a % _RECENT]
        else:
            part = idioms[_skewed(b, _IDIOMS)]
        if pick & 1:
            part += _instruction(c, a, b)
        parts.append(part[:64])
        size += len(parts[-1])
        if size >= _POOL:
            break
    return b"".join(parts)[:_POOL]


def _instruction(a: int, b: int, c: int) -> bytes:
    """One instruction: few opcodes, few registers, mostly small constants."""
    opcode = _skewed(a, 40)
    registers = _skewed(b, 32) << 5 | _skewed(b * 31 & 0xFFFF, 32)
    constant = 0 if c % 3 else (c >> 2) & 0xFC
    return struct.pack("<I", opcode << 26 | registers << 16 | constant)


def _text() -> bytes:
    """Text-like: some thousand words, the common ones often."""
    letters = b"etaoinshrdlucmfwypvbgkqjxz"
    words = []
    for i in range(_WORDS):
        picks = numbers(f"word {i}", 10)
        words.append(bytes(letters[_skewed(n, 26)] for n in picks[1 : 3 + picks[0] % 8]))
    parts: list[bytes] = []
    size = 0
    picks = numbers("text", 2 * (_POOL // 3))
    for i in range(len(picks) // 2):
        pick, place = picks[2 * i : 2 * i + 2]
        near = pick % 100 < _NEAR and i > _RECENT
        word = parts[-1 - place % _RECENT].rstrip() if near else words[_skewed(place, _WORDS)]
        parts.append(word + (b"\r\n" if i % 11 == 10 else b" "))
        size += len(parts[-1])
        if size >= _POOL:
            break
    return b"".join(parts)[:_POOL]


def game_image(size: int) -> Iterator[bytes]:
    """The chunks of an image of *size* bytes, a multiple of 64 KiB."""
    if size % CHUNK_UNIT:
        raise ValueError("the size must be a multiple of 64 KiB")
    pools = {"p": _program(), "t": _text()}
    done = 0
    deck = 0
    while done < size:
        order = numbers(f"deck {deck}", len(_DECK))
        picks = numbers(f"chunks {deck}", 3 * len(_DECK))
        for i, card in enumerate(sorted(range(len(_DECK)), key=lambda card: (order[card], card))):
            length = min(CHUNK_UNIT << picks[3 * i] % 4, size - done)
            kind = _DECK[card]
            if kind == "r":
                chunk = stream(f"random {deck} {i}", length)
            elif kind == "z":
                chunk = bytes(length)
            else:
                pool = pools[kind]
                place = (picks[3 * i + 1] << 16 | picks[3 * i + 2]) % (len(pool) - length)
                chunk = pool[place - place % 4 :][:length]
            yield chunk
            done += length
            if done == size:
                return
        deck += 1
