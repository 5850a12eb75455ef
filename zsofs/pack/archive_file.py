"""An archive with all its volumes, open for reading."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from zsofs.archives.kinds import HEAD, SURE, ArchiveKind, kind_of
from zsofs.discs.classify import ContentKind, classify
from zsofs.errors import InputError, ZsofsError
from zsofs.formats.archive_names import Volumes
from zsofs.images.input_image import Original, original
from zsofs.pack.targets import SkippedError

_MOST_VOLUMES = 1000


class ArchiveFile:
    """An open archive.

    Attributes:
        path: path by which it was named.
        kind: its kind.
        volumes: its files, in order.
        next_name: name of the file that would follow them; empty if it has no volumes.
    """

    def __init__(
        self, path: str, kind: ArchiveKind, volumes: list[Original], next_name: str
    ) -> None:
        self.path = path
        self.kind = kind
        self.volumes = volumes
        self.next_name = next_name

    @property
    def size(self) -> int:
        """Bytes of all volumes."""
        return sum(volume.source.size for volume in self.volumes)

    @property
    def status(self) -> os.stat_result:
        """Stat result of the first volume."""
        return self.volumes[0].status

    def check_unchanged(self) -> None:
        """Check that all volumes are unchanged; raises like that of an image."""
        for volume in self.volumes:
            volume.check_unchanged()

    def remove(self) -> None:
        """Delete all volumes if all are unchanged, the first one last.

        Raises:
            InputError: one has changed or was replaced; it and those before it are kept.
            OSError: one could not be deleted.
        """
        self.check_unchanged()
        for volume in reversed(self.volumes):
            volume.remove()


@contextmanager
def archive_at(path: str) -> Iterator[ArchiveFile | None]:
    """Open the archive at *path* with all its volumes; None if it is no archive.

    Raises:
        SkippedError: it is a later volume of an archive that is packed with the first one.
        InputError: a volume is missing.
    """
    with ExitStack() as stack:
        yield _opened(path, stack)


def _opened(path: str, stack: ExitStack) -> ArchiveFile | None:
    if not os.path.isfile(path):  # refused by name later
        return None
    paths, next_name = _volumes(path)
    volumes: list[Original] = []
    with suppress(ZsofsError):  # reported when it is opened as an image
        for one in paths:
            volumes.append(stack.enter_context(original(one, as_it_is=True)))
        first = volumes[0]
        kind = kind_of(first.read(0, HEAD))
        if kind is None:
            return None
        # A disc in an archive that does not pack it can look as if it were there by itself, and
        # the system area of a disc may begin with anything.
        if kind not in SURE:
            content = classify(first.read, first.size)
            if content.kind is ContentKind.DISC:
                return None
        return ArchiveFile(path, kind, volumes, next_name)
    if len(paths) > 1 and len(volumes) < len(paths):
        raise InputError(f"its volume {os.path.basename(paths[len(volumes)])} cannot be opened")
    return None


def _volumes(path: str) -> tuple[list[str], str]:
    """Return the paths of all volumes, and the name of the one that would follow.

    Raises:
        SkippedError: this is a later volume.
        InputError: a volume is missing.
    """
    folder, name = os.path.split(path)
    way = Volumes(os.fsencode(name))
    if not way.may_be_split:
        return [path], ""
    try:
        names = set(map(os.fsencode, os.listdir(folder or os.curdir)))
    except OSError:  # its files can be opened all the same
        return [path], ""
    count = 0
    while way.name(count) in names and count < _MOST_VOLUMES:
        count += 1
    if not way.known and not _has_more(way, names):
        return [path], ""
    missing = way.name(count)
    first = way.last or way.name(0)
    if first not in names:
        raise InputError(f"its volume {os.fsdecode(first)} is missing")
    if os.fsencode(name) != first:
        raise SkippedError(f"it is a volume of {os.fsdecode(first)}")
    if any(way.name(number) in names for number in range(count + 1, _MOST_VOLUMES)):
        raise InputError(f"its volume {os.fsdecode(missing)} is missing")
    found = [way.name(number) for number in range(count)]
    if way.last:
        found.append(way.last)
    return [os.path.join(folder, os.fsdecode(one)) for one in found], os.fsdecode(missing)


def _has_more(way: Volumes, names: set[bytes]) -> bool:
    """Return whether an archive under an ordinary name, such as ``x.rar``, has volumes."""
    first = 0 if way.last else 1
    return any(way.name(number) in names for number in range(first, 100))
