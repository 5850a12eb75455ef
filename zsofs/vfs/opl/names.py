"""Names of discs on a share for Open PS2 Loader (OPL). Pure functions of text."""

import re
import unicodedata
from collections.abc import Mapping
from os.path import splitext

from zsofs.formats.file_names import may_be_disc, without_first_track

MAX_NAME_BYTES = 159
"""The longest name that OPL opens over SMB, in bytes of UTF-8 with its extension: it has a
buffer of 160 with a zero byte at the end, and truncates longer names silently."""

ENDING = ".iso"

_UNNAMED = "Disc"
"""The title of a disc without any known name."""

_ID = re.compile(r"[A-Z]{4}_\d{3}\.\d{2}", re.ASCII)
"""An ID that OPL takes from the name, so that it need not open the disc to list it."""

_LEADING_ID = re.compile(r"\A" + _ID.pattern + r"\.", re.ASCII | re.IGNORECASE)

_NUMBER = re.compile(r" \((\d{1,9})\)" + re.escape(ENDING) + r"\Z", re.ASCII)
"""The suffix of a name that another disc already has."""

_FORBIDDEN = frozenset('\\/:*?"<>|')
"""Characters that names on an SMB share cannot have."""

_MAX_STEP_BACK = 16
"""Maximum number of characters by which a cut moves back to keep combining marks with their letter,
and again to remove dots and spaces at the end. A title with more of them is not a real one."""

_ZERO_WIDTH_JOINER = "\u200d"


def game_name(game_id: str, title: str) -> tuple[str, bool]:
    """Return the name for a disc: ``SLUS_209.63.Title.iso``, or ``Title.iso`` without an id.

    An id that OPL does not read from a name, such as that of a PSP game, is left out. Without a
    title, the id is used as title, because OPL requires text after the id.

    Returns:
        The name, and whether the title had to be shortened for it.
    """
    prefix = f"{game_id}." if _ID.fullmatch(game_id) else ""
    whole = _clean(title) or _clean(game_id) or _UNNAMED
    cut = _cut(whole, MAX_NAME_BYTES - len(prefix) - len(ENDING))
    return f"{prefix}{cut}{ENDING}", cut != whole


def title_of(file_name: bytes) -> str:
    """Return the title in the name of a disc, without extensions, ID prefix and ``(Track 1)``.

    Bytes that are not UTF-8 become ``_``.
    """
    stem, ending = splitext(file_name)
    while ending and may_be_disc(file_name):
        file_name = stem
        stem, ending = splitext(file_name)
    title = without_first_track(file_name).decode("utf-8", "surrogateescape")
    return _LEADING_ID.sub("", _without_surrogates(title), 1)


def unique_names(
    wanted: Mapping[bytes, str], given: Mapping[bytes, tuple[str, str]] | None = None
) -> dict[bytes, str]:
    """Return a name of its own for each disc, whatever the order of the mapping.

    Names that differ only in case are the same to an SMB client. A disc keeps its assigned name as
    long as it wants the same name. Of the others, the disc whose source path sorts first gets the
    name; the rest get ``(2)``, ``(3)`` and so on before the extension, unless another disc wants
    that name.

    Args:
        wanted: the name that each disc should have, from :func:`game_name`, by source path.
        given: wanted and assigned names so far, by source path.

    Returns:
        The assigned name, by source path.
    """
    final: dict[bytes, str] = {}
    taken: set[str] = set()
    kept = {
        path: name
        for path, (before, name) in (given or {}).items()
        if wanted.get(path) == before and _is_one_of(name, before)
    }
    for names in (kept, wanted):
        for path in sorted(names.keys() - final.keys()):
            if names[path].casefold() not in taken:
                final[path] = names[path]
                taken.add(names[path].casefold())
    next_number: dict[str, int] = {}
    for path in sorted(wanted.keys() - final.keys()):
        key = wanted[path].casefold()
        number = next_number.get(key, 2)
        while (name := _numbered(wanted[path], number)).casefold() in taken:
            number += 1
        next_number[key] = number + 1
        final[path] = name
        taken.add(name.casefold())
    return final


def _is_one_of(name: str, wanted: str) -> bool:
    """Return whether *name* is *wanted*, or that with a number; stored names may be damaged."""
    numbered = _NUMBER.search(name)
    return name == wanted or bool(numbered and name == _numbered(wanted, int(numbered[1])))


def _numbered(name: str, number: int) -> str:
    stem, ending = splitext(name)
    mark = f" ({number})"
    return _cut(stem, MAX_NAME_BYTES - len((mark + ending).encode())) + mark + ending


def _clean(title: str) -> str:
    """Return a title that every SMB client can show; any white space becomes single spaces."""
    kept = "".join(
        char
        for char in _without_surrogates(title)
        if char.isspace() or (char not in _FORBIDDEN and unicodedata.category(char) != "Cc")
    )
    return _trimmed(" ".join(kept.split()))


def _without_surrogates(text: str) -> str:
    """Return *text* with ``_`` in place of bytes that are not UTF-8."""
    return "".join("_" if "\ud800" <= char <= "\udfff" else char for char in text)


def _trimmed(text: str) -> str:
    """Return *text* without trailing dots and spaces, which Windows drops from names."""
    return text.rstrip(". ")


def _cut(text: str, size: int) -> str:
    """Return as much of *text* as fits in *size* bytes of UTF-8, without splitting a letter."""
    data = text.encode()
    if len(data) <= size:
        return text
    most = len(data[:size].decode(errors="ignore"))
    ends = range(most, max(most - _MAX_STEP_BACK, 0), -1)
    cut = text[: next((end for end in ends if not _belongs_together(text, end)), most)]
    trimmed = _trimmed(cut)
    return trimmed if len(cut) - len(trimmed) <= _MAX_STEP_BACK else cut


def _belongs_together(text: str, at: int) -> bool:
    """Return whether a cut before ``text[at]`` separates a letter from its combining mark."""
    return (
        unicodedata.category(text[at]).startswith("M")
        or text[at] == _ZERO_WIDTH_JOINER
        or text[at - 1] == _ZERO_WIDTH_JOINER
    )
