"""What a CHD's header, metadata and map say, and whether they agree with its data."""

from dataclasses import dataclass
from typing import Any

from zsofs.errors import FormatError
from zsofs.formats.cd_tracks import Track, begins
from zsofs.formats.chd import HEADER_SIZE, parse_header
from zsofs.formats.chd_layout import ChdLayout
from zsofs.formats.chd_metadata import overall_sha1, read_metadata
from zsofs.images.checksums import Digests, digester
from zsofs.images.input_image import Original
from zsofs.images.pipeline import Chunk, cores, stream
from zsofs.inspection.cue_facts import track_object

NO_SHA1 = "0" * 40
"""In the header of a CHD that has no SHA-1."""


@dataclass(frozen=True, slots=True)
class ChdFacts:
    """How a CHD stores its data.

    Attributes:
        layout: its hunks.
        codecs: those that its header names.
        shares: number of hunks by how they are stored; empty for an uncompressed CHD.
        tracks: of a CD.
        map_memory: bytes that its map takes while it is open.
    """

    layout: ChdLayout
    codecs: tuple[str, ...]
    shares: dict[str, int]
    tracks: tuple[Track, ...]
    map_memory: int

    def as_object(self) -> dict[str, Any]:
        """Return what `zsofs info --json` prints of it."""
        layout = self.layout
        return {
            "codecs": self.codecs,
            "hunk_size": layout.hunk_size,
            "unit_size": layout.unit_size,
            "hunks": layout.hunk_count,
            "hunks_by_type": self.shares,
            "tracks": [
                {"number": track.number, "type": track.type.chd_name} | track_object(track, begin)
                for track, begin in zip(self.tracks, begins(self.tracks), strict=True)
            ],
            "raw_sha1": None if layout.sha1s.data == NO_SHA1 else layout.sha1s.data,
            "sha1": None if layout.sha1s.overall == NO_SHA1 else layout.sha1s.overall,
            "parent_sha1": layout.sha1s.parent or None,
        }


def chd_facts(image: Original) -> ChdFacts | None:
    """Return what is known of a CHD; None for any other image.

    Raises:
        FormatError: the file has changed since it was opened.
        OSError: it cannot be read.
    """
    layout = image.geometry.chd if image.geometry is not None else None
    if layout is None or image.reader is None or image.reader.chd_map is None:
        return None
    header = parse_header(image.source.read_at(0, HEADER_SIZE))
    named = [name.decode("ascii").strip("\0") for name in header.codecs]
    counts = image.reader.chd_map.counts
    labels = (*named, "stored plain", "like another hunk", "of the parent")
    shares: dict[str, int] = {}
    for label, count in zip(labels, counts, strict=True):
        if count:
            shares[label] = shares.get(label, 0) + count
    return ChdFacts(
        layout,
        tuple(name for name in named if name) or ("uncompressed",),
        shares,
        layout.tracks,
        image.reader.chd_map.memory,
    )


def has_sha1(image: Original) -> bool:
    """Return whether a CHD has the SHA-1s of its data and metadata; uncompressed ones have none."""
    layout = _layout(image)
    return NO_SHA1 not in (layout.sha1s.overall, layout.sha1s.data)


def damaged_metadata(image: Original) -> str:
    """Return a sentence if a CHD's metadata are not those that its SHA-1 covers; else nothing."""
    layout = _layout(image)
    if not has_sha1(image):
        return ""
    try:
        header = parse_header(image.source.read_at(0, HEADER_SIZE))
        found = overall_sha1(layout.sha1s.data, read_metadata(image.source, header.metadata_offset))
    except FormatError as error:
        return str(error)
    if found == layout.sha1s.overall:
        return ""
    return (
        f"data and metadata have SHA-1 {found}, the header gives {layout.sha1s.overall}: header or"
        " metadata are damaged"
    )


def other_data(image: Original, digests: Digests) -> str:
    """Return a sentence if a CHD's data are not those that its SHA-1 covers; may read all of them.

    Args:
        image: the CHD.
        digests: of the image, which is all data where it has whole hunks.

    Raises:
        zsofs.errors.ZsofsError: a hunk is damaged.
    """
    layout = _layout(image)
    if not has_sha1(image):
        return ""
    found = digests.sha1 if not layout.take and image.view is None else _sha1_of_hunks(image)
    if found == layout.sha1s.data:
        return ""
    return f"its data have SHA-1 {found}, the header gives {layout.sha1s.data}: one is damaged"


def _layout(image: Original) -> ChdLayout:
    assert image.geometry is not None
    assert image.geometry.chd is not None
    return image.geometry.chd


def _sha1_of_hunks(image: Original) -> str:
    hunks = image.as_hunks()
    assert hunks.geometry is not None
    with (
        digester(every=False) as taker,
        stream(hunks, Chunk, hunks.geometry.block_size, workers=cores(), digester=taker) as chunks,
    ):
        for _ in chunks:
            pass
    return taker.result().sha1
