"""The inputs in the inboxes: which are complete, which wait, and which were processed before."""

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass, field

from zsofs.errors import reason
from zsofs.pack.atomic_file import remove_leftovers
from zsofs.pack.interrupted_exchange import end_exchanges
from zsofs.system.deletion import restore
from zsofs.timings import timings
from zsofs.watch import error_file
from zsofs.watch.in_place import InPlace
from zsofs.watch.ledger import FAILED, Ledger, Result
from zsofs.watch.settings import IN_PLACE, WatchSettings
from zsofs.watch.space import is_in_mount
from zsofs.watch.units import Unit, find_units, searched
from zsofs.watch.whole import FileIdentity, Verdict, identity_at, judge


@dataclass(slots=True)
class Input:
    """An input that was found.

    Attributes:
        unit: its files.
        identities: of the files, in the same order.
        since: when they were last seen to change, by the monotonic clock.
        verdict: whether it is complete; None before it was judged.
        check_at: when to judge it again, by the monotonic clock.
        crashes: how often the process that packs it has ended unexpectedly.
    """

    unit: Unit
    identities: tuple[FileIdentity, ...]
    since: float
    verdict: Verdict | None = None
    check_at: float = 0.0
    crashes: int = 0

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(one.size for one in self.identities)

    @property
    def is_whole(self) -> bool:
        """Whether it was complete when it was last judged."""
        return self.verdict is not None and not self.verdict.waits_for

    def judge(self, ledger: Ledger, now: float) -> bool:
        """Judge it again; return whether it is complete. May wait for a disk."""
        quiet_for = now - self.since
        self.verdict = judge(self.unit, quiet_for, self.identities, ledger.was_closed)
        self.check_at = now + self.verdict.again
        return self.is_whole

    def wait(self, why: str) -> None:
        """Let it wait for another file, for the reason *why*."""
        self.verdict = Verdict(why, timings().watch_quiet)
        self.check_at = time.monotonic() + self.verdict.again

    def is_there(self) -> bool:
        """Return whether its files exist with this content."""
        return tuple(map(identity_at, self.unit.files)) == self.identities


@dataclass(slots=True)
class Tracker:
    """The inputs of all inboxes that have no result yet.

    Attributes:
        settings: of the watch.
        ledger: results.
        enter: called with each directory before its files are listed.
        inputs: by path, in the order in which they were found.
        unavailable: why inboxes cannot be read, by path.
        unlisted: subdirectories that this user may not list.
        restores: whether files are restored that an interrupted job was deleting.
        notes: messages for the log.
        done: results of inputs that are still in an inbox, by path.
    """

    settings: WatchSettings
    ledger: Ledger
    enter: Callable[[str], None]
    inputs: dict[str, Input] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    unlisted: list[str] = field(default_factory=list)
    restores: bool = True
    notes: list[str] = field(default_factory=list)
    done: dict[str, Result] = field(default_factory=dict)
    _roots: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Device and inode number of each inbox at the last scan."""
    _in_place: InPlace | None = None
    """Finds the inputs if outputs replace them."""

    def __post_init__(self) -> None:
        """Prepare to pack in place, if ordered."""
        if self.settings.after == IN_PLACE:
            self._in_place = InPlace(self.ledger.was_closed, bool(self.settings.dats))

    def enter_all(self) -> None:
        """Enter all directories, before the first scan: that takes longer, as it opens files."""
        for inbox in self.settings.inboxes:
            with suppress(OSError):  # the scan reports it
                _check_inbox(inbox)
                for _ in searched(inbox, self.settings.outside, self.enter):
                    pass

    def scan(self, deleted: Set[str]) -> None:
        """Find the inputs again; those that have not changed keep what is known of them.

        Args:
            deleted: paths of files that were deleted since the last scan.
        """
        found: dict[str, Input] = {}
        self._forget(
            one for path, one in self.done.items() if path in deleted or one.path in deleted
        )
        before, self.done = self.done, {}
        roots, self._roots = self._roots, {}
        self.unavailable.clear()
        self.unlisted.clear()
        for inbox in self.settings.inboxes:
            try:
                _check_inbox(inbox)
                for unit in self._units(inbox):
                    one = self._input(unit)
                    if one is not None:
                        found[unit.path] = one
            except OSError as error:
                self.unavailable[inbox] = reason(error)
        known = {path: found.pop(path) for path in list(self.inputs) if path in found}
        self.inputs = known | found
        if self._in_place is not None:  # what only has to be renamed comes first
            renamed = self._in_place.renamed & self.inputs.keys()
            self.inputs = {path: self.inputs[path] for path in sorted(renamed)} | self.inputs
        self.restores = False
        self._roots = {path: root for path in self.settings.inboxes if (root := _root_of(path))}
        there = {id(one) for one in self.done.values()}  # also under other names
        self._forget(
            one
            for path, one in before.items()
            if id(one) not in there and self._was_there(path, roots)
        )

    def _was_there(self, path: str, roots: dict[str, tuple[int, int]]) -> bool:
        """Return whether the inbox of a file is that of the last scan: its disk has not gone."""
        inbox = self.settings.inbox_of(path)
        root = self._roots.get(inbox)
        return root is not None and root == roots.get(inbox) and inbox not in self.unavailable

    def _forget(self, results: Iterable[Result]) -> None:
        """Forget the results of files that have gone: other files may get their inode numbers.

        The text beside an input that failed goes with it.
        """
        gone = list(results)
        with suppress(OSError):  # forgotten until this process ends
            self.ledger.forget(gone)
        for one in gone:
            if one.state == FAILED and not os.path.lexists(one.path):
                error_file.remove(one.path)

    def _units(self, inbox: str) -> Iterator[Unit]:
        found = find_units(inbox, self.settings.outside, self._enter)
        return found if self._in_place is None else self._in_place.units(found)

    def _enter(self, folder: str) -> None:
        self.enter(folder)
        is_inbox = folder in self.settings.inboxes  # has its own message
        if not is_inbox and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
            self.unlisted.append(folder)
        if self.restores:
            self.notes += restore(folder)
            if self._in_place is not None:
                self.notes += end_exchanges(folder)
                with suppress(OSError):  # it cannot be listed
                    remove_leftovers(folder)

    def _input(self, unit: Unit) -> Input | None:
        """Return the input of a unit; None if it is processed, or a file has gone."""
        identities = tuple(one for one in map(identity_at, unit.files) if one is not None)
        if len(identities) != len(unit.files):
            return None
        result = self.ledger.result_of(unit, identities)
        if result is not None:
            self.done[unit.path] = result
            return None
        known = self.inputs.get(unit.path)
        if known is not None and known.unit.files == unit.files and known.identities == identities:
            if known.unit != unit:
                known.unit, known.check_at = unit, 0.0
            return known
        return Input(unit, identities, time.monotonic())

    def judge(self) -> None:
        """Judge the inputs whose time has come."""
        now = time.monotonic()
        for one in self.inputs.values():
            if not one.is_whole and now >= one.check_at:
                one.judge(self.ledger, now)

    def next_check(self) -> float | None:
        """Return when the next input has to be judged, by the monotonic clock; None: never."""
        return min((one.check_at for one in self.inputs.values() if not one.is_whole), default=None)

    def whole(self) -> Iterator[Input]:
        """Yield the inputs that are complete."""
        return (one for one in self.inputs.values() if one.is_whole)

    def waiting(self) -> Iterator[Input]:
        """Yield the inputs that are not complete."""
        return (one for one in self.inputs.values() if not one.is_whole)

    def take_next(self) -> Input | None:
        """Return the first input that is complete, judged again now; None if there is none."""
        for one in list(self.whole()):
            if not one.is_there():
                self.inputs.pop(one.unit.path)
            elif one.judge(self.ledger, time.monotonic()):
                return one
        return None

    def drop(self, one: Input) -> None:
        """Forget an input; a scan finds it again if it has no result."""
        with suppress(KeyError):
            del self.inputs[one.unit.path]


def _check_inbox(inbox: str) -> None:
    """Raise OSError if an inbox cannot be searched."""
    if is_in_mount(inbox):
        raise OSError(errno.EBUSY, "a mount of zsofs covers it")


def _root_of(inbox: str) -> tuple[int, int] | None:
    try:
        status = os.stat(inbox)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def output_directory(settings: WatchSettings, path: str) -> str:
    """Return the directory of the outputs of an input: its subdirectory, below the library."""
    below = os.path.relpath(os.path.dirname(path), settings.inbox_of(path))
    return os.path.normpath(os.path.join(settings.library, below))
