"""Layout of a share for Open PS2 Loader. Pure functions of scan results."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zsofs.discs.cd_forms import CdForm
from zsofs.discs.identify import Media
from zsofs.formats.file_names import has_disc_ending
from zsofs.source.disc_state import Standing, is_disc, state_of
from zsofs.source.entry import Entry, Kind
from zsofs.source.relpath import is_at_or_below, joined
from zsofs.vfs.opl.given_names import Given
from zsofs.vfs.opl.names import game_name, title_of, unique_names
from zsofs.vfs.opl.titles import normal_id
from zsofs.vfs.present import form_of, parts_of, sheets_of_views

DISC_FOLDERS = {b"DVD": Media.DVD, b"CD": Media.CD}

_PLAIN_ENDING = b".iso"
_TAKEN_FOR_DISCS = (_PLAIN_ENDING, b".zso")
"""Extensions, in any case, of the files that OPL lists in DVD and CD."""


@dataclass(frozen=True, slots=True)
class OplLayout:
    """Layout of a share for OPL. Paths of discs are paths in the source.

    Attributes:
        root: entries of the top directory by shown name, including DVD and CD.
        discs: entries of DVD and CD, by shown name.
        places: shown path of each shown disc, by path.
        left_out: reason why a disc is not shown, by path.
        shortened: name of each disc whose title was too long, by path.
        names: wanted and assigned name of each disc, by path.
    """

    root: Mapping[bytes, Entry]
    discs: Mapping[bytes, Mapping[bytes, Entry]]
    places: Mapping[bytes, bytes]
    left_out: Mapping[bytes, str]
    shortened: Mapping[bytes, str]
    names: Mapping[bytes, Given]


def arrange(
    folders: Mapping[bytes, Mapping[bytes, Entry]],
    status: os.stat_result,
    titles: Mapping[str, str],
    given: Mapping[bytes, Given] | None = None,
) -> OplLayout:
    """Compute the layout of a source.

    Every disc is shown in DVD or CD, wherever it is in the source: if it is below a top-level
    directory of that name, in that one; else by its media type. The other entries of the top
    directory are the source's own: its files, and its directories without discs at any depth.

    Args:
        folders: the entries of each source directory, by path, then by name.
        status: status of the source directory.
        titles: titles of games, by normal id.
        given: wanted and assigned names so far, by path, as in :attr:`OplLayout.names`.
    """
    folders = {path: _without_sheets(entries) for path, entries in folders.items()}
    left_out: dict[bytes, str] = {}
    shortened: dict[bytes, str] = {}
    wanted: dict[bytes, dict[bytes, str]] = {folder: {} for folder in DISC_FOLDERS}
    discs: dict[bytes, Entry] = {}
    sorted_by_user = disc_sources(folders.get(b"", {}))
    for entry, own in _discs(folders):
        state = state_of(entry, opl=True)
        if state is not None and state.standing is Standing.LEFT_OUT:
            left_out[own] = state.reason
            continue
        name, was_cut = _name(entry, titles)
        if was_cut:
            shortened[own] = name
        discs[own] = entry
        wanted[_disc_folder(own, entry, sorted_by_user)][own] = name
    holders = _holders(folders)
    shown: dict[bytes, dict[bytes, Entry]] = {}
    places: dict[bytes, bytes] = {}
    named: dict[bytes, Given] = {}
    for folder, names in wanted.items():
        shown[folder] = _others(folders, folder, sorted_by_user)
        for own, unique in unique_names(names, given).items():
            named[own] = names[own], unique
            shown[folder][unique.encode()] = _as_iso(discs[own])
            places[own] = folder + b"/" + unique.encode()
    root = {
        name: entry
        for name, entry in folders.get(b"", {}).items()
        if not is_disc(entry)
        and not (entry.ignored and has_disc_ending(name))
        and not (entry.kind is Kind.FOLDER and entry.path in holders)
        and name.upper() not in DISC_FOLDERS  # DVD and dvd are one to an SMB client
    }
    for folder in DISC_FOLDERS:
        root[folder] = _as_folder(folder, folders.get(b"", {}), status)
    return OplLayout(root, shown, places, left_out, shortened, named)


def disc_sources(top: Mapping[bytes, Entry]) -> dict[bytes, bytes]:
    """Return the top-level directories called DVD or CD in any case: shown name by path.

    The path of a symlink is that of its target. Names in capitals come first.

    Args:
        top: the entries of the source directory.
    """
    return {
        entry.path: name.upper()
        for name, entry in sorted(top.items())
        if entry.kind is Kind.FOLDER and name.upper() in DISC_FOLDERS
    }


def _discs(folders: Mapping[bytes, Mapping[bytes, Entry]]) -> Iterator[tuple[Entry, bytes]]:
    """Yield each disc and its path in the source, for a symlink the path of the link."""
    for folder, entries in folders.items():
        for name, entry in entries.items():
            if is_disc(entry):
                yield entry, joined(folder, name)


def _without_sheets(entries: Mapping[bytes, Entry]) -> Mapping[bytes, Entry]:
    """Return the entries of a directory without cue sheets of what is shown as an ``.iso``."""
    sheets = sheets_of_views(entries, CdForm.ISO)
    return {name: entries[name] for name in entries if name not in sheets} if sheets else entries


def _as_iso(entry: Entry) -> Entry:
    form = form_of(entry, CdForm.ISO)
    return entry if form is None else parts_of(entry, form, b"")[0]


def _holders(folders: Mapping[bytes, Mapping[bytes, Entry]]) -> set[bytes]:
    """Return the directories above discs, or above files with disc names that are ignored."""
    above: dict[bytes, set[bytes]] = {}
    todo = []
    for folder, entries in folders.items():
        for name, entry in entries.items():
            if entry.kind is Kind.FOLDER:
                above.setdefault(entry.path, set()).add(folder)
            elif is_disc(entry) or (entry.ignored and has_disc_ending(name)):
                todo.append(folder)
    holders: set[bytes] = set()
    while todo:
        folder = todo.pop()
        if folder not in holders:
            holders.add(folder)
            todo += above.get(folder, ())
    return holders


def _disc_folder(own: bytes, entry: Entry, sorted_by_user: Mapping[bytes, bytes]) -> bytes:
    """Return the directory for a disc: the one that the user chose, else by its media type."""
    for path, folder in sorted_by_user.items():
        if is_at_or_below(own, path):
            return folder
    identity = entry.finding.identity
    media = identity.media if identity else Media.DVD
    return next((folder for folder, kind in DISC_FOLDERS.items() if kind is media), b"DVD")


def _name(entry: Entry, titles: Mapping[str, str]) -> tuple[str, bool]:
    """Return the wanted name of a disc, and whether its title was shortened."""
    identity = entry.finding.identity
    game_id = identity.game_id if identity else ""
    title = titles.get(normal_id(game_id)) if game_id else None
    return game_name(game_id, title_of(entry.name) if title is None else title)


def _others(
    folders: Mapping[bytes, Mapping[bytes, Entry]],
    folder: bytes,
    sorted_by_user: Mapping[bytes, bytes],
) -> dict[bytes, Entry]:
    """Return the other files in the source's DVD or CD, such as OPL's `games.bin`.

    Damaged discs and discs that are still being copied are left out: OPL would list them. A client
    must find what it copies through the mount itself.
    """
    return {
        name: entry
        for path in reversed([path for path, own in sorted_by_user.items() if own == folder])
        for name, entry in folders.get(path, {}).items()
        if entry.kind is not Kind.FOLDER
        and not is_disc(entry)
        and (entry.is_new or not name.lower().endswith(_TAKEN_FOR_DISCS))
    }


def _as_folder(folder: bytes, top: Mapping[bytes, Entry], status: os.stat_result) -> Entry:
    """Return the entry of DVD or CD: the source's own directory, if it exists."""
    real = top.get(folder)
    if real is not None and real.kind is Kind.FOLDER:
        return real
    return Entry(folder, Kind.FOLDER, folder, status)
