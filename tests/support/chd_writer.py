"""A writer of CHD v5 for tests: any codec for any hunk, references to other hunks and to a parent.

It writes what chdman writes too seldom to be found in small files, and what it never writes.
"""

from __future__ import annotations

import hashlib
import heapq
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from tests.support.chd_reference import crc16

PLAIN, SELF, PARENT = 4, 5, 6
SAME_SELF, NEXT_SELF, PARENT_HERE, SAME_PARENT, NEXT_PARENT = 9, 10, 11, 12, 13


@dataclass(frozen=True)
class Hunk:
    """One hunk: its type, and its plain bytes, or what it refers to."""

    type: int
    data: bytes = b""
    target: int = 0


def to_bytes(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def code_lengths(counts: dict[int, int]) -> dict[int, int]:
    """The lengths of a Huffman code for symbols that occur so often."""
    heap = [(count, symbol, [symbol]) for symbol, count in sorted(counts.items())]
    heapq.heapify(heap)
    lengths = dict.fromkeys(counts, 0)
    if len(heap) == 1:
        return {heap[0][1]: 1}
    while len(heap) > 1:
        one, other = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in one[2] + other[2]:
            lengths[symbol] += 1
        heapq.heappush(heap, (one[0] + other[0], one[1], one[2] + other[2]))
    return lengths


def codes(lengths: dict[int, int]) -> dict[int, str]:
    found: dict[int, str] = {}
    start = 0
    for length in range(max(lengths.values()), 0, -1):
        for symbol in sorted(lengths):
            if lengths[symbol] == length:
                found[symbol] = f"{start:0{length}b}"
                start += 1
        start >>= 1
    return found


def huff(data: bytes) -> bytes:
    """What CHD's `huff` makes of *data*."""
    lengths = code_lengths({byte: data.count(byte) for byte in set(data)})
    if max(lengths.values()) > 16:
        return data
    # 24 codes for lengths: 8 of 4 bits, 16 of 5.
    small = {symbol: 4 if symbol < 8 else 5 for symbol in range(24)}
    bits = f"{small[0]:03b}{0:03b}" + "".join(f"{small[at]:03b}" for at in range(1, 24))
    of_length = codes(small)
    wanted = [lengths.get(symbol, 0) for symbol in range(256)]
    at = 0
    while at < 256:
        run = next((end for end in range(at, 256) if wanted[end] != wanted[at]), 256) - at
        bits += of_length[wanted[at] + 1]
        at += 1
        run -= 1
        while run >= 2:
            step = min(run, 264)
            bits += of_length[0] + f"{min(step - 2, 7):03b}"
            if step >= 9:
                bits += f"{step - 9:08b}"
            at += step
            run -= step
    code = codes(lengths)
    return to_bytes(bits + "".join(code[byte] for byte in data))


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


ENCODERS = {
    b"zlib": deflate,
    b"zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    b"huff": huff,
}


def chd(
    hunks: Sequence[Hunk],
    *,
    hunk_size: int,
    unit_size: int,
    codecs: Sequence[bytes] = (),
    size: int | None = None,
    image: bytes = b"",
    metadata: Sequence[tuple[bytes, bytes]] = (),
    parent_sha1: str = "",
    skewed: bool = True,
) -> bytes:
    """A CHD with these hunks.

    A hunk that its codec does not make smaller is stored plain, as chdman does.

    Args:
        hunks: all of them; the data of each is as long as a hunk.
        hunk_size: in bytes.
        unit_size: in bytes.
        codecs: up to four; the types 0 to 3.
        size: of the image; None for all hunks.
        image: for the SHA-1 of the header.
        metadata: tags and data.
        parent_sha1: of the parent.
        skewed: whether the types have a Huffman code by their counts, else one of 4 bits each.
    """
    size = hunk_size * len(hunks) if size is None else size
    blobs: list[bytes] = []
    expanded = b""
    types: list[int] = []
    fields: list[tuple[int, int, int]] = []
    place = first = 124
    last_self = last_parent = 0
    step = hunk_size // unit_size
    for number, hunk in enumerate(hunks):
        kind, crc, length, target = hunk.type, 0, 0, place
        if kind <= PLAIN:
            blob = hunk.data if kind == PLAIN else ENCODERS[codecs[kind]](hunk.data)
            if len(blob) >= hunk_size:
                kind, blob = PLAIN, hunk.data
            crc, length = crc16(hunk.data), len(blob)
            blobs.append(blob)
            place += length
            fields.append((kind, length, crc))
        elif kind in (SELF, SAME_SELF, NEXT_SELF):
            target = hunk.target if kind == SELF else last_self + (kind == NEXT_SELF)
            last_self = target
            fields.append((kind, target, 0))
        else:
            target = {
                PARENT: hunk.target,
                PARENT_HERE: number * step,
                SAME_PARENT: last_parent,
                NEXT_PARENT: last_parent + step,
            }[kind]
            last_parent = target
            fields.append((kind, target, 0))
        types.append(kind)
        plain_kind = kind if kind <= PLAIN else SELF if kind in (5, 9, 10) else PARENT
        expanded += (
            bytes([plain_kind])
            + length.to_bytes(3, "big")
            + target.to_bytes(6, "big")
            + crc.to_bytes(2, "big")
        )
    bits, widths = _map_bits(types, fields, skewed=skewed)
    stream = to_bytes(bits)
    map_header = (
        len(stream).to_bytes(4, "big")
        + first.to_bytes(6, "big")
        + crc16(expanded).to_bytes(2, "big")
        + bytes([*widths, 0])
    )
    body = b"".join(blobs)
    map_at = 124 + len(body)
    tail, meta_at = map_header + stream, 0
    entries = b""
    for at, (tag, data) in enumerate(metadata):
        here = map_at + len(tail) + len(entries)
        meta_at = meta_at or here
        following = here + 16 + len(data) if at + 1 < len(metadata) else 0
        entries += tag + (1 << 24 | len(data)).to_bytes(4, "big")
        entries += following.to_bytes(8, "big") + data
    raw = hashlib.sha1(image).digest() if image else bytes(20)
    hashes = sorted(tag + hashlib.sha1(data).digest() for tag, data in metadata)
    overall = hashlib.sha1(raw + b"".join(hashes)).digest() if image else bytes(20)
    names = [*codecs, *[bytes(4)] * (4 - len(codecs))]
    header = (
        b"MComprHD"
        + (124).to_bytes(4, "big")
        + (5).to_bytes(4, "big")
        + b"".join(names)
        + size.to_bytes(8, "big")
        + map_at.to_bytes(8, "big")
        + meta_at.to_bytes(8, "big")
        + hunk_size.to_bytes(4, "big")
        + unit_size.to_bytes(4, "big")
        + raw
        + overall
        + (bytes.fromhex(parent_sha1) if parent_sha1 else bytes(20))
    )
    return header + body + tail + entries


def _map_bits(
    types: Sequence[int], fields: Sequence[tuple[int, int, int]], *, skewed: bool
) -> tuple[str, tuple[int, int, int]]:
    symbols: list[int] = []
    at = 0
    last = -1
    while at < len(types):
        run = next((end for end in range(at, len(types)) if types[end] != types[at]), len(types))
        run -= at
        if types[at] != last:
            symbols.append(types[at])
            last = types[at]
            at += 1
        elif run >= 19:
            step = min(run, 273)
            symbols += [8, (step - 19) >> 4, (step - 19) & 15]
            at += step
        elif run >= 3:
            step = min(run, 18)
            symbols += [7, step - 3]
            at += step
        else:
            symbols.append(types[at])
            at += 1
    lengths = dict.fromkeys(range(16), 4)
    if skewed:
        lengths = code_lengths({symbol: symbols.count(symbol) for symbol in set(symbols)})
        if not lengths or max(lengths.values()) > 8:
            lengths = dict.fromkeys(range(16), 4)
    code = codes(lengths)
    bits = ""
    for symbol in range(16):
        length = lengths.get(symbol, 0)
        bits += f"{1:04b}{1:04b}" if length == 1 else f"{length:04b}"
    bits += "".join(code[symbol] for symbol in symbols)
    length_bits = max((f[1].bit_length() for f in fields if f[0] < PLAIN), default=0)
    self_bits = max((f[1].bit_length() for f in fields if f[0] == SELF), default=0)
    parent_bits = max((f[1].bit_length() for f in fields if f[0] == PARENT), default=0)
    for kind, value, crc in fields:
        if kind <= PLAIN:
            bits += f"{value:0{length_bits}b}" if kind < PLAIN and length_bits else ""
            bits += f"{crc:016b}"
        elif kind == SELF and self_bits:
            bits += f"{value:0{self_bits}b}"
        elif kind == PARENT and parent_bits:
            bits += f"{value:0{parent_bits}b}"
    return bits, (length_bits, self_bits, parent_bits)
