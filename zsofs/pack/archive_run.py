"""Pack every disc in an archive, with one result per disc."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zsofs.archives.decoder import Decoder, Member, decoder
from zsofs.discs.classify import Classification, ContentKind, classify
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, ZsofsError, reason
from zsofs.formats import archive_names
from zsofs.formats.containers import has_magic
from zsofs.formats.file_names import has_disc_ending, is_kept_for_discs
from zsofs.images.checksums import Digests
from zsofs.images.input_image import Original
from zsofs.pack.archive_file import ArchiveFile
from zsofs.pack.archive_image import ArchiveImage, WrongSizeError, expected_size
from zsofs.pack.input_files import delete_input
from zsofs.pack.jobs import PackRequest, PackTask
from zsofs.pack.packer import PackResult, measure, pack
from zsofs.pack.presets import Packing
from zsofs.pack.report import Report, Reporter
from zsofs.pack.targets import SkippedError, Targets, check_regular

_NAMED = 3
"""Maximum number of files that a message names."""

_TEXTS = ("a text file", "an HTML page", "an XML file")
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
                self._leave(name, content.name or "not recognized", content)
            source.skip()
            return True
        if size is None:  # neither the file nor its content specifies it
            source.take()
            self.size = (
                len(head) + ArchiveImage(self.archive, source, member, 0, is_exact=False).rest()
            )
            return False
        self.discs += 1
        return self._pack(source, member, content, size)

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
            self._check_name(report.path, image, target)
            self._packing.layout(size, raw_cd=image.raw_cd)
            is_taken = True
            source.take()
            self.reporter.file(report.path, size)
            self._convert(image, content, report)
        except WrongSizeError as wrong:
            self.size = wrong.size
            self.discs -= 1
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
            report.target = target = outcome.made[0].path
            report.state = "packed"
            self.on_written(target, image.size, outcome.digests)
            self.targets.made[os.path.realpath(target)] = report.path
        report.stored, report.digests, report.error = outcome.size, outcome.digests, outcome.error
        report.remarks = (*report.remarks, *outcome.remarks)
        if outcome.error:
            self.kept_for = self.kept_for or outcome.error

    def _inspect(self, copy: Original, content: Classification, report: Report) -> None:
        """Examine what was packed; raises InputError if it is no disc."""
        examined = Examination(copy)
        if examined.content.kind is not ContentKind.DISC and not self.request.unrecognized:
            advice = "; if it is one, use --any" if content.kind is ContentKind.UNKNOWN else ""
            raise InputError(examined.content.refusal + advice)
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
            raise InputError("it has no name; give one with -o")
        return os.path.join(os.path.dirname(job.base), os.fsdecode(stem) + self._packing.ending)

    def _check_name(self, name: str, image: ArchiveImage, target: str) -> None:
        """Check that the output name is free or may be replaced.

        Raises:
            SkippedError: the output exists already.
            InputError: it may not be replaced.
        """
        if self.request.measure:
            return
        self.targets.check_other(target)
        if not os.path.lexists(target):
            return
        if self.targets.inputs.find(target):
            raise InputError(f"{target} is the input itself; give another name with -o")
        if self.request.options.replace:
            check_regular(target)
        else:
            self.targets.check_copy(image, target)
            self.targets.keep(name, target, [target])

    def _shown(self, name: str) -> str:
        """Return a file of the archive as results name it."""
        return f"{self.job.path}/{name}" if name else self.job.path

    def _fail(self, name: str, why: str) -> None:
        """Report a disc that cannot be packed."""
        self._tell_held()
        self.discs += 1
        self.kept_for = self.kept_for or f"{self._shown(name)} was not packed"
        self._held = Report(self._shown(name), error=why)

    def _leave(self, name: str, what: str, content: Classification | None = None) -> None:
        """Note a file that is no disc."""
        self.left.append(f"{name or 'its content'} ({what})")
        kind = content.name if content else ""
        is_layout = name.lower().endswith(_LAYOUTS)
        if is_layout or (kind not in _TEXTS and not kind.endswith(" picture")):
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
        if self.request.delete_source and report.state == "packed":
            if self.kept_for:
                report.error = f"packed, but the archive was not deleted: {self.kept_for}"
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


class _NoDiscError(InputError):
    """An archive has no disc in it."""
