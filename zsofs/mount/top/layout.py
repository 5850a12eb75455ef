"""The lines of `zsofs top`, for any size of a terminal. Pure functions."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from zsofs.console.tables import counted, duration, printable, shortened, size, waiting_reads, width
from zsofs.mount.control.activity import Activity, DiscActivity, SlowReadActivity
from zsofs.mount.control.status import NOTHING
from zsofs.mount.top.watched import Watched

_GAP = "  "
_HANGS = 1.0
"""Seconds after which a waiting read is shown."""

_CAUSES = {
    "disk": "waiting for the disk",
    "hang": "the disk did not answer",
    "decode": "decoding",
    "queue": "waiting for a thread or another read",
    "memory": "the computer was busy",
}

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"


class Style(Enum):
    """How a line is shown; without colors they are all the same."""

    NORMAL = "normal"
    HEADING = "heading"
    WARNING = "warning"
    ERROR = "error"


class Sort(Enum):
    """Sort order of discs."""

    RATE = "rate"
    TOTAL = "total"
    SLOW = "slow"
    NAME = "name"


_ORDERS: dict[Sort, Callable[[DiscActivity], tuple[object, ...]]] = {
    Sort.RATE: lambda one: (-one.rates.bytes_10s, one.idle_seconds, one.disc),
    Sort.TOTAL: lambda one: (-one.counts.bytes, one.disc),
    Sort.SLOW: lambda one: (-one.counts.slow, one.disc),
    Sort.NAME: lambda one: (one.disc,),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The view that the user has chosen.

    Attributes:
        sort: the order of discs.
        filter: only discs and slow reads with this text in their names.
        is_typing: whether the filter is being typed.
        is_paused: whether no requests are sent.
        is_unicode: whether the terminal shows more than ASCII.
    """

    sort: Sort = Sort.RATE
    filter: str = ""
    is_typing: bool = False
    is_paused: bool = False
    is_unicode: bool = True

    def next_sort(self) -> "Choice":
        """Return the choice with the next order."""
        orders = list(Sort)
        return replace(self, sort=orders[(orders.index(self.sort) + 1) % len(orders)])

    def has(self, *texts: str) -> bool:
        """Return whether the filter lets something with these texts through."""
        return any(self.filter.lower() in text.lower() for text in texts)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the screen."""

    text: str
    style: Style = Style.NORMAL


def screen(mounts: Sequence[Watched], choice: Choice, columns: int, rows: int) -> list[Line]:
    """Return exactly *rows* lines of at most *columns*, the keys in the last one."""
    body = [_title(mounts, choice), *_mounts(mounts, choice, columns)]
    left = max(rows - len(body) - 1, 0)
    tables = [
        _readers(mounts, columns, left),
        _discs(mounts, choice, columns, left),
        _slow_reads(mounts, choice, columns, left),
    ]
    for table in _shares(tables, left):
        body += table
    lines = body[: max(rows - 1, 0)]
    lines += [Line("")] * (rows - 1 - len(lines))
    lines.append(_keys(choice))
    return [replace(line, text=shortened(line.text, columns)) for line in lines]


def report(mounts: Sequence[Watched], choice: Choice, columns: int, most: int) -> list[str]:
    """Return everything as lines of text, at most *most* rows of each table."""
    parts = [
        _mounts(mounts, choice, columns),
        _readers(mounts, columns, most + 2),
        _discs(mounts, choice, columns, most + 2),
        _slow_reads(mounts, choice, columns, most + 2),
    ]
    return [
        line.text if line.style is Style.ERROR else shortened(line.text, columns)
        for part in parts
        for line in part
    ]


def _shares(tables: Sequence[list[Line]], rows: int) -> Iterator[list[Line]]:
    """Yield the rows of each table that fit; each of the later tables keeps an equal share."""
    for number, table in enumerate(tables):
        share = rows // (len(tables) - number)
        after = sum(min(len(other), share) for other in tables[number + 1 :])
        shown = table[: max(share, rows - after)]
        rows -= len(shown)
        yield shown


def _title(mounts: Sequence[Watched], choice: Choice) -> Line:
    parts = [
        f"zsofs top {time.strftime('%H:%M:%S')}",
        counted(len(mounts), "mount"),
        f"sorted by {choice.sort.value}",
    ]
    if choice.filter or choice.is_typing:
        parts.append(f"filter: {printable(choice.filter)}{'_' if choice.is_typing else ''}")
    if choice.is_paused:
        parts.append("paused")
    return Line(_GAP.join(parts), Style.HEADING)


def _keys(choice: Choice) -> Line:
    if choice.is_typing:
        return Line("type a part of a name; Enter: done, Esc: show all", Style.HEADING)
    pause = "continue" if choice.is_paused else "pause"
    return Line(f"q: quit  p: {pause}  s: sort  /: filter  Esc: show all", Style.HEADING)


def _mounts(mounts: Sequence[Watched], choice: Choice, columns: int) -> list[Line]:
    if not mounts:
        return [Line(NOTHING)]
    lines: list[Line] = []
    for one in mounts:
        if one.error or one.activity is None:
            text = one.error or f"{one.path}: not asked yet"
            lines.append(Line(printable(text), Style.ERROR))
        else:
            lines += _mount(one.path, one.activity, choice, columns)
    return lines


def _mount(path: str, activity: Activity, choice: Choice, columns: int) -> Iterator[Line]:
    reads, mount = activity.reads, activity.mount
    parts = [
        counted(mount.compressed_discs + mount.plain_discs, "disc"),
        _rate(reads.rates.bytes_10s),
        f"{reads.rates.reads_10s:,.0f} reads/s",
        f"hits {_share(reads.counts.hits, reads.counts.lookups)}",
        f"slow {reads.counts.slow:,}",
    ]
    if mount.counting:
        parts[0] += " (looking)"
    if mount.source_state != "there":
        parts.append("the source is away")
    if reads.counts.errors:
        parts.append(counted(reads.counts.errors, "error"))
    numbers = _GAP.join(parts)
    space = columns - width(numbers) - len(_GAP)
    bars = _bars(reads.history[-min(max(columns // 8, 10), 60) :], choice)
    name = shortened(printable(path), max(space - len(bars) - len(_GAP), 10))
    yield Line(_GAP.join([name, numbers, bars]), Style.NORMAL)
    for disk in activity.disks:
        if disk.longest_wait_seconds >= _HANGS:
            waiting = waiting_reads(disk.waiting)
            text = f"  disk {printable(disk.device)} has not answered for"
            yield Line(f"{text} {duration(disk.longest_wait_seconds)}: {waiting}", Style.ERROR)
    for read in islice(activity.waiting, 3):
        if read.seconds >= _HANGS:
            name = f"  {printable(read.program) or 'a program'} waits for {printable(read.disc)}"
            yield Line(f"{name} at {read.offset:,}: {duration(read.seconds)}", Style.ERROR)


def _bars(history: Sequence[int], choice: Choice) -> str:
    bars = _BARS if choice.is_unicode else _ASCII_BARS
    most = max([*history, 1])
    return "".join(bars[-(-count * (len(bars) - 1) // most)] for count in history)


def _readers(mounts: Sequence[Watched], columns: int, most: int) -> list[Line]:
    found = [reader for one in _answering(mounts) for reader in one.readers]
    found.sort(key=lambda reader: (-reader.rates.bytes_10s, reader.idle_seconds))
    rows = [
        (
            printable(reader.program) or "(ended)",
            str(reader.pid),
            _rate(reader.rates.bytes_10s),
            f"{reader.rates.reads_10s:,.0f}",
            size(reader.counts.bytes),
            _share(reader.counts.hits, reader.counts.lookups),
            duration(reader.idle_seconds),
        )
        for reader in islice(found, most)
    ]
    headings = ("PROGRAM", "PROCESS", "RATE", "READS/S", "READ", "HITS", "LAST")
    return _table(headings, rows, columns)


def _discs(mounts: Sequence[Watched], choice: Choice, columns: int, most: int) -> list[Line]:
    answering = (mount for mount in mounts if not mount.error)
    found = [one for mount in answering for one in mount.discs.values() if choice.has(one.disc)]
    found.sort(key=_ORDERS[choice.sort])
    rows = [
        (
            printable(one.disc),
            _rate(one.rates.bytes_10s),
            _rate(one.rates.bytes_60s),
            size(one.counts.bytes),
            _share(one.counts.hits, one.counts.lookups),
            f"{one.counts.slow:,}",
            f"{one.counts.errors:,}",
            duration(one.idle_seconds),
        )
        for one in islice(found, most)
    ]
    headings = ("DISC", "RATE", "1 MIN", "READ", "HITS", "SLOW", "ERRORS", "LAST")
    return _table(headings, rows, columns)


def _slow_reads(mounts: Sequence[Watched], choice: Choice, columns: int, most: int) -> list[Line]:
    found = [
        read
        for one in mounts
        for read in one.slow_reads.values()
        if choice.has(read.disc, read.file or "", read.program)
    ]
    found.sort(key=lambda read: -read.time)
    if not found:
        return []
    lines = [Line(f"SLOW READS ({len(found):,})", Style.HEADING)]
    for read in islice(found, most):
        style = Style.ERROR if read.failed or read.cause == "hang" else Style.WARNING
        lines.append(Line(slow_read_text(read), style))
    return lines


def slow_read_text(read: SlowReadActivity) -> str:
    """Return a slow read in words: disc, file of the disc, time, cause, program."""
    name = printable(read.disc)
    if read.file:
        name += f", {printable(read.file)}"
    took = read.seconds.total
    shown = f"{took * 1000:.0f} ms" if took < 0.9995 else f"{took:.1f} s"
    cause = _CAUSES.get(read.cause, printable(read.cause))
    failed = ", failed" if read.failed else ""
    program = f" ({printable(read.program)})" if read.program else ""
    at = time.strftime("%H:%M:%S", time.localtime(read.time))
    return f"{at}  {name}: {shown}, {cause}{failed}{program}"


def _answering(mounts: Iterable[Watched]) -> Iterator[Activity]:
    return (one.activity for one in mounts if one.activity is not None and not one.error)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], columns: int) -> list[Line]:
    """Return aligned lines; the first column has the remaining width, the others are numbers."""
    if not rows:
        return []
    cells = [headings, *rows]
    widths = [max(width(row[number]) for row in cells) for number in range(1, len(headings))]
    first = max(columns - sum(widths) - len(_GAP) * len(widths), 8)
    lines = []
    for row in cells:
        name = shortened(row[0], first)
        text = name + " " * (first - width(name))
        for cell, space in zip(row[1:], widths, strict=True):
            text += _GAP + " " * (space - width(cell)) + cell
        lines.append(Line(text, Style.HEADING if row is headings else Style.NORMAL))
    return lines


def _rate(count: float) -> str:
    return f"{size(round(count))}/s"


def _share(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole > 0 else "-"
