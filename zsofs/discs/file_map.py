"""The file map of a disc: which of its files lie in a part of its image, by the ISO 9660 tree.

Both layers of a DVD9 are searched. The image may be hostile, and its directories may be damaged:
the walk is limited in depth, path length, records, bytes and damaged sectors, and reports the limit
that it reaches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zsofs.discs.iso9660 import DESCRIPTORS, PRIMARY, SECTOR, Extent, Image, records, root_of
from zsofs.errors import ZsofsError

_MAX_DEPTH = 64
"""Levels of directories that are walked; the standard allows 8 (ISO 9660, 6.8.2.1)."""

_MAX_PATH = 1024
"""Characters of a path; the standard allows 255."""

_MAX_DIRECTORIES = 4096

_MAX_RECORDS = 100_000
"""Directory records that are read; the discs with the most have about 20,000."""

_MAX_DIRECTORY_BYTES = 1 << 20
"""Bytes of one directory that are read."""

_MAX_BYTES = 32 << 20
"""Bytes of all directories that are read."""

_MAX_DAMAGED = 256
"""Sectors of directories that cannot be read; a failing disk may take seconds for each."""

_MAX_FOUND = 1000
"""Files that are returned."""

_SELF_AND_PARENT = frozenset((b"", b"\0", b"\1"))


@dataclass(frozen=True, slots=True)
class FileMap:
    """Files in a part of an image.

    Attributes:
        files: paths from the root of the disc, such as ``/DATA/MOVIE.PSS``; those of directories
            end in ``/``. Empty if the directory tree has nothing there.
        incomplete: why the map may lack files; empty if the whole tree was read.
    """

    files: tuple[str, ...]
    incomplete: str = ""


def files_at(
    read: Callable[[int, int], bytes],
    size: int,
    begin: int,
    end: int,
    *,
    raw_cd: bool,
    most: int | None = None,
) -> FileMap:
    """Return the files and directories that have bytes from *begin* up to *end*.

    Args:
        read: returns the bytes of the image at an offset, ``read(offset, size)``; an error that it
            raises for a damaged part costs the directories there.
        size: size of the image in bytes.
        begin: offset in the image.
        end: offset in the image.
        raw_cd: whether the image has raw CD sectors of 2352 bytes.
        most: maximum number of results.
    """
    image = Image(read, size, raw_cd)
    first, last = begin // image.stored_sector, (end - 1) // image.stored_sector
    found: dict[str, None] = {}
    walk = Walk(image)
    for entry in walk.entries():
        extent = entry.extent
        if extent.first <= last and first < extent.first + -(-extent.size // SECTOR):
            found[entry.path] = None
            if len(found) == most:
                break
            if len(found) == _MAX_FOUND:
                walk.stop(f"more than {_MAX_FOUND} files have data there")
                break
    return FileMap(tuple(found), walk.incomplete)


class _Forgiving:
    """An image in which damaged sectors read as zeros.

    Attributes:
        damaged: number of sectors that could not be read.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.damaged = 0

    def content(self, extent: Extent) -> bytes:
        """Return whole sectors, with zeros for damaged ones; no record starts with a zero byte."""
        try:
            return self._image.directory(extent, _MAX_DIRECTORY_BYTES)
        except (OSError, ZsofsError):
            count = -(-min(extent.size, _MAX_DIRECTORY_BYTES) // SECTOR)
            return b"".join(self._sector(extent.first + number) for number in range(count))

    def _sector(self, number: int) -> bytes:
        if self.damaged < _MAX_DAMAGED:
            try:
                return self._image.sectors(number, 1)
            except (OSError, ZsofsError):
                self.damaged += 1
        return bytes(SECTOR)

    def volumes(self) -> Iterator[tuple[int, Extent]]:
        """Yield the base sector of each volume, and its root directory relative to it."""
        area = self.content(Extent(DESCRIPTORS, DESCRIPTORS * SECTOR))
        for at in range(0, len(area) - SECTOR + 1, SECTOR):
            primary = area[at : at + SECTOR]
            if primary.startswith(PRIMARY):
                yield 0, root_of(primary)
                # The second layer is a volume of its own, whose descriptor follows the first one;
                # it counts from 16 sectors before that.
                end = int.from_bytes(primary[80:84], "little")
                second = self.content(Extent(end, SECTOR))
                if end > DESCRIPTORS and len(second) == SECTOR and second.startswith(PRIMARY):
                    yield end - DESCRIPTORS, root_of(second)
                return


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory of a disc.

    Attributes:
        path: from the root of the disc; that of a directory ends in ``/``.
        extent: where it lies in the image.
        is_folder: whether it is a directory.
        xa_attributes: those of CD-ROM XA; 0 if it has none.
    """

    path: str
    extent: Extent
    is_folder: bool
    xa_attributes: int = 0


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory that has not been read yet.

    Attributes:
        path: its path, with a trailing ``/``.
        extent: its extent in the image.
        depth: 1 for the root.
    """

    path: str
    extent: Extent
    depth: int


class Walk:
    """One walk over the directory trees of a disc.

    Args:
        image: of the disc. What its ``read`` raises for a damaged part costs the directories there.

    Attributes:
        incomplete: the first limit reached; empty if none.
    """

    def __init__(self, image: Image) -> None:
        self.incomplete = ""
        self._image = _Forgiving(image)
        self._records = _MAX_RECORDS
        self._bytes = _MAX_BYTES
        self._stopped = False

    def stop(self, why: str) -> None:
        """Stop the walk."""
        self._stopped = True
        self._lack(why)

    def entries(self) -> Iterator[Entry]:
        """Yield every file and directory on the disc with its extent in the image."""
        for base, root in self._image.volumes():
            todo = [_Directory("/", Extent(root.first + base, root.size), 1)]
            seen = {todo[0].extent.first}
            while todo and not self._stopped:
                directory = todo.pop()
                yield Entry(directory.path, directory.extent, is_folder=True)
                for entry in self._children(directory, base):
                    extent = entry.extent
                    if not entry.is_folder:
                        yield entry
                    elif extent.first in seen:  # a loop, or a second name
                        continue
                    elif directory.depth == _MAX_DEPTH:
                        self._lack(f"it has more than {_MAX_DEPTH} levels of directories")
                    elif len(seen) == _MAX_DIRECTORIES:
                        self._lack(f"it has more than {_MAX_DIRECTORIES} directories")
                    else:
                        seen.add(extent.first)
                        todo.append(_Directory(f"{entry.path}/", extent, directory.depth + 1))

    def _children(self, directory: _Directory, base: int) -> Iterator[Entry]:
        """Yield the entries of a directory; no path ends in ``/`` yet."""
        content = self._content(directory.extent)
        for record in records(content):
            if not self._records:
                self.stop(f"it has more than {_MAX_RECORDS} entries")
                return
            self._records -= 1
            if record.name in _SELF_AND_PARENT:
                continue
            path = directory.path + record.name.decode("ascii", "backslashreplace")
            if len(path) > _MAX_PATH:
                self._lack(f"one of its paths has more than {_MAX_PATH} characters")
                continue
            extent = Extent(record.extent.first + base, record.extent.size)
            yield Entry(path, extent, record.is_folder, record.xa_attributes)

    def _content(self, extent: Extent) -> bytes:
        if extent.size > _MAX_DIRECTORY_BYTES:
            self._lack(f"one of its directories has more than {_MAX_DIRECTORY_BYTES >> 20} MiB")
        content = self._image.content(extent)
        self._bytes -= len(content)
        if self._bytes < 0:
            self.stop(f"its directories have more than {_MAX_BYTES >> 20} MiB")
        if self._image.damaged:
            self._lack("its directories are damaged")
        return content

    def _lack(self, why: str) -> None:
        self.incomplete = self.incomplete or why
