"""`zsofs verify`: select files, check them, and report verdicts."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from zsofs.console.tables import counted
from zsofs.discs.cd_image import choose_form
from zsofs.discs.dat import Dat
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
from zsofs.formats.file_names import is_kept_for_discs, is_plain_image, may_be_disc
from zsofs.images.input_image import Original, original, size_of
from zsofs.images.source_file import Key
from zsofs.inspection.integrity import CheckResult, Damage, check
from zsofs.inspection.verdict import Verdict, VerifiedImage, judge
from zsofs.inspection.verify_cache import Checked, Kept, open_checked
from zsofs.inspection.verify_report import CHANGED, UNVERIFIED, Result, VerifyReporter
from zsofs.source.left_out import Ignored
from zsofs.system.volume_id import disk_of


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


@dataclass(frozen=True, slots=True)
class _Opened:
    """Identifies a file and its content.

    Attributes:
        path: real path.
        key: size and times.
        disk: identifier of its disk; None if unknown.
    """

    path: str
    key: Key
    disk: str | None

    @classmethod
    def of(cls, image: Original) -> "_Opened":
        """Create it for an open image."""
        return cls(os.path.realpath(image.path), image.source.key, disk_of(image.source.fd))


@dataclass(slots=True)
class VerifyRun:
    """One run: request, reporter, and cached results."""

    request: VerifyRequest
    reporter: VerifyReporter
    checked: Checked
    unread: list[tuple[str, str]] = field(default_factory=list)
    ignored: Ignored = field(init=False)

    def __post_init__(self) -> None:
        self.ignored = Ignored(may_be_disc, self.request.paths, self.request.allowed)

    def run(self) -> None:
        """Check each file; errors of one do not affect the others."""
        files = list(self._files())
        self.reporter.ignored = self.ignored.sentence
        self.reporter.begin([(path, size_of(path)) for path, _ in files])
        for path, why in self.unread:
            self.reporter.tell(Result(path, Verdict("unreadable", why)))
        for path, found in files:
            result = self._result(path, found)
            if result is None:
                self.reporter.skip(path)
            else:
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
            with original(path) as image:
                choose_form(image)
                if image.is_misnamed:
                    _check_plain(image)
                if found and image.disc is None and not self._is_disc(image):
                    return None
                return self._checked(image)
        except InputError as error:
            if isinstance(error.__cause__, DamagedError):
                return _bad(path, str(error))
            return Result(path, Verdict("unreadable", str(error)))
        except (OSError, ZsofsError, MemoryError) as error:
            why = reason(error) or "not enough memory"
            return Result(path, Verdict("unreadable", why))

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
        file = _Opened.of(image)
        kept = self.checked.find(file.path) if file.disk is not None else None
        if kept is not None and self._believes and kept.is_of(file.key, file.disk):
            return self._judged(bare, kept.whole, checked_at=kept.checked_at)
        outcome = self._outcome(image)
        image.check_unchanged()
        told = replace(bare, digests=outcome.digests, remarks=outcome.remarks)
        if outcome.damage is not None:
            verdict = Verdict("bad", outcome.damage.reason)
            return replace(told, verdict=verdict, damage=outcome.damage)
        if self.request.quick:
            return _quick_result(told, image)
        whole = _whole(image, outcome)
        image.check_unchanged()
        result = _compared(self._judged(bare, whole), kept, file)
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
        )

    @property
    def _believes(self) -> bool:
        return self.request.believe and not self.request.quick

    def _outcome(self, image: Original) -> CheckResult:
        def advance(plain: int) -> None:
            self.reporter.advance(plain, 0)

        if not self.request.quick:
            self.reporter.file(image.path, image.size)
        return check(image, advance, quick=self.request.quick)


def run(request: VerifyRequest, reporter: VerifyReporter) -> int:
    """Check all files.

    Raises:
        BadDiscError: a disc is bad, or has changed on the disk.
        InputError: nothing is bad, but something could not be read.
        UnverifiedError: all discs are whole, but not all are in the DATs.
    """
    with closing(open_checked()) as checked, reporter:
        VerifyRun(request, reporter, checked).run()
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


def _compared(result: Result, kept: Kept | None, file: _Opened) -> Result:
    """Compare a whole image with the result of an earlier run under the same path.

    In containers without checksums, most changes of a byte still decode without error. A file
    that was replaced on purpose has another date, and only gets a remark.
    """
    vouched = result.verdict.state not in ("whole", *UNVERIFIED)
    if kept is None or vouched or kept.whole.digests.sha1 == result.digests.sha1:
        return result
    day = time.strftime("%Y-%m-%d", time.localtime(kept.checked_at))
    old = kept.whole.digests.sha1
    if file.disk is not None and kept.seems_of(file.key, file.disk):
        reason = (
            f"its image had SHA-1 {old} on {day} and has a different one now, although the size"
            " and date of the file are the same: the disk may be failing; restore a backup,"
            " or, if you replaced the file yourself, run touch on it"
        )
        return replace(result, verdict=replace(result.verdict, state=CHANGED, reason=reason))
    remark = f"the file was replaced since {day}; its image had SHA-1 {old} then"
    return replace(result, remarks=(*result.remarks, remark))


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


def _whole(image: Original, outcome: CheckResult) -> VerifiedImage:
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
    )
