"""The library of a mount: what the caches on disk tell of its discs. For a thread.

It reads the scan cache and the results of `zsofs verify`, not the source. It pauses often, because
the event loop answers reads meanwhile and needs the GIL.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from sys import intern
from typing import Any, NamedTuple, TypeVar

from zsofs.console.text import for_people
from zsofs.discs.region import region_of
from zsofs.images.source_file import Key
from zsofs.inspection.bad_discs import BadDiscs, bad_discs_file, open_bad_discs
from zsofs.inspection.verify_cache import Checked, open_checked, store_file
from zsofs.mount.control.library import DiscForm, DiscIdentity, LibraryDisc
from zsofs.source.disc_state import DiscState, state_of, state_of_content
from zsofs.source.entry import Entry
from zsofs.source.filters import Selection
from zsofs.source.finding import FileFinding
from zsofs.source.relpath import joined
from zsofs.source.scan_cache import ScanCache
from zsofs.timings import timings

MAX_DISCS = 20_000
"""The most discs that are listed: each takes about 800 bytes of memory."""

_MAX_GONE = 2_000
"""Discs that are remembered as gone; with more of them, a new list begins."""

_STEP = 25
"""Rows between two pauses: half a millisecond of work."""

T = TypeVar("T")
Row = tuple[str, str]


class _Found(NamedTuple):
    """A file that looks like a disc: path in the source, key, finding and standing."""

    path: bytes
    key: Key
    finding: FileFinding
    state: DiscState


@dataclass(frozen=True, slots=True)
class Library:
    """A list of discs at one time.

    Attributes:
        instance: identifies the list: revisions of another one mean nothing.
        total: number of all discs, of which at most MAX_DISCS are listed.
        revisions: when each disc changed, ascending.
        rows: path of each disc, in the same order, and a LibraryDisc as JSON; an empty text for one
            that is gone. The garbage collector ignores such rows: with objects in their place, one
            of its runs took 40 ms of the event loop.
    """

    instance: str = ""
    total: int = 0
    revisions: tuple[int, ...] = ()
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class LibraryQuestion:
    """What to list.

    Attributes:
        source: real path of the source directory.
        catalog: its scan cache.
        selection: the include and exclude filters.
        opl: whether the OPL layout decides which discs are shown.
    """

    source: bytes
    catalog: ScanCache
    selection: Selection
    opl: bool

    def mark(self) -> object:
        """Return a value that differs if :meth:`survey` would find something else.

        None while the scan cache cannot be used.
        """
        mark = self.catalog.mark()
        if mark is None:
            return None
        files = filter(None, (store_file(), bad_discs_file()))
        return mark, *(_date(f"{file}{end}") for file in files for end in ("", "-wal"))

    def survey(
        self,
        before: Library,
        folders: Collection[bytes] | None,
        unsettled: Mapping[bytes, Sequence[Entry]],
    ) -> Library:
        """Return the list as it is now.

        Args:
            before: the last one.
            folders: directories whose discs are listed; None: all.
            unsettled: files that the scan cache does not have, or not as they are, by directory.
        """
        file = store_file()
        is_there = file is not None and file.exists()
        checked = open_checked() if is_there else Checked(None)
        with closing(checked), closing(open_bad_discs()) as bad_discs:
            verdicts = _Verdicts(os.fsdecode(self.source), checked, bad_discs)
            return self._survey(before, self._found(folders, unsettled), verdicts)

    def _found(
        self, folders: Collection[bytes] | None, unsettled: Mapping[bytes, Sequence[Entry]]
    ) -> Iterator[_Found]:
        """Yield the files that look like discs."""
        fresh = {
            (folder, entry.name): entry for folder, found in unsettled.items() for entry in found
        }
        for folder, name, key, finding in self.catalog.each_finding(_STEP):
            entry = fresh.get((folder, name))
            if entry is not None:
                if entry.key != key or entry.copying_since is not None:
                    continue
                del fresh[folder, name]  # another program has looked at it since
            state = state_of_content(name, finding, opl=self.opl)
            if state is not None and (folders is None or folder in folders):
                yield _Found(joined(folder, name), key, finding, state)
        for (folder, name), entry in fresh.items():
            state = state_of(entry, opl=self.opl)
            if state is not None:
                yield _Found(joined(folder, name), entry.key, entry.finding, state)

    def _survey(self, before: Library, files: Iterable[_Found], verdicts: "_Verdicts") -> Library:
        found: dict[str, str] = {}
        total = 0
        for one in unhurried(files):
            if self.selection.takes(one.path, is_folder=False):
                total += 1
                if len(found) < MAX_DISCS:
                    row = _row(one, verdicts)
                    found[os.fsdecode(one.path)] = json.dumps(row.to_json())
        return _merged(before, found, total)


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """What `zsofs verify` has found of the discs of a source."""

    source: str
    checked: Checked
    bad_discs: BadDiscs

    def of(self, path: str, key: Key) -> tuple[float, str, float]:
        """Return when a disc was whole, else why it was bad and when; zeros if it is unknown.

        Args:
            path: relative to the source.
            key: of its file.
        """
        place = os.path.join(self.source, path)
        kept, bad = self.checked.find(place), self.bad_discs.find(place)
        whole_at = kept.checked_at if kept is not None and kept.key == key else 0.0
        if bad is not None and bad.key == key and bad.checked_at >= whole_at:
            return 0.0, bad.reason, round(bad.checked_at)
        return round(whole_at), "", 0.0


def _row(file: _Found, verdicts: _Verdicts) -> LibraryDisc:
    """Return the row of a file."""
    path, key, finding, state = file
    shown, exact = for_people(path), os.fsdecode(path)
    verified, bad, bad_at = verdicts.of(exact, key)
    disc, identity = finding.disc, finding.identity
    return LibraryDisc(
        shown,
        "" if exact == shown else exact,
        state.standing.value,
        state.reason,
        identity is not None,
        DiscIdentity()
        if identity is None
        else DiscIdentity(
            identity.title,
            identity.game_id,
            intern(region_of(identity.game_id)),
            identity.system.value,
            identity.label,
            identity.media.value,
        ),
        DiscForm(
            "plain" if disc is None else intern(disc.container),
            "" if disc is None else disc.codec.name.lower(),
            0 if disc is None else disc.block_size,
            key[0],
            key[0] if disc is None else disc.size,
        ),
        verified,
        bad=bad,
        bad_at=bad_at,
    )


def _date(path: str) -> int:
    """Return when a file was written last; 0 if it does not exist."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def disc_of(row: Row) -> dict[str, Any]:
    """Return a row as the fields of a LibraryDisc."""
    path, text = row
    if text:
        fields: dict[str, Any] = json.loads(text)
        return fields
    shown = for_people(os.fsencode(path))
    return LibraryDisc(shown, "" if shown == path else path, gone=True).to_json()


def _merged(before: Library, found: dict[str, str], total: int) -> Library:
    """Return the list of *found*; what has not changed since *before* keeps its revision."""
    revisions: list[int] = []
    rows: list[Row] = []
    gone: list[Row] = []
    for revision, row in unhurried(zip(before.revisions, before.rows, strict=True)):
        path, text = row
        if found.get(path, "") == text:
            found.pop(path, None)
            revisions.append(revision)
            rows.append(row)
        elif path not in found:
            gone.append((path, ""))
    number = before.revisions[-1] if before.revisions else 0
    for row in unhurried((*gone, *found.items())):
        number += 1
        revisions.append(number)
        rows.append(row)
    if before.instance and sum(not text for _, text in unhurried(rows)) <= _MAX_GONE:
        return Library(before.instance, total, tuple(revisions), tuple(rows))
    rows = [row for row in unhurried(rows) if row[1]]
    instance = f"{os.getpid()}-{time.time_ns()}"
    return Library(instance, total, tuple(range(1, len(rows) + 1)), tuple(rows))


def unhurried(items: Iterable[T]) -> Iterator[T]:
    """Yield items, with pauses in which other threads get the GIL."""
    for number, item in enumerate(items):
        if number % _STEP == _STEP - 1:
            time.sleep(timings().file_map_pause)
        yield item
