"""Whether the copy of an input may be made and take its name: nothing is lost or overwritten."""

import os
from dataclasses import dataclass, field

from zsofs.discs.classify import ContentKind
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, ZsofsError
from zsofs.formats.file_names import NOT_PACKED, is_kept_for_discs, is_packed_name, misnamed
from zsofs.images.input_image import Original, original
from zsofs.pack.input_files import InputFiles, is_same_image
from zsofs.pack.jobs import STANDARD_OUTPUT, PackRequest, PackTask
from zsofs.system.same_file import same_file

_SAME_TIME_NS = 2_000_000_000
"""FAT keeps times to two seconds."""


class SkippedError(Exception):
    """There is nothing to do for an input, for the reason given."""


@dataclass(slots=True)
class Targets:
    """The names of the copies of one run.

    Attributes:
        wish: what the command line asks for.
        inputs: all files that the run reads.
        made: the inputs of the files that it has made, by the real paths of these.
        kept: the same of those that were there already.
    """

    wish: PackRequest
    inputs: InputFiles
    made: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def path(self, job: PackTask, image: Original) -> str:
        """Return the path of the copy of an input, or :data:`STANDARD_OUTPUT`."""
        if job.exact:
            return job.base
        target = job.base + (".zso" if self.wish.packing else image.ending)
        own = job.base + os.path.splitext(job.path)[1]
        # GAME.ZSO is where its copy would be, although the disk may tell it from GAME.zso.
        return own if own.lower() == target.lower() and same_file(job.path, own) else target

    def check(self, job: PackTask, examined: Examination, target: str) -> None:
        """Check that the copy may be made.

        Args:
            job: the input.
            examined: its image.
            target: path of the copy.

        Raises:
            SkippedError: it need not be.
            InputError: it must not be.
        """
        wish, image = self.wish, examined.image
        if wish.packing is None and image.disc is None:
            if examined.is_misnamed_disc:
                raise InputError(misnamed(image.ending))
            raise InputError("it is not packed in any way that zsofs reads")
        has_name = target != STANDARD_OUTPUT and (job.found or not wish.measure)
        if wish.packing:
            if image.view is not None:
                raise InputError(
                    "a CD with audio, several tracks, or data that an .iso cannot hold; unpack it"
                    " to .cue and .bin with: zsofs unpack"
                )
            if has_name and image.disc is not None and same_file(job.path, target):
                _check_in_place(wish, target, examined)
            self._check_content(job, examined)
        if has_name:
            self._check_name(job, examined, target)

    def _check_content(self, job: PackTask, examined: Examination) -> None:
        """Check that an input is a disc image, by its bytes; raises as :meth:`check`."""
        image, content = examined.image, examined.content
        name = os.fsencode(job.path)
        is_unknown = content.kind is ContentKind.UNKNOWN
        if is_unknown and image.disc is None and is_packed_name(name):
            # As the plain image of another container its damage would look like a whole disc.
            raise InputError(NOT_PACKED)
        is_taken = is_unknown and self.wish.unrecognized
        if content.kind is ContentKind.DISC or is_taken:
            return
        if job.found and not is_kept_for_discs(name):  # a memory card, perhaps
            raise SkippedError(content.refusal)
        advice = "; if it is one, use --any" if is_unknown else ""
        raise InputError(content.refusal + advice)

    def _check_name(self, job: PackTask, examined: Examination, target: str) -> None:
        """Check that the name of the copy is free, or may be taken; raises as :meth:`check`."""
        wish, image = self.wish, examined.image
        if os.path.realpath(job.path) in self.made:
            raise SkippedError("it has just been made")
        place = os.path.realpath(target)
        other = self.made.get(place) or self.kept.get(place)
        if other is not None and not same_file(job.path, target):
            if same_file(job.path, other):
                raise SkippedError(f"{target} is there already")
            raise InputError(f"{target} is the copy of {other}; give -o or rename one")
        if not os.path.lexists(target):
            return
        if same_file(job.path, target):
            _check_in_place(wish, target, examined)
            _check_complete(examined)
        elif not wish.care.replace:
            if _is_whole_copy(image, target, packed=wish.packing is not None):
                self.kept[place] = job.path
                kept = "; the source was kept" if wish.delete_source else ""
                raise SkippedError(f"{target} is there already{kept}")
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


def _check_in_place(wish: PackRequest, target: str, examined: Examination) -> None:
    """Check whether an input may be replaced by its own copy.

    Only packed discs are packed anew in place, and plain images under the name of a packed one:
    another plain image would be gone without --delete-source, and its name would mislead.
    """
    image = examined.image
    is_plain = wish.packing is not None and image.disc is None
    if is_plain and examined.is_misnamed_disc:
        if not wish.care.replace:
            raise InputError(f"{misnamed(image.ending)}; rename it, give -o, or use --force")
    elif is_plain or (wish.packing is None and not wish.care.replace):
        raise InputError(f"{target} is its own name; give another one with -o")
    if not wish.care.replace:
        raise SkippedError("it is packed already; --force packs it anew")
    if not wish.care.verify:
        raise InputError("its copy would replace it unchecked; leave --no-verify away")


def _check_complete(examined: Examination) -> None:
    """Check that an image is known to be complete, so that its file may be replaced."""
    if examined.cut:
        raise InputError(f"its copy would replace it, but {examined.cut}; give -o")
    if examined.content.kind is not ContentKind.DISC:
        raise InputError(f"its copy would replace it, but {examined.content.remark}; give -o")


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
