"""Pack or unpack a list of files, with one result per file."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from zsofs.discs.cue_files import CueSheet
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, UsageError, ZsofsError, reason
from zsofs.images.checksums import Digests
from zsofs.images.input_image import Original, size_of
from zsofs.pack.archive_file import ArchiveFile, archive_at
from zsofs.pack.cd_input import opened_input
from zsofs.pack.input_files import (
    InputFiles,
    delete_input,
    meant_as_output,
    remove_input,
    why_incomplete,
    why_kept,
)
from zsofs.pack.jobs import STANDARD_OUTPUT, PackRequest, PackTask, find_inputs
from zsofs.pack.outputs import Output
from zsofs.pack.packer import PackResult, measure, pack
from zsofs.pack.report import Report, Reporter
from zsofs.pack.targets import Existing, SkippedError, Targets
from zsofs.pack.unpacker import pour, unpack
from zsofs.system.deletion import restore
from zsofs.system.same_file import same_file


def run(
    request: PackRequest, reporter: Reporter, on_written: Callable[[str, int, Digests], None]
) -> int:
    """Pack or unpack as requested; return the exit code.

    Args:
        request: the parsed command line.
        reporter: receives the result of each file, and progress.
        on_written: called with the path of each new file, the size of its image, and the digests of
            the image.

    Raises:
        UsageError: the command line is invalid.
    """
    hint = "" if request.measure or request.output else meant_as_output(request.inputs)
    if hint and any(map(os.path.isdir, request.inputs)):
        raise UsageError(
            f"the input {request.inputs[-1]} does not exist{hint}; see: zsofs"
            f" {'pack' if request.packing else 'unpack'} --help"
        )
    inputs = find_inputs(request)
    named = (
        ()
        if request.measure
        else {os.path.dirname(job.path) for job in inputs.jobs if not job.found}
    )
    for folder in named:
        inputs.restored += restore(folder or os.curdir)
    with orderly_end(), reporter:
        targets = Targets(request, InputFiles([job.path for job in inputs.jobs]))
        batch = _PackRun(request, reporter, on_written, targets, hint)
        reporter.left_out, reporter.ignored = inputs.left_out, inputs.ignored.sentence
        reporter.about_outputs = request.packing.note if request.packing else ""
        for message in inputs.restored:
            reporter.note(message)
        for path, error in inputs.unread:
            reporter.tell(Report(path, "", "failed", error=error))
        reporter.begin([(job.path, size_of(job.path)) for job in inputs.jobs])
        for job in inputs.jobs:
            batch.do(job)
    return InputError.exit_code if reporter.failed or reporter.unprinted else 0


@dataclass(slots=True)
class _PackRun:
    """State of one run.

    Attributes:
        on_written: callback of :func:`run`.
        targets: output paths.
        hint: suffix of the message if the last input does not exist.
    """

    request: PackRequest
    reporter: Reporter
    on_written: Callable[[str, int, Digests], None]
    targets: Targets
    hint: str

    def do(self, job: PackTask) -> None:
        """Process one input and report the result."""
        begun = time.monotonic()
        report = Report(job.path)
        try:
            self.targets.check_sheet(job)
            if self.request.packing is not None:
                with archive_at(job.path) as archive:
                    if archive is not None:
                        self._pack_archive(job, archive)
                        return
            with opened_input(job.path, self.request) as found:
                image = found.image
                output = self.targets.output(job, found)
                report.target = output.path
                report.plain, report.before = image.size, image.status.st_size
                examined = Examination(image)
                existing = self.targets.check(job, examined, output)
                faults = filter(None, [examined.cut, why_incomplete(image)])
                notes = [*examined.remarks, *faults, *found.notes]
                self.reporter.file(job.path, image.size)
                outcome = self._outcome(job, image, output, existing)
                report.target = self._target(output, outcome)
                if self._makes_files(output.path):
                    for made in outcome.made:
                        self.on_written(made.path, made.size, made.digests)
                        self.targets.made[os.path.realpath(made.path)] = job.path
                    for cue in outcome.cue_sheets:
                        self.targets.made[os.path.realpath(cue)] = job.path
                self._delete_source(examined, found.sheet, report.target, outcome, report)
            report.state = "exists" if outcome.existing else self._done
            report.stored = outcome.size if self.request.packing else image.status.st_size
            report.digests = outcome.digests
            report.outputs = (*(made.path for made in outcome.made), *outcome.cue_sheets)
            report.remarks = (*image.remarks, *notes, *outcome.remarks, *report.remarks)
        except SkippedError as why:
            report.state, report.error = "skipped", str(why)
        except BrokenPipeError:
            raise
        except (OSError, ZsofsError, MemoryError) as error:
            report.state, report.error = "failed", reason(error) or "not enough memory"
            if job.path == self.request.inputs[-1]:
                report.error += self.hint
        report.seconds = time.monotonic() - begun
        self.reporter.tell(report)

    def _pack_archive(self, job: PackTask, archive: ArchiveFile) -> None:
        from zsofs.pack.archive_run import ArchiveRun  # few runs need it

        ArchiveRun(self.request, self.reporter, self.on_written, self.targets, job, archive).run()

    def _makes_files(self, target: str) -> bool:
        return not self.request.measure and target != STANDARD_OUTPUT

    def _target(self, output: Output, outcome: PackResult) -> str:
        """Return the path of an output, which may have got another name when it was packed."""
        if outcome.existing:
            return outcome.existing
        return outcome.made[0].path if self.request.packing and outcome.made else output.path

    @property
    def _done(self) -> str:
        if self.request.measure:
            return "measured"
        return "packed" if self.request.packing else "unpacked"

    def _outcome(
        self, job: PackTask, image: Original, output: Output, existing: Existing
    ) -> PackResult:
        if existing.is_there:
            return self._compare(job, output)
        return self._convert(image, output)

    def _compare(self, job: PackTask, output: Output) -> PackResult:
        """Compare the files of an output that exist with the input; raises InputError."""
        digests = [
            self.targets.prove(job.path, one.image, one.path, self.reporter, in_archive=False)
            for one in output.files
        ]
        size = sum(size_of(one.path) for one in output.files)
        return PackResult(
            size, digests[0] if len(digests) == 1 else Digests(), existing=output.path
        )

    def _convert(self, image: Original, output: Output) -> PackResult:
        request, watcher, target = self.request, self.reporter, output.path
        if request.packing is None:
            if target == STANDARD_OUTPUT:
                if sys.__stdout__ is None:
                    raise InputError("standard output is closed; give an output file with -o")
                return pour(image, sys.stdout.fileno(), watcher)
            return unpack(output, request.options, watcher)
        if request.measure:
            return PackResult(measure(image, request.packing, request.options, watcher), Digests())
        return pack(
            image, target, request.packing, request.options, watcher, name=request.final_name
        )

    def _delete_source(
        self,
        examined: Examination,
        sheet: CueSheet | None,
        target: str,
        outcome: PackResult,
        report: Report,
    ) -> None:
        """Delete an input as requested, if its output is complete; set the result in *report*."""
        image = examined.image
        asked = self.request.delete_source and not same_file(image.path, target)
        report.error = outcome.error
        if outcome.error and asked:
            report.error += "; the source was kept"
        elif asked and why_kept(examined):
            done = "the output is complete" if outcome.existing else "packed"
            report.error = f"{done}, but the input was not deleted: {why_kept(examined)}"
        elif asked:
            remove = self.request.removal(partial(remove_input, image, sheet), outcome.digests)
            report.error, report.remarks = delete_input(remove, image.path)
            report.source_deleted = not report.error


@contextmanager
def orderly_end() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP by a clean shutdown that leaves no incomplete files."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored by nohup
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
