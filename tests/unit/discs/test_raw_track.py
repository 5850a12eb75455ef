"""The first track of an image of raw sectors, which its bytes alone tell."""

import random

import pytest

from tests.support import chd_reference_cd as reference
from zsofs.discs.raw_track import track_of_raw_image
from zsofs.formats.cd_tracks import Track, TrackType

SECTORS = 40
CHANCE = random.Random(12)
DATA = [CHANCE.randbytes(256) * 8 for _ in range(SECTORS)]
VOLUME_SIZE = slice(80, 88)


def raw(mode: int = 2, volume: int = 0) -> bytes:
    """Raw sectors; *volume*: sectors of an ISO 9660 volume, 0 for none."""
    sectors = list(DATA)
    if volume:
        size = volume.to_bytes(4, "little") + volume.to_bytes(4, "big")
        sectors[16] = b"\x01CD001\x01".ljust(80, b"\0") + size + bytes(2048 - 88)
        sectors[16] = sectors[16][:128] + b"\x00\x08\x08\x00" + sectors[16][132:]
    return b"".join(reference.data_sector(n, data, mode) for n, data in enumerate(sectors))


def track_of(image: bytes) -> Track | None:
    def read(offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(image)
        return image[offset : offset + size]

    return track_of_raw_image(read, len(image))


@pytest.mark.parametrize(
    ("mode", "kind"), [(0, None), (1, TrackType.MODE1_RAW), (2, TrackType.MODE2_RAW), (3, None)]
)
def test_the_mode_of_the_first_sector_decides(mode: int, kind: TrackType | None) -> None:
    image = raw()
    image = image[:15] + bytes([mode]) + image[16:]
    assert track_of(image) == (None if kind is None else Track(1, kind, SECTORS))


@pytest.mark.parametrize("size", [0, 11, 15, 16, 2351, 2352, 2353, 4704])
def test_an_image_that_ends_early(size: int) -> None:
    whole = size // 2352
    assert track_of(raw()[:size]) == (Track(1, TrackType.MODE2_RAW, whole) if whole else None)


def test_audio_and_images_of_2048_byte_sectors_are_no_raw_data_track() -> None:
    assert track_of(bytes(9408)) is None
    assert track_of(b"".join(DATA)) is None


@pytest.mark.parametrize("audio", [1, 2, 3, 150])
@pytest.mark.parametrize("data", [1, 2, 17, SECTORS])
def test_the_track_ends_where_audio_begins(data: int, audio: int) -> None:
    sound = CHANCE.randbytes(2352) * audio
    for rest in (b"", bytes(100)):
        image = raw()[: data * 2352] + sound + rest
        assert track_of(image) == Track(1, TrackType.MODE2_RAW, data)


@pytest.mark.parametrize(("volume", "frames"), [(20, 30), (30, 30), (31, SECTORS), (40, SECTORS)])
def test_sectors_of_the_volume_are_data_even_if_they_are_zero(volume: int, frames: int) -> None:
    """A dump has zeros for what the drive could not read."""
    image = raw(1, volume)[: 30 * 2352] + bytes(10 * 2352)
    assert track_of(image) == Track(1, TrackType.MODE1_RAW, frames)
