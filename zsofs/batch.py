"""Many files to pack or unpack: which ones, under which names, and what became of each."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from zsofs.checked import remember_written
from zsofs.digests import Digests
from zsofs.errors import InputError, UsageError, ZsofsError, reason
from zsofs.names import NOT_PACKED, has_disc_ending, is_packed_name
from zsofs.original import Original, original
from zsofs.output import sync_folder
from zsofs.pack import Care, Outcome, measure, pack
from zsofs.packing import Packing
from zsofs.progress import Report, Reporter
from zsofs.unpack import pour, unpack

STANDARD_OUTPUT = "-"

_VOLUME_MARK = 0x8001
"""Where an ISO 9660 image has the letters CD001."""

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
        measure: only say how long packed files would be.
    """

    inputs: Sequence[str]
    output: str | None
    recursive: bool
    packing: Packing | None
    care: Care
    delete_source: bool = False
    measure: bool = False


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
        unread: the folders that cannot be read, with the reason.
        left_out: how many folders are not looked into.
    """

    jobs: list[Job] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0


class _Skipped(Exception):
    """There is nothing to do for an input, for the reason given."""


def run(wish: Wish, reporter: Reporter) -> int:
    """Do it; returns the exit code.

    Raises:
        UsageError: the command line makes no sense.
    """
    inputs = _inputs(wish)
    with _orderly_end(), reporter:
        batch = _Batch(wish, reporter)
        reporter.left_out = inputs.left_out
        for path, error in inputs.unread:
            reporter.tell(Report(path, "", "failed", error=error))
        reporter.begin([(job.path, _size_of(job.path)) for job in inputs.jobs])
        for job in inputs.jobs:
            batch.do(job)
    return InputError.exit_code if reporter.failed or reporter.unprinted else 0


@dataclass(slots=True)
class _Batch:
    """One run.

    Attributes:
        made: the inputs of the files that it has made, by the real paths of these.
        kept: the same of those that were there already.
    """

    wish: Wish
    reporter: Reporter
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
                self.reporter.file(job.path, image.size)
                outcome = self._convert(image, target)
                if self._makes_files(target):
                    remember_written(target, image.size, outcome.digests)
                self.made[os.path.realpath(target)] = job.path
                if self.wish.delete_source and not _is_same(job.path, target):
                    report.error = _not_deleted(image)
            report.state = self._done
            report.stored = outcome.size if self.wish.packing else image.status.st_size
            report.digests = outcome.digests
            report.remarks = (*image.remarks, *outcome.remarks)
        except _Skipped as why:
            report.state, report.error = "skipped", str(why)
        except BrokenPipeError:
            raise
        except (OSError, ZsofsError, MemoryError) as error:
            report.state, report.error = "failed", reason(error) or "there is not enough memory"
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
            raise InputError("it is not packed in any way that zsofs reads")
        if wish.packing and image.disc is None and is_packed_name(os.fsencode(job.path)):
            # As the plain image of another container its damage would look like a whole disc.
            raise InputError(NOT_PACKED)
        if job.found and wish.packing and image.disc is None and not _looks_like_disc(job, image):
            raise _Skipped("it is no disc image")
        if target == STANDARD_OUTPUT or (wish.measure and not job.found):
            return
        self._check_name(job, image, target)

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
            _check_in_place(wish, target)
        elif not wish.care.replace:
            if _is_whole_copy(image, target, packed=wish.packing is not None):
                self.kept[place] = job.path
                kept = "; the source was kept" if wish.delete_source else ""
                raise _Skipped(f"{target} is there already{kept}")
            raise InputError(f"{target} exists and is not a newer copy of it; --force replaces it")
        elif not os.path.isfile(target):
            raise InputError(f"{target} exists and is no file; give another name with -o")


def _check_in_place(wish: Wish, target: str) -> None:
    """See whether an input may be replaced by its own copy."""
    if not wish.care.replace:
        if wish.packing is None:
            raise InputError(f"{target} is its own name; give another one with -o")
        raise _Skipped("it is packed already; --force packs it anew")
    if not wish.care.verify:
        raise InputError("its copy would replace it unchecked; leave --no-verify away")


def _not_deleted(image: Original) -> str:
    """Delete an input whose copy is there; why that could not be done, empty if it was."""
    try:
        image.remove()
        sync_folder(os.path.dirname(image.path))
    except (OSError, ZsofsError) as error:
        return f"its copy is there and whole, but it was not deleted: {reason(error)}"
    return ""


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


def _looks_like_disc(job: Job, image: Original) -> bool:
    """Whether a plain file is a disc image: memory cards are called ``.bin``, too."""
    if image.raw_cd or job.path.lower().endswith(".iso"):
        return True
    mark = bytearray(5)
    if image.size < _VOLUME_MARK + len(mark):
        return False
    image.read_into(_VOLUME_MARK, memoryview(mark))
    return mark == b"CD001"


def _inputs(wish: Wish) -> _Inputs:
    several = len(wish.inputs) > 1 or any(os.path.isdir(path) for path in wish.inputs)
    output = wish.output
    if output == STANDARD_OUTPUT:
        if several or wish.packing:
            raise UsageError("-o - takes one file, and is for `zsofs unpack` only")
        return _Inputs([Job(wish.inputs[0], STANDARD_OUTPUT, exact=True)])
    into_folder = output is not None and (several or os.path.isdir(output) or output.endswith("/"))
    if into_folder and os.path.lexists(output or "") and not os.path.isdir(output or ""):
        raise UsageError(f"-o {output} is no folder; several files need one")
    is_exact = output is not None and not into_folder
    if is_exact and not (os.path.splitext(output or "")[1] or os.path.lexists(output or "")):
        raise UsageError(
            f"-o {output} may be a file or a folder that is not there yet; say {output}/ for a"
            " folder, or give the name of a file its ending"
        )
    inputs = _Inputs()
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
    """The files of a folder that may be asked for; hidden ones and links are not."""
    wanted: Callable[[bytes], bool] = has_disc_ending if wish.packing else is_packed_name

    def cannot(error: OSError) -> None:
        inputs.unread.append((str(error.filename), f"the folder cannot be read: {reason(error)}"))

    for path, folders, names in os.walk(folder, onerror=cannot):
        below = {name: os.path.join(path, name) for name in sorted(folders) if name[0] != "."}
        # What earlier runs have put into a folder of its own is no input.
        folders[:] = [
            name
            for name, whole in below.items()
            if not (os.path.islink(whole) or _is_same(whole, wish.output or ""))
        ]
        if not wish.recursive:
            inputs.left_out += len(folders)
            folders.clear()
        for name in sorted(names):
            whole = os.path.join(path, name)
            if name[0] != "." and wanted(os.fsencode(name)) and not os.path.islink(whole):
                yield whole


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


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
