"""Where everything lies on a share for Open PS2 Loader. Pure functions of what was found."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from zsofs.disc import Media, System
from zsofs.opl import game_name, title_of, unique_names
from zsofs.survey import Entry, Kind
from zsofs.titles import normal_id

DISC_FOLDERS = {b"DVD": Media.DVD, b"CD": Media.CD}


@dataclass(frozen=True, slots=True)
class Layout:
    """A share for OPL.

    Attributes:
        root: what lies at the top, by shown name, DVD and CD among it.
        discs: what lies in DVD and CD, by shown name.
        left_out: why, by path in the source, of each disc that is not shown.
        shortened: the name it got, by path, of each whose title was too long.
    """

    root: Mapping[bytes, Entry]
    discs: Mapping[bytes, Mapping[bytes, Entry]]
    left_out: Mapping[bytes, str]
    shortened: Mapping[bytes, str]


def arrange(
    folders: Mapping[bytes, Mapping[bytes, Entry]],
    status: os.stat_result,
    titles: Mapping[str, str],
) -> Layout:
    """Lay out a source.

    Every disc lies in DVD or CD, wherever it is in the source. Beside those two lies what the top
    of the source has: its files, and its folders without discs at any depth.

    Args:
        folders: what is in each folder of the source, by path, then by name.
        status: what stat says of the source folder.
        titles: of games, by normal id.
    """
    left_out: dict[bytes, str] = {}
    shortened: dict[bytes, str] = {}
    wanted: dict[Media, dict[bytes, str]] = {Media.DVD: {}, Media.CD: {}}
    discs: dict[bytes, Entry] = {}
    holders: set[bytes] = set()
    for entry, own in _discs(folders):
        holders.add(own.partition(b"/")[0])
        reason = _reason_to_leave_out(entry)
        if reason:
            left_out[entry.path] = reason
            continue
        name, was_cut = _name(entry, titles)
        if was_cut:
            shortened[entry.path] = name
        discs[own] = entry
        wanted[entry.identity.media if entry.identity else Media.DVD][own] = name
    shown: dict[bytes, dict[bytes, Entry]] = {}
    for folder, media in DISC_FOLDERS.items():
        names = unique_names(wanted[media])
        shown[folder] = {os.fsencode(names[own]): discs[own] for own in names}
        for beside, entry in folders.get(folder, {}).items():
            if entry.kind is not Kind.FOLDER and not _is_disc(entry):
                shown[folder].setdefault(beside, entry)
    top = folders.get(b"", {})
    root = {
        name: entry
        for name, entry in top.items()
        if not _is_disc(entry) and not (entry.kind is Kind.FOLDER and name in holders)
    }
    for folder in DISC_FOLDERS:
        real = top.get(folder)
        as_folder = real is not None and real.kind is Kind.FOLDER
        root[folder] = (
            replace(real, path=folder)
            if real is not None and as_folder
            else Entry(folder, Kind.FOLDER, folder, status)
        )
    return Layout(root, shown, left_out, shortened)


def _discs(folders: Mapping[bytes, Mapping[bytes, Entry]]) -> Iterator[tuple[Entry, bytes]]:
    """Every disc and the path it has in the source, a symlink's being its own."""
    for folder, entries in folders.items():
        for name, entry in entries.items():
            if _is_disc(entry):
                yield entry, b"/".join((folder, name)) if folder else name


def _is_disc(entry: Entry) -> bool:
    """Whether it belongs into DVD or CD: a disc in a container, or a plain `.iso` file."""
    if entry.kind is Kind.DISC:
        return True
    return entry.kind is Kind.FILE and entry.name.lower().endswith(b".iso")


def _reason_to_leave_out(entry: Entry) -> str:
    if entry.identity is not None and entry.identity.system is System.PSP:
        return "not in the OPL layout: a PSP disc"
    if entry.disc is not None and entry.disc.raw_cd:
        return "not in the OPL layout: raw CD sectors, which OPL cannot read"
    return ""


def _name(entry: Entry, titles: Mapping[str, str]) -> tuple[str, bool]:
    """The name that a disc wants, and whether its title had to be cut."""
    game_id = entry.identity.game_id if entry.identity else ""
    title = titles.get(normal_id(game_id)) if game_id else None
    return game_name(game_id, title_of(entry.name) if title is None else title)
