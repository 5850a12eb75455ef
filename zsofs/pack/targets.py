"""Checks that an output file may be created under its name, without loss of data."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NoReturn

from zsofs.discs.cd_forms import CdForm
from zsofs.discs.classify import Classification, ContentKind
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, ZsofsError
from zsofs.formats.file_names import NOT_PACKED, is_kept_for_discs, is_packed_name, misnamed
from zsofs.images.checksums import Digests
from zsofs.images.input_image import Original, original
from zsofs.pack.cd_input import CdInput
from zsofs.pack.comparison import compared
from zsofs.pack.input_files import InputFiles, why_incomplete, why_kept
from zsofs.pack.jobs import STANDARD_OUTPUT, PackRequest, PackTask
from zsofs.pack.outputs import Output, OutputFile, one_file, output_of
from zsofs.pack.packer import PackInput
from zsofs.pack.read_back import Silent, Watcher
from zsofs.pack.unpacker import has_cue_sheet
from zsofs.system.same_file import same_file

_SAME_TIME_NS = 2_000_000_000
"""FAT stores times with a resolution of two seconds."""


class SkippedError(Exception):
    """An input needs no processing, for the reason in the message."""


class Existing(Enum):
    """What is under the name of an output before it is written."""

    NONE = auto()
    """No file, or one that is to be replaced."""
    COPY = auto()
    """A file with an image of the same size that is not older than the input."""
    UNPROVEN = auto()
    """A file with an image of the same size, which has to be compared with that of the input."""

    @property
    def is_there(self) -> bool:
        """Whether there is a file that is not to be replaced."""
        return self is not Existing.NONE


@dataclass(slots=True)
class Targets:
    """The output paths of one run.

    Attributes:
        request: the parsed command line.
        inputs: all files that the run reads.
        made: real path of each file that the run has created, with its input.
        kept: real path of each output that already existed, with its input.
    """

    request: PackRequest
    inputs: InputFiles
    made: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def check_sheet(self, job: PackTask) -> None:
        """Check that an input is no cue sheet of another input.

        Raises:
            SkippedError: it is one.
        """
        file = self.inputs.of_sheets.get(job.path) if self.request.packing else None
        if file is not None:
            raise SkippedError(f"{file}, which it names, is another input")

    def other(self, target: str) -> str | None:
        """Return the input whose output *target* is already; None if it is that of none.

        On exFAT and other file systems that ignore case, that may be under another name.
        """
        place = os.path.realpath(target)
        found = self.made.get(place) or self.kept.get(place)
        if found is not None or not os.path.lexists(target):
            return found
        for path, name in (*self.made.items(), *self.kept.items()):
            if path.casefold() == place.casefold() and not _is_listed(place):
                return name
        return None

    def check_other(self, target: str) -> None:
        """Raise InputError if *target* is the output of an input already."""
        other = self.other(target)
        if other is not None:
            raise _output_of_two(target, other)

    def existing(self, image: PackInput, target: str, *, in_archive: bool, kept: bool) -> Existing:
        """Return what the existing file *target* is, by its size and its date: COPY or UNPROVEN.

        Args:
            image: of the input.
            target: path of the file.
            in_archive: whether the image is in an archive.
            kept: whether the input cannot be deleted, also if it is to be.

        Raises:
            InputError: it has another image, or is no copy for another reason.
        """
        there = _likeness(image, target, packed=self.request.packing is not None)
        if there is Existing.NONE:
            raise self.other_image(target, in_archive=in_archive)
        # What a watch reports, and what is deleted, is proven.
        is_proof_needed = self.request.is_of_watch or (self.request.delete_source and not kept)
        return Existing.UNPROVEN if is_proof_needed else there

    def prove(
        self, name: str, image: PackInput, target: str, watcher: Watcher, *, in_archive: bool
    ) -> Digests:
        """Compare an input with its existing output completely; return the digests of the image.

        Args:
            name: of the input.
            image: of the input.
            target: path of the output.
            watcher: receives progress.
            in_archive: whether the image is in an archive.

        Raises:
            InputError: they differ, or one of them cannot be read.
        """
        request = self.request
        packed, from_disk = request.packing is not None, request.delete_source
        digests = compared(image, target, watcher, packed=packed, from_disk=from_disk)
        if digests is None:
            raise self.other_image(target, in_archive=in_archive)
        self.kept[os.path.realpath(target)] = name
        return digests

    def other_image(self, target: str, *, in_archive: bool) -> InputError:
        """Return the error for an output whose name belongs to a file with another image."""
        if not self.request.is_of_watch:
            return InputError(
                f"{target} already exists and does not match this image; use --force to replace it"
            )
        if in_archive:
            return InputError(
                f"{target} already exists and has another image; move the archive to a"
                " subdirectory of the inbox, or extract it and rename the disc"
            )
        return InputError(
            f"{target} already exists and has another image; rename the input, or move it to a"
            " subdirectory of the inbox"
        )

    def keep(self, name: str, path: str, files: Iterable[str]) -> NoReturn:
        """Skip an input, because its outputs exist already.

        Args:
            name: of the input.
            path: of the output.
            files: paths of its files.

        Raises:
            SkippedError: always.
        """
        for file in files:
            self.kept[os.path.realpath(file)] = name
        kept = "; the source was kept" if self.request.delete_source else ""
        raise SkippedError(f"{path} already exists{kept}")

    def output(self, job: PackTask, found: CdInput) -> Output:
        """Return the files that an input becomes; the path may be :data:`STANDARD_OUTPUT`.

        Raises:
            InputError: there can be no such files.
        """
        target = self._path(job, found)
        if self.request.packing or target == STANDARD_OUTPUT:
            if found.form is CdForm.TRACKS and len(found.image.tracks) > 1:
                raise InputError("-o - takes one image; --cd tracks would give several")
            return one_file(target, found.image)
        return output_of(found, target)

    def _path(self, job: PackTask, found: CdInput) -> str:
        if job.exact:
            return job.base
        packing = self.request.packing
        ending = ".cue" if found.form is CdForm.TRACKS else found.image.ending
        target = job.base + (packing.ending if packing else ending)
        own = job.base + os.path.splitext(job.path)[1]
        # GAME.ZSO is its own output, even if the disk distinguishes it from GAME.zso.
        return own if own.lower() == target.lower() and same_file(job.path, own) else target

    def check(self, job: PackTask, examined: Examination, output: Output) -> Existing:
        """Check that the output may be created.

        Args:
            job: the input.
            examined: its image.
            output: the files that it becomes.

        Returns:
            NONE, or UNPROVEN if all files of the output exist and have to be compared.

        Raises:
            SkippedError: it is not necessary.
            InputError: it is not permitted.
        """
        request, image, target = self.request, examined.image, output.path
        if request.packing is None and image.disc is None:
            if examined.is_misnamed_disc:
                raise InputError(misnamed(image.ending))
            raise InputError(_not_packed(examined.content))
        has_name = target != STANDARD_OUTPUT and (job.found or not request.measure)
        if request.packing:
            if has_name and image.disc is not None and same_file(job.path, target):
                _check_in_place(request, target, examined)
            self._check_content(job, examined)
        return self._check_names(job, examined, output) if has_name else Existing.NONE

    def _check_content(self, job: PackTask, examined: Examination) -> None:
        """Check by content that an input is a disc image; raises like :meth:`check`."""
        image, content = examined.image, examined.content
        name = os.fsencode(job.path)
        is_unknown = content.kind is ContentKind.UNKNOWN
        if is_unknown and image.disc is None and is_packed_name(name):
            # Packed as a plain image, its damage would be hidden in an intact container.
            raise InputError(NOT_PACKED)
        is_taken = is_unknown and self.request.unrecognized
        if content.kind is ContentKind.DISC or is_taken:
            return
        if job.found and not is_kept_for_discs(name):  # for example a memory card
            raise SkippedError(content.refusal)
        raise InputError(content.refusal + self.request.advice(unknown=is_unknown))

    def _check_names(self, job: PackTask, examined: Examination, output: Output) -> Existing:
        """Check that the names are free or may be replaced; return and raise like :meth:`check`."""
        if os.path.realpath(job.path) in self.made:
            raise SkippedError("it was just created by this run")
        found = [self._check_name(job, examined, one) for one in output.files]
        if Existing.NONE not in found:
            if output.cue and not has_cue_sheet(output):
                raise InputError(
                    f"{output.path} already exists, but its cue sheet is missing or differs; use"
                    " --force to write both"
                )
            if Existing.UNPROVEN in found:
                return Existing.UNPROVEN
            self.keep(job.path, output.path, (one.path for one in output.files))
        there = [one for one, what in zip(output.files, found, strict=True) if what.is_there]
        if there:
            raise InputError(
                f"{there[0].path} already exists, but other files of the disc are missing; use"
                " --force to write all of them"
            )
        if output.cue:
            self._check_cue_name(job, output.cue)
        return Existing.NONE

    def _check_name(self, job: PackTask, examined: Examination, one: OutputFile) -> Existing:
        """Check one name; return what is there.

        Raises like :meth:`check`.
        """
        request, image, target = self.request, one.image, one.path
        other = self.other(target)
        if other is not None and not same_file(job.path, target):
            if same_file(job.path, other):
                raise SkippedError(f"{target} already exists")
            raise _output_of_two(target, other)
        if not os.path.lexists(target):
            return Existing.NONE
        if same_file(job.path, target):
            _check_in_place(request, target, examined)
            _check_complete(examined)
        elif same_file(image.path, target):  # of a cue sheet
            raise InputError(f"{target} is the input itself; give another name with -o")
        elif not request.options.replace:
            is_kept = bool(why_kept(examined))
            return self.existing(image, target, in_archive=False, kept=is_kept)
        else:
            self._check_replacing(image, target)
        return Existing.NONE

    def _check_replacing(self, image: Original, target: str) -> None:
        """Check that an existing file may be replaced; raises like :meth:`check`."""
        check_regular(target)
        packed = self.request.packing is not None
        if self.inputs.find(target) and not compared(image, target, Silent(), packed=packed):
            raise InputError(
                f"{target} is another input of this command with a different image, and was not"
                " replaced; give another name with -o"
            )

    def _check_cue_name(self, job: PackTask, cue: str) -> None:
        """Check that a cue sheet may be created; raises like :meth:`check`."""
        self.check_other(cue)
        if not os.path.lexists(cue):
            return
        if not self.request.options.replace:
            raise InputError(f"{cue} exists; --force replaces it")
        if same_file(job.path, cue):
            raise _not_regular(cue)
        check_regular(cue)


def check_regular(target: str) -> None:
    """Raise InputError if an existing file that may be replaced is not a regular one."""
    if not os.path.isfile(target):
        raise _not_regular(target)


def _not_regular(target: str) -> InputError:
    return InputError(
        f"{target} already exists and is not a regular file; give another name with -o"
    )


def _output_of_two(target: str, other: str) -> InputError:
    return InputError(f"{target} is also the output of {other}; rename one of them, or use -o")


def _not_packed(content: Classification) -> str:
    """Why a file is not unpacked, as a sentence."""
    if content.kind is ContentKind.DISC:
        return "it is a plain image, not packed"
    if content.kind is ContentKind.UNKNOWN:
        return "it is not in a container that zsofs supports"
    return f"it is {content.name}, not a packed disc"


def _is_listed(path: str) -> bool:
    """Return whether a file that exists has that very name, and not one with other letters.

    Inode numbers do not tell: exFAT by FUSE has one for each name that was asked for.
    """
    folder, name = os.path.split(path)
    try:
        return name in os.listdir(folder)
    except OSError:
        return False


def _check_in_place(request: PackRequest, target: str, examined: Examination) -> None:
    """Check whether an input may be replaced by its own output.

    Only packed discs, and plain images with the name of a packed disc, are packed in place:
    another plain image would be lost without --delete-source, and its name would be wrong.
    """
    image = examined.image
    is_plain = request.packing is not None and image.disc is None
    if is_plain and examined.is_misnamed_disc:
        if not request.options.replace:
            raise InputError(f"{misnamed(image.ending)}; rename it, use -o, or use --force")
    elif is_plain or (request.packing is None and not request.options.replace):
        raise InputError(f"{target} is the input itself; give another name with -o")
    if not request.options.replace:
        raise SkippedError("already packed; use --force to pack it again")
    if not request.options.verify:
        raise InputError(
            "the output would replace the input without verification; omit --no-verify"
        )


def _check_complete(examined: Examination) -> None:
    """Check that an image is known to be complete, so that its file may be replaced."""
    if examined.cut:
        raise InputError(f"the output would replace the input, but {examined.cut}; use -o")
    incomplete = why_incomplete(examined.image)
    if incomplete:
        raise InputError(f"the output would replace the input, but {incomplete}")
    if examined.content.kind is not ContentKind.DISC:
        raise InputError(
            f"the output would replace the input, but {examined.content.remark}; use -o"
        )


def _likeness(image: PackInput, target: str, *, packed: bool) -> Existing:
    """Return what the file *target* is, by its size and its date; NONE: no copy of the image.

    Args:
        image: of the input.
        target: path of a file.
        packed: whether it must be a container; otherwise it must not.
    """
    try:
        with original(target, as_it_is=not packed) as there:
            if there.size != image.size or (there.disc is not None) is not packed:
                return Existing.NONE
            is_newer = there.status.st_mtime_ns > image.status.st_mtime_ns - _SAME_TIME_NS
            return Existing.COPY if is_newer else Existing.UNPROVEN
    except ZsofsError:
        return Existing.NONE
