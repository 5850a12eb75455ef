"""The data track that an image of raw CD sectors begins with, as far as its bytes tell."""

from collections.abc import Callable

from zsofs.discs.iso9660 import DESCRIPTORS
from zsofs.discs.shortage import declared_size
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.geometry import CD_SECTOR
from zsofs.images.probe import CD_SYNC_SIZE, is_raw_cd

_MODE = 15
"""The byte of a raw sector that has its mode (ECMA-130, 14)."""

_TYPES = {1: TrackType.MODE1_RAW, 2: TrackType.MODE2_RAW}


def track_of_raw_image(read: Callable[[int, int], bytes], size: int) -> Track | None:
    """Return the first track of an image of raw sectors that has no cue sheet.

    Audio sectors have no sync pattern, so the track ends where they begin; that is searched for by
    bisection. What the volume of the track needs is part of it in any case: a sector that could not
    be dumped may be zero.

    Args:
        read: returns the bytes of the image at an offset, ``read(offset, size)``; what it raises is
            passed on.
        size: of the image in bytes; what lies behind the last whole sector is no part of the track.

    Returns:
        The track; None if the image does not begin with a data sector of 2352 bytes.
    """
    count = size // CD_SECTOR
    head = read(0, min(_MODE + 1, size))
    kind = _TYPES.get(head[_MODE]) if len(head) > _MODE and is_raw_cd(head) else None
    if kind is None or not count:
        return None

    def has_sync(sector: int) -> bool:
        return is_raw_cd(read(sector * CD_SECTOR, CD_SYNC_SIZE))

    if not has_sync(count - 1):
        data, audio = 0, count - 1
        while audio - data > 1:
            middle = (data + audio) // 2
            data, audio = (middle, audio) if has_sync(middle) else (data, middle)
        needed = declared_size(read(0, min((DESCRIPTORS + 1) * CD_SECTOR, size)), raw_cd=True)
        if audio * CD_SECTOR >= (needed or 0):
            count = audio
    return Track(1, kind, count)
