"""Output of packing and unpacking: progress bars, one line or JSON object per file, a summary."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zsofs.console.progress_bars import Bars
from zsofs.console.tables import counted, printable, size
from zsofs.images.checksums import Digests


@dataclass(slots=True)
class Report:
    """Result for one input.

    Attributes:
        path: path of the input.
        target: path of the output; of a CD with a file for each track, its cue sheet.
        state: ``packed``, ``unpacked``, ``measured``, ``exists`` (an existing output was compared
            with the input, and has the same image), ``skipped`` or ``failed``.
        plain: size of the image in bytes.
        stored: size of the packed file in bytes.
        before: size of the input file in bytes.
        seconds: duration.
        digests: digests of the image.
        remarks: irregularities of the input.
        error: why it was skipped or failed, or could not be deleted after its output was complete.
        source_deleted: whether the input was deleted (``--delete-source``).
        outputs: paths of all files that were created; a cue sheet is the last.
    """

    path: str
    target: str = ""
    state: str = "failed"
    plain: int = 0
    stored: int = 0
    before: int = 0
    seconds: float = 0.0
    digests: Digests = field(default_factory=Digests)
    remarks: tuple[str, ...] = ()
    error: str = ""
    source_deleted: bool = False
    outputs: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether everything requested was done, or was not necessary."""
        return not self.error or self.state == "skipped"


class Reporter(Bars):
    """Reporter of a run. It is a :class:`zsofs.pack.read_back.Watcher`.

    Attributes:
        failed: number of inputs that failed or could not be deleted.
        left_out: number of subdirectories that were not searched.
        ignored: sentence about other files that were left out; empty if there are none.
        about_outputs: sentence about the files that were written; empty if there is none.
    """

    def __init__(self, *, quiet: bool, as_json: bool, to_stdout: bool = True) -> None:
        """Create a reporter; *to_stdout* is False if standard output receives the image."""
        super().__init__(quiet=quiet)
        self.failed = 0
        self.left_out = 0
        self.ignored = ""
        self.about_outputs = ""
        self._json = as_json
        self._lines = sys.stdout if to_stdout else sys.stderr
        self._done: list[Report] = []

    def tell(self, report: Report) -> None:
        """Report the result of a file."""
        self._close_file_bar()
        self._done.append(report)
        self.failed += not report.is_good
        if not report.is_good:
            self._print(f"zsofs: {printable(report.path)}: {printable(report.error)}", sys.stderr)
        for remark in () if self._quiet else report.remarks:
            self._print(f"zsofs: {printable(report.path)}: {printable(remark)}", sys.stderr)
        if self._json:
            self._print(json.dumps(_as_object(report)), self._lines)
        elif not self._quiet and report.state != "failed":
            self._print(_line(report), self._lines)
        self._finish(report.path)

    def note(self, text: str) -> None:
        """Print a message that does not concern an input of this run."""
        if not self._quiet:
            self._print(f"zsofs: {printable(text)}", sys.stderr)

    def _sum_up(self) -> None:
        if self._quiet:
            return
        if not self._json:
            if self.about_outputs and any(report.state == "packed" for report in self._done):
                self._print(self.about_outputs, self._lines)
            if len(self._done) > 1:
                self._print(_summary(self._done), self._lines)
        if not self._done:
            self._print("zsofs: no discs found", sys.stderr)
        if self.left_out:
            folders = counted(self.left_out, "directory")
            self._print(
                f"zsofs: left out: {folders} below; use --recursive to include them",
                sys.stderr,
            )
        if self.ignored:
            self._print(f"zsofs: {self.ignored}", sys.stderr)


def _line(report: Report) -> str:
    path, target = printable(report.path), printable(report.target)
    if report.state == "skipped":
        return f"{path}: skipped, {printable(report.error)}"
    sizes = f"{size(report.plain)} to {size(report.stored)}"
    share = f" ({100 * report.stored / report.plain:.0f} %)" if report.plain else ""
    share += _before(report.before, report.plain)
    deleted = "; source deleted" if report.source_deleted else ""
    if report.state == "exists":
        return f"{path}: {target} already exists and has this image{deleted}"
    speed = f", {report.plain / 1e6 / report.seconds:.0f} MB/s" if report.seconds else ""
    if len(report.outputs) > 2:
        target += f" and {len(report.outputs) - 1} .bin files"
    elif report.outputs:
        target = " and ".join(map(printable, report.outputs))
    if report.state == "unpacked":
        return f"{path} -> {target}: {size(report.stored)} to {size(report.plain)}{speed}{deleted}"
    if report.state == "measured":
        return f"{path}: {sizes}{share}{speed}"
    return f"{path} -> {target}: {sizes}{share}{speed}{deleted}"


def _summary(reports: Sequence[Report]) -> str:
    parts = []
    for state in ("packed", "unpacked", "measured", "exists", "skipped", "failed"):
        some = [report for report in reports if report.state == state]
        if some and state == "exists":
            parts.append(f"{len(some)} existed with the same image")
        elif some and state in ("skipped", "failed"):
            parts.append(f"{len(some)} {state}")
        elif some:
            plain, stored, before = (
                sum(getattr(report, name) for report in some)
                for name in ("plain", "stored", "before")
            )
            parts.append(
                f"{counted(len(some), 'file')} {state}, {size(plain)} plain, {size(stored)} packed"
                + (_before(before, plain) if state != "unpacked" else "")
            )
    lines = ["; ".join(parts)]
    for report in reports:
        if not report.is_good:
            what = "failed" if report.state == "failed" else "kept"
            lines.append(f"  {what}: {printable(report.path)}")
    return "\n".join(lines)


def _before(before: int, plain: int) -> str:
    """Return the size of packed inputs, where it differs from that of their images."""
    return f", {size(before)} before" if before != plain else ""


def _as_object(report: Report) -> dict[str, Any]:
    return {
        "input": report.path,
        "output": report.target,
        "state": report.state,
        "plain_bytes": report.plain,
        "stored_bytes": report.stored,
        "input_bytes": report.before,
        "seconds": round(report.seconds, 3),
        "crc32": report.digests.crc32,
        "md5": report.digests.md5,
        "sha1": report.digests.sha1,
        "remarks": report.remarks,
        "error": report.error,
        "source_deleted": report.source_deleted,
        "outputs": report.outputs,
    }
