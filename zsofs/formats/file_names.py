"""Classes of file names, and the hidden names of unfinished files. Pure functions of bytes."""

import re
from os.path import splitext

_PACKED = frozenset((b".zso", b".ziso", b".cso", b".ciso", b".dax", b".chd"))
_PLAIN = frozenset((b".iso", b".img", b".bin"))
_DISCS = _PACKED | _PLAIN
_LOOKED_INTO = _DISCS | {b""}
_KEPT_FOR_DISCS = _PACKED | {b".iso"}

MAX_NAME = 255
"""The longest name Linux file systems and the kernel's FUSE take, in bytes."""

NOT_PACKED = "its name is that of a packed disc, its beginning is not"
"""What is said of a file that :func:`is_packed_name` is true of, and which is no container."""

APPLE_DOUBLE = "an AppleDouble file"
IN_TRASH = "in a trash or system directory"
"""Why a file that is named like a disc is never taken for one. These are the only two reasons."""

APPLE_DOUBLE_MAGIC = b"\0\5\x16\7"
"""How an AppleDouble file begins (RFC 1740, appendix A)."""

_SYSTEM_DIRECTORY = re.compile(
    rb"\.trash(es|-\d+)?"  # freedesktop.org trash, macOS
    rb"|\$recycle\.bin|recycle[rd]|system volume information"  # Windows
    rb"|[.#@]recycle|@eadir"  # Samba's vfs_recycle, Synology, QNAP
    rb"|lost\+found",  # ext4's fsck
    re.IGNORECASE,
)

_UNFINISHED = re.compile(rb"\..*\.zsofs-[0-9a-f]{8}\.part", re.DOTALL)
_DELETED = re.compile(rb"\.(.+)\.zsofs-[0-9a-f]{8}\.deleting", re.DOTALL)


def unfinished_name(name: bytes, token: str) -> bytes:
    """The hidden name of a file while it is written, which shall become *name*.

    Args:
        name: the final one; if it is long, its beginning must do.
        token: eight hexadecimal digits that tell it from others.
    """
    return _hidden(name, f".zsofs-{token}.part".encode())


def deletion_name(name: bytes, token: str) -> bytes:
    """Return the hidden name of a file in the moment before it is deleted; arguments as above."""
    return _hidden(name, f".zsofs-{token}.deleting".encode())


def name_before_deletion(name: bytes) -> bytes | None:
    """Return the name that :func:`deletion_name` was given; None for any other name."""
    found = _DELETED.fullmatch(name)
    return None if found is None else found[1]


def _hidden(name: bytes, ending: bytes) -> bytes:
    room = MAX_NAME - 1 - len(ending)
    # A character is not cut in two: some file systems refuse names that are no text.
    begin = name if len(name) <= room else name[:room].decode(errors="ignore").encode()
    return b"." + begin + ending


def is_unfinished(name: bytes) -> bool:
    """Whether a file of this name is one that zsofs has not finished."""
    return _UNFINISHED.fullmatch(name) is not None


def is_system_directory(name: bytes) -> bool:
    """Whether a directory of this name holds deleted files, or what an operating system keeps."""
    return _SYSTEM_DIRECTORY.fullmatch(name) is not None


def is_in_trash(path: bytes) -> bool:
    """Whether *path*, a path in the source, is a trash or system directory, or lies in one."""
    return any(map(is_system_directory, path.split(b"/")))


def is_apple_double(name: bytes, begin: bytes) -> bool:
    """Whether a file holds what macOS keeps beside a file of another system, by name and magic."""
    return name.startswith(b"._") and begin.startswith(APPLE_DOUBLE_MAGIC)


def may_be_disc(name: bytes) -> bool:
    """Return whether a file of this name is opened to see what is inside."""
    return _ending(name) in _LOOKED_INTO


def is_plain_image(name: bytes) -> bool:
    """Return whether a file of this name is a disc image although it is not a container."""
    return _ending(name) in _PLAIN


def is_undecided(name: bytes) -> bool:
    """Whether a plain image of this name may as well be no disc, such as a memory card."""
    return is_plain_image(name) and not is_kept_for_discs(name)


def is_kept_for_discs(name: bytes) -> bool:
    """Return whether only discs have such a name: no other file of that name is made or changed.

    A `.bin` or `.img` may be anything, such as a memory card.
    """
    return _ending(name) in _KEPT_FOR_DISCS


def is_packed_name(name: bytes) -> bool:
    """Return whether a file of this name should be a container."""
    return _ending(name) in _PACKED


def has_disc_ending(name: bytes) -> bool:
    """Return whether a name ends like that of a disc, packed or plain."""
    return _ending(name) in _DISCS


def _ending(name: bytes) -> bytes:
    return splitext(name)[1].lower()


def misnamed(ending: str) -> str:
    """Return the remark on a plain image under the name of a packed one; *ending* is the right one.

    Args:
        ending: ``.iso`` or ``.bin``.
    """
    return f"it is a plain image, not packed: its name should end in {ending}"
