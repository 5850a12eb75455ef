"""Names of discs in playlists (``.m3u``) and cue sheets (``.cue``), and texts with other names.

A playlist has a name on each line that is neither blank nor begins with ``#`` (RFC 8216, section
4.1); RetroArch reads a label behind ``|``. A cue sheet has names in its ``FILE`` lines (CDRWIN's
User's Guide, appendix A). Both come from the source, so their size is bounded. All texts are
bytes, because their encoding is unknown; everything except the names is kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from zsofs.formats.file_names import has_disc_ending, is_cue_sheet, is_packed_name

MAX_SIZE = 65536
"""Bytes of the largest text that is read."""

_MAX_NAMES = 1000
"""A text with more names of discs is not read: a playlist has up to ten, a cue sheet 99."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]+")
_BLANK = b" \t\v\f"
_HERE = (b"./", b".\\")

Span = tuple[int, int]
"""Begin and end of a name in a text."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Sheet:
    """A playlist or cue sheet that names discs.

    Attributes:
        text: all of it.
        spans: where names of discs in its own directory are, in their order.
    """

    text: bytes
    spans: tuple[Span, ...]

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of discs in it."""
        return tuple(self.text[begin:end] for begin, end in self.spans)

    def renamed(self, names: Mapping[bytes, bytes]) -> bytes:
        """Return the text with other names; all else stays byte for byte.

        Args:
            names: new names by those in the text.
        """
        parts, done = [], 0
        for begin, end in self.spans:
            name = self.text[begin:end]
            parts += [self.text[done:begin], names.get(name, name)]
            done = end
        return b"".join([*parts, self.text[done:]])


def parse_sheet(name: bytes, text: bytes) -> Sheet | None:
    """Return the names of discs in a playlist or cue sheet.

    Of a cue sheet, only names of packed files are returned, because a ``.bin`` keeps its name.

    Args:
        name: of the file; its extension tells which of the two it is.
        text: all of it.

    Returns:
        None for a text without such names, with too many, or too large; and for binary data.
    """
    if len(text) > MAX_SIZE or b"\0" in text:
        return None
    of_cue = is_cue_sheet(name)
    find = _in_cue_line if of_cue else _in_playlist_line
    spans = []
    for line in _LINE.finditer(text, len(_BYTE_ORDER_MARK) * text.startswith(_BYTE_ORDER_MARK)):
        begin, end = _stripped(text, line.start(), line.end())
        begin, end = find(text, begin, end)
        if text[begin : begin + 2] in _HERE:
            begin += 2
        found = text[begin:end]
        if b"/" not in found and (is_packed_name(found) if of_cue else _is_listed(found)):
            spans.append((begin, end))
            if len(spans) > _MAX_NAMES:
                return None
    return Sheet(text, tuple(spans)) if spans else None


def _is_listed(name: bytes) -> bool:
    return has_disc_ending(name) or is_cue_sheet(name)


def _stripped(text: bytes, begin: int, end: int) -> Span:
    """Return the span without the white space around it."""
    part = text[begin:end]
    return begin + len(part) - len(part.lstrip(_BLANK)), begin + len(part.rstrip(_BLANK))


def _in_playlist_line(text: bytes, begin: int, end: int) -> Span:
    if text[begin : begin + 1] == b"#":
        return begin, begin
    label = text.find(b"|", begin, end)
    if label >= 0:
        before_label = _stripped(text, begin, label)
        if _is_listed(text[slice(*before_label)]):
            return before_label
    return begin, end


def _in_cue_line(text: bytes, begin: int, end: int) -> Span:
    """Return the name in ``FILE "name" TYPE`` or ``FILE name TYPE``; nothing of another line."""
    words = text[begin:end].split(None, 1)
    if len(words) < 2 or words[0].upper() != b"FILE":
        return begin, begin
    rest = words[1]
    first = end - len(rest)
    if rest.startswith(b'"'):
        quote = rest.find(b'"', 1)
        return (first + 1, first + quote) if quote > 0 else (begin, begin)
    return first, first + len(rest.rsplit(None, 1)[0].rstrip())
