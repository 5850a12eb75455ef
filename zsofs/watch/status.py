"""Output of `zsofs status` on watches."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from zsofs.console.stdio import say
from zsofs.console.tables import counted, duration, printable, size, table
from zsofs.system.mountpoint import real_path
from zsofs.watch import state_file
from zsofs.watch.ledger import FAILED, KEPT, Result
from zsofs.watch.state_file import CurrentFile, QueuedInput, WatchStatus

_INDENT = "  "
_NAMED = 10
"""Inputs and results that are printed; JSON has more."""


def watches(path: str | None = None) -> list[WatchStatus]:
    """Return the running watches of this user; as root, also those of the system.

    Args:
        path: an inbox or library; None for all watches.
    """
    found = list(state_file.running())
    if path is None or not found:
        return found
    real = os.fsdecode(real_path(path))  # the path may be that of a mount that hangs
    return [one for one in found if real == one.library or real in one.inboxes]


def run(found: Sequence[WatchStatus], *, as_json: bool) -> int:
    """Print the state of watches: of several, with blank lines between; return the exit code."""
    if as_json:
        objects = [as_object(one) for one in found]
        say(json.dumps(objects[0] if len(objects) == 1 else objects, indent=2))
    else:
        say("\n\n".join(map(text, found)))
    return 0


def as_object(status: WatchStatus) -> dict[str, Any]:
    """Return a watch as a JSON object for the list of `zsofs status --json`."""
    return {"ok": True, "type": "watch"} | status.to_json()


def text(status: WatchStatus) -> str:
    """Return the state of a watch as lines."""
    counts = status.counts
    is_in_place = status.inboxes == (status.library,)
    rows = [
        *(() if is_in_place else [("inbox", ", ".join(map(printable, status.inboxes)))]),
        ("library", printable(status.library) + (", packed in place" if is_in_place else "")),
        ("state", status.state + (f": {printable(status.note)}" if status.note else "")),
    ]
    if status.current.path:
        rows.append(("current", _current(status.current)))
    rows += [
        ("queue", f"{counted(counts.queue, 'input')}, {size(counts.queue_bytes)}"),
        ("since start", f"{counts.packed:,} packed, {counts.failed:,} failed"),
        ("process", f"{status.process.pid}, zsofs {printable(status.process.version)}"),
    ]
    lines = [
        *table(rows, "ll"),
        *_inputs("next", status.queue, counts.queue),
        *_inputs("not complete", status.waiting, counts.waiting),
        *_inputs("packed and kept", status.kept, counts.kept),
        *_results(status.results),
    ]
    title = f"watch of {', '.join(map(printable, status.inboxes))}"
    return "\n".join([title, *(_INDENT + line for line in lines)])


def _current(current: CurrentFile) -> str:
    share = f"{100 * current.done_bytes // current.bytes} %" if current.bytes else "starting"
    parts = [printable(current.path), share]
    if current.reading_back:
        parts.append("reading back")
    if current.bytes_per_second:
        parts.append(f"{current.bytes_per_second / 1e6:.0f} MB/s")
    if current.eta_seconds >= 0:
        parts.append(f"{duration(int(current.eta_seconds))} left")
    return ", ".join(parts)


def _inputs(heading: str, inputs: tuple[QueuedInput, ...], total: int) -> Iterator[str]:
    if not inputs:
        return
    yield f"{heading}:"
    rows = [
        (printable(one.path), size(one.bytes), printable(one.reason)) for one in inputs[:_NAMED]
    ]
    for line in table(rows, "lrl"):
        yield _INDENT + line
    if total > len(rows):
        yield f"{_INDENT}and {total - len(rows):,} more"


def _results(results: tuple[Result, ...]) -> Iterator[str]:
    if not results:
        return
    yield "last results:"
    rows = [
        (f"{duration(int(time.time() - one.time))} ago", printable(one.path), _result(one))
        for one in reversed(results[-_NAMED:])
    ]
    for line in table(rows, "rll"):
        yield _INDENT + line


def _result(one: Result) -> str:
    if one.state == FAILED:
        return f"failed: {printable(one.error)}"
    sizes = f" {size(one.plain_bytes)} to {size(one.stored_bytes)}" if one.stored_bytes else ""
    kept = f"; input kept: {printable(one.error)}" if one.state == KEPT else ""
    return f"packed{sizes}{kept}"
