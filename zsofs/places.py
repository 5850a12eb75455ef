"""Which files of a disc lie in a part of its image: the tree of ISO 9660 is walked for it.

Both layers of a DVD9 are looked through. The image may be hostile, and folders of it damaged.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from zsofs.errors import ZsofsError
from zsofs.iso9660 import DESCRIPTORS, PRIMARY, SECTOR, Extent, Image, records, root_of

_MOST_FOLDERS = 4096
_MOST_RECORDS = 100_000
"""Entries of one volume that are looked at; the discs with the most have about 20,000."""

_MOST_FOLDER_BYTES = 1 << 20

_SELF_AND_ABOVE = frozenset((b"", b"\0", b"\1"))


def files_at(
    read: Callable[[int, int], bytes],
    size: int,
    begin: int,
    end: int,
    *,
    raw_cd: bool,
    most: int | None = None,
) -> tuple[str, ...]:
    """The files, and folders (with a ``/`` behind), that have bytes from *begin* up to *end*.

    Args:
        read: gives the bytes of the image at an offset, ``read(offset, size)``; what it raises for
            damaged ones costs the folders there.
        size: of the image in bytes.
        begin: offset in the image.
        end: offset in the image.
        raw_cd: the image consists of raw 2352-byte sectors.
        most: stop after so many of them.

    Returns:
        Paths from the top of the disc, as in ``/DATA/MOVIE.PSS``; none where nothing lies that the
        tree tells of.
    """
    image = _Forgiving(Image(read, size, raw_cd))
    first, last = begin // image.stored_sector, (end - 1) // image.stored_sector
    found = (
        path
        for base, root in image.volumes()
        for path, extent in _walk(image, base, root)
        if extent.first <= last and first < extent.first + -(-extent.size // SECTOR)
    )
    return tuple(dict.fromkeys(islice(found, most)))


class _Forgiving:
    """An image of which damaged parts are read as zeros."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.stored_sector = image.stored_sector

    def content(self, extent: Extent) -> bytes:
        """Whole sectors, with zeros where they are damaged: no record begins with one."""
        try:
            return self._image.directory(extent, _MOST_FOLDER_BYTES)
        except (OSError, ZsofsError):
            count = -(-min(extent.size, _MOST_FOLDER_BYTES) // SECTOR)
            return b"".join(self._sector(extent.first + number) for number in range(count))

    def _sector(self, number: int) -> bytes:
        try:
            return self._image.sectors(number, 1)
        except (OSError, ZsofsError):
            return bytes(SECTOR)

    def volumes(self) -> Iterator[tuple[int, Extent]]:
        """The sector that each volume counts from, and its root folder as counted so."""
        area = self.content(Extent(DESCRIPTORS, DESCRIPTORS * SECTOR))
        for at in range(0, len(area) - SECTOR + 1, SECTOR):
            primary = area[at : at + SECTOR]
            if primary.startswith(PRIMARY):
                yield 0, root_of(primary)
                # The second layer is a volume of its own, whose descriptor comes where the
                # first one ends; it counts from 16 sectors before that.
                end = int.from_bytes(primary[80:84], "little")
                second = self.content(Extent(end, SECTOR))
                if end > DESCRIPTORS and len(second) == SECTOR and second.startswith(PRIMARY):
                    yield end - DESCRIPTORS, root_of(second)
                return


def _walk(image: _Forgiving, base: int, root: Extent) -> Iterator[tuple[str, Extent]]:
    """Everything in a volume, with where it lies in the image."""
    todo = [("/", Extent(root.first + base, root.size))]
    seen = {todo[0][1].first}
    left = _MOST_RECORDS
    while todo:
        path, folder = todo.pop()
        yield path, folder
        for record in records(image.content(folder)):
            left -= 1
            if not left:
                return
            if record.name in _SELF_AND_ABOVE:
                continue
            extent = Extent(record.extent.first + base, record.extent.size)
            own = path + record.name.decode("ascii", "backslashreplace")
            if not record.is_folder:
                yield own, extent
            elif extent.first not in seen and len(seen) < _MOST_FOLDERS:
                seen.add(extent.first)
                todo.append((f"{own}/", extent))
