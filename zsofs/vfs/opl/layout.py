"""Where everything lies on a share for Open PS2 Loader. Pure functions of what was found."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zsofs.discs.identify import Media
from zsofs.formats.file_names import has_disc_ending
from zsofs.source.disc_state import Standing, is_disc, state_of
from zsofs.source.entry import Entry, Kind
from zsofs.source.relpath import is_at_or_below, joined
from zsofs.vfs.opl.given_names import Given
from zsofs.vfs.opl.names import game_name, title_of, unique_names
from zsofs.vfs.opl.titles import normal_id

DISC_FOLDERS = {b"DVD": Media.DVD, b"CD": Media.CD}

_PLAIN_ENDING = b".iso"
_TAKEN_FOR_DISCS = (_PLAIN_ENDING, b".zso")
"""The endings, in any case, of what OPL lists in DVD and CD."""


@dataclass(frozen=True, slots=True)
class OplLayout:
    """A share for OPL.

    Attributes:
        root: what lies at the top, by shown name, DVD and CD among it.
        discs: what lies in DVD and CD, by shown name.
        places: the path it is shown under, by path in the source, of each disc that is.
        left_out: why, by path in the source, of each disc that is not shown.
        shortened: the name it got, by path, of each whose title was too long.
        names: the name each one wants, and the one it is given, by path.
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
    """Lay out a source.

    Every disc lies in DVD or CD, wherever it is in the source: where the source has it in a folder
    of that name at its top, in that one; else by what it is. Beside those two lies what the top of
    the source has: its files, and its folders without discs at any depth.

    Args:
        folders: what is in each folder of the source, by path, then by name.
        status: what stat says of the source directory.
        titles: of games, by normal id.
        given: names that discs were given before, by path, as of :attr:`Layout.names`.
    """
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
            shown[folder][unique.encode()] = discs[own]
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
    """Return which of DVD and CD each directory of these names stands for, by its path.

    One that is a symlink has the path of its target. Those in capitals come first.

    Args:
        top: what is at the top of the source.
    """
    return {
        entry.path: name.upper()
        for name, entry in sorted(top.items())
        if entry.kind is Kind.FOLDER and name.upper() in DISC_FOLDERS
    }


def _discs(folders: Mapping[bytes, Mapping[bytes, Entry]]) -> Iterator[tuple[Entry, bytes]]:
    """Every disc and the path it has in the source, a symlink's being its own."""
    for folder, entries in folders.items():
        for name, entry in entries.items():
            if is_disc(entry):
                yield entry, joined(folder, name)


def _holders(folders: Mapping[bytes, Mapping[bytes, Entry]]) -> set[bytes]:
    """The folders that lead to discs, or to files that are named so and never taken for discs."""
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
    """Where a disc goes: a user who has sorted it already knows best."""
    for path, folder in sorted_by_user.items():
        if is_at_or_below(own, path):
            return folder
    media = entry.identity.media if entry.identity else Media.DVD
    return next((folder for folder, kind in DISC_FOLDERS.items() if kind is media), b"DVD")


def _name(entry: Entry, titles: Mapping[str, str]) -> tuple[str, bool]:
    """The name that a disc wants, and whether its title had to be cut."""
    game_id = entry.identity.game_id if entry.identity else ""
    title = titles.get(normal_id(game_id)) if game_id else None
    return game_name(game_id, title_of(entry.name) if title is None else title)


def _others(
    folders: Mapping[bytes, Mapping[bytes, Entry]],
    folder: bytes,
    sorted_by_user: Mapping[bytes, bytes],
) -> dict[bytes, Entry]:
    """What else the source has in DVD or CD, such as OPL's `games.bin`.

    What is broken, or still being copied, is not there: OPL would list it as a disc.
    """
    return {
        name: entry
        for path in reversed([path for path, own in sorted_by_user.items() if own == folder])
        for name, entry in folders.get(path, {}).items()
        if entry.kind is not Kind.FOLDER
        and not is_disc(entry)
        and not name.lower().endswith(_TAKEN_FOR_DISCS)
    }


def _as_folder(folder: bytes, top: Mapping[bytes, Entry], status: os.stat_result) -> Entry:
    """DVD or CD as a folder at the top: the source's own, if it has it."""
    real = top.get(folder)
    if real is not None and real.kind is Kind.FOLDER:
        return real
    return Entry(folder, Kind.FOLDER, folder, status)
