"""One running watch: events, scans, one job at a time, and what becomes of its outcome."""

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field

from zsofs.console.stdio import mention
from zsofs.console.tables import printable, size
from zsofs.errors import InputError, reason
from zsofs.timings import timings
from zsofs.watch import error_file
from zsofs.watch.inbox_events import InboxEvents
from zsofs.watch.job import Job, StartPause
from zsofs.watch.ledger import FAILED, KEPT, Ledger, Result
from zsofs.watch.moving import move
from zsofs.watch.notify import notify
from zsofs.watch.order import CHANGED, REPLACED, WAITS, Order, Outcome
from zsofs.watch.pausing import ReaderCheck
from zsofs.watch.settings import IN_PLACE, LEAVE, WatchSettings
from zsofs.watch.space import Space, is_read_only
from zsofs.watch.state_file import Counts
from zsofs.watch.tracker import Input, Tracker, output_directory

log = logging.getLogger(__name__)

_MOST_CRASHES = 3
FIRST_SCAN = "the inboxes are searched for the first time"
"""Note in the state before the first scan, which takes long for thousands of files."""

_SCAN_SHARE = 20
"""A scan is repeated after at least this many times its duration."""


@dataclass(slots=True)
class _ScanTimes:
    """When the inboxes are scanned, by the monotonic clock.

    Attributes:
        due: the next scan without an event.
        rest: the first time for a scan after an event.
    """

    due: float = 0.0
    rest: float = 0.0

    @property
    def has_none(self) -> bool:
        """Whether the first scan has not ended."""
        return not self.rest

    def next(self, *, changed: bool) -> float:
        """Return when the next scan is due; *changed*: whether there was an event."""
        return min(self.due, self.rest) if changed else self.due

    def end(self, took: float) -> None:
        """Note the end of a scan that took so many seconds."""
        now, pause = time.monotonic(), _SCAN_SHARE * took
        self.rest = now + max(timings().watch_scan_rest, pause)
        self.due = now + max(timings().watch_scan, pause)


@dataclass(slots=True)
class Watch:
    """A running watch. Its methods are called by one loop.

    Attributes:
        settings: its settings.
        ledger: its memory.
        events: events in the inboxes.
        tracker: the inputs.
        space: the library, and whether its disk is full.
        job: the running job.
        readers: whether a program reads from the library now.
        counts: results since the start.
        is_held: whether a user has paused it.
        start_pause: the pause after a job that could not be started.
    """

    settings: WatchSettings
    ledger: Ledger
    events: InboxEvents
    tracker: Tracker
    space: Space
    readers: ReaderCheck
    job: Job | None = None
    counts: Counts = field(default_factory=Counts)
    is_held: bool = False
    start_pause: StartPause = field(default_factory=StartPause)
    _scans: _ScanTimes = field(default_factory=_ScanTimes)
    _replaced: dict[str, float] = field(default_factory=dict)
    """Seconds that packing has taken of images in place that have to be renamed, by path."""

    def request_scan(self) -> None:
        """Scan the inboxes as soon as possible."""
        self._scans.due = 0.0

    def step(self) -> float:
        """Do what is due; return the seconds until something may be due without an event."""
        self.events.take()
        now = time.monotonic()
        if now >= self._scans.next(changed=self.events.changed):
            self._scan()
        self.tracker.judge()
        if self.job is not None and self.job.take():
            self._end_job()
        self._pause_or_start()
        return self._seconds_left()

    def _scan(self) -> None:
        begun = time.monotonic()
        self.events.changed = False
        deleted, self.events.deleted = self.events.deleted, set()
        if self._scans.has_none:
            self.tracker.enter_all()
            self.events.watched_all()
        self.tracker.scan(deleted)
        self.events.entered_all()
        for note in self.tracker.notes:
            log.warning("%s", printable(note))
        self.tracker.notes.clear()
        self._scans.end(time.monotonic() - begun)

    def _seconds_left(self) -> float:
        due = [self._scans.next(changed=self.events.changed)]
        checks = (self.tracker.next_check(), self.events.check_at)
        due += [check for check in checks if check is not None]
        if self.job is not None or any(True for _ in self.tracker.whole()):
            due.append(time.monotonic() + timings().watch_ask)
        return max(min(due) - time.monotonic(), 0.01)

    # ---- Jobs

    def _pause_or_start(self) -> None:
        if self.job is None and not any(True for _ in self.tracker.whole()):
            self.readers.rest()
            self.start_pause.end()
            return
        inputs = [self.job.input.unit.path] if self.job else self.settings.inboxes
        is_answered = self.readers.wants([self.settings.library, *inputs])
        if self.job is None:
            may_start = is_answered and not self.readers.reader and self.start_pause.is_over
            # The next scan restores what a job that was killed has left: only without a job.
            may_start = may_start and not self.tracker.restores
            if may_start and not self.is_held and self.space.is_usable():
                self._start()
        elif self.readers.reader or self.is_held:
            self.job.pause()
        else:
            self.job.resume()

    def _start(self) -> None:
        one = self.tracker.take_next()
        if one is None or one.verdict is None:
            return
        settings, path = self.settings, one.unit.path
        if self._is_stuck(one):
            return
        order = Order(
            path,
            tuple(zip(one.unit.files, one.identities, strict=True)),
            settings.inbox_of(path),
            output_directory(settings, path),
            settings.packing,
            settings.after,
            settings.move_to,
            settings.dats,
            one.verdict.closed,
            one.verdict.is_written,
            (*settings.inboxes, settings.library),
        )
        try:
            self.job = Job(order, one)
        except InputError as error:
            if self.start_pause.begin(str(error)):
                log.warning("%s: %s", printable(path), error)
        else:
            self.start_pause.end()

    def state(self) -> tuple[str, str]:
        """Return the state for :class:`zsofs.watch.state_file.WatchStatus`, and its note."""
        if self.is_held:
            return "paused", "by a user"
        if self.readers.reader and (self.job is None or self.job.is_paused):
            return "paused", self.readers.reader
        if self.job is not None:
            return "packing", self.readers.problem
        note = FIRST_SCAN if self._scans.has_none else ""
        note = note or self.space.note or self.start_pause.problem
        for path, why in self.tracker.unavailable.items():
            note = note or f"an inbox is not available: {path}: {why}"
        if note:
            return "waiting", note
        if self.tracker.unlisted:
            return "idle", f"this user may not list the directory {self.tracker.unlisted[0]}"
        return "idle", ""

    def _end_job(self) -> None:
        job, self.job = self.job, None
        assert job is not None
        one = job.input
        self.request_scan()
        outcome = job.outcome
        if outcome is None:
            self._after_crash(job, one)
            return
        if outcome.state in (CHANGED, REPLACED):
            self.tracker.drop(one)
            if outcome.state == REPLACED:
                self._replaced[one.unit.path] = time.monotonic() - job.begun
            return
        if outcome.state == WAITS:
            packed = self.ledger.packed_chd(outcome.parent)
            one.wait(outcome.error + (f"; it was packed as {packed}" if packed else ""))
            return
        if outcome.state == KEPT and self._is_stuck(one):
            return
        if outcome.state == FAILED and self._may_succeed_later(one, outcome):
            return
        packed_in = self._replaced.pop(one.unit.path, 0.0)
        self._finish(one, outcome, packed_in + time.monotonic() - job.begun)

    def _is_stuck(self, one: Input) -> bool:
        """Let an input wait that cannot be deleted or moved, because its disk is read-only now."""
        folder = os.path.dirname(one.unit.path)
        if self.settings.after == LEAVE or not is_read_only(folder):
            return False
        one.wait(f"it can be neither deleted nor moved: the file system of {folder} is read-only")
        return True

    def _after_crash(self, job: Job, one: Input) -> None:
        """Try again after a process was killed, for example without memory; not without end."""
        self.tracker.restores = True
        one.crashes += 1
        log.error("%s: %s", printable(one.unit.path), job.why_ended())
        if one.crashes >= _MOST_CRASHES:
            self._finish(one, Outcome(FAILED, error=job.why_ended()), 0.0)

    def _may_succeed_later(self, one: Input, outcome: Outcome) -> bool:
        """Return whether a failure is due to a disk that is full or has gone."""
        if self.space.note_failure(outcome.error):
            log.warning("%s: %s", printable(one.unit.path), self.space.note)
            return True
        if not one.is_there():  # its disk has gone, or it has changed
            self.tracker.drop(one)
            return True
        return not self.space.is_usable()

    def _finish(self, one: Input, outcome: Outcome, seconds: float) -> None:
        """Record an outcome."""
        path = one.unit.path
        result = Result(
            path,
            outcome.state,
            outcome.outputs,
            outcome.error,
            time.time(),
            outcome.plain_bytes,
            outcome.stored_bytes,
            round(seconds, 3),
        )
        failed = outcome.state == FAILED
        if outcome.sha1 and outcome.outputs:
            self.ledger.note_chd(outcome.sha1, outcome.outputs[0])
        has_gone = outcome.removed or (failed and self._set_aside(one, outcome.error))
        try:
            self.ledger.add(one.unit, () if has_gone else one.identities, result)
        except OSError as error:
            log.warning("the state of the watch cannot be written: %s", reason(error))
        self.tracker.drop(one)
        if not has_gone:
            self.tracker.done[path] = result
        self.counts = Counts(
            packed=self.counts.packed + (not failed), failed=self.counts.failed + failed
        )
        if not failed:
            error_file.remove(path)
        self._report(result)

    def _set_aside(self, one: Input, error: str) -> bool:
        """Move an input that failed if ordered, and write the reason beside it in an inbox.

        Returns:
            Whether it was moved.
        """
        path, settings = one.unit.path, self.settings
        if settings.after == IN_PLACE:
            return False  # it would be shown among the discs
        try:
            if settings.failed_to:
                files = tuple(zip(one.unit.files, one.identities, strict=True))
                path = move(files, settings.inbox_of(path), settings.failed_to)[0]
                error_file.remove(one.unit.path)
            error_file.write(path, error)
        except (OSError, InputError) as problem:
            log.warning("%s: %s", printable(path), reason(problem))
        return path != one.unit.path

    def _report(self, result: Result) -> None:
        name = printable(result.path)
        if result.state == FAILED:
            log.error("%s: %s", name, printable(result.error))
            title = "zsofs could not pack a file"
            text = f"{os.path.basename(result.path)}: {result.error}"
        else:
            outputs = " and ".join(map(printable, result.outputs))
            kept = f"; {printable(result.error)}" if result.state == KEPT else ""
            sizes = f": {size(result.plain_bytes)} to {size(result.stored_bytes)}"
            sizes = sizes if result.stored_bytes else " exists already"
            mention(f"{name} -> {outputs}{sizes}{kept}")
            title = "zsofs packed a disc"
            text = ", ".join(map(os.path.basename, result.outputs))
        if self.settings.notify:
            notify(title, printable(text))

    def end(self) -> None:
        """End the job, and close everything."""
        if self.job is not None:
            self.job.end()
        self.readers.close()
        self.events.close()
        with suppress(OSError):
            self.ledger.close()
