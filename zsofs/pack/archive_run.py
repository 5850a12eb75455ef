"""Pack every disc in an archive, with one result per disc."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zsofs.archives.decoder import Decoder, Member, decoder
from zsofs.discs.classify import Classification, ContentKind, classify, may_be_old_text
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, ZsofsError, reason
from zsofs.formats import archive_names
from zsofs.formats.containers import has_magic
from zsofs.formats.file_names import has_disc_ending, is_kept_for_discs
from zsofs.images.checksums import Digests
from zsofs.images.input_image import Original, original
from zsofs.pack.archive_file import ArchiveFile
from zsofs.pack.archive_image import ArchiveImage, WrongSizeError, expected_size
from zsofs.pack.input_files import delete_input
from zsofs.pack.jobs import PackRequest, PackTask
from zsofs.pack.packer import PackResult, measure, pack
from zsofs.pack.presets import Packing
from zsofs.pack.report import Report, Reporter
from zsofs.pack.targets import Existing, SkippedError, Targets, check_regular

_NAMED = 3
"""Maximum number of files that a message names."""

_A_TEXT = "a text file"
_NEEDLESS = (_A_TEXT, "an HTML page", "an XML file", "an empty file")
"""Kinds of files that may be lost with their archive, as pictures may."""

_OLD_TEXTS = (b".nfo", b".diz", b".txt", b".asc")
"""Extensions of texts that may be in a code page of DOS."""

_LAYOUTS = (".gdi", ".dvd", ".m3u", ".m3u8")
"""Extensions of texts without which a disc is incomplete, or that specify the order of discs."""


@dataclass(slots=True)
class ArchiveRun:
    """The packing of one archive.

    Attributes:
        request: the parsed command line.
        reporter: receives results and progress.
        on_written: called with the path of each new file, the size of its image, and the digests.
        targets: the output paths of the run.
        job: the archive as an input.
        archive: the archive.
        left: other files in it, with what they are.
        kept_for: a file because of which the archive must be kept; empty if there is none.
        discs: number of discs in it.
        size: of the content of a compressed file, when another pass has shown it.
    """

    request: PackRequest
    reporter: Reporter
    on_written: Callable[[str, int, Digests], None]
    targets: Targets
    job: PackTask
    archive: ArchiveFile
    left: list[str] = field(default_factory=list)
    kept_for: str = ""
    discs: int = 0
    size: int | None = None
    _held: Report | None = None

    def run(self) -> None:
        """Pack it, and report the results."""
        begun = time.monotonic()
        try:
            while not self._pass():
                pass
            self._finish()
        except BrokenPipeError:
            raise
        except (OSError, ZsofsError, MemoryError) as error:
            report = Report(self.job.path, error=reason(error) or "not enough memory")
            is_told = self._held is not None and self._held.error == report.error
            self._tell_held()
            if self.job.found and not self.discs and isinstance(error, _NoDiscError):
                report.state = "skipped"
            report.seconds = time.monotonic() - begun
            if not is_told:  # as the result of the disc at which reading failed
                self.reporter.tell(report)
        self.reporter.passed(self.job.path)

    def _pass(self) -> bool:
        """Read the archive once; return False if it has to be read again."""
        archive = self.archive
        fds = [volume.source.fd for volume in archive.volumes]
        sizes = [volume.source.size for volume in archive.volumes]
        with decoder(archive.kind, fds, sizes, archive.next_name) as source:
            for member in source.members():
                if not self._member(source, member):
                    return False
            self.kept_for = self.kept_for or source.kept_for
        return True

    def _member(self, source: Decoder, member: Member) -> bool:
        """Process one file; return False if the archive has to be read again."""
        name = os.fsdecode(member.name)
        if member.problem:
            self._leave(name, member.problem)
            return True
        size = self.size or expected_size(member)
        head = member.head
        content = classify(_reader(head), size or len(head))
        if not self._is_disc(content, member):
            if has_magic(head):
                self._fail(name, f"it is {content.name} in an archive; extract it, then pack it")
            else:
                is_text = content.kind is ContentKind.UNKNOWN and _is_old_text(member)
                what = _A_TEXT if is_text else content.name
                self._leave(name, what or "not recognized", what)
            source.skip()
            return True
        if size is None:  # neither the file nor its content specifies it
            return self._count(
                source, ArchiveImage(self.archive, source, member, 0, is_exact=False)
            )
        self.discs += 1
        return self._pack(source, member, content, size)

    def _count(self, source: Decoder, image: ArchiveImage) -> bool:
        """Determine the size of an image by reading it; return False, for another pass."""
        source.take()
        self.size = image.head_size + image.rest()
        return False

    def _is_disc(self, content: Classification, member: Member) -> bool:
        """Return whether a file is to be packed, as far as its first bytes show."""
        if content.kind is not ContentKind.UNKNOWN:
            return content.kind is ContentKind.DISC
        if not has_disc_ending(self._own_name(member)) or has_magic(member.head):
            return False
        return self.request.unrecognized or is_kept_for_discs(self._own_name(member))

    @property
    def _packing(self) -> Packing:
        assert self.request.packing is not None  # `zsofs unpack` opens no archives
        return self.request.packing

    def _own_name(self, member: Member) -> bytes:
        """Return the name of a file, without directories."""
        if member.name:
            return member.name.replace(b"\\", b"/").rpartition(b"/")[2]
        name = os.fsencode(os.path.basename(self.archive.path))
        return os.path.splitext(name)[0]

    def _pack(self, source: Decoder, member: Member, content: Classification, size: int) -> bool:
        self._tell_held()
        report = Report(self._shown(os.fsdecode(member.name)), plain=size)
        is_only = not member.name or member.images == 1
        report.before = self.archive.size if is_only else size
        is_exact = bool(member.name) or self.size is not None or member.is_whole
        image = ArchiveImage(self.archive, source, member, size, is_exact=is_exact)
        begun = time.monotonic()
        is_taken = False
        try:
            report.target = target = self._target(member)
            existing = self._check_name(report.path, image, target)
            self._packing.layout(size, raw_cd=image.raw_cd)
            is_taken = True
            source.take()
            self.reporter.file(report.path, size)
            if existing.is_there:
                self._compare(image, content, report)
            else:
                self._convert(image, content, report)
        except WrongSizeError as wrong:
            self.discs -= 1
            if wrong.size is None:
                return self._count(source, image)
            self.size = wrong.size
            return False
        except SkippedError as why:
            report.state, report.error = "skipped", str(why)
            self.kept_for = self.kept_for or f"{report.path} was not packed by this run"
        except BrokenPipeError:
            raise
        except (OSError, ZsofsError, MemoryError) as error:
            report.state, report.error = "failed", reason(error) or "not enough memory"
            self.kept_for = self.kept_for or f"{report.path} was not packed"
        report.seconds = time.monotonic() - begun
        self._held = report
        if not is_taken:
            source.skip()
        elif report.state == "failed":
            image.rest()  # raises again if the archive is damaged
        return True

    def _convert(self, image: ArchiveImage, content: Classification, report: Report) -> None:
        """Pack an image, and set the result in *report*."""
        request, target = self.request, report.target
        if request.measure:
            stored = measure(image, self._packing, request.options, self.reporter)
            outcome, report.state = PackResult(stored, Digests()), "measured"
        else:
            outcome = pack(
                image,
                target,
                self._packing,
                request.options,
                self.reporter,
                lambda copy: self._inspect(copy, content, report),
                request.final_name,
            )
            if outcome.existing:
                report.target, report.state = outcome.existing, "exists"
            else:
                report.target = target = outcome.made[0].path
                report.state = "packed"
                self.on_written(target, image.size, outcome.digests)
                self.targets.made[os.path.realpath(target)] = report.path
        report.stored, report.digests, report.error = outcome.size, outcome.digests, outcome.error
        report.remarks = (*report.remarks, *outcome.remarks)
        if outcome.error:
            self.kept_for = self.kept_for or outcome.error

    def _compare(self, image: ArchiveImage, content: Classification, report: Report) -> None:
        """Compare an existing output with an image, and set the result in *report*."""
        with original(report.target) as copy:
            report.digests = self.targets.prove(
                report.path, image, report.target, self.reporter, in_archive=True
            )
            self._inspect(copy, content, report)
            report.stored = copy.status.st_size
        report.state = "exists"

    def _inspect(self, copy: Original, content: Classification, report: Report) -> None:
        """Examine what was packed; raises InputError if it is no disc."""
        examined = Examination(copy)
        if examined.content.kind is not ContentKind.DISC and not self.request.unrecognized:
            is_unknown = content.kind is ContentKind.UNKNOWN
            raise InputError(examined.content.refusal + self.request.advice(unknown=is_unknown))
        report.remarks = (*examined.remarks, *filter(None, [examined.cut]))
        if examined.cut:
            self.kept_for = self.kept_for or "the image is truncated"

    def _target(self, member: Member) -> str:
        """Return the output path of a disc; raises InputError if its name is not permitted."""
        job = self.job
        if job.exact:
            if self.discs > 1:
                raise InputError(
                    f"{job.base} is the output of another disc of the archive; give a directory"
                    " with -o"
                )
            return job.base
        parts = member.name.replace(b"\\", b"/").split(b"/")
        if b".." in parts or not (parts[0] or len(parts) == 1):
            raise InputError("its name leads out of the archive; extract it first")
        own = self._own_name(member)
        stem = os.path.splitext(own)[0] if has_disc_ending(own) else own
        is_alone = not member.name or member.images in (None, 1)
        if not member.name or (archive_names.is_meaningless(stem) and is_alone):
            stem = archive_names.stem(os.fsencode(os.path.basename(job.path)))
        if stem in (b"", b".", b".."):
            raise InputError("it has no name; extract it first")
        return os.path.join(os.path.dirname(job.base), os.fsdecode(stem) + self._packing.ending)

    def _check_name(self, name: str, image: ArchiveImage, target: str) -> Existing:
        """Check that the output name is free or may be replaced.

        Returns:
            NONE, or UNPROVEN if an existing file has to be compared with the image.

        Raises:
            SkippedError: the output exists already.
            InputError: it may not be replaced.
            WrongSizeError: the size of the image has to be known first.
        """
        if self.request.measure:
            return Existing.NONE
        other = self.targets.other(target)
        if other is not None:
            raise InputError(
                f"{target} is also the output of {other}; extract the archive and rename the disc"
            )
        if not os.path.lexists(target):
            return Existing.NONE
        if self.targets.inputs.find(target):
            raise InputError(f"{target} is the input itself; give another name with -o")
        if self.request.options.replace:
            check_regular(target)
            return Existing.NONE
        kept = bool(self.kept_for)
        try:
            existing = self.targets.existing(image, target, in_archive=True, kept=kept)
        except InputError:
            if image.is_exact:
                raise
            raise WrongSizeError(None) from None
        if existing is Existing.COPY:
            self.targets.keep(name, target, [target])
        return existing

    def _shown(self, name: str) -> str:
        """Return a file of the archive as results name it."""
        return f"{self.job.path}/{name}" if name else self.job.path

    def _fail(self, name: str, why: str) -> None:
        """Report a disc that cannot be packed."""
        self._tell_held()
        self.discs += 1
        self.kept_for = self.kept_for or f"{self._shown(name)} was not packed"
        self._held = Report(self._shown(name), error=why)

    def _leave(self, name: str, what: str, kind: str = "") -> None:
        """Note a file that is no disc; *kind* is what it is by its content."""
        self.left.append(f"{name or 'its content'} ({what})")
        is_needed = name.lower().endswith(_LAYOUTS) or has_disc_ending(os.fsencode(name))
        if is_needed or (kind not in _NEEDLESS and not kind.endswith(" picture")):
            self.kept_for = self.kept_for or f"it also has {self.left[-1]}"

    def _finish(self) -> None:
        """Delete the archive as requested, and report the last disc."""
        if not self.discs:
            what = f"; it has {self._listed()}" if self.left else ""
            raise _NoDiscError(f"no disc image is in {self.archive.kind.value}{what}")
        report = self._held
        if report is None:
            return
        if self.left:
            report.remarks = (*report.remarks, f"left in the archive: {self._listed()}")
        if self.request.delete_source and report.state in ("packed", "exists"):
            if self.kept_for:
                done = "packed" if report.state == "packed" else "the outputs are complete"
                report.error = f"{done}, but the archive was not deleted: {self.kept_for}"
            else:
                remove = self.request.removal(self.archive.remove, report.digests)
                report.error, remarks = delete_input(remove, self.archive.path)
                report.source_deleted = not report.error
                report.remarks = (*report.remarks, *remarks)
        self._tell_held()

    def _listed(self) -> str:
        more = len(self.left) - _NAMED
        return ", ".join(self.left[:_NAMED]) + (f" and {more} more" if more > 0 else "")

    def _tell_held(self) -> None:
        """Report the previous disc; the last one waits for what else is in the archive."""
        if self._held is not None:
            self.reporter.tell(self._held)
            self._held = None


def _reader(head: bytes) -> Callable[[int, int], bytes]:
    """Return access to a file by its first bytes; zeros, which no text has, stand for the rest."""
    return lambda offset, count: head[offset : offset + count].ljust(count, b"\0")


def _is_old_text(member: Member) -> bool:
    """Return whether a file is a text in an old code page, by its name and all of its bytes."""
    is_named = member.name.lower().endswith(_OLD_TEXTS)
    return is_named and member.is_whole and may_be_old_text(member.head)


class _NoDiscError(InputError):
    """An archive has no disc in it."""
