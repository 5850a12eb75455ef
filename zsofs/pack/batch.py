"""Many files to pack or unpack: which ones, under which names, and what became of each."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from zsofs.discs.classify import ContentKind, classify
from zsofs.discs.shortage import Shortage, find_shortage
from zsofs.errors import InputError, UsageError, ZsofsError, reason
from zsofs.formats.file_names import (
    NOT_PACKED,
    has_disc_ending,
    is_kept_for_discs,
    is_packed_name,
    misnamed,
    name_before_deletion,
)
from zsofs.images.checksums import Digests
from zsofs.images.input_image import Original, original, size_of
from zsofs.pack.input_files import InputFiles, delete_input, is_same_image, meant_as_output
from zsofs.pack.packer import Care, Outcome, measure, pack
from zsofs.pack.presets import Packing
from zsofs.pack.report import Report, Reporter
from zsofs.pack.unpacker import pour, unpack
from zsofs.source.left_out import Ignored
from zsofs.system.deletion import restore

STANDARD_OUTPUT = "-"

_SAME_TIME_NS = 2_000_000_000
"""FAT keeps times to two seconds."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command line asks for.

    Attributes:
        inputs: files and folders.
        output: a file or folder; None for beside each input.
        recursive: also what lies in the folders below a folder.
        packing: how to pack; None to unpack.
        care: how careful to be; ``replace`` is ``--force``.
        delete_source: delete each input once its copy is there and checked.
        unrecognized: pack also what is not recognized as a disc image.
        measure: only say how long packed files would be.
        allowed: real paths of directories that symlinks may lead to.
    """

    inputs: Sequence[str]
    output: str | None
    recursive: bool
    packing: Packing | None
    care: Care
    delete_source: bool = False
    unrecognized: bool = False
    measure: bool = False
    allowed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One input.

    Attributes:
        path: of the file.
        base: path of its copy, without the ending.
        found: it was found in a folder, not named.
        exact: *base* is the whole path.
    """

    path: str
    base: str
    found: bool = False
    exact: bool = False


@dataclass(slots=True)
class _Inputs:
    """What a command line names.

    Attributes:
        jobs: one for each file.
        ignored: which files in directories are left out.
        unread: the folders that cannot be read, with the reason.
        left_out: how many folders are not looked into.
        restored: messages about the files that an interrupted run was deleting.
    """

    ignored: Ignored
    jobs: list[Job] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0
    restored: list[str] = field(default_factory=list)

    def restore(self, folder: str, names: Iterable[str]) -> Iterator[str]:
        """Have the files back that an interrupted run was deleting; yields their names."""
        before = {name_before_deletion(os.fsencode(name)) for name in names} - {None}
        if before:
            self.restored += restore(folder)
        yield from (os.fsdecode(name) for name in before if name is not None)


class _Skipped(Exception):
    """There is nothing to do for an input, for the reason given."""


def run(wish: Wish, reporter: Reporter, on_written: Callable[[str, int, Digests], None]) -> int:
    """Pack or unpack what the command line asks for; return the exit code.

    Args:
        wish: what the command line asks for.
        reporter: receives the result of each file, and progress.
        on_written: called with the path of each new file, the size of the image in it, and the
            digests of the image.

    Raises:
        UsageError: the command line makes no sense.
    """
    hint = "" if wish.measure or wish.output else meant_as_output(wish.inputs)
    if hint and any(map(os.path.isdir, wish.inputs)):
        raise UsageError(
            f"the input {wish.inputs[-1]} does not exist{hint}; see: zsofs"
            f" {'pack' if wish.packing else 'unpack'} --help"
        )
    inputs = _inputs(wish)
    named = (
        () if wish.measure else {os.path.dirname(job.path) for job in inputs.jobs if not job.found}
    )
    for folder in named:
        inputs.restored += restore(folder or os.curdir)
    with _orderly_end(), reporter:
        batch = _Batch(
            wish, reporter, on_written, InputFiles(job.path for job in inputs.jobs), hint
        )
        reporter.left_out, reporter.ignored = inputs.left_out, inputs.ignored.sentence
        for message in inputs.restored:
            reporter.note(message)
        for path, error in inputs.unread:
            reporter.tell(Report(path, "", "failed", error=error))
        reporter.begin([(job.path, size_of(job.path)) for job in inputs.jobs])
        for job in inputs.jobs:
            batch.do(job)
    return InputError.exit_code if reporter.failed or reporter.unprinted else 0


@dataclass(slots=True)
class _Batch:
    """One run.

    Attributes:
        on_written: what :func:`run` was given.
        inputs: all files that it reads.
        hint: what is added to the message if the last input does not exist.
        made: the inputs of the files that it has made, by the real paths of these.
        kept: the same of those that were there already.
    """

    wish: Wish
    reporter: Reporter
    on_written: Callable[[str, int, Digests], None]
    inputs: InputFiles
    hint: str
    made: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def do(self, job: Job) -> None:
        """One input, whatever becomes of it."""
        begun = time.monotonic()
        report = Report(job.path)
        try:
            with original(job.path) as image:
                report.target = target = self._target(job, image)
                report.plain, report.before = image.size, image.status.st_size
                self._check_target(job, image, target)
                shortage = _shortage(image)
                notes = _notes(image, shortage)
                self.reporter.file(job.path, image.size)
                outcome = self._convert(image, target)
                if self._makes_files(target):
                    self.on_written(target, image.size, outcome.digests)
                self.made[os.path.realpath(target)] = job.path
                self._delete_source(image, target, outcome, shortage, report)
            report.state = self._done
            report.stored = outcome.size if self.wish.packing else image.status.st_size
            report.digests = outcome.digests
            report.remarks = (*image.remarks, *notes, *outcome.remarks, *report.remarks)
        except _Skipped as why:
            report.state, report.error = "skipped", str(why)
        except BrokenPipeError:
            raise
        except (OSError, ZsofsError, MemoryError) as error:
            report.state, report.error = "failed", reason(error) or "there is not enough memory"
            if job.path == self.wish.inputs[-1]:
                report.error += self.hint
        report.seconds = time.monotonic() - begun
        self.reporter.tell(report)

    def _makes_files(self, target: str) -> bool:
        return not self.wish.measure and target != STANDARD_OUTPUT

    @property
    def _done(self) -> str:
        if self.wish.measure:
            return "measured"
        return "packed" if self.wish.packing else "unpacked"

    def _convert(self, image: Original, target: str) -> Outcome:
        wish, watcher = self.wish, self.reporter
        if wish.packing is None:
            if target == STANDARD_OUTPUT:
                if sys.__stdout__ is None:
                    raise InputError("standard output is closed; give a file with -o")
                return pour(image, sys.stdout.fileno(), watcher)
            return unpack(image, target, wish.care, watcher)
        if wish.measure:
            return Outcome(measure(image, wish.packing, wish.care, watcher), Digests())
        return pack(image, target, wish.packing, wish.care, watcher)

    def _delete_source(
        self,
        image: Original,
        target: str,
        outcome: Outcome,
        shortage: Shortage | None,
        report: Report,
    ) -> None:
        """Delete an input that was to be deleted, if its copy is safe; tells *report* of it."""
        asked = self.wish.delete_source and not _is_same(image.path, target)
        report.error = outcome.error
        if outcome.error and asked:
            report.error += "; the source was kept"
        elif asked and shortage is not None and shortage.is_cut:
            report.error = "its copy is there, but it was not deleted: the image is cut"
        elif asked:
            report.error, report.remarks = delete_input(image)
            report.source_deleted = not report.error

    def _target(self, job: Job, image: Original) -> str:
        if job.exact:
            return job.base
        target = job.base + (".zso" if self.wish.packing else image.ending)
        own = job.base + os.path.splitext(job.path)[1]
        # GAME.ZSO is where its copy would be, although the disk may tell it from GAME.zso.
        return own if own.lower() == target.lower() and _is_same(job.path, own) else target

    def _check_target(self, job: Job, image: Original, target: str) -> None:
        """See that the copy may be made.

        Raises:
            _Skipped: it need not be.
            InputError: it must not be.
        """
        wish = self.wish
        if wish.packing is None and image.disc is None:
            if _is_misnamed(image):
                raise InputError(misnamed(image.ending))
            raise InputError("it is not packed in any way that zsofs reads")
        has_name = target != STANDARD_OUTPUT and (job.found or not wish.measure)
        if wish.packing:
            if has_name and image.disc is not None and _is_same(job.path, target):
                _check_in_place(wish, target, image)
            self._check_content(job, image)
        if has_name:
            self._check_name(job, image, target)

    def _check_content(self, job: Job, image: Original) -> None:
        """See that an input is a disc image, by its bytes; raises as above."""
        content = classify(image.read, image.size)
        name = os.fsencode(job.path)
        is_unknown = content.kind is ContentKind.UNKNOWN
        if is_unknown and image.disc is None and is_packed_name(name):
            # As the plain image of another container its damage would look like a whole disc.
            raise InputError(NOT_PACKED)
        is_taken = is_unknown and self.wish.unrecognized
        if content.kind is ContentKind.DISC or is_taken:
            return
        if job.found and not is_kept_for_discs(name):  # a memory card, perhaps
            raise _Skipped(content.refusal)
        advice = "; if it is one, use --any" if is_unknown else ""
        raise InputError(content.refusal + advice)

    def _check_name(self, job: Job, image: Original, target: str) -> None:
        """See that the name of the copy is free, or may be taken; raises as above."""
        wish = self.wish
        if os.path.realpath(job.path) in self.made:
            raise _Skipped("it has just been made")
        place = os.path.realpath(target)
        other = self.made.get(place) or self.kept.get(place)
        if other is not None and not _is_same(job.path, target):
            if _is_same(job.path, other):
                raise _Skipped(f"{target} is there already")
            raise InputError(f"{target} is the copy of {other}; give -o or rename one")
        if not os.path.lexists(target):
            return
        if _is_same(job.path, target):
            _check_in_place(wish, target, image)
            _check_complete(image)
        elif not wish.care.replace:
            if _is_whole_copy(image, target, packed=wish.packing is not None):
                self.kept[place] = job.path
                kept = "; the source was kept" if wish.delete_source else ""
                raise _Skipped(f"{target} is there already{kept}")
            raise InputError(f"{target} exists and is not a newer copy of it; --force replaces it")
        elif not os.path.isfile(target):
            raise InputError(f"{target} exists and is no file; give another name with -o")
        elif self.inputs.find(target) and not is_same_image(
            image, target, packed=wish.packing is not None
        ):
            raise InputError(
                f"{target} is another input of this command and does not hold the same image, so it"
                " is not replaced; give another name with -o"
            )


def _check_in_place(wish: Wish, target: str, image: Original) -> None:
    """See whether an input may be replaced by its own copy.

    Only packed discs are packed anew in place, and plain images under the name of a packed one:
    another plain image would be gone without --delete-source, and its name would mislead.
    """
    is_plain = wish.packing is not None and image.disc is None
    if is_plain and _is_misnamed(image):
        if not wish.care.replace:
            raise InputError(f"{misnamed(image.ending)}; rename it, give -o, or use --force")
    elif is_plain or (wish.packing is None and not wish.care.replace):
        raise InputError(f"{target} is its own name; give another one with -o")
    if not wish.care.replace:
        raise _Skipped("it is packed already; --force packs it anew")
    if not wish.care.verify:
        raise InputError("its copy would replace it unchecked; leave --no-verify away")


def _check_complete(image: Original) -> None:
    """See that an image is known to be complete, so that its file may be replaced."""
    shortage = _shortage(image)
    if shortage is not None and shortage.is_cut:
        raise InputError(f"its copy would replace it, but {shortage.sentence}; give -o")
    content = classify(image.read, image.size)
    if content.kind is not ContentKind.DISC:
        raise InputError(f"its copy would replace it, but {content.remark}; give -o")


def _is_misnamed(image: Original) -> bool:
    """Whether it is a plain disc image under the name of a packed one."""
    if image.disc is not None or not is_packed_name(os.fsencode(image.path)):
        return False
    return classify(image.read, image.size).kind is ContentKind.DISC


def _shortage(image: Original) -> Shortage | None:
    return find_shortage(image.read, image.size, raw_cd=image.raw_cd, names=True)


def _notes(image: Original, shortage: Shortage | None) -> list[str]:
    """What a person should hear of the content of an input."""
    notes = [
        misnamed(image.ending) if _is_misnamed(image) else "",
        classify(image.read, image.size).remark,
        shortage.sentence if shortage else "",
    ]
    return [note for note in notes if note]


def _is_same(path: str, target: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, target)
    return False


def _is_whole_copy(image: Original, target: str, *, packed: bool) -> bool:
    """Whether *target* has all of the image, as far as a quick look tells, and is no older."""
    try:
        with original(target, as_it_is=not packed) as there:
            return (
                there.size == image.size
                and (there.disc is not None) is packed
                and there.status.st_mtime_ns > image.status.st_mtime_ns - _SAME_TIME_NS
            )
    except ZsofsError:
        return False


def _inputs(wish: Wish) -> _Inputs:
    wanted = has_disc_ending if wish.packing else is_packed_name
    ignored = Ignored(wanted, wish.inputs, wish.allowed)
    several = len(wish.inputs) > 1 or any(os.path.isdir(path) for path in wish.inputs)
    output = wish.output
    if output == STANDARD_OUTPUT:
        if several or wish.packing:
            raise UsageError("-o - takes one file, and is for `zsofs unpack` only")
        return _Inputs(ignored, [Job(wish.inputs[0], STANDARD_OUTPUT, exact=True)])
    into_folder = output is not None and (several or os.path.isdir(output) or output.endswith("/"))
    if into_folder and os.path.lexists(output or "") and not os.path.isdir(output or ""):
        raise UsageError(f"-o {output} is no folder; several files need one")
    is_exact = output is not None and not into_folder
    if is_exact and not (os.path.splitext(output or "")[1] or os.path.lexists(output or "")):
        raise UsageError(
            f"-o {output} may be a file or a folder that is not there yet; say {output}/ for a"
            " folder, or give the name of a file its ending"
        )
    inputs = _Inputs(ignored)
    jobs = inputs.jobs
    for path in wish.inputs:
        if os.path.isdir(path):
            for found in _files_in(path, wish, inputs):
                own = os.path.relpath(found, path)
                base = _base(found if output is None else os.path.join(output, own))
                jobs.append(Job(found, base, found=True))
        elif output is None:
            jobs.append(Job(path, _base(path)))
        elif into_folder:
            jobs.append(Job(path, _base(os.path.join(output, os.path.basename(path)))))
        else:
            jobs.append(Job(path, output, exact=True))
    return inputs


def _base(path: str) -> str:
    """A path without the ending of a disc."""
    return os.path.splitext(path)[0] if has_disc_ending(os.fsencode(path)) else path


def _files_in(folder: str, wish: Wish, inputs: _Inputs) -> Iterator[str]:
    """The files of a folder that may be asked for."""

    def cannot(error: OSError) -> None:
        inputs.unread.append((str(error.filename), f"the folder cannot be read: {reason(error)}"))

    for path, folders, names in inputs.ignored.walk(folder, cannot):
        # What earlier runs have put into a folder of its own is no input.
        output = wish.output or ""
        folders[:] = [name for name in folders if not _is_same(os.path.join(path, name), output)]
        if not wish.recursive:
            inputs.left_out += len(folders)
            folders.clear()
        for name in sorted({*names, *(() if wish.measure else inputs.restore(path, names))}):
            if inputs.ignored.takes(path, name, links=False):
                yield os.path.join(path, name)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this in order: nothing half-finished stays."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # which nohup does
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
