"""`zsofs list`: list every disc of a source directory or mount."""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.console import logging_setup
from zsofs.console.stdio import complain, say
from zsofs.console.tables import (
    counted,
    disc_kinds,
    printable,
    size,
    table,
    terminal_columns,
    width,
    wrapped,
)
from zsofs.console.text import for_people
from zsofs.discs.cd_forms import CdForm
from zsofs.errors import ControlError, SourceError, ZsofsError, reason
from zsofs.formats.file_names import has_disc_ending
from zsofs.mount.control.client import ask_status
from zsofs.mount.control.mount_status import SettingsStatus
from zsofs.mount.options import CD_FORMS
from zsofs.source.disc_state import Count, DiscState, count, state_of
from zsofs.source.entry import Entry, Kind
from zsofs.source.filters import Selection
from zsofs.source.left_out import left_out
from zsofs.source.relpath import joined
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache, default_catalog_file
from zsofs.source.scan_result import ScanHints, ScanResult
from zsofs.source.shown_part import ShownText
from zsofs.source.tree import SourceTree
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, mounted_at
from zsofs.system.mountpoint import check_link_directories, check_source, real_path
from zsofs.system.privileges import Account, account_of, acting_as
from zsofs.vfs.opl.given_names import Given
from zsofs.vfs.opl.layout import arrange
from zsofs.vfs.opl.titles import load_titles
from zsofs.vfs.present import folders_in, named, shown_paths

_HEADINGS = ("stored", "plain", "ratio", "id", "container", "name")
_INDENT = "  "
_ALIGN = "rrrlll"
"""Column alignment; the name is last, so that a long one does not break the table."""

_NEEDED = {"source", "titles", "include", "exclude", "allow_links_to", "cd"}
"""Status fields of a mount that determine which discs are listed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One disc, a file that looks like one, or a symlink that may lead to discs.

    Attributes:
        shown: its path in the mount.
        own: its path in the source; for a symlink, the path of the symlink.
        entry: the result of the scan.
        disc_state: whether it is shown as a disc; None for a directory that is not entered.
        files: the paths in the mount of all files that it is shown as; the first is *shown*.
        plain_size: size of the plain image in bytes, or of the file if it is not packed.
    """

    shown: bytes
    own: bytes
    entry: Entry
    disc_state: DiscState | None
    files: tuple[bytes, ...]
    plain_size: int

    @property
    def is_disc(self) -> bool:
        """Whether it is shown as a disc."""
        return self.disc_state is not None and self.disc_state.is_disc

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on the container and on the image in it."""
        disc = self.entry.disc
        return (*(disc.remarks if disc is not None else ()), *self.entry.finding.remarks)

    @property
    def container(self) -> str:
        """Description of the container and its codec."""
        disc = self.entry.disc
        if disc is not None:
            return f"{disc.container} {disc.codec.name.lower()} {disc.block_size // 1024 or 1}K"
        return "plain"

    @property
    def state(self) -> str:
        """Why it is not shown as a disc; empty if it is."""
        return self.entry.reason if self.disc_state is None else self.disc_state.reason


def run(path: str, as_json: bool, allowed: Sequence[Path] = (), cd: str = "auto") -> int:
    """Print the discs of a source directory, or of the mount at *path*.

    *allowed* are directories into which symlinks are followed, and *cd* is the form of CDs; a mount
    has its own.

    Raises:
        SourceError: the directory does not exist.
        ZsofsError: a mount does not answer, or its list of titles cannot be read.
    """
    logging_setup.to_terminal(logging.CRITICAL)  # the table reports everything
    mounted = _mount_at(path)
    shown = _shown_by(mounted) if mounted is not None else SettingsStatus(path, cd=cd)
    with acting_as(_reader(mounted)):
        source = check_source(shown.source)
        # A mount reports resolved paths: resolving again could follow a symlink created since then.
        roots = tuple(map(os.fsencode, shown.allow_links_to)) or check_link_directories(allowed)
        ignored: Counter[str] = Counter()
        rows = sorted(_rows(source, roots, shown, ignored), key=lambda row: row.shown)
    if as_json:
        say(json.dumps([_as_object(row) for row in rows], indent=2))
    else:
        say("\n".join(_text(rows, for_people(source))))
    if ignored.total():
        complain(f"zsofs: {left_out(ignored)}")
    return 0


def _mount_at(path: str) -> Mounted | None:
    mounted = mounted_at(real_path(path))
    return mounted if mounted is not None and mounted.kind == FILE_SYSTEM_TYPE else None


def _shown_by(mounted: Mounted) -> SettingsStatus:
    """What a mount shows, as reported by its daemon.

    Raises:
        ControlError: the reply is incomplete; the daemon may be another program.
    """
    status = ask_status(mounted.path)
    said = status.settings
    paths = [said.source, *([said.titles] if said.titles else []), *said.allow_links_to]
    is_known = said.cd in CD_FORMS and all(map(_is_path, paths))
    if _NEEDED & status.malformed or not is_known:
        raise ControlError(
            f"the daemon behind {for_people(mounted.path)} did not report what it shows; mount"
            " it again, so that both have the same version"
        )
    return said


def _is_path(found: str) -> bool:
    """Whether it can be the path of a file."""
    try:
        return os.path.isabs(found) and b"\0" not in os.fsencode(found)
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def _reader(mounted: Mounted | None) -> Account | None:
    """Return the account that reads the source; None for this process.

    Root does not read files on behalf of a daemon of another user.
    """
    if os.geteuid() != 0 or mounted is None or not mounted.user:
        return None
    return account_of(mounted.user)


def _rows(
    source: bytes, roots: tuple[bytes, ...], shown: SettingsStatus, ignored: Counter[str]
) -> Iterable[Row]:
    """Return the rows; count in *ignored* the files with disc names that are never discs."""
    is_opl = shown.layout == "opl"
    tree = SourceTree(source, roots)
    with closing(ScanCache(default_catalog_file(tree.path), tree.path)) as catalog:
        selection = Selection(shown.include, shown.exclude)
        scanner = Scanner(tree, catalog, selection, identities=True)
        folders = dict(_walk(scanner))
        given = catalog.opl_names() if is_opl else {}
    ignored.update(
        entry.ignored
        for found in folders.values()
        for entry in found.entries.values()
        if entry.ignored and has_disc_ending(entry.name)
    )
    if is_opl:
        titles = load_titles(Path(shown.titles), from_file=True) if shown.titles else {}
        return _rows_of_opl(folders, titles, given)
    places = shown_paths({folder: found.entries for folder, found in folders.items()})
    form = None if shown.cd == "auto" else CdForm(shown.cd)
    return [
        row
        for folder, found in folders.items()
        for row in _rows_in(folder, places[folder], named(found.entries, show_raw=False, cd=form))
    ]


def _rows_in(folder: bytes, place: bytes, shown: Mapping[bytes, Entry]) -> Iterator[Row]:
    """Yield the rows of a directory, one for all files of a disc."""
    files: dict[bytes, list[bytes]] = {}
    for name, entry in shown.items():
        files.setdefault(entry.name, []).append(name)
    for own, names in files.items():
        entry = shown[names[0]]  # a cue sheet comes first
        state = state_of(entry, opl=False)
        if state is not None or _is_not_entered(entry):
            paths = tuple(joined(place, name) for name in names)
            plain_size = sum(shown[name].size for name in names if not _is_text(shown[name]))
            yield Row(paths[0], joined(folder, own), entry, state, paths, plain_size)


def _is_text(entry: Entry) -> bool:
    return isinstance(entry.shown, ShownText)


def _rows_of_opl(
    folders: Mapping[bytes, ScanResult], titles: Mapping[str, str], given: Mapping[bytes, Given]
) -> Iterator[Row]:
    entries = {folder: found.entries for folder, found in folders.items()}
    layout = arrange(entries, folders[b""].status, titles, given)
    for folder, found in folders.items():
        for name, entry in found.entries.items():
            state = state_of(entry, opl=True)
            if state is not None or _is_not_entered(entry):
                own = joined(folder, name)
                place = layout.places.get(own)
                if place is None:
                    yield Row(own, own, entry, state, (own,), entry.size)
                else:
                    top, _, shown_name = place.partition(b"/")
                    plain_size = layout.discs[top][shown_name].size
                    yield Row(place, own, entry, state, (place,), plain_size)


def _walk(scanner: Scanner) -> Iterator[tuple[bytes, ScanResult]]:
    """Yield every readable directory of the source with its path."""
    todo: list[tuple[bytes, frozenset[bytes]]] = [(b"", frozenset((b"",)))]
    known = {b""}
    files = 0
    try:
        while todo:
            path, above = todo.pop()
            try:
                found = scanner.survey(path, above, ScanHints())
            except (OSError, ZsofsError) as error:
                why = reason(error)
                if not path:
                    source = for_people(scanner.tree.path)
                    raise SourceError(
                        f"the source directory {source} cannot be read: {why}"
                    ) from None
                _show_progress("")
                complain(f"zsofs: {for_people(path)}: the directory cannot be read: {why}")
                continue
            yield path, found
            files += len(found.entries)
            _show_progress(f"{counted(files, 'file')} scanned")
            new = folders_in(found.entries).keys() - known
            known |= new
            todo += [(below, above | {below}) for below in new]
    finally:
        _show_progress("")


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _is_not_entered(entry: Entry) -> bool:
    return entry.kind is Kind.FOLDER and bool(entry.reason)


def _text(rows: list[Row], source: str) -> Iterator[str]:
    """Yield the lines of the human-readable output."""
    discs = [row for row in rows if row.is_disc]
    found = count((row.own, row.disc_state) for row in rows)
    links = [row for row in rows if row.entry.kind is Kind.LINK]
    if discs:
        yield from _table(discs)
        yield ""
        shown = sum(row.plain_size for row in discs)
        stored = sum(row.entry.status.st_size for row in discs)
        saved = f", {size(shown - stored)} saved" if shown > stored else ""
        yield f"{_counted(found)}, {size(shown)} shown, {size(stored)} stored{saved}"
    else:
        yield f"no discs in {source}"
    noted = [(row, remark) for row in discs for remark in row.remarks]
    if noted:
        yield ""
        yield "notes:"
        yield from (f"  {for_people(row.own)}: {printable(remark)}" for row, remark in noted)
    others = [
        row
        for row in rows
        if not row.is_disc and row.disc_state is not None and row.entry.kind is not Kind.LINK
    ]
    yield from _with_reasons(f"not shown as discs: {counted(len(others), 'file')}", others)
    yield from _with_reasons("symlinks that are not followed:", links)
    yield from _with_reasons("not entered:", [row for row in rows if row.disc_state is None])


def _counted(found: Count) -> str:
    kinds = disc_kinds(found.compressed, found.plain)
    return counted(found.discs, "disc") + (f" ({kinds})" if kinds else "")


def _with_reasons(heading: str, rows: Sequence[Row]) -> Iterator[str]:
    if rows:
        yield ""
        yield heading
    for row in rows:
        yield from _fitted(f"{_INDENT}{for_people(row.own)}: {printable(row.state)}")


def _fitted(line: str) -> list[str]:
    """Return a line, wrapped to the terminal width if standard output is a terminal."""
    if not sys.stdout.isatty():
        return [line]
    return wrapped(line, terminal_columns(sys.stdout), _INDENT * 2)


def _table(discs: Sequence[Row]) -> list[str]:
    """Return the discs as a table, or as name and details in turn if the terminal is too narrow."""
    lines = table([_HEADINGS, *map(_cells, discs)], _ALIGN)
    if not sys.stdout.isatty():
        return lines
    columns = terminal_columns(sys.stdout)
    if max(map(width, lines)) <= columns:
        return lines
    lines = []
    for row in discs:
        stored, plain, ratio, game_id, container, name = _cells(row)
        share = f"{stored} of {plain} ({ratio})" if ratio else stored
        figures = ", ".join(part for part in (share, game_id, container) if part)
        lines += wrapped(name, columns, _INDENT)
        lines += _fitted(_INDENT * 2 + figures)
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    identity, stored = row.entry.finding.identity, row.entry.status.st_size
    name = for_people(row.shown)
    if not row.shown.startswith(os.path.splitext(row.own)[0]):  # moved or renamed by the layout
        name += f" <- {for_people(row.own)}"
    return (
        size(stored),
        size(row.plain_size),
        f"{100 * stored / row.plain_size:.0f} %" if row.plain_size else "",
        identity.game_id if identity else "",
        row.container,
        name,
    )


def _as_object(row: Row) -> dict[str, Any]:
    entry, identity = row.entry, row.entry.finding.identity
    disc = entry.disc
    return {
        "name": os.fsdecode(row.shown),
        "files": [os.fsdecode(path) for path in row.files],
        "path": os.fsdecode(row.own),
        "is_disc": row.is_disc,
        "state": row.state or "ok",
        "container": disc.container if disc else None,
        "codec": disc.codec.name.lower() if disc else None,
        "block_size": disc.block_size if disc else None,
        "stored_bytes": entry.status.st_size,
        "plain_bytes": row.plain_size if row.is_disc else None,
        "id": identity.game_id if identity else "",
        "title": identity.title if identity else "",
        "label": identity.label if identity else "",
        "system": identity.system.value if identity else "",
        "media": identity.media.value if identity else "",
        "remarks": row.remarks,
    }
