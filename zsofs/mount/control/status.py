"""Output of `zsofs status`: the status of running mounts, human-readable or as JSON.

A daemon may be of another version, for example after an update: missing or malformed fields are
left out and never an error.
"""

import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from zsofs.console.stdio import say
from zsofs.console.tables import (
    STILL_COUNTING,
    counted,
    disc_kinds,
    duration,
    printable,
    size,
    table,
    waiting_reads,
)
from zsofs.errors import ControlError
from zsofs.mount.control.client import MAX_TEXT, ask_status, ask_statuses, check_mount, running
from zsofs.mount.control.mount_status import (
    CacheStatus,
    DiscStatus,
    FileStatus,
    MountStatus,
    NotShownStatus,
    PreloadStatus,
    ReaderStatus,
)
from zsofs.mount.named_mount import mount_point_of
from zsofs.system.mountinfo import Mounted

NOTHING = "nothing is mounted"

_INDENT = "  "
_MAX_REFUSED = 20
_MAX_READERS = 500

_LONG_WAIT = 1.0
"""Seconds: a disk that spins up takes several, and the next is a disk that hangs."""

_FOLLOWING = {
    "events": "detected immediately (inotify)",
    "events and polling": "detected immediately (inotify), elsewhere by polling",
    "polling": "detected by polling, because the system does not report them",
}


def run(mount_point: str | None, as_json: bool, others: Sequence[object] = ()) -> int:
    """Print the status of one mount, or of all mounts that this user may query.

    Args:
        mount_point: its path, or the name of its config; None for all mounts.
        as_json: whether to print JSON.
        others: what is printed after all mounts: texts, or JSON objects.

    Returns:
        The exit code: that of ControlError if a mount does not answer, else 0.

    Raises:
        ControlError: there is no mount at *mount_point* that this user may query.
        UsageError: its config cannot be read.
    """
    if mount_point is None:
        return _print_all(as_json, others)
    point = mount_point_of(mount_point)
    mounted = check_mount(point)
    if not as_json:
        say(text(ask_status(point)))
        return 0
    ((_, reply),) = ask_statuses([mounted])
    say(json.dumps(_object(mounted, reply), indent=2))
    return ControlError.exit_code if isinstance(reply, ControlError) else 0


def _print_all(as_json: bool, others: Sequence[object]) -> int:
    """Print the status of all mounts; each reply is printed and freed before the next one."""
    failed = False
    is_first = True
    for mounted, reply in ask_statuses(running()):
        if as_json:
            say("[" if is_first else ",")
            say(textwrap.indent(json.dumps(_object(mounted, reply), indent=2), "  "), end="")
        else:
            if not is_first:
                say()
            say(failure_text(mounted, reply) if isinstance(reply, ControlError) else text(reply))
        failed = failed or isinstance(reply, ControlError)
        is_first = False
    for other in others:
        if as_json:
            say("[" if is_first else ",")
            say(textwrap.indent(json.dumps(other, indent=2), "  "), end="")
        else:
            say(str(other) if is_first else f"\n{other}")
        is_first = False
    if as_json:
        say("[]" if is_first else "\n]")
    elif is_first:
        say(NOTHING)
    return ControlError.exit_code if failed else 0


def _object(mounted: Mounted, reply: MountStatus | ControlError) -> dict[str, Any]:
    """Return the JSON object of a mount; if it did not answer, with the error."""
    if isinstance(reply, ControlError):
        return {"ok": False, "mount_point": os.fsdecode(mounted.path), "error": str(reply)}
    return {"ok": True} | reply.to_json()


def text(status: MountStatus) -> str:
    """Return the status of one mount as lines, the mount point first."""
    lines = [
        *table(list(_facts(status)), "ll"),
        *_not_discs(status.not_shown),
        *_shown_empty(status.not_shown.shown_empty),
        *_readers(status.reads.readers),
    ]
    return _block(status.settings.mount_point, lines)


def failure_text(mounted: Mounted, error: ControlError) -> str:
    """Return the lines for a mount that did not answer."""
    return _block(os.fsdecode(mounted.path), [_printable(str(error))])


def _block(mount_point: str, lines: Sequence[str]) -> str:
    return "\n".join([_printable(mount_point), *(_INDENT + line for line in lines)])


def _printable(said: str) -> str:
    return printable(said[:MAX_TEXT])


def _facts(status: MountStatus) -> Iterator[tuple[str, str]]:
    settings, reads, daemon = status.settings, status.reads, status.daemon
    source, note = _printable(settings.source), _printable(status.source.source_note)
    state = status.source.source_state
    source += {"away": " is currently not available", "not there yet": " does not exist yet"}.get(
        state, ""
    )
    yield "source", f"{source}: {note}" if note else source
    following = _printable(status.source.following)
    yield "changes", _FOLLOWING.get(following, following)
    yield "layout", _printable(settings.layout) + (", writable" if settings.writable else "")
    yield "discs", _discs(status.discs)
    cache = reads.cache
    yield "cache", f"{size(cache.bytes)} of {size(cache.limit)}{_hits(cache)}"
    errors = counted(reads.errors, "error") if reads.errors else "no errors"
    yield "reads", f"{reads.requests:,}, {size(reads.bytes)} in all, {errors}"
    if reads.waiting and reads.waiting_seconds >= _LONG_WAIT:
        longest = duration(int(reads.waiting_seconds))
        yield "waiting", f"{waiting_reads(reads.waiting)} for the disk, the oldest for {longest}"
    if reads.preload.followed_starts:
        yield "boot traces", _preload(reads.preload)
    yield "inodes", f"{daemon.inodes:,}"
    yield (
        "daemon",
        f"process {daemon.pid}, zsofs {_printable(daemon.version)}, running"
        f" for {duration(int(daemon.uptime_seconds))}",
    )


def _preload(done: PreloadStatus) -> str:
    """Return what was read ahead by boot traces, and how much of that for nothing."""
    parts = [f"{counted(done.followed_starts, 'start')} followed"]
    parts.append(f"{size(done.fetched_bytes)} read ahead")
    if done.fetched_bytes:
        parts.append(f"{100 * done.used_bytes / done.fetched_bytes:.0f} % used")
        parts.append(f"{100 * done.wasted_bytes / done.fetched_bytes:.0f} % wasted")
    return ", ".join(parts)


def _discs(found: DiscStatus) -> str:
    kinds = disc_kinds(found.compressed_discs, found.plain_discs)
    parts = [f"{found.discs:,}" + (f" ({kinds})" if kinds else "")]
    if found.copying:
        parts.append(f"{found.copying:,} being copied")
    if found.counting:
        parts.append(STILL_COUNTING)
    return ", ".join(parts)


def _hits(cache: CacheStatus) -> str:
    lookups, hits = cache.lookups, cache.hits
    return f", {100 * hits // lookups} % of {counted(lookups, 'lookup')} hit" if lookups > 0 else ""


def _not_discs(found: NotShownStatus) -> list[str]:
    """Return the lines on files not shown as discs, discs left out for OPL, and symlinks."""
    links, links_total = found.links_not_followed, found.links_not_followed_total
    return [
        *_named(found.refused, found.refused_total, "shown as plain files, not as discs"),
        *_named(found.left_out, found.left_out_total, "not shown"),
        *_named(links, links_total, "not followed", "symlink"),
    ]


def _named(
    files: Sequence[FileStatus], total: int, heading: str, what: str = "file"
) -> Iterator[str]:
    """Yield the lines on the first of *files*, with their reasons, and the total."""
    total = max(total, len(files))
    if not total:
        return
    yield f"{heading}: {counted(total, what)}"
    yield from _with_reasons(files)
    if 0 < len(files[:_MAX_REFUSED]) < total:
        yield f"{_INDENT}and {total - len(files[:_MAX_REFUSED]):,} more"


def _with_reasons(files: Sequence[FileStatus]) -> Iterator[str]:
    rows = [(_printable(one.path), _printable(one.reason)) for one in files[:_MAX_REFUSED]]
    for line in table(rows, "ll"):
        yield _INDENT + line


def _shown_empty(directories: Sequence[FileStatus]) -> Iterator[str]:
    """Yield the lines on directories that are not entered."""
    if directories:
        yield "not entered:"
        yield from _with_reasons(directories)


def _readers(readers: Sequence[ReaderStatus]) -> list[str]:
    """Return the lines on programs with open files."""
    rows = [
        (_printable(one.program), str(one.pid), f"{one.handles:,}", _printable(one.path))
        for one in readers[:_MAX_READERS]
    ]
    if not rows:
        return ["readers: none"]
    lines = table([("program", "process", "handles", "disc"), *rows], "lrrl")
    if len(rows) < len(readers):
        lines.append(f"and {len(readers) - len(rows):,} more")
    return ["readers:", *(_INDENT + line for line in lines)]
