"""The disc images of a library that are packed in place, and what keeps them from it.

The packed file gets the name ``Game.iso`` first, in exchange for the image, and is renamed to
``Game.zso`` some seconds later. A mount shows both as ``Game.iso``. So an image that has become a
container is an input as well, which only has to be renamed; also after a crash.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from zsofs.formats.containers import ending_of
from zsofs.formats.file_names import may_be_disc
from zsofs.pack.in_place import CANNOT_BE_OWNED
from zsofs.watch.units import Unit
from zsofs.watch.whole import FileIdentity, identity_at

ENDING = ".iso"


@dataclass(slots=True)
class InPlace:
    """Finds the images of a library that are packed in place.

    Attributes:
        was_closed: returns whether a file was closed or renamed by its writer.
        has_dats: whether a DAT may tell instead that an image is complete.
        renamed: paths of the containers that only have to be renamed.
    """

    was_closed: Callable[[FileIdentity], bool]
    has_dats: bool
    renamed: set[str] = field(default_factory=set)
    _endings: dict[FileIdentity, str] = field(default_factory=dict)
    """Extension that each file should have by its content; empty for a plain image."""

    def units(self, found: Iterable[Unit]) -> Iterator[Unit]:
        """Yield those of the units that are images to be packed, or containers to be renamed.

        An image that is part of a set, as those of cue sheets, is left out.
        """
        self.renamed.clear()
        endings, folder = self._endings, _Folder("", {}, None, is_writable=False)
        self._endings = {}
        for unit in found:
            path = unit.path
            if unit.files != (path,) or not path.lower().endswith(ENDING):
                continue
            identity = identity_at(path)
            if identity is None:
                continue
            if os.path.dirname(path) != folder.path:
                folder = _folder_at(os.path.dirname(path))
            ending = endings.get(identity)
            if ending is None:
                ending = _ending_at(path)
            self._endings[identity] = ending
            if ending:
                self.renamed.add(path)
            why = unit.lacks or _why_not(path, folder)
            if not (why or ending):
                why = _why_kept(path, folder)
            if not (why or ending or self.has_dats or self.was_closed(identity)):
                why = (
                    "no program was seen closing or renaming it, so it may be incomplete; if it is"
                    " complete, run: touch -a FILE"
                )
            yield Unit(path, unit.files, why)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory.

    Attributes:
        path: its path.
        names: names of the discs in it by their case-folded stems.
        group: its group, which new files in it have on FAT, or if it has the mode bit S_ISGID.
        is_writable: whether this user can rename files in it.
    """

    path: str
    names: dict[str, list[str]]
    group: int | None
    is_writable: bool


def _folder_at(path: str) -> _Folder:
    names: dict[str, list[str]] = {}
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if may_be_disc(os.fsencode(entry.name)) and not entry.is_dir():
                names.setdefault(_stem(entry.name), []).append(entry.name)
    is_writable = os.access(path, os.W_OK | os.X_OK, effective_ids=True)
    return _Folder(path, names, _group_in(path), is_writable=is_writable)


def _group_in(path: str) -> int | None:
    try:
        return os.stat(path).st_gid
    except OSError:
        return None


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _why_not(path: str, folder: _Folder) -> str:
    """Return why a file cannot get the extension of a container; empty if it can."""
    name = os.path.basename(path)
    if not name.endswith(ENDING):
        return f"a mount would show it as {os.path.splitext(name)[0]}.iso then; rename it to that"
    other = next((one for one in folder.names.get(_stem(name), ()) if one != name), "")
    if other:
        return f"a mount would show {other} under the same name; rename one of them"
    if not folder.is_writable:
        return "its directory is not writable by this user"
    return ""


def _why_kept(path: str, folder: _Folder) -> str:
    """Return why an image must not be replaced; empty if it may be."""
    try:
        status = os.lstat(path)
    except OSError:
        return ""  # it has gone
    if status.st_nlink > 1:
        return "it has another name, a hard link, which would keep the unpacked image"
    if os.geteuid() not in (0, status.st_uid):
        return "it belongs to another user; run the watch as root, or as that user"
    groups = (folder.group, os.getegid(), *os.getgroups())
    if os.geteuid() != 0 and status.st_gid not in groups:
        return CANNOT_BE_OWNED
    return ""


def _ending_at(path: str) -> str:
    """Return the extension of the container that a file is; empty for any other file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        return ending_of(os.pread(fd, 4, 0))
    except OSError:
        return ""
    finally:
        os.close(fd)
