"""What lies in one folder of the source: each entry, what is inside it, and its shown name."""

import logging
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from zsofs.errors import FormatError, ZsofsError
from zsofs.names import MAX_NAME, for_people, may_be_disc, shown_names
from zsofs.probe import Disc, probe
from zsofs.source import SourceTree

log = logging.getLogger(__name__)


class Kind(Enum):
    """What an entry is to the reader of the mount."""

    FOLDER = "folder"
    DISC = "disc"
    FILE = "file"
    LINK = "link"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder.

    Attributes:
        name: its name in the source.
        kind: what it is shown as.
        path: where its content lies: its own path, or that of the symlink's target.
        status: what lstat says of the file at *path*.
        disc: what is in the container, where kind is DISC.
        target: where a LINK leads to, as it stands in the source.
        settled: False where the file could not be read, so that it is looked into again.
    """

    name: bytes
    kind: Kind
    path: bytes
    status: os.stat_result
    disc: Disc | None = None
    target: bytes = b""
    settled: bool = True

    def same_content(self, other: "Entry") -> bool:
        """Whether what *other* found out still holds for this entry."""
        return other.settled and _content_key(self) == _content_key(other)


def _content_key(entry: Entry) -> tuple[object, ...]:
    status = entry.status
    return (
        entry.name,
        entry.path,
        stat.S_IFMT(status.st_mode),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def survey(
    tree: SourceTree,
    path: bytes,
    above: Collection[bytes],
    known: Mapping[bytes, Entry],
) -> dict[bytes, Entry]:
    """List a folder of the source as the mount shows it. May wait for a disk.

    Args:
        tree: the source.
        path: the folder.
        above: the paths of this folder and all those above it: a symlink to one of them is a loop.
        known: entries by source name from an earlier survey; what has not changed since is not
            opened again.

    Returns:
        Entries by shown name.

    Raises:
        OSError: the folder cannot be read.
    """
    entries: dict[bytes, Entry] = {}
    for name, status in tree.list(path):
        own = b"/".join((path, name)) if path else name
        entry = _classify(tree, Entry(name, Kind.SPECIAL, own, status), above)
        if entry.kind is Kind.FILE and may_be_disc(name):
            before = known.get(name)
            if before is not None and entry.same_content(before):
                entry = before
            else:
                entry = _look_inside(tree, entry)
        entries[name] = entry
    return _name(entries)


def _classify(tree: SourceTree, entry: Entry, above: Collection[bytes]) -> Entry:
    """The entry with its kind, by type alone."""
    kinds = {stat.S_IFDIR: Kind.FOLDER, stat.S_IFREG: Kind.FILE}
    file_type = stat.S_IFMT(entry.status.st_mode)
    if file_type != stat.S_IFLNK:
        return replace(entry, kind=kinds.get(file_type, Kind.SPECIAL))
    path = tree.resolve(entry.path)
    if path is not None and path not in above:
        try:
            status = tree.stat(path)
        except (OSError, ZsofsError):
            pass
        else:
            kind = kinds.get(stat.S_IFMT(status.st_mode))
            if kind is not None:
                return replace(entry, kind=kind, path=path, status=status)
    try:
        return replace(entry, kind=Kind.LINK, target=tree.readlink(entry.path))
    except (OSError, ZsofsError):  # replaced since by something else
        return entry


def _look_inside(tree: SourceTree, entry: Entry) -> Entry:
    """The entry as a disc if it holds one; as it is if not, with the reason in the log."""
    shown = for_people(entry.path)
    try:
        source = tree.open(entry.path)
        try:
            disc = probe(source)
        finally:
            os.close(source.fd)
    except FormatError as error:
        log.warning("%s: shown as it is, not as a disc: %s", shown, error)
        return entry
    except (OSError, ZsofsError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning("%s: shown as it is, it could not be read: %s", shown, reason)
        return replace(entry, settled=False)
    except Exception:
        log.exception("a bug in zsofs: %s is shown as it is", shown)
        return entry
    if disc is None:
        return entry
    geometry = disc.geometry
    codec = geometry.codecs[0].name
    log.info("%s: %s, %s, blocks of %d", shown, geometry.container, codec, geometry.block_size)
    for remark in geometry.remarks:
        log.warning("%s: %s", shown, remark)
    return replace(entry, kind=Kind.DISC, disc=disc)


def _name(entries: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
    discs = {
        name: b".bin" if entry.disc.raw_cd else b".iso"
        for name, entry in entries.items()
        if entry.disc is not None
    }
    others = [name for name in entries if name not in discs]
    shown = {name: entries[name] for name in others}
    for name, shown_name in shown_names(others, discs).items():
        if shown_name is None:
            log.warning(
                "%s: shown packed, under its own name: with its new ending the name would be"
                " longer than %d bytes",
                for_people(name),
                MAX_NAME,
            )
            shown[name] = replace(entries[name], kind=Kind.FILE, disc=None)
        else:
            shown[shown_name] = entries[name]
    return shown
