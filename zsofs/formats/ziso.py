r"""ZSO: ``ZISO`` files, the variant ``ZSO\x01``, and zsofs's own ``ZSOZ``.

A ZISO payload is LZ4 by its specification (maxcso, ``README_ZSO.md``). Files with one Zstandard
frame (DuckShrink), or one zlib stream (DiscConverter for Android, which also wrote ``ZSO\x01``), in
each block exist under the same magic, and the header does not distinguish them. Whatever the
version byte is (an earlier ziso.py of ARK-4 wrote 2), bit 31 means that a block is uncompressed.
``docs/dev/zsoz.md`` specifies ZSOZ.
"""

from zsofs.errors import DamagedError
from zsofs.formats import seal
from zsofs.formats.ciso_header import HEADER_SIZE, INDEX_OFFSET, Index, parse_header, parse_index
from zsofs.formats.geometry import Codec, Geometry, Rule, SourceBytes

MAGICS = (b"ZISO", b"ZSO\x01", b"ZSOZ")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""Magic of a Zstandard frame (RFC 8878, 3.1.1)."""


def parse(source: SourceBytes, head: bytes, known_size: int | None = None) -> Geometry:
    """Return the geometry of a ZISO or ZSOZ file, from its header and both ends of its index.

    Args:
        source: the file.
        head: its first bytes, 24 at least unless the file is shorter.
        known_size: see :func:`zsofs.formats.ciso_header.parse_index`. Of a ZSOZ file, only the seal
            is not read then.

    Raises:
        DamagedError: the file is truncated or contradicts itself.
        OSError: the file cannot be read.
    """
    header = parse_header(head)
    framed = header.magic == b"ZSOZ"
    versions = (1,) if framed else (0, 1, 2)
    if header.version not in versions:
        raise DamagedError(f"the header specifies version {header.version}, not one of {versions}")
    index = parse_index(
        header, source, exact=framed, known_size=None if framed else known_size
    )  # the last block of ZSOZ ends exactly where the index says
    remarks = _check_end(source, head, index) if framed and known_size is None else ()
    return Geometry(
        container="ZSOZ" if framed else "ZSO",
        size=index.size,
        block_size=header.block_size,
        rule=Rule.FRAMED if framed else Rule.FLAGGED,
        shift=header.shift,
        index_offset=INDEX_OFFSET,
        data_start=index.data_start,
        # The ziso.py family rounds the last entry down, so the file size limits the last block;
        # in ZSOZ the entry is exact, and other data may follow it.
        data_end=index.last_end if framed else source.size,
        codecs=(Codec.ZSTD,) if framed else (Codec.ZSTD, Codec.LZ4, Codec.ZLIB),
        remarks=(*index.remarks, *remarks),
    )


def _check_end(source: SourceBytes, head: bytes, index: Index) -> tuple[str, ...]:
    """Check the data after the last block of a ZSOZ file; return the irregularities.

    Raises:
        DamagedError: the seal has a different header, or another block follows.
    """
    if index.last_end == source.size:
        return ()
    after = source.read_at(index.last_end, seal.MAX_SIZE)
    if after.startswith(ZSTD_MAGIC):
        raise DamagedError(
            "there is data for a block after the last one: the header or the index is damaged"
        )
    try:
        found = seal.parse(after)
    except DamagedError as error:
        return (f"{error}; the image can be read, but not verified against the seal",)
    if found is not None:
        found.check_header(head[:HEADER_SIZE])
    return ()
