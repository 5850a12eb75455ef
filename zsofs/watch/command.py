"""`zsofs watch`: the loop of a watch, until a signal ends it."""

import logging
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zsofs.console import logging_setup
from zsofs.console.stdio import say
from zsofs.console.text import for_people
from zsofs.errors import FileError, reason
from zsofs.system import sd_notify, xdg
from zsofs.system.inotify import MountWatcher
from zsofs.timings import timings
from zsofs.watch.inbox_events import InboxEvents
from zsofs.watch.job import Progress
from zsofs.watch.ledger import KEPT, Ledger
from zsofs.watch.pausing import ReaderCheck
from zsofs.watch.settings import WatchSettings, check
from zsofs.watch.space import Space
from zsofs.watch.state_file import (
    CONTINUE,
    HOLD,
    MOST_NAMED,
    Counts,
    CurrentFile,
    QueuedInput,
    StateFile,
    WatchStatus,
)
from zsofs.watch.tracker import Input, Tracker
from zsofs.watch.watch import Watch

log = logging.getLogger(__name__)

_ENDS = (signal.SIGTERM, signal.SIGINT)


def run(settings: WatchSettings) -> int:
    """Watch until SIGTERM or SIGINT; SIGHUP scans the inboxes again. Return the exit code.

    Raises:
        SourceError: a directory is unusable.
        UsageError: the settings cannot be combined, or such a watch runs already.
        FileError: its state cannot be stored.
    """
    logging_setup.to_terminal(30)
    check(settings)
    notifier = sd_notify.from_environment()
    ledger = Ledger(_state_folder(), settings.key)
    events = InboxEvents(ledger.note_closed)
    tracker = Tracker(settings, ledger, events.enter)
    readers = ReaderCheck(settings.library)
    space = Space(settings.library, ledger)
    watch = Watch(settings, ledger, events, tracker, space, readers)
    state = StateFile(settings.key)
    mounts = MountWatcher(lambda: [os.fsencode(path) for path in settings.inboxes])
    try:
        with _signals() as (received, pipe):
            _tell(settings)
            _loop(watch, state, mounts, notifier, received, pipe)
    finally:
        watch.end()
        mounts.close()
        state.remove()
    return 0


def _tell(settings: WatchSettings) -> None:
    """Print what is watched if a user waits at a terminal: nothing else shows that it runs."""
    if sys.stdout.isatty():
        inboxes = ", ".join(for_people(os.fsencode(path)) for path in settings.inboxes)
        say(f"watching {inboxes}; end it with Ctrl-C")


def _loop(
    watch: Watch,
    state: StateFile,
    mounts: MountWatcher,
    notifier: sd_notify.Notifier,
    received: set[int],
    pipe: int,
) -> None:
    published = 0.0
    turns = _Turns(watch, mounts)
    for inbox in watch.settings.inboxes:  # what arrives from now on is seen
        watch.events.enter(inbox)
    state.write(_status_of(watch, state))  # a program may read it as soon as the service is ready
    notifier.ready()
    while not received.intersection(_ENDS):
        if signal.SIGHUP in received:
            received.discard(signal.SIGHUP)
            watch.request_scan()
        before = watch.job, watch.readers.reader, watch.is_held
        for number in received.intersection((HOLD, CONTINUE)):
            received.discard(number)
            watch.is_held = number == HOLD
        seconds = turns.take()
        now = time.monotonic()
        if now >= published + timings().watch_status or before != (
            watch.job,
            watch.readers.reader,
            watch.is_held,
        ):
            published = now
            status = _status_of(watch, state)
            state.write(status)
            notifier.status(_summary(status))
        _wait(watch, mounts, pipe, min(seconds, timings().watch_scan))
    notifier.stopping()


@dataclass(slots=True)
class _Turns:
    """The turns of the loop; one that fails for lack of open files or memory is repeated."""

    watch: Watch
    mounts: MountWatcher
    _problem: str = ""

    def take(self) -> float:
        """Do what is due; return the seconds until something may be due without an event."""
        try:
            if self.mounts.have_changed():
                self.watch.request_scan()
            seconds = self.watch.step()
        except (OSError, MemoryError) as error:
            problem = f"the watch cannot continue now, and tries again: {reason(error)}"
            if problem != self._problem:  # once, not every second
                log.warning("%s", problem)
            self._problem = problem
            self.watch.request_scan()
            return timings().watch_ask
        self._problem = ""
        return seconds


def _wait(watch: Watch, mounts: MountWatcher, pipe: int, seconds: float) -> None:
    """Wait for an event of the inboxes, the mount table, the job or a signal."""
    with selectors.PollSelector() as selector:  # needs no descriptor, of which there may be none
        fds = [watch.events.fileno(), mounts.fileno(), pipe]
        if watch.job is not None:
            fds.append(watch.job.fd)
        for fd in fds:
            if fd is not None:
                selector.register(fd, selectors.EVENT_READ)
        for key, _ in selector.select(seconds):
            if key.fd == pipe:
                os.read(pipe, 64)


@contextmanager
def _signals() -> Iterator[tuple[set[int], int]]:
    """Provide the signals that were received, and a descriptor that is readable after one."""
    received: set[int] = set()
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def receive(number: int, _: object) -> None:
        if number in (HOLD, CONTINUE):  # the last one counts
            received.difference_update((HOLD, CONTINUE))
        received.add(number)

    before = {
        number: signal.signal(number, receive) for number in (*_ENDS, signal.SIGHUP, HOLD, CONTINUE)
    }
    try:
        yield received, reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)


def _state_folder() -> Path:
    """Return the directory of the ledger.

    Raises:
        FileError: there is none.
    """
    own = os.environ.get("STATE_DIRECTORY", "")  # set by the service manager
    if os.path.isabs(own):
        return Path(own)
    folders = xdg.state_folders(os.geteuid())
    if not folders:
        raise FileError(
            "the watch has no directory for its state: this user has no home directory; set"
            " XDG_STATE_HOME"
        )
    return folders[0]


def _status_of(watch: Watch, file: StateFile) -> WatchStatus:
    current = watch.job.input if watch.job else None
    whole = [one for one in watch.tracker.whole() if one is not current]
    waiting = list(watch.tracker.waiting())
    kept = [one for one in watch.tracker.done.values() if one.state == KEPT]
    name, note = watch.state()
    return WatchStatus(
        file.process,
        watch.settings.inboxes,
        watch.settings.library,
        name,
        note,
        CurrentFile() if watch.job is None else _current(watch.job.progress, name),
        tuple(_queued(one) for one in whole[:MOST_NAMED]),
        tuple(_queued(one) for one in waiting[:MOST_NAMED]),
        tuple(QueuedInput(one.path, one.plain_bytes, one.error) for one in kept[:MOST_NAMED]),
        Counts(
            len(whole),
            sum(one.size for one in whole),
            len(waiting),
            len(kept),
            watch.counts.packed,
            watch.counts.failed,
        ),
        tuple(watch.ledger.last),
        can_be_held=True,
        is_held=watch.is_held,
    )


def _current(progress: Progress, state: str) -> CurrentFile:
    left = -1.0
    if progress.speed and state == "packing":
        left = (progress.bytes - progress.done) / progress.speed
    return CurrentFile(
        progress.file,
        progress.bytes,
        progress.done,
        progress.reading_back,
        round(progress.speed, 1),
        round(left, 1),
    )


def _queued(one: Input) -> QueuedInput:
    reason = one.verdict.waits_for if one.verdict is not None else "it may still be written"
    return QueuedInput(one.unit.path, one.size, reason)


def _summary(status: WatchStatus) -> str:
    """Return the status line for the service manager."""
    what = status.note or os.path.basename(status.current.path)
    return f"{status.state}{f': {what}' if what else ''}, {status.counts.queue} in the queue"
