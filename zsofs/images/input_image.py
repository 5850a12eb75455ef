"""A disc image for sequential reading, plain or in any container."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

from zsofs.errors import (
    BlockError,
    DamagedError,
    FormatError,
    InputError,
    SourceChangedError,
    UnreadableError,
    reason,
)
from zsofs.formats import seal
from zsofs.formats.cd_tracks import Track
from zsofs.formats.cd_views import (
    CHD_FRAME,
    USER_DATA,
    CdView,
    Piece,
    bin_pieces,
    chd_pieces,
)
from zsofs.formats.file_names import is_packed_name
from zsofs.formats.geometry import Geometry, Rule
from zsofs.images.chd_file import is_parent
from zsofs.images.probe import CD_SYNC_SIZE, block_reader, geometry_of, is_raw_cd, probe
from zsofs.images.random_access import read_range
from zsofs.images.source_file import OpenSource
from zsofs.images.view_content import gather_spans
from zsofs.native.block_reader import BlockReader, read_plain
from zsofs.system.deletion import delete


@dataclass(frozen=True, slots=True)
class CdParts:
    """The tracks of a CD, and the part of them that an image shows.

    Attributes:
        tracks: of the CD.
        pieces: where each of them is stored.
        view: the part that is the image; None: all that is stored, which is a ``.bin``.
        ending: extension of the name of the plain image.
    """

    tracks: tuple[Track, ...]
    pieces: tuple[Piece, ...]
    view: CdView | None
    ending: str


class Original:
    """An open image, opened read-only. It can be read by several threads.

    Attributes:
        path: path of its file, for messages.
        status: stat result of the file when it was opened.
        disc: facts about its container; None for a plain image.
        size: size of the plain image in bytes.
        raw_cd: whether it has raw CD sectors of 2352 bytes.
        seal: the seal of its container, if any.
        seal_error: why the seal cannot be read, if there is one.
        source: the file.
        opened_ns: when it was opened, by the clock of file time stamps.
        geometry: layout of its blocks; None for a plain image.
        reader: reader of these blocks; None for a plain image.
        cd: its tracks, and the part of them that it shows; None if it is no CD, its tracks are not
            known, or it is the user data of the first track in a CHD.
        in_order: whether it can only be read from its beginning to its end.
    """

    in_order = False

    def __init__(self, path: str, fd: int, *, as_it_is: bool) -> None:
        self.path = path
        self.opened_ns = time.time_ns()
        self.status = os.fstat(fd)
        if stat.S_ISDIR(self.status.st_mode):
            raise InputError("it is a directory; list its discs with: zsofs list")
        if not stat.S_ISREG(self.status.st_mode):
            raise InputError(
                "it is not a regular file; a disc in a drive has to be read into one first"
            )
        self.source = source = OpenSource.of(fd, self.status)
        self.disc = None if as_it_is else probe(source)
        self.seal: seal.Seal | None = None
        self.seal_error = ""
        self.geometry: Geometry | None = None
        self.reader: BlockReader | None = None
        self.cd: CdParts | None = None
        if self.disc is None:
            self.size = source.size
            self.raw_cd = is_raw_cd(source.read_at(0, CD_SYNC_SIZE))
            return
        geometry = geometry_of(source, self.disc)
        self.reader = block_reader(geometry, source)
        self.geometry = geometry
        self.size = geometry.size
        self.raw_cd = self.disc.raw_cd
        if geometry.rule is Rule.FRAMED:
            try:
                self.seal = seal.parse(source.read_at(geometry.data_end, seal.MAX_SIZE))
            except DamagedError as error:  # the image can still be read
                self.seal_error = str(error)

    @property
    def is_chd(self) -> bool:
        """Whether its file is a CHD."""
        return self.geometry is not None and self.geometry.chd is not None

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of a CD; empty for any other image, or if they are not known."""
        if self.cd is not None:
            return self.cd.tracks
        return self.geometry.chd.tracks if self.geometry and self.geometry.chd else ()

    @property
    def view(self) -> CdView | None:
        """The part of the stored bytes that is the image; None if it is not made of sectors."""
        return self.cd.view if self.cd is not None else None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Where each of :attr:`tracks` is stored: in the frames of a CHD, or in a ``.bin``."""
        if self.cd is not None:
            return self.cd.pieces
        if self.geometry is None or self.geometry.chd is None:
            return ()
        return chd_pieces(self.tracks, self.geometry.chd.logical_size // CHD_FRAME)

    def range_of(self, block: int) -> tuple[int, int]:
        """Return where the bytes of a block begin and end in the image.

        Args:
            block: its number; the image must have blocks.
        """
        assert self.geometry is not None
        begin = block * self.geometry.block_size
        end = begin + self.geometry.block_size
        if self.view is None:
            return begin, min(end, self.size)
        shown = 0
        for piece in self.view.pieces:
            first = max(-(-(begin - piece.begin) // piece.unit), 0)
            last = min(-(-(end - piece.begin) // piece.unit), piece.unit_count)
            if first < last:
                return shown + first * piece.width, shown + last * piece.width
            shown += piece.size
        return shown, shown

    @property
    def lacks(self) -> str:
        """Why the image has not all that its file stores, as a sentence; empty if it has."""
        what = "the CHD" if self.is_chd else "the file"
        if any(track.subtype != "NONE" for track in self.tracks):
            return "the CHD also has subcode, which the image lacks"
        if self.ending == ".iso" and self.tracks:
            lacks = self._iso_lacks(what)
            if lacks:
                return lacks
        if self.view is not None and not self.is_chd and self.view.size != self._stored_size:
            return "the file has bytes that belong to no track of its cue sheet"
        if self.geometry and self.geometry.chd and is_parent(self.source, self.geometry.chd):
            return "another CHD needs it as its parent"
        return ""

    def _iso_lacks(self, what: str) -> str:
        """Return what of the tracks an ``.iso`` has not; *what* is the file, in words."""
        if len(self.tracks) > 1:
            return f"{what} has other tracks, which the image lacks"
        if self.tracks[0].type.sector_size != USER_DATA:
            return f"{what} has whole CD sectors, of which the image has the user data"
        if self.view is not None and self.tracks[0].stored_pregap:
            return f"{what} has a pregap, which the image lacks"
        return ""

    @property
    def _stored_size(self) -> int:
        """Bytes of an image of sectors, whatever part of it is shown."""
        return self.geometry.size if self.geometry is not None else self.source.size

    def with_tracks(self, placed: Sequence[tuple[Track, int]]) -> "Original":
        """Return this image of raw CD sectors with its tracks.

        Args:
            placed: each track, and the byte of the image at which it begins.
        """
        tracks = tuple(track for track, _ in placed)
        pieces = bin_pieces(tracks, [begin for _, begin in placed])
        found = copy(self)
        found.cd = CdParts(tracks, pieces, None, ".bin")
        return found

    def shown_as(self, view: CdView, ending: str, *, raw_cd: bool) -> "Original":
        """Return a part of a CD with known tracks as an image; both share the open file.

        Args:
            view: the part, made of :attr:`pieces`.
            ending: extension of its name as a plain image.
            raw_cd: whether it begins with a data sector of 2352 bytes.
        """
        is_user_data = self.view is None and self.is_chd
        found = self.as_hunks() if is_user_data else copy(self)
        found.cd = CdParts(self.tracks, self.pieces, view, ending)
        found.size = view.size
        found.raw_cd = raw_cd
        found.seal = None  # of all that is stored
        return found

    def as_hunks(self) -> "Original":
        """Return all data of a CHD as an image: whole hunks, whatever the image takes of them."""
        assert self.geometry is not None
        whole = copy(self)
        whole.cd = None
        whole.geometry = self.geometry.as_hunks()
        whole.size = whole.geometry.size
        whole.reader = block_reader(whole.geometry, self.source)
        return whole

    @property
    def ending(self) -> str:
        """Extension of the name of the plain image."""
        if self.cd is not None:
            return self.cd.ending
        return ".bin" if self.raw_cd else ".iso"

    @property
    def is_misnamed(self) -> bool:
        """Whether the file has the name of a container but is not one."""
        return self.disc is None and is_packed_name(os.fsencode(self.path))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Irregularities, for the user; complete after everything was read."""
        if self.disc is None or self.reader is None:
            return ()
        if self.reader.final_byte_missing:
            return (
                *self.disc.remarks,
                "the last byte of the image was not stored by the"
                " program that packed it; it reads as 0",
            )
        return self.disc.remarks

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill *out* with the bytes at *offset*. May wait for a disk.

        Args:
            offset: offset of the first byte in the image.
            out: buffer with the length of the range, which must be within the image.

        Raises:
            zsofs.errors.BlockError: a block there is damaged.
            zsofs.errors.SourceChangedError: the file was modified since it was opened.
            UnreadableError: the file could not be read.
        """
        try:
            self._read_into(offset, out)
        except OSError as error:
            raise UnreadableError(offset, reason(error)) from None

    def read(self, offset: int, size: int) -> bytes:
        """Return the *size* bytes at *offset*, fewer at the end of the image.

        Raises:
            zsofs.errors.BlockError: a block there is damaged.
            zsofs.errors.SourceChangedError: the file was modified since it was opened.
            UnreadableError: the file cannot be read.
        """
        out = bytearray(max(min(size, self.size - offset), 0))
        if out:
            self.read_into(offset, memoryview(out))
        return bytes(out)

    def _read_into(self, offset: int, out: memoryview) -> None:
        if self.view is None:
            self._read_stored(offset, out)
            return

        def units(begin: int, size: int) -> bytearray:
            stored = bytearray(size)
            self._read_stored(begin, memoryview(stored))
            return stored

        gather_spans(self.view.spans(offset, len(out)), units, out)

    def _read_stored(self, offset: int, out: memoryview) -> None:
        source = self.source
        if self.reader is None or self.geometry is None:
            # Holes are read as well: file systems have reported fresh data as a hole (SEEK_DATA,
            # st_blocks), and a hole costs only memory bandwidth.
            read_plain(source.fd, offset, out, source.size, source.mtime_mark)
            return
        read_range(self.reader, source.fd, self.geometry, offset, out)

    def check_unchanged(self) -> None:
        """Check that the file is unchanged since it was opened.

        Raises:
            SourceChangedError: it has changed, or this cannot be determined.
        """
        now = os.fstat(self.source.fd)
        # The change time as well: some programs write and then restore the modification time.
        if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == self.source.key:
            return
        if (now.st_size, now.st_mtime_ns) != self.source.key[:2]:
            raise SourceChangedError("it was modified while it was being read")
        if now.st_nlink == 0:
            raise SourceChangedError(
                "it was deleted or replaced while it was being read, possibly by another run of"
                " zsofs"
            )
        if now.st_nlink != self.status.st_nlink:
            raise SourceChangedError(
                "one of its hard links was created or deleted while it was being read, so its"
                " content may have changed; run the command again"
            )
        raise SourceChangedError(
            "its change time (ctime) changed while it was being read: it was renamed, its"
            " permissions were changed, or it was modified; run the command again"
        )

    def remove(self) -> None:
        """Delete the file.

        Raises:
            InputError: another file has its name now, or it has changed.
            OSError: it could not be deleted.
        """
        folder, name = os.path.split(self.path)
        fd = os.open(folder or os.curdir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            now = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(now.st_mode):
                raise InputError("it is a symlink")
            if (now.st_dev, now.st_ino) != (self.status.st_dev, self.status.st_ino):
                raise InputError("another file now has its name")
            self.check_unchanged()
            delete(fd, name, self.status)
        finally:
            os.close(fd)


@contextmanager
def original(path: str, *, as_it_is: bool = False) -> Iterator[Original]:
    """Open the image at *path* within the context.

    Args:
        path: path of its file.
        as_it_is: treat the file as a plain image even if it is a container.

    Raises:
        InputError: it cannot be opened or is not supported; also for errors of the image within
            the context.
    """
    try:
        # Do not wait for a writer if this is a FIFO.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"it cannot be opened: {reason(error)}") from None
    try:
        yield Original(path, fd, as_it_is=as_it_is)
    except (BlockError, FormatError, SourceChangedError) as error:
        raise InputError(str(error)) from error
    finally:
        os.close(fd)


def size_of(path: str) -> int:
    """Return the size of a file in bytes; 0 if unknown."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
