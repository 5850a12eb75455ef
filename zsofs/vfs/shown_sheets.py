"""Playlists and cue sheets of the source with the names of discs in the mount. For threads."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from zsofs.formats.file_names import MAX_NAME, cue_sheets_of, is_cue_sheet, is_sheet
from zsofs.formats.sheets import MAX_SIZE
from zsofs.source.entry import Entry, Kind
from zsofs.source.shown_part import ShownText

_ORIGINAL = b".raw"
"""End of the name of the text as it is in the source."""

_STATUS_FIELDS = ("st_atime_ns", "st_blksize", "st_blocks", "st_rdev")
"""What a status has besides its sequence and the dates that are changed here."""

_OTHER_ENCODING = "cp1252"
"""Encoding of names that are not UTF-8: that of Windows where M3U comes from."""


@dataclass(frozen=True, slots=True)
class ShownDisc:
    """A disc of the directory.

    Attributes:
        status: of its file in the source.
        names: of the files that it is shown as, the one that programs open first.
        is_iso: whether it is a CD, of which an ``.iso`` is shown.
    """

    status: os.stat_result
    names: tuple[bytes, ...]
    is_iso: bool = False

    @property
    def bin(self) -> bytes | None:
        """The only file that a cue sheet can name for it; None without one."""
        images = [name for name in self.names if not is_cue_sheet(name)]
        return images[0] if len(images) == 1 else None


def with_shown_names(
    shown: Mapping[bytes, Entry],
    entries: Mapping[bytes, Entry],
    discs: Mapping[bytes, ShownDisc],
    *,
    show_raw: bool,
) -> dict[bytes, Entry]:
    """Return the entries of a directory with the shown names in playlists and cue sheets.

    A cue sheet for a CD that is shown as an ``.iso`` is left out, since its tracks would have
    another layout; a playlist that names it names the ``.iso``.

    Args:
        shown: the entries by shown name.
        entries: the entries by name in the source.
        discs: the discs that are shown under other names, by name in the source.
        show_raw: whether the text with the names in the source is shown as well.
    """
    found = dict(shown)
    sheets = [name for name in shown if _names_discs(shown[name])]
    if not sheets:
        return found
    lookup = _Lookup(entries)
    bins = {name: disc.bin for name, disc in discs.items() if disc.bin is not None}
    for name in filter(is_cue_sheet, sheets):
        named = [discs[one] for one in lookup.all(shown[name]) if one in discs]
        if not any(disc.is_iso for disc in named):
            _add(found, name, _renamed(shown[name], lookup, bins, discs), show_raw=show_raw)
        elif not show_raw:
            del found[name]
    isos = {cue: disc for cue, disc in _sheets_of_isos(entries, discs, lookup) if cue not in found}
    openable = {**discs, **isos}
    names = {name: disc.names[0] for name, disc in openable.items()}
    for name in sheets:
        if not is_cue_sheet(name):
            _add(found, name, _renamed(shown[name], lookup, names, openable), show_raw=show_raw)
    return found


def is_renamed_sheet(entry: Entry) -> bool:
    """Return whether an entry is a playlist or cue sheet with other names, or its original."""
    return entry.kind is Kind.FILE and isinstance(entry.shown, ShownText)


class _Lookup:
    """Finds the files of a directory that a text names."""

    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        kinds = (Kind.DISC, Kind.FILE)
        self._entries = {name: entry for name, entry in entries.items() if entry.kind in kinds}
        self._by_key: dict[str, bytes | None] | None = None

    def file(self, name: bytes) -> bytes | None:
        """Return the name of a file in the source; None if there is none, or it is ambiguous.

        Upper and lower case matter only if several files differ in nothing else: such texts come
        from Windows.
        """
        if name in self._entries:
            return name
        if self._by_key is None:
            self._by_key = {}
            for one in self._entries:
                key = _key(one)
                self._by_key[key] = None if key in self._by_key else one
        return self._by_key.get(_key(name))

    def all(self, entry: Entry) -> list[bytes]:
        """Return the files that a playlist or cue sheet names."""
        assert entry.finding.sheet is not None
        found = map(self.file, entry.finding.sheet.names)
        return [name for name in found if name is not None]

    def statuses(self, entry: Entry) -> list[os.stat_result]:
        """Return the status of each file that a playlist or cue sheet names."""
        return [self._entries[name].status for name in self.all(entry)]


def _names_discs(entry: Entry) -> bool:
    return entry.kind is Kind.FILE and entry.finding.sheet is not None and is_sheet(entry.name)


def _renamed(
    entry: Entry,
    lookup: _Lookup,
    names: Mapping[bytes, bytes],
    discs: Mapping[bytes, ShownDisc],
) -> Entry:
    """Return the entry of a text with the shown names; itself if they are the same or too long.

    Args:
        entry: the playlist or cue sheet.
        lookup: finds what it names.
        names: the shown names, by names in the source.
        discs: what these stand for; for a cue sheet that is left out, its disc.
    """
    sheet = entry.finding.sheet
    assert sheet is not None
    new = {}
    for name in set(sheet.names):
        file = lookup.file(name)
        if file is not None and file in names:
            new[name] = _encoded_like(name, names[file])
    text = sheet.renamed(new)
    if text == sheet.text or len(text) > MAX_SIZE:
        return entry
    of_discs = [discs[one].status for one in lookup.all(entry) if one in discs]
    status = _newest(entry.status, *lookup.statuses(entry), *of_discs)
    return replace(entry, status=status, shown=ShownText(text))


def _add(found: dict[bytes, Entry], name: bytes, entry: Entry, *, show_raw: bool) -> None:
    """Add the entry of a playlist or cue sheet and, if requested, its original."""
    original, found[name] = found[name], entry
    if not show_raw or entry is original:
        return
    free = name + _ORIGINAL
    while free in found:
        free += _ORIGINAL
    if len(free) <= MAX_NAME:
        assert original.finding.sheet is not None
        found[free] = replace(original, shown=ShownText(original.finding.sheet.text))


def _sheets_of_isos(
    entries: Mapping[bytes, Entry], discs: Mapping[bytes, ShownDisc], lookup: _Lookup
) -> Iterable[tuple[bytes, ShownDisc]]:
    """Yield each cue sheet of one disc that is shown as an ``.iso``, with that disc."""
    for name, disc in discs.items():
        if disc.is_iso:
            yield from ((sheet, disc) for sheet in cue_sheets_of(name))
    for name, entry in entries.items():
        if is_cue_sheet(name) and _names_discs(entry):
            named = {one for one in lookup.all(entry) if one in discs}
            if len(named) == 1 and discs[min(named)].is_iso:
                yield name, discs[min(named)]


def _newest(status: os.stat_result, *others: os.stat_result) -> os.stat_result:
    """Return a status with the dates of the newest: a name may change and the size not."""
    fields = {field: getattr(status, field) for field in _STATUS_FIELDS}
    for field in ("st_mtime_ns", "st_ctime_ns"):
        fields[field] = max(getattr(one, field) for one in (status, *others))
    return os.stat_result(tuple(status), fields)


def _encoded_like(name: bytes, new: bytes) -> bytes:
    """Return a name in the encoding of the one that it replaces, if that has its characters."""
    try:
        name.decode()
    except UnicodeDecodeError:
        try:
            return new.decode().encode(_OTHER_ENCODING)
        except UnicodeError:
            pass
    return new


def _key(name: bytes) -> str:
    """Return what names have in common that differ in case, encoding or composed characters."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode(_OTHER_ENCODING, "replace")
    return unicodedata.normalize("NFC", text).casefold()
