"""A disc image for sequential reading, plain or in any container."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace

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
from zsofs.formats.cd_views import CHD_FRAME, USER_DATA, CdView, bin_view, chd_pieces
from zsofs.formats.file_names import is_packed_name
from zsofs.formats.geometry import CD_SECTOR, Geometry, Rule
from zsofs.images.chd_file import is_parent
from zsofs.images.probe import CD_SYNC_SIZE, block_reader, geometry_of, is_raw_cd, probe
from zsofs.images.random_access import read_range
from zsofs.images.source_file import OpenSource
from zsofs.images.view_content import gather_spans
from zsofs.native.block_reader import BlockReader, read_plain
from zsofs.system.deletion import delete


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
        view: the part of a CHD's data that is shown, unless it is the user data of one track.
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
        self.source = source = OpenSource(
            fd,
            self.status.st_size,
            self.status.st_mtime_ns,
            self.status.st_ctime_ns,
            self.status.st_dev,
        )
        self.disc = None if as_it_is else probe(source)
        self.seal: seal.Seal | None = None
        self.seal_error = ""
        self.geometry: Geometry | None = None
        self.reader: BlockReader | None = None
        self.view: CdView | None = None
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
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of a CD in a CHD; empty for any other image."""
        return self.geometry.chd.tracks if self.geometry and self.geometry.chd else ()

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
        """Why the image has not all that its container stores, as a sentence; empty if it has."""
        if any(track.subtype != "NONE" for track in self.tracks):
            return "the CHD also has subcode, which the image lacks"
        if self.view is None and any(track.type.sector_size != USER_DATA for track in self.tracks):
            return "the CHD has whole CD sectors, of which the image has the user data"
        if self.geometry and self.geometry.chd and is_parent(self.source, self.geometry.chd):
            return "another CHD needs it as its parent"
        return ""

    def show_as_bin(self) -> None:
        """Become the ``.bin`` of all tracks of a CD in a CHD, as ``chdman extractcd`` writes it."""
        hunks = self.as_hunks()
        pieces = chd_pieces(self.tracks, hunks.size // CHD_FRAME)
        self.geometry, self.reader = hunks.geometry, hunks.reader
        self.view = bin_view(pieces)
        self.size = self.view.size
        first = self.tracks[0].type
        self.raw_cd = first.sector_size == CD_SECTOR and not first.is_audio

    def as_hunks(self) -> "Original":
        """Return all data of a CHD as an image: whole hunks, whatever the image takes of them."""
        assert self.geometry is not None
        assert self.geometry.chd is not None
        chd = replace(self.geometry.chd, skip=0, take=0)
        whole = copy(self)
        whole.view = None
        whole.size = chd.logical_size
        whole.geometry = replace(
            self.geometry, size=chd.logical_size, block_size=chd.hunk_size, chd=chd
        )
        whole.reader = block_reader(whole.geometry, self.source)
        return whole

    @property
    def ending(self) -> str:
        """Extension of the name of the plain image."""
        return ".bin" if self.raw_cd or self.view is not None else ".iso"

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
        source = self.source
        if self.reader is None or self.geometry is None:
            # Holes are read as well: file systems have reported fresh data as a hole (SEEK_DATA,
            # st_blocks), and a hole costs only memory bandwidth.
            read_plain(source.fd, offset, out, source.size, source.mtime_mark)
            return
        if self.view is None:
            read_range(self.reader, source.fd, self.geometry, offset, out)
            return
        reader, geometry = self.reader, self.geometry

        def units(begin: int, size: int) -> bytearray:
            stored = bytearray(size)
            read_range(reader, source.fd, geometry, begin, memoryview(stored))
            return stored

        gather_spans(self.view.spans(offset, len(out)), units, out)

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
