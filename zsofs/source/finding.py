"""Result of the inspection of one source file."""

from dataclasses import dataclass

from zsofs.discs.identify import Identity
from zsofs.formats.sheets import Sheet
from zsofs.images.probe import Disc
from zsofs.source.cd_finding import CdFinding


@dataclass(slots=True, unsafe_hash=True)
class FileFinding:
    """Result of the inspection of a file; constant after its creation.

    It is not frozen, for the reason that :class:`zsofs.source.entry.Entry` is not.

    Attributes:
        disc: the disc, if the file is a container.
        reason: why it is not shown as a disc, although it looks like one.
        identity: identity of the disc, if requested.
        remarks: remarks on the image itself, in addition to those on its container.
        content: kind of the image, such as ``an HTML page``; empty for an ISO 9660 or UDF image
            with 2048-byte sectors, and if unknown.
        right_ending: correct extension of a plain image, such as ``.iso``, if its name has the
            extension of a container; else empty.
        settled: whether it depends on this file alone. Otherwise, as for a CHD with a parent, it
            is not kept.
        cd: the CD in a CHD, or the PS2 CD in a file or container of raw sectors.
        sheet: the playlist or cue sheet, if it names discs.
        is_new: whether a client may still change the disc that it created (``--new-discs``); it is
            not kept.
    """

    disc: Disc | None = None
    reason: str = ""
    identity: Identity | None = None
    remarks: tuple[str, ...] = ()
    content: str = ""
    right_ending: str = ""
    settled: bool = True
    cd: CdFinding | None = None
    sheet: Sheet | None = None
    is_new: bool = False


NOTHING = FileFinding()
"""Finding of a file that was not inspected."""

NEW = FileFinding(is_new=True)
"""Finding of a new disc that is still being copied."""
