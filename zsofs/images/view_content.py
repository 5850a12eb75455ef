"""A view of a CD as an open file: an ``.iso`` or ``.bin`` whose bytes are parts of stored sectors.

The stored sectors are those of another open file: a ``.bin``, a container of one, or the frames of
a CHD.
"""

from collections.abc import Callable, Iterable

from zsofs.errors import SourceTouchedError, StaleNodeError
from zsofs.formats.cd_views import CdView, ViewSpan
from zsofs.images.open_image import Buffer, Content
from zsofs.native.block_reader import Job
from zsofs.native.cd_codecs import gather


def gather_spans(
    spans: Iterable[ViewSpan], read: Callable[[int, int], Buffer | bytes], out: Buffer
) -> None:
    """Fill a buffer with the bytes of a view.

    Args:
        spans: of the view, for as many bytes as *out* has.
        read: returns stored bytes, ``read(begin, size)``; what it raises is passed on.
        out: the buffer.
    """
    rest = memoryview(out)
    for span in spans:
        gather(
            read(span.begin, span.end - span.begin),
            unit=span.unit,
            skip=span.skip,
            width=span.width,
            swapped=span.swapped,
            head=span.head,
            out=rest[: span.length],
        )
        rest = rest[span.length :]


class _Part:
    """What one read of a view takes from the stored bytes, and where it goes.

    Attributes:
        begin: in the stored bytes, a multiple of their extents.
        stored: the buffer for them.
    """

    def __init__(
        self, spans: tuple[ViewSpan, ...], out: Buffer, extent_size: int, stored_size: int
    ) -> None:
        # The spans of a read are neighbors: at most a few padding frames lie between two tracks.
        self.begin = spans[0].begin // extent_size * extent_size
        end = -(-spans[-1].end // extent_size) * extent_size
        self.stored = bytearray(min(end, stored_size) - self.begin)
        self._spans = spans
        self._out = out

    def deliver(self) -> None:
        """Fill the reader's buffer from the stored bytes."""
        stored = memoryview(self.stored)

        def part(begin: int, size: int) -> Buffer:
            return stored[begin - self.begin : begin - self.begin + size]

        gather_spans(self._spans, part, self._out)


class ViewContent:
    """A view as :class:`zsofs.images.open_image.Content`, over that of what is stored.

    Args:
        serial: stands for this view of this content.
        view: which stored bytes its bytes are. Its pieces lie one behind the other.
        stored: the open file with the stored bytes, closed together with the view.

    Raises:
        StaleNodeError: the file is too short for the view.
    """

    is_exact = True  # its extents may lie across those of what is stored

    def __init__(self, serial: int, view: CdView, stored: Content) -> None:
        if view.end > stored.size:
            raise StaleNodeError("the file no longer contains the disc that was listed")
        self.name = stored.name
        self.serial = serial
        self.size = view.size
        self.device = stored.device
        self.is_slow = stored.is_slow
        self.check = stored.check
        self.extent_size = 1
        if stored.extent_size > 1 and view.pieces:
            # About as much as one stored extent gives, since less cannot be decoded.
            piece = view.pieces[0]
            self.extent_size = -(-stored.extent_size // piece.unit) * piece.width
        self._view = view
        self._stored = stored

    @property
    def descriptors(self) -> int:
        """See :class:`zsofs.images.open_image.Content`."""
        return self._stored.descriptors

    @property
    def can_ask(self) -> bool:
        """See :class:`zsofs.images.open_image.Content`."""
        return self._stored.can_ask

    def read_now(self, offset: int, out: Buffer) -> bool:
        """See :class:`zsofs.images.open_image.Content`."""
        part = self._part(offset, out)
        try:
            if not self._stored.read_now(part.begin, part.stored):
                return False
        except SourceTouchedError:
            part.deliver()
            raise
        part.deliver()
        return True

    def job(self, offset: int, out: Buffer) -> Job:
        """See :class:`zsofs.images.open_image.Content`."""
        part = self._part(offset, out)
        job = self._stored.job(part.begin, part.stored)
        job.context = part
        return job

    def finish(self, job: Job) -> None:
        """See :class:`zsofs.images.open_image.Content`."""
        part = job.context
        assert isinstance(part, _Part)
        try:
            self._stored.finish(job)
        except SourceTouchedError:
            part.deliver()
            raise
        part.deliver()

    def expect_checked(self) -> None:
        """See :class:`zsofs.images.open_image.Content`."""
        self._stored.expect_checked()

    def stored(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`zsofs.images.open_image.Content`."""
        return self._stored.stored(*self._range(offset, size))

    def index_of(self, offset: int, size: int) -> list[tuple[int, int]]:
        """See :class:`zsofs.images.open_image.Content`."""
        return self._stored.index_of(*self._range(offset, size))

    def _range(self, offset: int, size: int) -> tuple[int, int]:
        """Return offset and size in the image of what bytes of the view are made of."""
        if offset >= self.size:
            return 0, 0
        spans = self._view.spans(offset, min(size, self.size - offset))
        begin = spans[0].begin
        return begin, min(spans[-1].end, self._stored.size) - begin

    def reopen(self) -> int:
        """See :class:`zsofs.images.open_image.Content`."""
        return self._stored.reopen()

    def close(self) -> None:
        """See :class:`zsofs.images.open_image.Content`."""
        self._stored.close()

    def _part(self, offset: int, out: Buffer) -> _Part:
        spans = self._view.spans(offset, len(out))
        return _Part(spans, out, self._stored.extent_size, self._stored.size)


def view_reader(view: CdView, read: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
    """Return ``read(offset, size)`` for the bytes of a view, fewer at its end.

    Args:
        view: of the stored bytes.
        read: returns the stored bytes, ``read(offset, size)``; what it raises is passed on.
    """

    def read_view(offset: int, size: int) -> bytes:
        out = bytearray(max(min(size, view.size - offset), 0))
        gather_spans(view.spans(offset, size), read, out)
        return bytes(out)

    return read_view
