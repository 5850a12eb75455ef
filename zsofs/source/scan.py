"""What lies in one folder of the source: each entry, by its name there."""

import logging
import math
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from zsofs.console.text import for_people
from zsofs.errors import SourceAwayError, ZsofsError, reason
from zsofs.formats.file_names import (
    IN_TRASH,
    is_in_trash,
    is_plain_image,
    is_undecided,
    is_unfinished,
    may_be_disc,
)
from zsofs.images.probe import Disc
from zsofs.images.source_file import Key, OpenSource
from zsofs.source.disc_state import why_ignored
from zsofs.source.entry import Entry, Kind
from zsofs.source.filters import Selection
from zsofs.source.inspect_file import StillWrittenError, look_inside
from zsofs.source.links import Links, why_not_followed
from zsofs.source.relpath import joined
from zsofs.source.scan_cache import FileFinding, ScanCache
from zsofs.source.traversal import directories_above
from zsofs.source.tree import OpenFolder, SourceTree
from zsofs.system.mountinfo import mount_of
from zsofs.timings import timings

log = logging.getLogger(__name__)

_RACY_NS = 50_000_000
_RACY_NS_WHOLE_SECONDS = 2_000_000_000
"""What was found in a file that changed so recently is not kept, and not believed when the folder
is looked at again: another change within the same tick of the file system's clock would not show in
its times."""

_OPENED_AHEAD = 8
_FETCHED_AHEAD = 32 << 10
"""While one file is looked into, the disk fetches what so many others begin with, in bytes."""

_KINDS = {stat.S_IFDIR: Kind.FOLDER, stat.S_IFREG: Kind.FILE}


@dataclass(frozen=True, slots=True)
class ScanHints:
    """What is known of a folder from before.

    Attributes:
        entries: what an earlier survey found; None if there was none.
        place: st_dev and st_ino of the folder then.
        names: the only names that may have changed since; None if any may have.
        closed: names that a writer closed since, or that were renamed to: they are whole.
        doubted: names of files in which something else turned out to be than was found, so that
            they are looked into although they have not changed.
        at: when that was, by the monotonic clock; a thread may come to the survey later.
    """

    entries: Mapping[bytes, Entry] | None = None
    place: tuple[int, int] = (0, 0)
    names: Collection[bytes] | None = None
    closed: Collection[bytes] = frozenset()
    doubted: Collection[bytes] = frozenset()
    at: float = math.inf


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a survey found.

    Attributes:
        begun: what is older than this, by the monotonic clock, it has seen.
        took: how many seconds the survey took.
        status: what stat says of the folder itself.
        entries: what is in it, by name in the source.
        has_links: whether symlinks in it lead to what changes unseen.
        unsure: names to be looked at again before long: of files that are still being written, and
            of what the file system would say nothing of.
    """

    begun: float
    took: float
    status: os.stat_result
    entries: Mapping[bytes, Entry]
    has_links: bool
    unsure: tuple[bytes, ...]


class Scanner:
    """Looks at the folders of one source. Any thread may use it; all calls may wait for a disk."""

    def __init__(
        self,
        tree: SourceTree,
        catalog: ScanCache,
        selection: Selection | None = None,
        *,
        identities: bool = False,
    ) -> None:
        """*identities* says whether to find out which disc each one is.

        Else that is found out only where it decides whether a file is a disc at all.
        """
        self.tree = tree
        self.catalog = catalog
        self.selection = selection or Selection()
        self.identities = identities
        self._elsewhere: dict[int, bool] = {}

    def changes_elsewhere(self, fd: int, device: int) -> bool:
        """Whether others than this machine's kernel may change an open file or folder."""
        answer = self._elsewhere.get(device)
        if answer is None:
            mounted = mount_of(fd)
            answer = self._elsewhere[device] = mounted is not None and mounted.changes_elsewhere
        return answer

    def refused(self) -> dict[bytes, str]:
        """Return the directories that are shown empty, by path, with the reason for each."""
        return {
            path: why for path, why in self.tree.refused.items() if self.selection.reaches(path)
        }

    def forget_mounts(self) -> None:
        """File systems were mounted or unmounted: another one may have the number of one."""
        self._elsewhere.clear()

    def survey(
        self,
        path: bytes,
        above: Collection[bytes],
        before: ScanHints,
        watch: Callable[[OpenFolder], None] = lambda folder: None,
        give_way: Callable[[], None] = lambda: None,
    ) -> ScanResult:
        """List a folder of the source.

        Args:
            path: the folder.
            above: the paths of this folder and all those above it: a symlink to one of them is a
                loop.
            before: what is known of it; a file that has not changed since is not opened again.
            watch: called with the open folder before it is listed.
            give_way: called before each file that is looked into.

        Raises:
            SourceAwayError: its file system is no longer there.
            OSError: the folder cannot be read.
        """
        begun = time.monotonic()
        if path and not self.tree.may_enter(path):
            log.warning("%s: %s", for_people(path), self.tree.refused.get(path, ""))
            status = self.tree.stat(path.rpartition(b"/")[0])
            return ScanResult(begun, 0.0, status, {}, has_links=False, unsure=())
        with self.tree.folder(path) as folder:
            watch(folder)
            status = folder.status
            self.tree.permissions.record(path, status)
            if before.names is not None and (status.st_dev, status.st_ino) != before.place:
                before = replace(before, names=None)  # it is another folder
            names = folder.names() if before.names is None else before.names
            if before.entries and not names and status.st_dev != before.place[0]:
                raise SourceAwayError(f"{for_people(path) or 'the source folder'}: unmounted")
            return _Survey(self, folder, path, above, before, give_way).of(names, begun)


@dataclass(slots=True)
class _Survey:
    """One survey under way."""

    surveyor: Scanner
    folder: OpenFolder
    path: bytes
    above: Collection[bytes]
    before: ScanHints
    give_way: Callable[[], None]
    new: list[tuple[bytes, Key, FileFinding]] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    unread: list[tuple[Entry, Entry | None]] = field(default_factory=list)
    silent: list[bytes] = field(default_factory=list)
    kept: dict[bytes, tuple[Key, FileFinding]] | None = None
    passed: set[bytes] = field(default_factory=set)
    links: Links = field(init=False)
    in_trash: bool = field(init=False)
    served: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.links = Links(self.surveyor.tree)
        self.in_trash = is_in_trash(self.path)
        self.served = self.surveyor.tree.served_in(self.path)

    def of(self, names: Collection[bytes], begun: float) -> ScanResult:
        known = self.before.entries or {}
        entries = {} if self.before.names is None else dict(known)
        refused = self.surveyor.tree.refused_in(self.path)
        if self.before.names is not None:
            # A CHD may wait for its parent, which is one of the names that have changed.
            names = {*names, *(name for name, entry in known.items() if _is_refused_for_now(entry))}
        for name in names:
            entry = self._looked_at(name, known.get(name), refused.get(name, ""))
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
        for entry in self._all_looked_into():
            entries[entry.name] = entry
        gone = self.gone
        if self.before.names is None and self.kept:
            gone = list(self.kept.keys() - set(names))
        if self.new or gone:
            self._keep(gone)
        return ScanResult(
            min(begun, self.before.at),
            time.monotonic() - begun,
            self.folder.status,
            entries,
            any(map(self._may_change_unseen, entries.values())),
            (
                *(name for name, entry in entries.items() if entry.copying_since is not None),
                *self.silent,
            ),
        )

    def _may_change_unseen(self, entry: Entry) -> bool:
        """Whether an entry is a symlink whose target may change, or come to be, unseen."""
        return entry.followed or (entry.kind is Kind.LINK and bool(self.surveyor.tree.roots.others))

    def _looked_at(self, name: bytes, known: Entry | None, refused: str) -> Entry | None:
        if refused:
            return self._not_entered(name, refused)
        try:
            status = self._stat(name)
        except OSError as error:  # a dead mount in this folder: the rest of it is all right
            own = for_people(joined(self.path, name))
            log.warning("%s: cannot be looked at: %s", own, error.strerror)
            self.silent.append(name)
            return known
        return self._entry(name, status, known)

    def _stat(self, name: bytes) -> os.stat_result | None:
        if name not in self.served:
            return self.folder.stat(name)
        tree = self.surveyor.tree
        try:
            return tree.bounded.stat(self.folder.fd, name, joined(self.path, name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _not_entered(self, name: bytes, why: str) -> Entry | None:
        """A directory that is not even asked for its attributes; None if it is not shown."""
        path = joined(self.path, name)
        is_shown = self.surveyor.selection.takes(path, is_folder=True)
        entry = Entry(name, Kind.FOLDER, path, self.folder.status, reason=why)
        return entry if is_shown else None

    def _entry(
        self, name: bytes, status: os.stat_result | None, known: Entry | None
    ) -> Entry | None:
        own = joined(self.path, name)
        permissions = self.surveyor.tree.permissions
        if status is None:
            self.gone.append(name)
            permissions.forget(own)
            return None
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), Kind.SPECIAL)
        if kind is Kind.FOLDER:
            permissions.record(own, status)
        entry = Entry(name, kind, own, status)
        if stat.S_ISLNK(status.st_mode):
            entry = self._followed(entry)
        if kind is Kind.FILE and is_unfinished(name):
            return None
        if not self.surveyor.selection.takes(own, is_folder=entry.kind is Kind.FOLDER):
            return None
        if entry.kind is not Kind.FILE or not may_be_disc(name):
            return entry
        if self.in_trash:
            return replace(entry, ignored=IN_TRASH)
        believed = self._believed(entry, known)
        if believed is None:
            self.unread.append((entry, known))
        return believed or entry

    def _believed(self, entry: Entry, known: Entry | None) -> Entry | None:
        """The entry with what was found in this very content before; None if that is not known."""
        if entry.name in self.before.doubted:
            return None
        if known is not None and known.settled and known.same_content(entry):
            return known
        finding = self._kept_finding(entry)
        return None if finding is None else _told(entry, finding)

    def _followed(self, entry: Entry) -> Entry:
        """A symlink as what it leads to, where that is inside the source or another root."""
        tree = self.surveyor.tree
        target = self.links.target(entry.path)
        path = target.path
        if path is not None and path not in self.above:
            try:
                status = tree.stat(path)
                self._record_above(path)
            except (OSError, ZsofsError):
                pass
            else:
                kind = _KINDS.get(stat.S_IFMT(status.st_mode))
                if kind is not None:
                    return replace(entry, kind=kind, path=path, status=status, followed=True)
        why = "" if self.in_trash else why_not_followed(entry.path, target)
        try:
            shown = tree.readlink(entry.path)
        except (OSError, ZsofsError):  # replaced since by something else
            return entry
        return replace(entry, kind=Kind.LINK, target=shown, reason=why)

    def _record_above(self, path: bytes) -> None:
        """Note who may traverse the directories above the target of a symlink."""
        tree = self.surveyor.tree
        for directory in directories_above(path):
            if directory not in self.passed and tree.roots.has(directory):
                tree.permissions.record(directory, tree.stat(directory))
                self.passed.add(directory)

    def _keep(self, gone: list[bytes]) -> None:
        try:
            self.surveyor.catalog.keep(self.path, self.new, gone)
        except Exception:
            log.exception("a bug in zsofs: the catalog could not be written")

    def _kept_finding(self, entry: Entry) -> FileFinding | None:
        """What an earlier mount found in this very content."""
        if self.kept is None:
            self.kept = {}
            try:
                self.kept = self.surveyor.catalog.folder(self.path)
            except Exception:  # it is a convenience, which never costs a listing
                log.exception("a bug in zsofs: the catalog could not be read")
        key, finding = self.kept.get(entry.name, (None, None))
        if key != entry.key or finding is None:
            return None
        wanted = is_undecided(entry.name) or (
            self.surveyor.identities
            and (finding.disc is not None or finding.right_ending or is_plain_image(entry.name))
        )
        return None if wanted and finding.identity is None else finding

    def _all_looked_into(self) -> Iterator[Entry]:
        """Look into all that is unread, while the disk fetches what the next files begin with."""
        ahead: deque[tuple[Entry, Entry | None, OpenSource | Exception]] = deque()
        try:
            for entry, known in self.unread:
                self.give_way()
                ahead.append((entry, known, self._opened(entry)))
                if len(ahead) > _OPENED_AHEAD:
                    yield self._looked_into(*ahead.popleft())
            while ahead:
                yield self._looked_into(*ahead.popleft())
        finally:
            for _, _, source in ahead:
                if isinstance(source, OpenSource):
                    source.close()

    def _opened(self, entry: Entry) -> OpenSource | Exception:
        """The file of an entry, open, or why it cannot be opened."""
        try:
            if entry.followed:
                source = self.surveyor.tree.open(entry.path)
            else:
                source = self.folder.open(entry.name)
        except (OSError, ZsofsError) as error:
            return error
        if len(self.unread) > 1:
            with suppress(OSError):
                os.posix_fadvise(source.fd, 0, _FETCHED_AHEAD, os.POSIX_FADV_WILLNEED)
        return source

    def _looked_into(
        self, entry: Entry, known: Entry | None, opened: OpenSource | Exception
    ) -> Entry:
        """An entry with what is inside it; *known* is what was known of it before."""
        if isinstance(opened, Exception):
            return _unreadable(entry, opened)
        try:
            with closing(opened) as source:
                finding = look_inside(
                    source,
                    entry.name,
                    tells_writers=not self.surveyor.changes_elsewhere(source.fd, source.device),
                    quiet=self._is_quiet(entry, known),
                    identities=self.surveyor.identities,
                )
        except StillWrittenError:
            same = known is not None and known.same_content(entry)
            since = known.copying_since if known is not None and same else None
            return replace(
                entry, settled=False, copying_since=time.monotonic() if since is None else since
            )
        except (OSError, ZsofsError, MemoryError) as error:
            return _unreadable(entry, error)
        except Exception:
            log.exception("a bug in zsofs: %s is shown as it is", for_people(entry.path))
            return replace(entry, settled=False)
        told = _told(entry, finding)
        if source.key != entry.key or _is_racy(entry.key) or not finding.settled:
            told.settled = False  # it may be another already, although nothing shows it
        else:
            self.new.append((entry.name, entry.key, finding))
        return told

    def _is_quiet(self, entry: Entry, known: Entry | None) -> bool:
        """Whether a file seems whole, judged by names and times alone."""
        if entry.name in self.before.closed:
            return True
        if known is not None and known.copying_since is not None and known.same_content(entry):
            return time.monotonic() - known.copying_since >= timings().quiet_file
        # Another machine's clock may be behind ours, so the times count only for what has been
        # there from the first: a file that appears while we look has to be seen quiet.
        if self.before.entries is not None:
            return False
        return abs(time.time() - max(entry.key[1:]) / 1e9) >= timings().quiet_file


def _is_refused_for_now(entry: Entry) -> bool:
    return bool(entry.reason) and not entry.settled and entry.copying_since is None


def _unreadable(entry: Entry, error: Exception) -> Entry:
    why = f"it could not be read: {reason(error)}"
    log.warning("%s: shown as it is, %s", for_people(entry.path), why)
    return replace(entry, settled=False, reason=why)


def _told(entry: Entry, finding: FileFinding) -> Entry:
    """The entry with what is inside it, which is said in the log."""
    disc = finding.disc
    if finding.reason:
        log.warning("%s: shown as it is, not as a disc: %s", for_people(entry.path), finding.reason)
    if disc is not None and (disc.remarks or log.isEnabledFor(logging.INFO)):
        _tell(for_people(entry.path), disc)
    for remark in finding.remarks:
        log.warning("%s: %s", for_people(entry.path), remark)
    return Entry(
        entry.name,
        entry.kind if disc is None else Kind.DISC,
        entry.path,
        entry.status,
        disc,
        followed=entry.followed,
        reason=finding.reason,
        identity=finding.identity,
        remarks=finding.remarks,
        content=finding.content,
        right_ending=finding.right_ending,
        ignored=why_ignored(entry.name, finding),
    )


def _tell(shown: str, disc: Disc) -> None:
    log.info("%s: %s, %s, blocks of %d", shown, disc.container, disc.codec.name, disc.block_size)
    for remark in disc.remarks:
        log.warning("%s: %s", shown, remark)


def _is_racy(key: Key) -> bool:
    changed = max(key[1:])
    margin = _RACY_NS_WHOLE_SECONDS if key[2] % 1_000_000_000 == 0 else _RACY_NS
    return time.time_ns() - changed < margin
