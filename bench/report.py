"""The results as text for a terminal and as a page."""

import textwrap

from bench.measure import Figure, Workload
from bench.results import Results, Summary
from bench.targets import TARGETS
from bench.workloads import WORKLOADS

Table = list[list[str]]

_QUICK = " This was a quick run, for a first impression only."

_HOW = """\
A generated, game-like disc of {size} MiB (30 % incompressible, 20 % zeros, the rest program-like
and text-like data). All servers are mounted at the same time; each round takes them one after
another through each workload. A figure is the median of the rounds (there were {rounds}), with the
least and the most behind it. What a server reads is in memory, except for the plain ISO from the
disk; every FUSE mount has a read_ahead_kb of 128; caches have their default sizes and are not
emptied between workloads. LZ4 and zstd are packed at level 9 (squashfs's LZ4 at 12), deflate at 9,
`.iso.zst` in frames of 1 MiB.
"""


_TARGETS = """\
Ratios are taken round by round; the verdict is on their median. Of latencies the ratio is theirs to
ours where more is better. What has no target is there to compare.
"""


def as_text(results: Results) -> str:
    """Everything for a terminal."""
    parts = []
    for workload in _measured(results):
        parts += ["", workload.title, *_aligned(_table(results, workload))]
    table = _target_table(results)
    if len(table) > 1:
        parts += ["", "Targets", *_aligned(table)]
    parts += ["", *(f"left out: {name}: {why}" for name, why in results.missing.items())]
    parts += [f"note: {note}" for note in results.notes]
    return "\n".join(parts).rstrip()


def as_markdown(results: Results) -> str:
    """Everything as a page."""
    settings = results.settings
    load = f"{settings.get('load_before')} before and {settings.get('load_after')} after"
    parts = [
        "# Measurements",
        "",
        _prose("Written by `python -m bench`; do not edit." + _QUICK * bool(settings["quick"])),
        "",
        _prose(_HOW.format(size=settings["size_mb"], rounds=settings["rounds"])),
        "",
        *_as_rows([["", "this machine"], *([k, v] for k, v in results.machine.items())], 2),
        "",
        f"Load, one minute: {load}; the benchmark itself makes 1 to 2. It took"
        f" {settings.get('minutes')} minutes.",
    ]
    table = _target_table(results)
    if len(table) > 1:
        parts += ["", "## Targets", "", _prose(_TARGETS), "", *_as_rows(table, 4)]
    for workload in _measured(results):
        parts += ["", f"## {workload.title}", "", _prose(workload.how), ""]
        parts += _as_rows(_table(results, workload), 1)
    if results.missing or results.notes:
        parts += ["", "## Left out, and notes", ""]
        parts += [f"- `{name}`: {why}" for name, why in results.missing.items()]
        parts += [f"- {note}" for note in results.notes]
    return "\n".join(parts) + "\n"


def _prose(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _measured(results: Results) -> list[Workload]:
    return [workload for workload in WORKLOADS if workload.name in results.samples]


def _table(results: Results, workload: Workload) -> Table:
    head = ["", *(_heading(figure) for figure in workload.figures.values())]
    rows = [head]
    for contender in workload.contenders:
        if contender.name in results.samples[workload.name]:
            row = [contender.title]
            for name, figure in workload.figures.items():
                rounds = results.rounds(workload.name, contender.name, name)
                row.append(Summary.of(rounds).text(figure.digits) if rounds else "-")
            rows.append(row)
    return rows


def _heading(figure: Figure) -> str:
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def _target_table(results: Results) -> Table:
    """All that is to be reached and was measured; with the verdict on the median."""
    workloads = {workload.name: workload for workload in WORKLOADS}
    rows = [["workload", "figure", "of", "to", "ratio or figure", "target", "stretch", "verdict"]]
    for target in TARGETS:
        found = target.values(results)
        if found:
            workload = workloads[target.workload]
            titles = {contender.name: contender.title for contender in workload.contenders}
            figure = workload.figures[target.figure]
            summary = Summary.of(found)
            unit = "" if target.to else figure.unit
            rows.append(
                [
                    workload.title,
                    figure.title,
                    titles[target.of],
                    titles[target.to] if target.to else "",
                    f"{summary.text(2)} {unit}".rstrip(),
                    _bound(target.target, target.at_most),
                    _bound(target.stretch, target.at_most),
                    target.verdict(summary.median),
                ]
            )
    return rows


def _bound(wanted: float | None, at_most: bool) -> str:
    if wanted is None:
        return ""
    return f"{'≤' if at_most else '≥'} {wanted:g}"


def _aligned(table: Table) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _as_rows(table: Table, text_columns: int) -> list[str]:
    """A Markdown table; the columns after *text_columns* hold numbers."""
    head, *rows = table
    rule = ["---" if column < text_columns else "---:" for column in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
