"""What `zsofs status` prints: what running mounts say about themselves, for people and programs.

A daemon may be of another version than this, as after an update: whatever it leaves out, or says
in another form than expected, is shown as nothing and never an error.
"""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
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
)
from zsofs.errors import ControlError
from zsofs.mount.control.client import MAX_TEXT, ask_status, ask_statuses, check_mount, running
from zsofs.system.mountinfo import Mounted
from zsofs.system.mountpoint import real_path

NOTHING = "nothing is mounted"

_INDENT = "  "
_LIMIT = 1 << 63
_MAX_REFUSED = 20
_MAX_READERS = 500
_FOLLOWING = {
    "events": "detected immediately (inotify)",
    "events and polling": "detected immediately (inotify), elsewhere by polling",
    "polling": "detected by polling, because the system does not report them",
}


def run(mount_point: str | None, as_json: bool) -> int:
    """Print the state of one mount, or of all that this user may ask.

    Args:
        mount_point: the path of one, or None for all.
        as_json: for programs.

    Returns:
        The exit code: that of ControlError if a mount does not answer, else 0.

    Raises:
        ControlError: there is no mount at *mount_point* that this user may ask.
    """
    if mount_point is None:
        return _print_all(as_json)
    point = real_path(mount_point)
    mounted = check_mount(point)
    reply = next(_replies([mounted])) if as_json else ask_status(point)
    say(json.dumps(reply, indent=2) if as_json else text(reply))
    return _exit_code([reply["ok"]])


def _print_all(as_json: bool) -> int:
    """The same for all mounts; each reply is printed and let go before the next one."""
    answered: list[bool] = []
    for reply in _replies(running()):
        if as_json:
            say("," if answered else "[")
            say(textwrap.indent(json.dumps(reply, indent=2), "  "), end="")
        else:
            say("\n" * bool(answered) + text(reply))
        answered.append(reply["ok"])
    if as_json:
        say("\n]" if answered else "[]")
    elif not answered:
        say(NOTHING)
    return _exit_code(answered)


def _exit_code(answered: Sequence[bool]) -> int:
    return 0 if all(answered) else ControlError.exit_code


def _replies(mounts: Sequence[Mounted]) -> Iterator[dict[str, Any]]:
    """The reply of each mount; of one that gives none, what is wrong with it."""
    for mounted, reply in ask_statuses(mounts):
        if isinstance(reply, ControlError):
            yield {"ok": False, "mount_point": os.fsdecode(mounted.path), "error": str(reply)}
        else:
            yield reply


def text(reply: Mapping[str, Any]) -> str:
    """The state of one mount as a block of lines, its mount point first.

    Args:
        reply: of a daemon to ``status``, or the same with ``ok`` false and an ``error``.
    """
    said = _Reply(reply)
    if said.flag("ok"):
        parts = _facts(said), _not_discs(said), _shown_empty(said), _readers(said)
        lines = [*table(list(parts[0]), "ll"), *parts[1], *parts[2], *parts[3]]
    else:
        lines = [said.text("error")]
    return "\n".join([said.text("mount_point"), *(_INDENT + line for line in lines)])


class _Reply:
    """A reply's fields, of any type or missing, as what they should be."""

    def __init__(self, fields: object) -> None:
        self._fields = fields if isinstance(fields, Mapping) else {}

    def flag(self, name: str) -> bool:
        return self._fields.get(name) is True

    def text(self, name: str) -> str:
        found = self._fields.get(name)
        return printable(found[:MAX_TEXT]) if isinstance(found, str) else ""

    def number(self, name: str) -> int:
        found = self._fields.get(name)
        if not isinstance(found, int | float) or not abs(found) < _LIMIT:  # NaN is not less
            return 0
        return int(found)

    def part(self, name: str) -> "_Reply":
        return _Reply(self._fields.get(name))

    def rows(self, name: str, most: int) -> tuple[list["_Reply"], int]:
        """The first rows, *most* at most, and how many there are."""
        found = self._fields.get(name)
        rows = found if isinstance(found, list) else []
        return [_Reply(row) for row in rows[:most]], len(rows)


def _facts(said: _Reply) -> Iterator[tuple[str, str]]:
    source, note = said.text("source"), said.text("source_note")
    state = said.text("source_state")
    source += {"away": " is currently not available", "not there yet": " does not exist yet"}.get(
        state, ""
    )
    yield "source", f"{source}: {note}" if note else source
    following = said.text("following")
    yield "changes", _FOLLOWING.get(following, following)
    yield "layout", said.text("layout") + (", writable" if said.flag("writable") else "")
    yield "discs", _discs(said)
    cache = said.part("cache")
    yield "cache", f"{size(cache.number('bytes'))} of {size(cache.number('limit'))}{_hits(cache)}"
    errors = said.number("errors")
    yield (
        "reads",
        f"{said.number('requests'):,}, {size(said.number('bytes'))} in all,"
        f" {counted(errors, 'error') if errors else 'no errors'}",
    )
    yield "inodes", f"{said.number('inodes'):,}"
    yield (
        "daemon",
        f"process {said.number('pid')}, zsofs {said.text('version')}, running"
        f" for {duration(said.number('uptime_seconds'))}",
    )


def _discs(said: _Reply) -> str:
    kinds = disc_kinds(said.number("compressed_discs"), said.number("plain_discs"))
    parts = [f"{said.number('discs'):,}" + (f" ({kinds})" if kinds else "")]
    if said.number("copying"):
        parts.append(f"{said.number('copying'):,} being copied")
    if said.flag("counting"):
        parts.append(STILL_COUNTING)
    return ", ".join(parts)


def _hits(cache: _Reply) -> str:
    lookups, hits = cache.number("lookups"), cache.number("hits")
    return f", {100 * hits // lookups} % of {counted(lookups, 'lookup')} hit" if lookups > 0 else ""


def _not_discs(said: _Reply) -> list[str]:
    """Files that look like discs and are not; discs that are not for OPL; symlinks to discs."""
    return [
        *_named(said, "refused", "shown as plain files, not as discs"),
        *_named(said, "left_out", "not shown"),
        *_named(said, "links_not_followed", "not followed", "symlink"),
    ]


def _named(said: _Reply, field: str, heading: str, what: str = "file") -> list[str]:
    """The first files of a list, each with its reason."""
    found, count = said.rows(field, _MAX_REFUSED)
    total = max(said.number(f"{field}_total"), count)
    if not total:
        return []
    rows = [(row.text("path"), row.text("reason")) for row in found]
    lines = [f"{heading}: {counted(total, what)}"]
    lines += [_INDENT + line for line in table(rows, "ll")]
    if 0 < len(rows) < total:
        lines.append(f"{_INDENT}and {total - len(rows):,} more")
    return lines


def _shown_empty(said: _Reply) -> list[str]:
    """Directories that are not entered."""
    found, _ = said.rows("shown_empty", _MAX_REFUSED)
    rows = [(row.text("path"), row.text("reason")) for row in found]
    return ["not entered:", *(_INDENT + line for line in table(rows, "ll"))] if rows else []


def _readers(said: _Reply) -> list[str]:
    """Who has what open."""
    found, total = said.rows("readers", _MAX_READERS)
    rows = [
        (
            row.text("program"),
            str(row.number("pid")),
            f"{row.number('handles'):,}",
            row.text("path"),
        )
        for row in found
    ]
    if not rows:
        return ["readers: none"]
    lines = table([("program", "process", "handles", "disc"), *rows], "lrrl")
    if len(rows) < total:
        lines.append(f"and {total - len(rows):,} more")
    return ["readers:", *(_INDENT + line for line in lines)]
