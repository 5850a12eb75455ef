"""Inode numbers by content. Pure functions of nodes and entries."""

import hashlib
import os

from zsofs.formats.file_names import is_kept_for_discs
from zsofs.source.entry import Entry, Kind
from zsofs.source.shown_part import ShownText
from zsofs.source.tree import is_same_file
from zsofs.vfs.node import Node

ROOT_NUMBER = 1


def number_of(shown_path: bytes, entry: Entry, changes: bool) -> int:
    """Return a 63-bit inode number that is the same after a remount; never 0 or the root's.

    *changes*: whether it stands for the file independent of its content, as for a directory.
    """
    parts = [shown_path, entry.kind.value.encode()]
    if not (changes or entry.kind is Kind.FOLDER):
        parts += [b"%d" % number for number in entry.key]
    if isinstance(entry.shown, ShownText):
        parts.append(entry.shown.text)
    elif entry.shown is not None:
        parts.append(b"%d %r" % (entry.shown.of_hunks, entry.shown.view))
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") >> 1, ROOT_NUMBER + 1)


def may_stand_for(node: Node, other: Entry, *, writable: bool) -> bool:
    """Return whether an entry may use the number of *node*: same content, shown the same way."""
    one = node.entry
    if one.kind is not other.kind or one.path != other.path or one.name != other.name:
        return False
    if one.shown != other.shown or is_no_disc(one) is not is_no_disc(other):
        return False
    if one.kind is Kind.FOLDER:
        return True
    if writable and is_no_disc(one):
        return is_same_file(one.status, other.status)
    if node.is_written or one.disc != other.disc:
        return False
    return one.same_content(other) or (_is_touched(one, other) and _is_unread(node))


def is_renamed(node: Node, other: Entry) -> bool:
    """Return whether *other* is the file of *node*, unchanged, under another name."""
    one = node.entry
    return (
        one.path != other.path
        and is_same_file(one.status, other.status)
        and one.key[:2] == other.key[:2]
        and (one.shown, one.disc, one.is_new) == (other.shown, other.disc, False)
        and _is_unread(node)
    )


def is_packed(node: Node, other: Entry) -> bool:
    """Return whether *other* is the packed image of *node*, which has replaced it in place.

    The watch of a library gives the packed file the name and the date of the image, and renames it
    later. Size and date do not prove that the content is the same, so no byte of the one may be
    kept for the other.
    """
    one = node.entry
    return (
        os.path.splitext(one.path)[0] == os.path.splitext(other.path)[0]
        and one.kind is Kind.FILE
        and other.kind is Kind.DISC
        and (one.shown, other.is_new) == (other.shown, False)
        and (one.size, one.status.st_mtime_ns) == (other.size, other.status.st_mtime_ns)
    )


def has_same_rights(one: Entry, other: Entry) -> bool:
    """Return whether two files have the same owner, group and mode.

    The kernel checks them by what it knows of the number of the file.
    """
    rights = [(it.st_mode, it.st_uid, it.st_gid) for it in (one.status, other.status)]
    return rights[0] == rights[1]


def is_no_disc(entry: Entry) -> bool:
    """Return whether it is a file as it is in the source, whose name is not reserved for discs.

    That of its target may not be either. A disc that a client may still change counts as such a
    file.
    """
    return (
        entry.kind is Kind.FILE
        and entry.shown is None
        and (entry.is_new or not (is_kept_for_discs(entry.name) or is_kept_for_discs(entry.path)))
    )


def is_older(one: Entry, other: Entry) -> bool:
    """Return whether *one* is an earlier status of the same directory as *other*."""
    return (
        one.kind is Kind.FOLDER
        and os.path.samestat(one.status, other.status)
        and one.status.st_ctime_ns < other.status.st_ctime_ns
    )


def _is_touched(one: Entry, other: Entry) -> bool:
    """Return whether two entries of one file differ at most in the ctime, as after a chmod."""
    return (
        one.key[:2] == other.key[:2]
        and one.name == other.name
        and os.path.samestat(one.status, other.status)
    )


def _is_unread(node: Node) -> bool:
    """Return whether no earlier content of the file was read."""
    return node.watch is None or node.watch.is_clean
