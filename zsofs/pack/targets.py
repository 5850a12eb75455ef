"""Checks that an output file may be created under its name, without loss of data."""

import os
from dataclasses import dataclass, field

from zsofs.discs.classify import ContentKind
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, ZsofsError
from zsofs.formats.file_names import NOT_PACKED, is_kept_for_discs, is_packed_name, misnamed
from zsofs.images.input_image import Original, original
from zsofs.pack.input_files import InputFiles, is_same_image
from zsofs.pack.jobs import STANDARD_OUTPUT, PackRequest, PackTask
from zsofs.pack.unpacker import has_cue_sheet
from zsofs.system.same_file import same_file

_SAME_TIME_NS = 2_000_000_000
"""FAT stores times with a resolution of two seconds."""


class SkippedError(Exception):
    """An input needs no processing, for the reason in the message."""


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

    def path(self, job: PackTask, image: Original) -> str:
        """Return the output path of an input, or :data:`STANDARD_OUTPUT`."""
        if job.exact:
            return job.base
        packing = self.request.packing
        target = job.base + (packing.ending if packing else image.ending)
        own = job.base + os.path.splitext(job.path)[1]
        # GAME.ZSO is its own output, even if the disk distinguishes it from GAME.zso.
        return own if own.lower() == target.lower() and same_file(job.path, own) else target

    def check(self, job: PackTask, examined: Examination, target: str) -> None:
        """Check that the output may be created.

        Args:
            job: the input.
            examined: its image.
            target: path of the output.

        Raises:
            SkippedError: it is not necessary.
            InputError: it is not permitted.
        """
        request, image = self.request, examined.image
        if request.packing is None and image.disc is None:
            if examined.is_misnamed_disc:
                raise InputError(misnamed(image.ending))
            raise InputError("it is not in a container that zsofs supports")
        has_name = target != STANDARD_OUTPUT and (job.found or not request.measure)
        if request.packing:
            if image.view is not None:
                raise InputError(
                    "a CD with audio, several tracks, or data that an .iso cannot hold; unpack it"
                    " to .cue and .bin with: zsofs unpack"
                )
            if has_name and image.disc is not None and same_file(job.path, target):
                _check_in_place(request, target, examined)
            self._check_content(job, examined)
        if has_name:
            self._check_name(job, examined, target)

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
        advice = "; if it is one, use --any" if is_unknown else ""
        raise InputError(content.refusal + advice)

    def _check_name(self, job: PackTask, examined: Examination, target: str) -> None:
        """Check that the output name is free or may be replaced; raises like :meth:`check`."""
        request, image = self.request, examined.image
        if os.path.realpath(job.path) in self.made:
            raise SkippedError("it was just created by this run")
        place = os.path.realpath(target)
        other = self.made.get(place) or self.kept.get(place)
        if other is not None and not same_file(job.path, target):
            if same_file(job.path, other):
                raise SkippedError(f"{target} already exists")
            raise InputError(
                f"{target} is also the output of {other}; rename one of them, or use -o"
            )
        if not os.path.lexists(target):
            return
        if same_file(job.path, target):
            _check_in_place(request, target, examined)
            _check_complete(examined)
        elif not request.options.replace:
            if is_whole_copy(image.size, image.status, target, packed=request.packing is not None):
                _check_cue_sheet(image, target)
                self.kept[place] = job.path
                kept = "; the source was kept" if request.delete_source else ""
                raise SkippedError(f"{target} already exists{kept}")
            raise InputError(
                f"{target} already exists and does not match this image; use --force to replace it"
            )
        elif not os.path.isfile(target):
            raise InputError(
                f"{target} already exists and is not a regular file; give another name with -o"
            )
        elif self.inputs.find(target) and not is_same_image(
            image, target, packed=request.packing is not None
        ):
            raise InputError(
                f"{target} is another input of this command with a different image, and was not"
                " replaced; give another name with -o"
            )


def _check_cue_sheet(image: Original, target: str) -> None:
    """Check that the ``.bin`` of a CD, which exists, has its cue sheet beside it."""
    if image.view is not None and not has_cue_sheet(image, target):
        raise InputError(
            f"{target} already exists, but its cue sheet is missing or differs; use --force to"
            " write both"
        )


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
    if examined.content.kind is not ContentKind.DISC:
        raise InputError(
            f"the output would replace the input, but {examined.content.remark}; use -o"
        )


def is_whole_copy(size: int, status: os.stat_result, target: str, *, packed: bool) -> bool:
    """Return whether *target* is of the right size and kind, and no older than the input.

    Args:
        size: of the image, in bytes.
        status: stat result of the input.
        target: path of a file.
        packed: whether it must be a container; otherwise it must not.
    """
    try:
        with original(target, as_it_is=not packed) as there:
            return (
                there.size == size
                and (there.disc is not None) is packed
                and there.status.st_mtime_ns > status.st_mtime_ns - _SAME_TIME_NS
            )
    except ZsofsError:
        return False
