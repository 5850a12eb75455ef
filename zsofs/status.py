"""What `zsofs status` prints: what running mounts say about themselves, for people and programs.

A daemon may be of another version than this, as after an update: whatever it leaves out, or says
in another form than expected, is shown as nothing and never an error.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zsofs.control import ask_status, check_mount, running
from zsofs.errors import ControlError
from zsofs.mountpoint import real_path
from zsofs.tables import counted, duration, printable, size, table

NOTHING = "nothing is mounted"

_INDENT = "  "
_LIMIT = 1 << 63
_AT_ONCE = 32
_FOLLOWING = {
    "events": "seen at once, as the system reports them",
    "events and polling": "seen as the system reports them, elsewhere looked for now and then",
    "polling": "looked for now and then, for the system does not report them",
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
        replies = _ask_all(running())
        answer: object = replies
    else:
        point = real_path(mount_point)
        check_mount(point)
        replies = [_ask(point) if as_json else ask_status(point)]
        answer = replies[0]
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n\n".join(map(text, replies)) or NOTHING)
    return 0 if all(reply["ok"] for reply in replies) else ControlError.exit_code


def _ask_all(mount_points: Sequence[bytes]) -> list[dict[str, Any]]:
    """The replies of several mounts, which are asked together: one that hangs costs seconds."""
    if len(mount_points) < 2:
        return list(map(_ask, mount_points))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(_ask, mount_points))


def _ask(mount_point: bytes) -> dict[str, Any]:
    """The reply of a mount; of one that gives none, what is wrong with it."""
    try:
        return ask_status(mount_point)
    except ControlError as error:
        return {"ok": False, "mount_point": os.fsdecode(mount_point), "error": str(error)}


def text(reply: Mapping[str, Any]) -> str:
    """The state of one mount as a block of lines, its mount point first.

    Args:
        reply: of a daemon to ``status``, or the same with ``ok`` false and an ``error``.
    """
    said = _Reply(reply)
    if said.flag("ok"):
        lines = [*table(list(_facts(said)), "ll"), *_refused(said), *_readers(said)]
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
        return printable(found) if isinstance(found, str) else ""

    def number(self, name: str) -> int:
        found = self._fields.get(name)
        if not isinstance(found, int | float) or not abs(found) < _LIMIT:  # NaN is not less
            return 0
        return int(found)

    def part(self, name: str) -> "_Reply":
        return _Reply(self._fields.get(name))

    def rows(self, name: str) -> list["_Reply"]:
        found = self._fields.get(name)
        return [_Reply(row) for row in found] if isinstance(found, list) else []


def _facts(said: _Reply) -> Iterator[tuple[str, str]]:
    source, note = said.text("source"), said.text("source_note")
    state = said.text("source_state")
    source += {"away": " is away at present", "not there yet": " is not there yet"}.get(state, "")
    yield "source", f"{source}: {note}" if note else source
    following = said.text("following")
    yield "changes", _FOLLOWING.get(following, following)
    yield "layout", said.text("layout") + (", writable" if said.flag("writable") else "")
    copying = said.number("copying")
    yield "discs", f"{said.number('discs'):,}" + (f", {copying:,} being copied" if copying else "")
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


def _hits(cache: _Reply) -> str:
    lookups, hits = cache.number("lookups"), cache.number("hits")
    return f", {100 * hits // lookups} % of {counted(lookups, 'lookup')} hit" if lookups > 0 else ""


def _refused(said: _Reply) -> list[str]:
    """Files that look like discs and are not, or are broken."""
    rows = [(row.text("path"), row.text("reason")) for row in said.rows("refused")]
    total = max(said.number("refused_total"), len(rows))
    if not total:
        return []
    lines = [f"shown as they are, not as discs: {counted(total, 'file')}"]
    lines += [_INDENT + line for line in table(rows, "ll")]
    if 0 < len(rows) < total:
        lines.append(f"{_INDENT}and {total - len(rows):,} more")
    return lines


def _readers(said: _Reply) -> list[str]:
    """Who has what open."""
    rows = [
        (
            row.text("program"),
            str(row.number("pid")),
            f"{row.number('handles'):,}",
            row.text("path"),
        )
        for row in said.rows("readers")
    ]
    if not rows:
        return ["readers: none"]
    lines = table([("program", "process", "handles", "disc"), *rows], "lrrl")
    return ["readers:", *(_INDENT + line for line in lines)]
