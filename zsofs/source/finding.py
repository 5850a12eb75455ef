"""What was found inside one file of the source."""

from dataclasses import dataclass

from zsofs.discs.identify import Identity
from zsofs.images.probe import Disc


@dataclass(frozen=True, slots=True)
class FileFinding:
    """What was found inside a file.

    Attributes:
        disc: what is in it, if it is a container.
        reason: why it is not shown as a disc, if it looks like one.
        identity: which disc it is, if somebody wanted to know.
        remarks: oddities of the image itself, packed or plain, beside those of its container.
        content: what the image is, as in ``an HTML page``; empty for an ISO 9660 or UDF image of
            2048-byte sectors, and where that is not known.
        right_ending: the one that a plain image should have, as in ``.iso``, where its name has
            that of a packed one; else empty.
        settled: whether it depends on this file alone. Otherwise, as for a CHD without its parent,
            it is not kept.
    """

    disc: Disc | None = None
    reason: str = ""
    identity: Identity | None = None
    remarks: tuple[str, ...] = ()
    content: str = ""
    right_ending: str = ""
    settled: bool = True


NOTHING = FileFinding()
"""The finding of what was not looked into."""
