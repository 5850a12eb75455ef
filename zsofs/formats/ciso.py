"""CSO: ``CISO`` files of versions 0, 1 and 2 (maxcso, ``README_CSO.md``).

Files of other consoles have the same magic and are rejected with a specific message: Xbox
(antangelo/ciso, ``src/layout.rs``), and of the GameCube and Wii.
"""

from itertools import pairwise

from zsofs.errors import DamagedError, ForeignError
from zsofs.formats.ciso_header import (
    INDEX_OFFSET,
    Header,
    entry_offset,
    has_flag,
    parse_header,
    parse_index,
    read_entries,
)
from zsofs.formats.geometry import Codec, Geometry, Rule, SourceBytes

MAGICS = (b"CISO",)

# A GameCube or Wii CISO is a header of this size: magic, u32 block size, a byte for each block.
_GAMECUBE_HEADER = 0x8000
_GAMECUBE_SAMPLE = 512

_XBOX_SAMPLE = 64
_XBOX_NAME = (
    "this is an Xbox CISO (LZ4 blocks with a length prefix), which zsofs does not support;"
    " unpack it with the program that created it"
)


def parse(source: SourceBytes, head: bytes, known_size: int | None = None) -> Geometry:
    """Return the geometry of a CISO file, from its header and both ends of its index.

    Args:
        source: the file.
        head: its first bytes, 24 at least unless the file is shorter.
        known_size: see :func:`zsofs.formats.ciso_header.parse_index`.

    Raises:
        ForeignError: the file is another console's.
        DamagedError: the file is truncated or contradicts itself.
        OSError: the file cannot be read.
    """
    if _is_gamecube(source, head):
        raise ForeignError("this is a GameCube or Wii CISO, not a PS2 or PSP disc")
    header = parse_header(head)
    if header.version > 2:
        raise DamagedError(f"the header specifies version {header.version}; expected 0, 1 or 2")
    second = header.version == 2
    if second and _is_xbox(header, source):
        raise ForeignError(_XBOX_NAME)
    index = parse_index(header, source, known_size=known_size)
    return Geometry(
        container="CSO v2" if second else "CSO",
        size=index.size,
        block_size=header.block_size,
        rule=Rule.CISO2 if second else Rule.FLAGGED,
        shift=header.shift,
        index_offset=INDEX_OFFSET,
        data_start=index.data_start,
        data_end=source.size,
        codecs=(Codec.DEFLATE,),
        remarks=index.remarks,
    )


def _is_gamecube(source: SourceBytes, head: bytes) -> bool:
    if len(head) < 8 or source.size < _GAMECUBE_HEADER:
        return False
    block_size = int.from_bytes(head[4:8], "little")
    if block_size < _GAMECUBE_HEADER or block_size & (block_size - 1):
        return False
    used = source.read_at(8, _GAMECUBE_SAMPLE)
    return used[:1] == b"\x01" and set(used) <= {0, 1}


def _is_xbox(header: Header, source: SourceBytes) -> bool:
    """Return whether each flagged block begins with its own length, as in no PSP file.

    Those writers store an LZ4 frame without its header, so that its length field remains, and align
    blocks to 4 bytes; part of the image may be in a second file.
    """
    if header.shift != 2 or header.block_size != 2048:
        return False
    count = min(_XBOX_SAMPLE, header.size // header.block_size) + 1
    entries = read_entries(source, 0, count)
    seen = 0
    for entry, after in pairwise(entries):
        begin, end = entry_offset(entry, header.shift), entry_offset(after, header.shift)
        if not has_flag(entry):
            continue
        length = int.from_bytes(source.read_at(begin, 4), "little")
        if not 0 <= end - begin - 4 - length < 4:
            return False
        seen += 1
    return seen > 0
