"""Rules for what counts as a disc in `list`, `status` and both layouts. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from os.path import splitext

from zsofs.discs.cd_forms import CdForm
from zsofs.discs.identify import System
from zsofs.discs.opl_support import why_not_played
from zsofs.formats.file_names import APPLE_DOUBLE, is_sheet
from zsofs.source.cd_finding import CdFinding
from zsofs.source.entry import Entry, Kind
from zsofs.source.finding import FileFinding

_PLAIN_ENDING = b".iso"


class Standing(Enum):
    """Class of an entry with respect to discs.

    A ``LINK`` is a symlink that may lead to discs and is not followed.
    """

    COMPRESSED = "compressed"
    PLAIN = "plain"
    COPYING = "copying"
    REFUSED = "refused"
    LEFT_OUT = "left out"
    LINK = "symlink"


@dataclass(frozen=True, slots=True)
class DiscState:
    """The standing of one file or symlink.

    Attributes:
        standing: its class.
        reason: why it is not shown as a disc; empty if it is.
    """

    standing: Standing
    reason: str = ""

    @property
    def is_disc(self) -> bool:
        """Whether it is shown as a disc."""
        return self.standing in (Standing.COMPRESSED, Standing.PLAIN)


_SHOWN_PLAIN = DiscState(Standing.PLAIN)
_SHOWN_PACKED = DiscState(Standing.COMPRESSED)
"""The states of most discs, made once: a scan asks for that of each file."""


@dataclass(frozen=True, slots=True)
class Count:
    """The discs of one directory, or of several.

    Attributes:
        compressed: discs in containers.
        plain: plain disc images.
        copying: files that are still being written.
        refused: path and reason of each file that looks like a disc but is shown as a plain file.
        left_out: path and reason of each disc that the layout does not show.
        links: path and reason of each symlink that may lead to discs and is not followed.
    """

    compressed: int = 0
    plain: int = 0
    copying: int = 0
    refused: tuple[tuple[bytes, str], ...] = ()
    left_out: tuple[tuple[bytes, str], ...] = ()
    links: tuple[tuple[bytes, str], ...] = ()

    @property
    def discs(self) -> int:
        """Number of discs shown."""
        return self.compressed + self.plain


def state_of(entry: Entry, *, opl: bool) -> DiscState | None:
    """Return the standing of an entry; None if it does not look like a disc.

    *opl*: whether the OPL layout is used, which leaves out discs that OPL cannot read.
    """
    if entry.kind is Kind.LINK and entry.reason:
        return DiscState(Standing.LINK, entry.reason)
    if entry.kind not in (Kind.DISC, Kind.FILE) or entry.ignored or is_sheet(entry.name):
        return None
    if entry.copying_since is not None:
        return DiscState(Standing.COPYING, "still being copied")
    return state_of_content(entry.name, entry.finding, opl=opl)


def state_of_content(name: bytes, found: FileFinding, *, opl: bool) -> DiscState | None:
    """Return the standing of a complete file, by its name and finding."""
    if found.reason:
        return DiscState(Standing.REFUSED, found.reason)
    if why_ignored(name, found) or not _is_disc(name, found):
        return None
    why = why_left_out(name, found) if opl else ""
    if why:
        return DiscState(Standing.LEFT_OUT, f"not in the OPL layout: {why}")
    return _SHOWN_PLAIN if found.disc is None else _SHOWN_PACKED


def is_disc(entry: Entry) -> bool:
    """Return whether an entry is a complete disc, independent of the layout."""
    state = state_of(entry, opl=False)
    return state is not None and state.is_disc


def _is_disc(name: bytes, found: FileFinding) -> bool:
    """Return whether it is a container, a plain `.iso` file, or a plain image of a game.

    A `.bin` file may be anything, such as a memory card.
    """
    if found.disc is not None or found.right_ending or name.lower().endswith(_PLAIN_ENDING):
        return True
    return found.identity is not None and found.identity.system is not System.OTHER


def why_ignored(name: bytes, found: FileFinding) -> str:
    """Return why a file is never treated as a disc, by its content; empty if it may be one."""
    is_apple_double = found.content == APPLE_DOUBLE and name.startswith(b"._")
    return APPLE_DOUBLE if is_apple_double else ""


def why_left_out(name: bytes, found: FileFinding) -> str:
    """Return why the OPL layout leaves out a disc; empty if it does not."""
    system = found.identity.system if found.identity is not None else System.OTHER
    if found.cd is not None:
        return _why_no_iso(found.cd, system)
    raw_cd = found.disc is not None and found.disc.raw_cd
    why = why_not_played(system, found.content, raw_cd=raw_cd)
    ending = found.right_ending.encode() or splitext(name)[1].lower()
    if not why and found.disc is None and ending != _PLAIN_ENDING:
        return "OPL reads only .iso files as plain images"
    return why


def _why_no_iso(cd: CdFinding, system: System) -> str:
    """Return why OPL cannot play the ``.iso`` of a CD; empty if it can."""
    why = why_not_played(system, "", raw_cd=False)
    if not why and not cd.has_iso:
        return "its first track has no data for an .iso"
    if not why and cd.form is CdForm.BIN and system is not System.PS2:
        return "it is not a PS2 disc"
    return why


def count(states: Iterable[tuple[bytes, DiscState | None]]) -> Count:
    """Count files by standing; each comes with its path in the source."""
    found: dict[Standing, list[tuple[bytes, str]]] = {standing: [] for standing in Standing}
    packed = 0
    for path, state in states:
        if state is _SHOWN_PACKED:
            packed += 1
        elif state is not None:
            found[state.standing].append((path, state.reason))
    return Count(
        packed + len(found[Standing.COMPRESSED]),
        len(found[Standing.PLAIN]),
        len(found[Standing.COPYING]),
        tuple(found[Standing.REFUSED]),
        tuple(found[Standing.LEFT_OUT]),
        tuple(found[Standing.LINK]),
    )


def total(counts: Iterable[Count]) -> Count:
    """Return the sum of counts."""
    counts = list(counts)
    return Count(
        sum(one.compressed for one in counts),
        sum(one.plain for one in counts),
        sum(one.copying for one in counts),
        tuple(row for one in counts for row in one.refused),
        tuple(row for one in counts for row in one.left_out),
        tuple(row for one in counts for row in one.links),
    )
