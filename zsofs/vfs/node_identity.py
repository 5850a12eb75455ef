"""Which inode number stands for which content. Pure functions of nodes and entries."""

import hashlib
import os

from zsofs.formats.file_names import is_kept_for_discs
from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import is_same_file
from zsofs.vfs.node import Node

ROOT_NUMBER = 1


def number_of(shown_path: bytes, entry: Entry, changes: bool) -> int:
    """A 63-bit number that stays the same after a remount; never 0 or the root's.

    *changes* says whether it stands for a file whatever is in it, as for a folder.
    """
    parts = [shown_path, entry.kind.value.encode()]
    if not (changes or entry.kind is Kind.FOLDER):
        parts += [b"%d" % number for number in entry.key]
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()
    return max(int.from_bytes(digest, "little") >> 1, ROOT_NUMBER + 1)


def may_stand_for(node: Node, other: Entry, *, writable: bool) -> bool:
    """Whether an entry may get the number of *node*: the same content, shown the same way."""
    one = node.entry
    if one.kind is not other.kind or one.path != other.path or one.name != other.name:
        return False
    if one.kind is Kind.FOLDER:
        return True
    if writable and is_no_disc(one):
        return is_same_file(one.status, other.status)
    if node.is_written or one.disc != other.disc:
        return False
    return one.same_content(other) or (_is_touched(one, other) and _is_unread(node))


def is_no_disc(entry: Entry) -> bool:
    """Whether it is a file, and neither it nor what it leads to is called what only discs are."""
    return entry.kind is Kind.FILE and not (
        is_kept_for_discs(entry.name) or is_kept_for_discs(entry.path)
    )


def is_older(one: Entry, other: Entry) -> bool:
    """Whether *one* tells of the same folder as *other*, from an earlier time."""
    return (
        one.kind is Kind.FOLDER
        and os.path.samestat(one.status, other.status)
        and one.status.st_ctime_ns < other.status.st_ctime_ns
    )


def _is_touched(one: Entry, other: Entry) -> bool:
    """Whether two entries of one file differ in the change time at most, as after a chmod."""
    return (
        one.key[:2] == other.key[:2]
        and one.name == other.name
        and os.path.samestat(one.status, other.status)
    )


def _is_unread(node: Node) -> bool:
    """Whether nobody has read what is in the file but as it is now."""
    return node.watch is None or node.watch.is_clean
