"""`zsofs verify`: select files, check them, and report verdicts."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from zsofs.console.tables import counted
from zsofs.discs.cd_image import as_bin, with_cue_tracks
from zsofs.discs.cue_files import CueSheet, is_cue_name, missing_file, read_cue_sheet, sheet_of
from zsofs.discs.dat import Dat
from zsofs.discs.dat_tracks import DiscTrack
from zsofs.discs.examination import Examination
from zsofs.discs.identify import System, identify
from zsofs.errors import (
    BadDiscError,
    BlockError,
    DamagedError,
    InputError,
    UnreadableError,
    UnverifiedError,
    ZsofsError,
    reason,
)
from zsofs.formats.cue_sheet import CueFile, tracks_of_file
from zsofs.formats.file_names import is_kept_for_discs, is_plain_image, may_be_disc
from zsofs.images.checksums import Part
from zsofs.images.input_image import Original, original, size_of
from zsofs.inspection.bad_discs import BadDiscs, key_of, open_bad_discs
from zsofs.inspection.cd_parts import parts_of, set_of, tracks_of
from zsofs.inspection.earlier_check import OpenedFile, compared
from zsofs.inspection.integrity import CheckResult, Damage, check
from zsofs.inspection.verdict import Verdict, VerifiedImage, judge
from zsofs.inspection.verify_cache import Checked, open_checked
from zsofs.inspection.verify_report import (
    CHANGED,
    UNVERIFIED,
    Result,
    VerifyReporter,
)
from zsofs.source.left_out import Ignored

_NOT_READ = "its files have the tracks of the cue sheet; they were not read"
"""Why several files of a cue sheet are sound."""


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """A parsed command line.

    Attributes:
        paths: files and directories.
        dats: the DATs to compare with.
        quick: do not read the blocks.
        believe: reuse results of an earlier run for unchanged files.
        allowed: real paths of directories into which symlinks are followed.
    """

    paths: Sequence[str]
    dats: Sequence[Dat] = ()
    quick: bool = False
    believe: bool = True
    allowed: tuple[bytes, ...] = ()


@dataclass(slots=True)
class VerifyRun:
    """One run: request, reporter, and cached results.

    Attributes:
        request: the parsed command line.
        reporter: receives the result of each file, and progress.
        checked: results of earlier runs.
        bad_discs: what was bad at the last check.
        unread: directories that cannot be read, with the reason.
        wholes: images that this run has read, by real path; files of cue sheets are among them.
        ignored: files in directories that are left out.
    """

    request: VerifyRequest
    reporter: VerifyReporter
    checked: Checked
    bad_discs: BadDiscs = field(default_factory=lambda: BadDiscs(None))
    unread: list[tuple[str, str]] = field(default_factory=list)
    wholes: dict[str, VerifiedImage] = field(default_factory=dict)
    ignored: Ignored = field(init=False)

    def __post_init__(self) -> None:
        self.ignored = Ignored(_is_looked_at, self.request.paths, self.request.allowed)

    def run(self) -> None:
        """Check each file; errors of one do not affect the others."""
        files = list(self._files())
        self.reporter.ignored = self.ignored.sentence
        self.reporter.begin([(path, size_of(path)) for path, _ in files])
        for path, why in self.unread:
            self.reporter.tell(Result(path, Verdict("unreadable", why)))
        for path, found in files:
            before, began_ns = key_of(path), time.time_ns()
            result = self._result(path, found)
            if result is None:
                self.reporter.skip(path)
            else:
                self.bad_discs.note(result, before, began_ns)
                self.reporter.tell(result)

    def _files(self) -> Iterator[tuple[str, bool]]:
        """Yield each file, and whether it was found in a directory rather than named."""

        def cannot(error: OSError) -> None:
            why = f"the directory cannot be read: {reason(error)}"
            self.unread.append((str(error.filename), why))

        for path in self.request.paths:
            if not os.path.isdir(path):
                yield path, False
                continue
            for folder, _, names in self.ignored.walk(path, cannot):
                for name in sorted(names):
                    if self.ignored.takes(folder, name, links=True):
                        yield os.path.join(folder, name), True

    def _result(self, path: str, found: bool) -> Result | None:
        """Return the result for a file; None for a file in a directory that is not a disc."""
        try:
            if is_cue_name(path) and not os.path.isdir(path):
                return self._sheet_result(path, found)
            return self._image_result(path, found)
        except DamagedError as error:
            return _bad(path, str(error))
        except InputError as error:
            if isinstance(error.__cause__, DamagedError):
                return _bad(path, str(error))
            return Result(path, Verdict("unreadable", str(error)))
        except (OSError, ZsofsError, MemoryError) as error:
            why = reason(error) or "not enough memory"
            return Result(path, Verdict("unreadable", why))

    def _image_result(self, path: str, found: bool, sheet: CueSheet | None = None) -> Result | None:
        """Return the result for an image; None for a file in a directory that is not a disc.

        Args:
            path: of the file.
            found: it was found in a directory rather than named.
            sheet: the cue sheet that names it as its only file; None: the one beside it.

        Raises:
            ZsofsError: the image cannot be read, or contradicts *sheet*.
            OSError: the file cannot be read.
        """
        with original(path) as opened:
            if opened.is_misnamed:
                _check_plain(opened)
            if found and opened.disc is None and not self._is_disc(opened):
                return None
            image = with_cue_tracks(opened, sheet)
            return self._checked(as_bin(image) if image.tracks else image)

    def _sheet_result(self, path: str, found: bool) -> Result | None:
        """Return the result for a cue sheet: that of all files that it names as one disc.

        One that was found in a directory and names one file adds nothing to that of the file; nor
        does one with compressed or WAVE files, which zsofs does not read.

        Raises:
            ZsofsError: a file cannot be read.
            OSError: likewise.
        """
        try:
            sheet = read_cue_sheet(path)
        except DamagedError:
            if found:
                return None
            raise
        paths = [sheet.find(file) for file in sheet.files]
        is_read = all(file.kind == "BINARY" for file in sheet.files)
        if found and (len(paths) == 1 or not any(paths) or not is_read):
            return None
        if len(paths) > 1:
            return self._set_result(sheet, paths)
        if paths[0] is None:
            raise DamagedError(missing_file(sheet.files[0]))
        only = self._image_result(paths[0], False, sheet)
        return only and replace(only, path=path)

    def _set_result(self, sheet: CueSheet, paths: Sequence[str | None]) -> Result:
        """Return the result for several files of a cue sheet; raises like :meth:`_sheet_result`.

        Args:
            sheet: the sheet.
            paths: of each of its files; None for one that does not exist.
        """
        wholes = []
        for file, place in zip(sheet.files, paths, strict=True):
            if place is None:
                raise DamagedError(missing_file(file))
            result = self._part_result(place, file)
            if isinstance(result, VerifiedImage):
                wholes.append(result)
            elif result.verdict.state != "sound":
                why = f"{os.path.basename(place)}: {result.verdict.reason}"
                verdict = replace(result.verdict, reason=why)
                return replace(result, path=sheet.path, verdict=verdict)
        if self.request.quick:
            return Result(sheet.path, Verdict("sound", _NOT_READ), "plain")
        size = sum(whole.size for whole in wholes)
        return self._judged(Result(sheet.path, Verdict("bad", ""), "plain", size), set_of(wholes))

    def _part_result(self, path: str, file: CueFile) -> VerifiedImage | Result:
        """Return one of several files of a cue sheet: whole, or else the result for it.

        Raises:
            ZsofsError: it cannot be read, or the sheet contradicts it.
            OSError: it cannot be read.
        """
        with original(path) as opened:
            image = opened.with_tracks(tracks_of_file(file, opened.size))
            place = os.path.realpath(path)
            parts = parts_of(image, ())
            known = self.wholes.get(place)
            tracks = tracks_of(known, parts) if known is not None else None
            if known is not None and tracks is not None:
                return replace(known, tracks=tracks)
            self.wholes.pop(place, None)
            result = self._checked(image)
            return self.wholes.get(place, result)

    def _is_disc(self, image: Original) -> bool:
        """Return whether a plain file in a directory is a disc image."""
        name = os.fsencode(image.path)
        if image.is_misnamed:
            return True
        if not is_plain_image(name):
            return False
        if image.raw_cd or is_kept_for_discs(name):
            return True
        if any(dat.roms.get(image.size) for dat in self.request.dats):
            return True
        sheet = sheet_of(image.path) if self.request.dats else None
        if sheet is not None and sheet.only_file is not None:  # a CD that begins with audio
            return True
        return identify(image.read, image.size).system is not System.OTHER

    def _checked(self, image: Original) -> Result:
        """Check an open image."""
        bare = Result(
            image.path,
            Verdict("bad", ""),
            image.disc.container if image.disc else "plain",
            image.size,
            image.geometry.block_count if image.geometry else 0,
        )
        file = OpenedFile.of(image)
        kept = self.checked.find(file.path) if file.disk is not None else None
        parts = () if self.request.quick else parts_of(image, self.request.dats)
        if kept is not None and self._believes and kept.is_of(file.key, file.disk):
            tracks = tracks_of(kept.whole, parts)
            if tracks is not None:
                whole = replace(kept.whole, tracks=tracks)
                self.wholes[file.path] = whole
                return self._judged(bare, whole, checked_at=kept.checked_at)
        outcome = self._outcome(image, () if parts == ((0, image.size),) else parts)
        image.check_unchanged()
        told = replace(bare, digests=outcome.digests, remarks=outcome.remarks)
        if outcome.damage is not None:
            verdict = Verdict("bad", outcome.damage.reason)
            return replace(told, verdict=verdict, damage=outcome.damage)
        if self.request.quick:
            return _quick_result(told, image)
        whole = _whole(image, outcome, parts)
        image.check_unchanged()
        self.wholes[file.path] = whole
        result = compared(self._judged(bare, whole), whole, kept, file)
        if file.disk is not None and result.verdict.state != CHANGED and not whole.cut:
            disk, opened_ns = file.disk, image.opened_ns
            self.checked.keep(file.path, file.key, disk, whole, opened_ns=opened_ns)
        return result

    def _judged(self, bare: Result, whole: VerifiedImage, *, checked_at: float = 0.0) -> Result:
        """Return the result for a whole image."""
        stem = os.path.splitext(os.path.basename(bare.path))[0]
        verdict = judge(whole, self.request.dats, stem)
        return replace(
            bare,
            verdict=verdict,
            digests=whole.digests,
            damage=Damage(verdict.reason) if verdict.state == "bad" else None,
            checked_at=checked_at,
            remarks=whole.remarks,
            tracks=whole.tracks,
        )

    @property
    def _believes(self) -> bool:
        return self.request.believe and not self.request.quick

    def _outcome(self, image: Original, parts: Sequence[Part]) -> CheckResult:
        def advance(plain: int) -> None:
            self.reporter.advance(plain, 0)

        if not self.request.quick:
            self.reporter.file(image.path, image.size)
        return check(image, advance, quick=self.request.quick, parts=parts)


def run(request: VerifyRequest, reporter: VerifyReporter) -> int:
    """Check all files.

    Raises:
        BadDiscError: a disc is bad, or has changed on the disk.
        InputError: nothing is bad, but something could not be read.
        UnverifiedError: all discs are whole, but not all are in the DATs.
    """
    with closing(open_checked()) as checked, closing(open_bad_discs()) as bad_discs, reporter:
        VerifyRun(request, reporter, checked, bad_discs).run()
    states = reporter.states
    if states[CHANGED]:
        raise BadDiscError(_share(states, "bad", CHANGED) + " bad or changed")
    if states["bad"]:
        raise BadDiscError(_share(states, "bad") + " bad")
    if states["unreadable"]:
        raise InputError(_share(states, "unreadable") + " unreadable")
    if reporter.unprinted is not None:
        return reporter.unprinted.exit_code
    if any(states[state] for state in UNVERIFIED):
        raise UnverifiedError(_share(states, *UNVERIFIED) + " not in the DAT")
    return 0


def _is_looked_at(path: bytes) -> bool:
    """Return whether a file in a directory is opened: a disc, or a cue sheet."""
    return may_be_disc(path) or is_cue_name(os.fsdecode(path))


def _share(states: Counter[str], *which: str) -> str:
    some = sum(states[state] for state in which)
    verb = "is" if some == 1 else "are"
    return f"{some:,} of {counted(states.total(), 'file')} {verb}"


def _bad(path: str, why: str) -> Result:
    return Result(path, Verdict("bad", why), damage=Damage(why))


def _sound(image: Original) -> Verdict:
    if image.geometry is None:
        return Verdict(
            "sound", "a plain image has no structure to check; read all of it (without --quick)"
        )
    return Verdict("sound", "its header and its index are valid; its blocks were not read")


def _quick_result(told: Result, image: Original) -> Result:
    """Return the result of a check of header, index and volume descriptors only."""
    try:
        examined = Examination(image)
        cut, remarks = examined.cut, examined.remarks
    except (BlockError, UnreadableError):  # left to a full check
        cut, remarks = "", ()
    told = replace(told, remarks=(*told.remarks, *remarks))
    if cut:
        return replace(told, verdict=Verdict("bad", cut), damage=Damage(cut))
    return replace(told, verdict=_sound(image))


def _check_plain(image: Original) -> None:
    """Check that a file with the name of a packed disc is at least a plain image."""
    reason = Examination(image).content.not_packed
    if reason:
        raise DamagedError(reason)


def _whole(image: Original, outcome: CheckResult, parts: tuple[Part, ...]) -> VerifiedImage:
    if parts and not outcome.parts:  # one track that is the whole image
        outcome = replace(outcome, parts=(outcome.digests,))
    tracks = (
        DiscTrack(begin, end - begin, digests)
        for (begin, end), digests in zip(parts, outcome.parts, strict=True)
    )
    identity = identify(image.read, image.size, raw_cd=image.raw_cd)
    examined = Examination(image)
    return VerifiedImage(
        image.size,
        outcome.digests,
        outcome.sealed,
        image.disc is not None,
        image.raw_cd,
        identity.system,
        identity.media,
        (*outcome.remarks, *examined.remarks),
        examined.cut,
        tuple(tracks),
    )
