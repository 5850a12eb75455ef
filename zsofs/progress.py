"""What packing and unpacking say: bars on a terminal, lines or JSON for each file, a summary."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

from zsofs.digests import Digests
from zsofs.tables import counted, printable, size

_FILE = "{desc} |{bar}| {percentage:3.0f} % {rate_fmt}, {remaining} left{postfix}"
_BATCH = "{desc} |{bar}| {percentage:3.0f} % {remaining} left"
_LONGEST_NAME = 30


@dataclass(slots=True)
class Report:
    """What became of one input.

    Attributes:
        path: of the input.
        target: path of its copy.
        state: ``packed``, ``unpacked``, ``measured``, ``skipped`` or ``failed``.
        plain: bytes of the image.
        stored: bytes of the packed file.
        seconds: how long it took.
        digests: of the image.
        remarks: oddities of the input.
        error: why it was skipped or failed.
    """

    path: str
    target: str = ""
    state: str = "failed"
    plain: int = 0
    stored: int = 0
    seconds: float = 0.0
    digests: Digests = field(default_factory=Digests)
    remarks: tuple[str, ...] = ()
    error: str = ""


class Reporter:
    """Says how a batch goes. It is a :class:`zsofs.pack.Watcher`.

    Attributes:
        failed: how many inputs failed.
    """

    def __init__(self, *, quiet: bool, as_json: bool, to_stdout: bool = True) -> None:
        """*to_stdout* is false where standard output takes the image itself."""
        self.failed = 0
        self._quiet = quiet
        self._json = as_json
        self._lines = sys.stdout if to_stdout else sys.stderr
        self._bars = not quiet and sys.stderr.isatty()
        self._file_bar: tqdm[Any] | None = None
        self._batch_bar: tqdm[Any] | None = None
        self._sizes: dict[str, int] = {}
        self._done: list[Report] = []
        self._taken = self._made = self._share = 0

    def __enter__(self) -> "Reporter":
        tqdm.monitor_interval = 0  # no thread of its own
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_file_bar()
        if self._batch_bar is not None:
            self._batch_bar.close()
        if kind is None:
            self._sum_up()
        elif not self._quiet and not issubclass(kind, Exception):
            print("zsofs: interrupted; nothing half-finished is left", file=sys.stderr)

    def begin(self, inputs: Sequence[tuple[str, int]]) -> None:
        """The inputs that are to come, and the sizes of their files in bytes."""
        self._sizes = dict(inputs)
        if self._bars and len(inputs) > 1:
            self._batch_bar = self._bar(
                f"{len(inputs)} files", sum(self._sizes.values()), _BATCH, position=1
            )

    def file(self, path: str, plain: int) -> None:
        """Work on a file begins, whose image has *plain* bytes."""
        self._taken = self._made = self._share = 0
        if self._bars:
            name = printable(path.rpartition("/")[2])
            if len(name) > _LONGEST_NAME:
                name = name[: _LONGEST_NAME - 1] + "…"
            self._file_bar = self._bar(name, plain, _FILE, position=0)

    def _bar(self, title: str, total: int, form: str, position: int) -> "tqdm[Any]":
        return tqdm(
            total=total,
            desc=title,
            bar_format=form,
            position=position,
            unit="B",
            unit_scale=True,
            leave=False,
            dynamic_ncols=True,
            mininterval=0.2,
            file=sys.stderr,
        )

    def advance(self, plain: int, stored: int) -> None:
        """See :class:`zsofs.pack.Watcher`."""
        self._taken += plain
        self._made += stored
        bar = self._file_bar
        if bar is None:
            return
        if stored:
            bar.set_postfix_str(f"{100 * self._made / self._taken:.0f} % of it", refresh=False)
        bar.update(plain)

    def check(self) -> None:
        """See :class:`zsofs.pack.Watcher`."""
        if self._file_bar is not None:
            self._file_bar.set_postfix_str("reading back", refresh=False)
            self._file_bar.reset()

    def tell(self, report: Report) -> None:
        """A file is done with."""
        self._close_file_bar()
        self._done.append(report)
        self.failed += report.state == "failed"
        if report.state == "failed":
            self._print(f"zsofs: {printable(report.path)}: {printable(report.error)}", sys.stderr)
        for remark in report.remarks:
            self._print(f"zsofs: {printable(report.path)}: {printable(remark)}", sys.stderr)
        if self._json:
            self._print(json.dumps(_as_object(report)), self._lines)
        elif not self._quiet and report.state != "failed":
            self._print(_line(report), self._lines)
        if self._batch_bar is not None:
            self._batch_bar.update(self._sizes.get(report.path, 0))

    def _close_file_bar(self) -> None:
        if self._file_bar is not None:
            self._file_bar.close()
            self._file_bar = None

    def _print(self, text: str, stream: TextIO) -> None:
        if self._bars:
            tqdm.write(text, file=stream)
        else:
            print(text, file=stream, flush=True)

    def _sum_up(self) -> None:
        if len(self._done) < 2 or self._quiet or self._json:
            if not self._done and not self._quiet:
                print("zsofs: there is nothing to do here", file=sys.stderr)
            return
        print(_summary(self._done), file=self._lines, flush=True)


def _line(report: Report) -> str:
    path, target = printable(report.path), printable(report.target)
    if report.state == "skipped":
        return f"{path}: skipped, {printable(report.error)}"
    sizes = f"{size(report.plain)} to {size(report.stored)}"
    share = f" ({100 * report.stored / report.plain:.0f} %)" if report.plain else ""
    speed = f", {report.plain / 1e6 / report.seconds:.0f} MB/s" if report.seconds else ""
    if report.state == "unpacked":
        return f"{path} -> {target}: {size(report.stored)} to {size(report.plain)}{speed}"
    if report.state == "measured":
        return f"{path}: {sizes}{share}{speed}"
    return f"{path} -> {target}: {sizes}{share}{speed}"


def _summary(reports: Sequence[Report]) -> str:
    parts = []
    for state in ("packed", "unpacked", "measured", "skipped", "failed"):
        some = [report for report in reports if report.state == state]
        if some and state in ("skipped", "failed"):
            parts.append(f"{len(some)} {state}")
        elif some:
            plain, stored = (sum(getattr(r, name) for r in some) for name in ("plain", "stored"))
            parts.append(
                f"{counted(len(some), 'file')} {state}, {size(plain)} plain, {size(stored)} packed"
            )
    lines = ["; ".join(parts)]
    lines += [f"  failed: {printable(r.path)}" for r in reports if r.state == "failed"]
    return "\n".join(lines)


def _as_object(report: Report) -> dict[str, Any]:
    return {
        "input": report.path,
        "output": report.target,
        "state": report.state,
        "plain_bytes": report.plain,
        "stored_bytes": report.stored,
        "seconds": round(report.seconds, 3),
        "crc32": report.digests.crc32,
        "md5": report.digests.md5,
        "sha1": report.digests.sha1,
        "remarks": report.remarks,
        "error": report.error,
    }
