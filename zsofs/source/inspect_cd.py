"""Inspection of a CD: its tracks, and the form in which it is shown."""

from functools import lru_cache

from zsofs.discs.cd_forms import CdForm, default_form
from zsofs.discs.identify import Identity, System
from zsofs.discs.iso9660 import Image
from zsofs.discs.raw_track import track_of_raw_image
from zsofs.errors import BlockError, StaleNodeError
from zsofs.formats import chd
from zsofs.images.probe import Disc, geometry_of
from zsofs.images.random_access import plain_bytes
from zsofs.images.source_file import OpenSource
from zsofs.source.cd_finding import CdFinding

KEPT_READS = 8
"""Number of cached reads during an inspection: several checks read the image's descriptors."""


def cd_in_chd(source: OpenSource, disc: Disc) -> CdFinding | None:
    """Return the CD in a container; None if it is no CHD, or one of a DVD or UMD.

    Args:
        source: the file.
        disc: the container in it.

    Raises:
        FormatError: the CHD needs a parent that cannot be used.
        OSError: the file cannot be read.
    """
    if disc.container != chd.CONTAINER:
        return None
    try:
        geometry = geometry_of(source, disc)
    except StaleNodeError:
        return None
    tracks = geometry.chd.tracks if geometry.chd is not None else ()
    if not tracks:
        return None
    try:
        read = lru_cache(KEPT_READS)(plain_bytes(source, geometry))
        form = default_form(tracks, read, disc.size)
    except (BlockError, StaleNodeError):
        form = CdForm.BIN  # with all its bytes, since it is unknown which are needed
    return CdFinding(tracks, form, in_chd=True)


def raw_ps2_cd(image: Image, identity: Identity | None) -> CdFinding | None:
    """Return the CD in an image of raw sectors, if it is one for a PS2.

    Args:
        image: the image.
        identity: of the disc.
    """
    if not image.raw_cd or identity is None or identity.system is not System.PS2:
        return None
    try:
        track = track_of_raw_image(image.read, image.size)
    except BlockError:
        return None
    return None if track is None else CdFinding((track,), CdForm.BIN, in_chd=False)
