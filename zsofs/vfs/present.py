"""Presentation of one source directory: its discs under their new names. For threads."""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from zsofs.console.text import for_people
from zsofs.formats.file_names import MAX_NAME, is_system_directory
from zsofs.source.disc_state import Count, count, state_of
from zsofs.source.entry import Entry, Kind
from zsofs.source.relpath import joined
from zsofs.source.roots import is_outside
from zsofs.vfs.naming import shown_names

log = logging.getLogger(__name__)

_TOO_LONG = f"with its new extension the name would be longer than {MAX_NAME} bytes"

_SHOWN_TWICE = "its disc is shown as well"


@dataclass(frozen=True, slots=True)
class Presentation:
    """A directory as the mount shows it.

    Attributes:
        entries: its entries by shown name.
        count: number of its discs.
        folders: st_dev of its subdirectories by path; see :func:`folders_in`.
        searched: st_dev of the subdirectories whose discs are counted, by path.
    """

    entries: Mapping[bytes, Entry]
    count: Count
    folders: Mapping[bytes, int]
    searched: Mapping[bytes, int]


def as_shown(
    path: bytes, entries: Mapping[bytes, Entry], *, show_raw: bool = False, opl: bool = False
) -> Presentation:
    """Return the presentation of the directory *path*.

    Args:
        path: the directory's path in the source.
        entries: its entries by name in the source.
        show_raw: see :func:`named`.
        opl: whether the OPL layout is used.
    """
    shown = named(entries, show_raw=show_raw)
    states = (
        (joined(path, entry.name), state_of(entry, opl=opl))
        for entry in (entries if opl else shown).values()
    )
    return Presentation(shown, count(states), folders_in(entries), _searched_in(entries))


def _searched_in(entries: Mapping[bytes, Entry]) -> dict[bytes, int]:
    return {
        entry.path: entry.status.st_dev
        for entry in entries.values()
        if entry.kind is Kind.FOLDER
        and (not entry.followed or is_outside(entry.path))
        and not (entry.reason or is_system_directory(entry.name))
    }


def folders_in(entries: Mapping[bytes, Entry]) -> dict[bytes, int]:
    """Return path and st_dev of the directories among *entries* that have to be scanned.

    A symlink to another directory of the source is left out: that directory is found without it.
    """
    return {
        entry.path: entry.status.st_dev
        for entry in entries.values()
        if entry.kind is Kind.FOLDER and (not entry.followed or is_outside(entry.path))
    }


def shown_paths(folders: Mapping[bytes, Mapping[bytes, Entry]]) -> dict[bytes, bytes]:
    """Return the shortest path in the mount of each directory, by its path in the tree.

    Args:
        folders: the entries of each directory, by path, then by name.
    """
    shown = {path: path for path in folders if not is_outside(path)}
    todo = deque(sorted(shown, key=lambda path: (path.count(b"/"), path)))
    while todo:
        path = todo.popleft()
        for name, entry in sorted(folders.get(path, {}).items()):
            if entry.kind is Kind.FOLDER and is_outside(entry.path) and entry.path not in shown:
                shown[entry.path] = joined(shown[path], name)
                todo.append(entry.path)
    return shown


def named(entries: Mapping[bytes, Entry], *, show_raw: bool) -> dict[bytes, Entry]:
    """Return the entries of a directory by shown name.

    Args:
        entries: the entries by name in the source.
        show_raw: whether a packed file stays visible beside its disc.
    """
    discs = {name: ending for name, entry in entries.items() if (ending := _ending(entry))}
    shown = {name: entry for name, entry in entries.items() if name not in discs}
    renamed = shown_names(list(entries if show_raw else shown), discs)
    if show_raw:
        shown |= {
            name: replace(as_packed(entries[name]), ignored=_SHOWN_TWICE)
            for name in discs
            if renamed[name] != name
        }
    for name, shown_name in renamed.items():
        if shown_name is None:
            log.warning("%s: shown as the packed file: %s", for_people(name), _TOO_LONG)
            shown[name] = as_packed(entries[name], _TOO_LONG)
        else:
            shown[shown_name] = entries[name]
    return shown


def _ending(entry: Entry) -> bytes:
    """Return the extension that a disc is shown with; empty if its own name is shown."""
    if entry.disc is not None:
        return b".bin" if entry.disc.raw_cd else b".iso"
    return entry.finding.right_ending.encode()


def as_packed(entry: Entry, reason: str = "") -> Entry:
    """Return the entry of a disc that is shown as a packed file, for the given *reason* if any."""
    finding = replace(entry.finding, disc=None, reason=reason or entry.finding.reason)
    return replace(entry, kind=Kind.FILE, finding=finding)
