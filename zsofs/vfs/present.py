"""Presentation of one source directory: its discs under their new names. For threads."""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from zsofs.console.text import for_people
from zsofs.discs.cd_forms import CdForm
from zsofs.formats.cd_tracks import can_be_named
from zsofs.formats.file_names import MAX_NAME, cue_sheets_of, is_system_directory
from zsofs.source.disc_state import Count, DiscState, count, state_of
from zsofs.source.entry import Entry, Kind
from zsofs.source.relpath import joined
from zsofs.source.roots import is_outside
from zsofs.vfs.naming import shown_names
from zsofs.vfs.shown_sheets import ShownDisc, with_shown_names

log = logging.getLogger(__name__)

_TOO_LONG = f"with its new extension the name would be longer than {MAX_NAME} bytes"

_NO_ISO = "shown as .cue and .bin: its first track has no data for an .iso"

_NO_SHEET = "a cue sheet cannot hold its name, which has a quotation mark or a line break"

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
    path: bytes,
    entries: Mapping[bytes, Entry],
    *,
    show_raw: bool = False,
    cd: CdForm | None = None,
    opl: bool = False,
) -> Presentation:
    """Return the presentation of the directory *path*.

    Args:
        path: the directory's path in the source.
        entries: its entries by name in the source.
        show_raw: see :func:`named`.
        cd: see :func:`named`.
        opl: whether the OPL layout is used.
    """
    shown = named(entries, show_raw=show_raw, cd=cd)
    states: dict[bytes, DiscState] = {}  # the files of one disc are counted once
    for entry in (entries if opl else shown).values():
        state = state_of(entry, opl=opl)
        if state is not None:
            states[joined(path, entry.name)] = state
    return Presentation(shown, count(states.items()), folders_in(entries), _searched_in(entries))


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


def named(
    entries: Mapping[bytes, Entry], *, show_raw: bool, cd: CdForm | None = None
) -> dict[bytes, Entry]:
    """Return the entries of a directory by shown name.

    Args:
        entries: the entries by name in the source.
        show_raw: whether a packed file stays visible beside its disc.
        cd: the form in which CDs are shown; None for the default of each.
    """
    forms = {
        name: form
        for name, entry in entries.items()
        if entry.finding.cd is not None and (form := form_of(entry, cd))
    }
    for name, form in forms.items():
        if cd is CdForm.ISO and form is not cd:
            log.info("%s: %s", for_people(name), _NO_ISO)
    packed = {
        name: as_packed(entries[name], _NO_SHEET)
        for name, form in forms.items()
        if form is not CdForm.ISO and not can_be_named(name)
    }
    entries = {**entries, **packed}
    discs = {
        name: endings
        for name, entry in entries.items()
        if (endings := _endings(entry, forms.get(name)))
    }
    shown = {name: entry for name, entry in entries.items() if name not in discs}
    if not show_raw:
        for name in sheets_of_views(entries, cd):
            del shown[name]
    renamed = shown_names(list(entries if show_raw else shown), discs)
    if show_raw:
        shown |= {
            name: replace(as_packed(entries[name]), ignored=_SHOWN_TWICE)
            for name in discs
            if renamed[name] != (name,)
        }
    for name, shown_as in renamed.items():
        if shown_as is None:
            log.warning("%s: shown as the packed file: %s", for_people(name), _TOO_LONG)
            shown[name] = as_packed(entries[name], _TOO_LONG)
        elif name in forms:
            stem = shown_as[0].removesuffix(discs[name][0])
            shown |= zip(shown_as, parts_of(entries[name], forms[name], stem), strict=True)
        else:
            shown[shown_as[0]] = entries[name]
    return _with_sheets(shown, entries, renamed, forms, show_raw=show_raw)


def _with_sheets(
    shown: dict[bytes, Entry],
    entries: Mapping[bytes, Entry],
    renamed: Mapping[bytes, tuple[bytes, ...] | None],
    forms: Mapping[bytes, CdForm],
    *,
    show_raw: bool,
) -> dict[bytes, Entry]:
    """Return the shown entries with the new names of discs in playlists and cue sheets."""
    if not any(entry.finding.sheet is not None for entry in shown.values()):
        return shown
    discs = {
        name: ShownDisc(entries[name].status, files, is_iso=forms.get(name) is CdForm.ISO)
        for name, files in renamed.items()
        if files is not None and files != (name,)
    }
    return with_shown_names(shown, entries, discs, show_raw=show_raw)


def form_of(entry: Entry, cd: CdForm | None) -> CdForm | None:
    """Return the form in which the CD in a file is shown; None if it is shown as it is.

    Args:
        entry: the file.
        cd: the form that is wanted; None for the default.
    """
    found = entry.finding.cd
    if found is None or not (found.in_chd or cd is CdForm.ISO):
        return None
    return found.form if cd is None or (cd is CdForm.ISO and not found.has_iso) else cd


def parts_of(entry: Entry, form: CdForm, stem: bytes) -> list[Entry]:
    """Return the entries of the files that a CD becomes, in the order of their names.

    Args:
        entry: the file of the CD.
        form: of the CD, from :func:`form_of`.
        stem: the shown name without its ending.
    """
    assert entry.finding.cd is not None
    parts = entry.finding.cd.parts(form, stem)
    return [replace(entry, kind=Kind.DISC, shown=part) for part in parts]


def _endings(entry: Entry, form: CdForm | None) -> tuple[bytes, ...]:
    """Return how the names that a disc is shown with end; none if its own name is shown."""
    found = entry.finding
    if form is not None and found.cd is not None:
        return found.cd.endings(form)
    if entry.disc is not None:
        return (b".bin",) if entry.disc.raw_cd else (b".iso",)
    return (found.right_ending.encode(),) if found.right_ending else ()


def sheets_of_views(entries: Mapping[bytes, Entry], cd: CdForm | None) -> set[bytes]:
    """Return the names of cue sheets for a ``.bin`` that is shown as an ``.iso`` instead.

    Args:
        entries: the entries of a directory by name in the source.
        cd: as of :func:`form_of`.
    """
    if cd is not CdForm.ISO:
        return set()
    sheets = {
        sheet
        for name, entry in entries.items()
        if entry.finding.cd is not None and not entry.finding.cd.in_chd
        for sheet in cue_sheets_of(name)
    }
    return {name for name in sheets & entries.keys() if entries[name].kind is Kind.FILE}


def as_packed(entry: Entry, reason: str = "") -> Entry:
    """Return the entry of a disc that is shown as a packed file, for the given *reason* if any."""
    finding = replace(entry.finding, disc=None, reason=reason or entry.finding.reason, cd=None)
    return replace(entry, kind=Kind.FILE, finding=finding)
