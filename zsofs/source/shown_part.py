"""What a mount shows of a source file, where that is not the file or the whole image in it."""

import errno
import os
from dataclasses import dataclass

from zsofs.discs.raw_track import track_of_raw_image
from zsofs.errors import BlockError, StaleNodeError
from zsofs.formats.cd_tracks import Track
from zsofs.formats.cd_views import CdView
from zsofs.formats.geometry import Geometry
from zsofs.images.content_check import ContentCheck
from zsofs.images.open_image import Buffer, Content, DiscImage, PlainFile
from zsofs.images.probe import Disc, geometry_of
from zsofs.images.random_access import plain_bytes
from zsofs.images.source_file import OpenSource
from zsofs.images.view_content import ViewContent
from zsofs.native.block_reader import Job


@dataclass(frozen=True, slots=True)
class ShownView:
    """A view of the CD in a file.

    Attributes:
        view: which of its bytes are shown.
        tracks: for which the view was made; the file must still have these when it is opened.
        of_hunks: whether the view is of all data of a CHD; else of the plain image, or of the file.
    """

    view: CdView
    tracks: tuple[Track, ...]
    of_hunks: bool = False

    @property
    def size(self) -> int:
        """Size of the shown file in bytes."""
        return self.view.size


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text that the mount generates for a file, such as the cue sheet of a CD."""

    text: bytes

    @property
    def size(self) -> int:
        """Size of the shown file in bytes."""
        return len(self.text)


ShownPart = ShownView | ShownText


class TextContent:
    """A generated text as :class:`zsofs.images.open_image.Content`; no file is opened for it.

    Args:
        name: path of the source file, for messages.
        serial: stands for this text.
        device: st_dev of the source file.
        text: all of it.
    """

    extent_size = 1
    is_exact = False
    is_slow = False
    descriptors = 0
    can_ask = True
    check: ContentCheck | None = None

    def __init__(self, name: str, serial: int, device: int, text: bytes) -> None:
        self.name = name
        self.serial = serial
        self.size = len(text)
        self.device = device
        self._text = text

    def read_now(self, offset: int, out: Buffer) -> bool:
        """See :class:`zsofs.images.open_image.Content`."""
        out[:] = self._text[offset : offset + len(out)]
        return True

    def job(self, offset: int, out: Buffer) -> Job:
        """See :class:`zsofs.images.open_image.Content`; not called, since nothing has to wait."""
        raise NotImplementedError

    def finish(self, job: Job) -> None:
        """See :class:`zsofs.images.open_image.Content`."""

    def expect_checked(self) -> None:
        """See :class:`zsofs.images.open_image.Content`."""

    def stored(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`zsofs.images.open_image.Content`; it is stored nowhere."""
        return []

    def index_of(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`Content`."""
        return []

    def reopen(self) -> int:
        """See :class:`zsofs.images.open_image.Content`; it has no file."""
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def close(self) -> None:
        """See :class:`zsofs.images.open_image.Content`."""


def open_content(
    name: str,
    serial: int,
    source: OpenSource,
    disc: Disc | None,
    shown: ShownView | None,
    check: ContentCheck,
) -> Content:
    """Return what is shown of an open file as content, which closes the file. May wait for a disk.

    Args:
        name: path of the file, for messages.
        serial: stands for this content.
        source: the file.
        disc: the container that it is, by a scan of the same content; None for a plain file.
        shown: the view; None for the whole image or file.
        check: judges changes of the change time of the file.

    Raises:
        StaleNodeError: the file contains another disc now.
        FormatError: the parent of a CHD is gone or has been damaged.
        OSError: the file cannot be read.
    """
    geometry = None if disc is None else geometry_of(source, disc, is_checked=True)
    if shown is not None and _tracks(source, geometry, shown) != shown.tracks:
        raise StaleNodeError("the file no longer contains the disc that was listed")
    stored: Content
    if geometry is None:
        stored = PlainFile(name, serial, source, check)
    else:
        if shown is not None and shown.of_hunks:
            geometry = geometry.as_hunks()
        stored = DiscImage(name, serial, source, geometry, check)
    return stored if shown is None else ViewContent(serial, shown.view, stored)


def _tracks(
    source: OpenSource, geometry: Geometry | None, shown: ShownView
) -> tuple[Track | None, ...]:
    """Return the tracks that the file has; of raw sectors, the first one."""
    if geometry is not None and geometry.chd is not None and geometry.chd.tracks:
        return geometry.chd.tracks
    try:
        if geometry is None:
            return (track_of_raw_image(source.read_at, source.size),)
        return (track_of_raw_image(plain_bytes(source, geometry), geometry.size),)
    except BlockError:  # damaged since it was inspected: that costs the block alone
        return shown.tracks
