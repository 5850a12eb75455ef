"""The process that packs one input: `zsofs pack`, and then what is done with the input.

It reads an :class:`zsofs.watch.order.Order` from standard input. It prints progress and the outcome
to standard output, one JSON object on each line. It ends with the watch, however that ends.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from zsofs.archives.kinds import ArchiveKind
from zsofs.console import logging_setup
from zsofs.console.stdio import print_nowhere
from zsofs.discs.dat import Dat, Rom, load
from zsofs.discs.examination import Examination
from zsofs.errors import (
    InputError,
    MissingParentError,
    MountError,
    UnusableParentError,
    ZsofsError,
    reason,
)
from zsofs.formats.file_names import MAX_NAME
from zsofs.images.checksums import Digests
from zsofs.images.input_image import original
from zsofs.images.pipeline import streaming_unit
from zsofs.inspection.verify_cache import remember_written
from zsofs.pack import batch
from zsofs.pack.archive_file import archive_at
from zsofs.pack.cd_input import opened_input
from zsofs.pack.comparison import settle
from zsofs.pack.jobs import PackRequest
from zsofs.pack.packer import ExistsError, PackOptions
from zsofs.pack.presets import packing
from zsofs.pack.read_back import Silent, sha1_of
from zsofs.pack.targets import SkippedError
from zsofs.system.background import run_in_background
from zsofs.system.limits import raise_open_files
from zsofs.watch import in_place_job
from zsofs.watch.chd_children import child_of
from zsofs.watch.chd_children import sha1_of as chd_sha1
from zsofs.watch.ledger import FAILED, KEPT, PACKED
from zsofs.watch.moving import move
from zsofs.watch.order import CHANGED, WAITS, Order, Outcome
from zsofs.watch.progress_lines import ProgressLines, print_line
from zsofs.watch.settings import IN_PLACE, LEAVE, MOVE
from zsofs.watch.whole import FileIdentity

_WITH_CHECKSUMS = frozenset(
    (
        ArchiveKind.SEVEN_ZIP,
        ArchiveKind.ZIP,
        ArchiveKind.RAR_3,
        ArchiveKind.RAR_5,
        ArchiveKind.GZIP,
        ArchiveKind.BZIP2,
    )
)
"""Archives whose content cannot be read without an error if a part of it was not written."""


def main() -> None:
    """Process one order."""
    parent = int(sys.argv[1])
    run_in_background(parent)
    with suppress(MountError):  # few inputs need more
        raise_open_files()  # for archives with hundreds of volumes
    logging_setup.to_terminal(30)
    order = Order.from_line(sys.stdin.buffer.readline())
    try:
        print_line(asdict(_outcome_of(order)) | {"end": True})
    except BrokenPipeError:  # the watch was killed: its pipes close before the signal comes
        print_nowhere(sys.stdout)


def _outcome_of(order: Order) -> Outcome:
    try:
        with _held(order):
            if order.after == IN_PLACE:
                return in_place_job.run(order, ProgressLines())
            return _Run(order).run()
    except _ChangedError:
        return Outcome(CHANGED)
    except _NotYetError as error:
        return Outcome(WAITS, error=str(error), parent=error.parent)
    except (OSError, ZsofsError, MemoryError) as error:
        return Outcome(FAILED, error=reason(error))


class _ChangedError(Exception):
    """The input is not what it was when the order was given."""


class _NotYetError(Exception):
    """The input needs another file, which may still arrive: a parent of a CHD, or a DAT.

    Attributes:
        parent: SHA-1 of the parent; empty if it is there, and for a DAT.
    """

    parent = ""


@contextmanager
def _held(order: Order) -> Iterator[None]:
    """Keep the files of an input open, so that no other file can get their inode numbers.

    Raises:
        _ChangedError: one has changed.
    """
    fds: list[int] = []
    try:
        for path, expected in order.files:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            except OSError:
                raise _ChangedError from None
            fds.append(fd)
            if FileIdentity.of(os.fstat(fd)) != expected:
                raise _ChangedError
        yield
    finally:
        for fd in fds:
            os.close(fd)


@dataclass(slots=True)
class _Run:
    """The processing of one order.

    Attributes:
        order: the order.
        dats: its DATs.
        disposed: whether the input was deleted or moved.
        archive: kind of the archive that the input is; None if it is none.
        sha1: of the input, if it is a CHD that was deleted or moved.
    """

    order: Order
    dats: list[Dat] = field(default_factory=list)
    disposed: bool = False
    archive: ArchiveKind | None = None
    sha1: str = ""

    def run(self) -> Outcome:
        """Pack the input, and delete or move it as ordered."""
        order = self.order
        try:
            self.dats = [load(Path(path)) for path in order.dats]
        except (OSError, ZsofsError) as problem:  # no fault of the input
            raise _NotYetError(reason(problem)) from None
        request = self._request()
        self._check_complete(request)
        reporter = ProgressLines()
        batch.run(request, reporter, remember_written)
        results = reporter.results
        done = [one for one in results if one.state in ("packed", "exists")]
        error = "; ".join(one.error for one in results if one.error)
        if len(done) < len(results) or not results:
            state = FAILED
        elif order.after != LEAVE and not self.disposed:
            state = KEPT
        else:
            state = PACKED
        return Outcome(
            state,
            tuple(one.target for one in done),
            error,
            sum(one.plain for one in done),
            sum(one.stored for one in done),
            self.disposed,
            self.sha1,
        )

    def _request(self) -> PackRequest:
        order = self.order
        return PackRequest(
            [order.path],
            order.output.rstrip("/") + "/",
            recursive=False,
            packing=packing(*order.packing),
            options=PackOptions(),
            delete_source=order.after != LEAVE,
            dispose=self._dispose,
            final_name=self._final_name if self.dats else None,
        )

    def _check_complete(self, request: PackRequest) -> None:
        """Check that an image is as long as its volume descriptors specify.

        An archive has one more reason to be read only once; there `zsofs pack` finds it.

        Raises:
            InputError: it is not.
            _NotYetError: it is a CHD whose parent is not there, or not complete.
        """
        try:
            with archive_at(self.order.path) as archive:
                if archive is not None:
                    self.archive = archive.kind
                    return
            with opened_input(self.order.path, request) as found:
                cut = Examination(found.image).cut
        except (SkippedError, InputError) as error:
            if isinstance(error.__cause__, MissingParentError | UnusableParentError):
                waits = _NotYetError(
                    f"{error}; copy its parent to the same directory, again if the watch has"
                    " already deleted or moved it"
                )
                waits.parent = getattr(error.__cause__, "sha1", "")
                raise waits from None
            return  # reported by `zsofs pack`
        if cut:
            raise InputError(f"{cut}; it is packed when it is complete")

    # ---- The name

    def _final_name(self, target: str, digests: Digests) -> str:
        """Return the path of an output, by the title of the disc in a DAT if there is one."""
        title = self._title(digests)
        if not title:
            return target
        folder, ending = os.path.dirname(target), os.path.splitext(target)[1]
        room = MAX_NAME - len(os.fsencode(ending))
        name = title.replace("/", "-").replace("\0", "").lstrip(".").encode()[:room]
        path = os.path.join(folder, name.decode(errors="ignore") + ending)
        if path == target or not name or not os.path.lexists(path):
            return path if name else target
        if _sha1_at(path) == digests.sha1:
            raise ExistsError(path)
        return target

    def _title(self, digests: Digests) -> str:
        """Return the title of a disc; empty if no DAT has it, or as one track of several."""
        for dat in self.dats:
            for rom in dat.matches(0, digests):
                if _is_disc(dat, rom):
                    return rom.game
        return ""

    # ---- The input

    def _dispose(self, remove: Callable[[], None], digests: Digests) -> None:
        """Delete or move the input, whose outputs are verified.

        Raises:
            InputError: it is kept, for the reason in the message.
        """
        order = self.order
        why = self._kept_for(digests)
        if why:
            raise InputError(why)
        for path, expected in order.files:
            status = os.lstat(path)
            if FileIdentity.of(status) != expected:
                raise InputError("it has changed since it was found complete")
        sha1 = chd_sha1(order.path)
        if order.after == MOVE:
            move(order.files, order.inbox, order.move_to)
        else:
            remove()
        self.disposed, self.sha1 = True, sha1

    def _kept_for(self, digests: Digests) -> str:
        """Return why the input must be kept, although it was packed; empty if it need not be."""
        child = child_of(self.order.path, self.order.searched)
        if child:
            return f"another CHD needs it as its parent: {child}"
        is_verified = self.archive is None and bool(self._title(digests))
        if is_verified or self.archive in _WITH_CHECKSUMS:
            return ""
        if not self.order.closed:
            return (
                "no program was seen closing or renaming it while the watch was running, so it may"
                " be incomplete; if you know that it is complete, delete it manually"
            )
        if not self.order.is_written:
            return (
                "it has holes, so it may be incomplete; compare it with a DAT, or delete it"
                " manually"
            )
        return ""


def _is_disc(dat: Dat, rom: Rom) -> bool:
    return not rom.bad_dump and len(dat.tracks.get(rom.game, ())) < 2


def _sha1_at(path: str) -> str:
    """Return the SHA-1 of the image in a packed file, as its disk has it; empty if unreadable."""
    try:
        with original(path) as copy:
            settle(copy.source.fd, path)
            return sha1_of(copy, streaming_unit(copy), Silent())
    except (OSError, ZsofsError):
        return ""
