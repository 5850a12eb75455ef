"""A scan of one source directory."""

import logging
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from zsofs.console.text import for_people
from zsofs.formats.file_names import (
    APPLE_DOUBLE,
    IN_TRASH,
    has_disc_ending,
    is_in_trash,
    is_sheet,
    is_unfinished,
    may_be_disc,
)
from zsofs.formats.sheets import MAX_SIZE
from zsofs.source.entry import KINDS, Entry, Kind
from zsofs.source.file_looks import FileLooks, told
from zsofs.source.filters import Selection
from zsofs.source.finding import NEW, FileFinding
from zsofs.source.kept_findings import KeptFindings
from zsofs.source.links import Links
from zsofs.source.live_file import TimedStat
from zsofs.source.new_discs import NewDiscs, Progress
from zsofs.source.relpath import joined
from zsofs.source.scan_result import ScanHints, ScanResult
from zsofs.source.tree import OpenFolder, SourceTree

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScannedFolder:
    """A directory to scan.

    Attributes:
        folder: the open directory.
        path: its path in the source.
        above: the paths of this directory and its parents.
    """

    folder: OpenFolder
    path: bytes
    above: Collection[bytes]


class DirectoryScan:
    """One scan of an open directory. For a thread."""

    def __init__(
        self,
        tree: SourceTree,
        selection: Selection,
        new_discs: NewDiscs,
        place: ScannedFolder,
        before: ScanHints,
        kept: KeptFindings,
    ) -> None:
        """Create it.

        Args:
            tree: the source.
            selection: the include and exclude filters.
            new_discs: discs that clients may still change.
            place: the directory.
            before: results and changes since the last scan.
            kept: findings in the scan cache.
        """
        self._tree = tree
        self._selection = selection
        self._new_discs = new_discs
        self._place = place
        self._before = before
        self._kept = kept
        self._links = Links(tree)
        self._in_trash = is_in_trash(place.path)
        self._unread: list[tuple[Entry, Entry | None]] = []
        self._silent: list[bytes] = []
        self._gone: list[bytes] = []
        self._whole: set[bytes] = set()

    def result(self, names: Collection[bytes], looks: FileLooks, begun: float) -> ScanResult:
        """Scan the entries of these names and return the result.

        Args:
            names: the names to scan.
            looks: inspects the files without a valid finding.
            begun: start of the scan, by the monotonic clock.
        """
        known = self._before.entries or {}
        entries = {} if self._before.names is None else dict(known)
        if self._before.names is not None:
            # The parent of a CHD can be one of the names that have changed.
            waiting = (name for name, entry in known.items() if not entry.finding.settled)
            names = {*names, *waiting}
        self._look_at(names, entries)
        gone = [name for name in self._gone if name in known or not known]
        names = self._with_new_names(names, gone, entries)
        self._look_inside(looks, entries)
        if looks.gone:  # one more time: further changes are for the next scan
            gone, looks.gone = looks.gone, []
            names = self._with_new_names(names, gone, entries)
            self._look_inside(looks, entries)
            self._gone += gone + looks.gone
        for name in self._whole & entries.keys():
            entries[name] = _with_new(entries[name], is_new=True)
        self._kept.store(names if self._before.names is None else None, self._gone)
        return ScanResult(
            min(begun, self._before.at),
            time.monotonic() - begun,
            self._place.folder.status,
            entries,
            self._may_change_unseen(entries.values()),
            (*_due_soon(entries), *self._silent),
        )

    def _with_new_names(
        self, names: Collection[bytes], gone: Iterable[bytes], entries: dict[bytes, Entry]
    ) -> Collection[bytes]:
        """Put the entries of all new names into *entries* if a disc has gone; return all names.

        It may have been renamed: its new name is found now, and not with a later event, so that a
        disc whose name in the mount stays is never missing.

        Args:
            names: those that were looked at.
            gone: those of them that do not exist.
            entries: the entries so far.
        """
        if not any(map(has_disc_ending, gone)):
            return names
        others = set(self._place.folder.names()).difference(names, entries)
        self._look_at(others, entries)
        return {*names, *others}

    def _look_inside(self, looks: FileLooks, entries: dict[bytes, Entry]) -> None:
        """Inspect the files without a valid finding; those that have gone have no entry then."""
        unread, self._unread = self._unread, []
        for entry in looks.entries(unread):
            entries[entry.name] = entry
        for name in looks.gone:
            entries.pop(name, None)

    def _may_change_unseen(self, entries: Iterable[Entry]) -> bool:
        """Return whether one is a symlink whose target may change without an event."""
        may_lead = bool(self._tree.roots.others)
        return any(entry.followed or (may_lead and entry.kind is Kind.LINK) for entry in entries)

    def _looked_at(self, name: bytes, known: Entry | None, *, is_served: bool) -> Entry | None:
        try:
            status = self._stat(name, is_served=is_served)
        except OSError as error:  # a dead mount; continue with the other entries
            own = for_people(joined(self._place.path, name))
            log.warning("%s: cannot be examined: %s", own, error.strerror)
            self._silent.append(name)
            return known
        return self._entry(name, status, known)

    def _stat(self, name: bytes, *, is_served: bool) -> os.stat_result | None:
        if not is_served:
            return self._place.folder.stat(name)
        try:
            return self._tree.bounded.stat(
                self._place.folder.fd, name, joined(self._place.path, name)
            )
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _not_entered(self, name: bytes, why: str) -> Entry | None:
        """Return the entry of a directory without a stat call; None if it is not shown."""
        path = joined(self._place.path, name)
        is_shown = self._selection.takes(path, is_folder=True)
        entry = Entry(name, Kind.FOLDER, path, self._place.folder.status, reason=why)
        return entry if is_shown else None

    def _look_at(self, names: Collection[bytes], entries: dict[bytes, Entry]) -> None:
        """Put the entries of these names into *entries*, or remove those that have gone."""
        known = self._before.entries or {}
        refused = self._tree.refused_in(self._place.path)
        served = self._tree.served_in(self._place.path)
        for name in names:
            if name in refused:
                entry = self._not_entered(name, refused[name])
            else:
                entry = self._looked_at(name, known.get(name), is_served=name in served)
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry

    def _entry(
        self, name: bytes, status: os.stat_result | None, known: Entry | None
    ) -> Entry | None:
        own = joined(self._place.path, name)
        permissions = self._tree.permissions
        if status is None:
            self._gone.append(name)
            permissions.forget(own)
            return None
        kind = KINDS.get(stat.S_IFMT(status.st_mode), Kind.SPECIAL)
        if kind is Kind.FOLDER:
            permissions.record(own, status)
        entry = Entry(name, kind, own, status)
        if stat.S_ISLNK(status.st_mode):
            entry = self._links.followed(entry, self._place.above, in_trash=self._in_trash)
        if kind is Kind.FILE and is_unfinished(name):
            return None
        if not self._selection.takes(own, is_folder=entry.kind is Kind.FOLDER):
            return None
        if entry.kind is not Kind.FILE or not (may_be_disc(name) or self._may_be_sheet(entry)):
            return entry
        if self._in_trash:
            return replace(entry, ignored=IN_TRASH)
        believed = self._incomplete(entry, known) or self._believed(entry, known)
        if believed is None:
            self._unread.append((entry, known))
        return believed or entry

    def _incomplete(self, entry: Entry, known: Entry | None) -> Entry | None:
        """Return the entry of a new disc that is copied, or left incomplete; None for others."""
        if not self._new_discs.enabled:
            return None
        seen = TimedStat(entry.status, self._before.at)
        new = self._new_discs.state(seen, self._place.folder.fd, entry.name)
        if new is None:
            return None
        if new.progress is Progress.WHOLE:
            self._whole.add(entry.name)
            return None
        if new.progress is Progress.COPYING:
            same = known is not None and known.same_content(entry)
            since = known.copying_since if known is not None and same else None
            return replace(
                entry,
                finding=NEW,
                settled=False,
                copying_since=time.monotonic() if since is None else since,
            )
        before = known.finding.reason if known is not None else ""
        if before != new.reason:
            log.warning(
                "%s: shown as a plain file, not as a disc: %s", for_people(entry.path), new.reason
            )
        is_apple_double = entry.name.startswith(b"._")
        finding = FileFinding(None, new.reason, is_new=True)
        return replace(entry, finding=finding, ignored=APPLE_DOUBLE if is_apple_double else "")

    def _may_be_sheet(self, entry: Entry) -> bool:
        return is_sheet(entry.name) and 0 < entry.size <= MAX_SIZE and not self._in_trash

    def _believed(self, entry: Entry, known: Entry | None) -> Entry | None:
        """Return the entry with an earlier finding for the same content; None without one."""
        if entry.name in self._before.doubted:
            return None
        if known is not None and known.settled and known.same_content(entry):
            was_incomplete = known.is_new and bool(known.finding.reason)
            if not was_incomplete:
                return _with_new(known, is_new=False) if known.is_new else known
        finding = self._kept.finding(entry)
        return None if finding is None else told(entry, finding)


def _with_new(entry: Entry, *, is_new: bool) -> Entry:
    return replace(entry, finding=replace(entry.finding, is_new=is_new))


def _due_soon(entries: Mapping[bytes, Entry]) -> list[bytes]:
    """Return the names that change with time alone: of files that are written, and new discs."""
    return [
        name
        for name, entry in entries.items()
        if entry.copying_since is not None or (entry.finding.is_new and not entry.finding.reason)
    ]
