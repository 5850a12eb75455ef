"""Inspection of the files of one directory, with read-ahead of the next ones."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

from zsofs.console.text import for_people
from zsofs.errors import ZsofsError, reason
from zsofs.formats.file_names import is_sheet
from zsofs.images.probe import Disc
from zsofs.images.source_file import Key, OpenSource
from zsofs.source.disc_state import why_ignored
from zsofs.source.entry import Entry, Kind
from zsofs.source.finding import NOTHING, FileFinding
from zsofs.source.inspect_file import StillWrittenError, look_inside
from zsofs.source.kept_findings import KeptFindings
from zsofs.source.scan_result import ScanHints
from zsofs.source.sheet_memory import sheet_memory
from zsofs.source.tree import OpenFolder, SourceTree
from zsofs.timings import timings

log = logging.getLogger(__name__)

_RACY_NS = 50_000_000
_RACY_NS_WHOLE_SECONDS = 2_000_000_000
"""A finding is not stored, and not reused by the next scan, if the file changed less than this time
ago (nanoseconds): another change within the same tick of the file system's clock would not change
its times."""

_OPENED_AHEAD = 8
_FETCHED_AHEAD = 32 << 10
"""Read-ahead: number of bytes at the start of each of the next files."""


class FileLooks:
    """Inspects the files of one open directory.

    Attributes:
        gone: names of files that have gone since they were listed; they have no entries.
    """

    def __init__(
        self,
        tree: SourceTree,
        folder: OpenFolder,
        before: ScanHints,
        kept: KeptFindings,
        changes_elsewhere: Callable[[int, int], bool],
        give_way: Callable[[], None],
        *,
        identities: bool,
    ) -> None:
        """Create it.

        Args:
            tree: the source.
            folder: the directory.
            before: results and changes since the last scan.
            kept: receives the findings.
            changes_elsewhere: :meth:`Scanner.changes_elsewhere`.
            give_way: called before each file.
            identities: whether to identify each disc.
        """
        self.gone: list[bytes] = []
        self._tree = tree
        self._folder = folder
        self._before = before
        self._kept = kept
        self._changes_elsewhere = changes_elsewhere
        self._give_way = give_way
        self._identities = identities

    def entries(self, unread: Sequence[tuple[Entry, Entry | None]]) -> Iterator[Entry]:
        """Inspect files, with read-ahead of the next ones; yield their new entries.

        Args:
            unread: the entry of each file, and the previous one.
        """
        ahead: deque[tuple[Entry, Entry | None, OpenSource | Exception]] = deque()
        try:
            for entry, known in unread:
                self._give_way()
                ahead.append((entry, known, self._opened(entry, ahead=len(unread) > 1)))
                if len(ahead) > _OPENED_AHEAD:
                    yield from self._looked_into(*ahead.popleft())
            while ahead:
                yield from self._looked_into(*ahead.popleft())
        finally:
            for _, _, source in ahead:
                if isinstance(source, OpenSource):
                    source.close()

    def _opened(self, entry: Entry, *, ahead: bool) -> OpenSource | Exception:
        """Open the file of an entry; return the error if that fails."""
        try:
            if entry.followed:
                source = self._tree.open(entry.path)
            else:
                source = self._folder.open(entry.name)
        except (OSError, ZsofsError) as error:
            return error
        if ahead:
            with suppress(OSError):
                os.posix_fadvise(source.fd, 0, _FETCHED_AHEAD, os.POSIX_FADV_WILLNEED)
        return source

    def _looked_into(
        self, entry: Entry, known: Entry | None, opened: OpenSource | Exception
    ) -> Iterator[Entry]:
        """Yield the entry with its finding unless the file has gone; *known* is the last one."""
        if isinstance(opened, FileNotFoundError) and not entry.followed:
            self.gone.append(entry.name)
        elif isinstance(opened, Exception):
            yield _unreadable(entry, opened)
        else:
            yield self._with_finding(entry, known, opened)

    def _with_finding(self, entry: Entry, known: Entry | None, opened: OpenSource) -> Entry:
        try:
            with closing(opened) as source:
                finding = look_inside(
                    source,
                    entry.name,
                    tells_writers=not self._changes_elsewhere(source.fd, source.device),
                    quiet=self._is_quiet(entry, known),
                    identities=self._identities,
                )
            if finding.sheet is not None and not sheet_memory.take(finding.sheet):
                finding = NOTHING
        except StillWrittenError:
            same = known is not None and known.same_content(entry)
            since = known.copying_since if known is not None and same else None
            return replace(
                entry, settled=False, copying_since=time.monotonic() if since is None else since
            )
        except (OSError, ZsofsError, MemoryError) as error:
            return _unreadable(entry, error)
        except Exception:
            log.exception(
                "internal error in zsofs: %s is shown as a plain file", for_people(entry.path)
            )
            return replace(entry, settled=False)
        now = told(entry, finding, known)
        if source.key != entry.key or _is_racy(entry.key) or not finding.settled:
            now.settled = False  # it may have changed again without new times
        else:
            self._kept.add(entry, finding)
        return now

    def _is_quiet(self, entry: Entry, known: Entry | None) -> bool:
        """Return whether a file seems complete, by events and times alone."""
        if entry.name in self._before.closed:
            return True
        if known is not None and known.copying_since is not None and known.same_content(entry):
            return time.monotonic() - known.copying_since >= timings().quiet_file
        # Another machine's clock may be behind, so the times are used only in the first scan. A
        # file that appears later must be seen unchanged for a while.
        if self._before.entries is not None:
            return False
        return abs(time.time() - max(entry.key[1:]) / 1e9) >= timings().quiet_file


def _unreadable(entry: Entry, error: Exception) -> Entry:
    if is_sheet(entry.name):  # any file of that name is shown as it is
        return replace(entry, settled=False)
    why = f"it could not be read: {reason(error)}"
    log.warning("%s: shown as a plain file; %s", for_people(entry.path), why)
    return replace(entry, settled=False, finding=FileFinding(None, why))


def told(entry: Entry, finding: FileFinding, known: Entry | None = None) -> Entry:
    """Return the entry with its finding, and log the finding.

    A finding that depends on other files as well is logged once: not again if the previous entry,
    *known*, has it for the same content.
    """
    is_known = (
        known is not None
        and not finding.settled
        and known.finding == finding
        and known.same_content(entry)
    )
    if not is_known:
        _tell(entry, finding)
    return Entry(
        entry.name,
        entry.kind if finding.disc is None else Kind.DISC,
        entry.path,
        entry.status,
        followed=entry.followed,
        finding=finding,
        ignored=why_ignored(entry.name, finding),
    )


def _tell(entry: Entry, finding: FileFinding) -> None:
    disc = finding.disc
    if finding.reason:
        log.warning(
            "%s: shown as a plain file, not as a disc: %s", for_people(entry.path), finding.reason
        )
    if disc is not None and (disc.remarks or log.isEnabledFor(logging.INFO)):
        _tell_disc(for_people(entry.path), disc)
    for remark in finding.remarks:
        log.warning("%s: %s", for_people(entry.path), remark)


def _tell_disc(shown: str, disc: Disc) -> None:
    log.info("%s: %s, %s, blocks of %d", shown, disc.container, disc.codec.name, disc.block_size)
    for remark in disc.remarks:
        log.warning("%s: %s", shown, remark)


def _is_racy(key: Key) -> bool:
    changed = max(key[1:])
    margin = _RACY_NS_WHOLE_SECONDS if key[2] % 1_000_000_000 == 0 else _RACY_NS
    return time.time_ns() - changed < margin
