"""Classes of file names, and hidden names of temporary files. Pure functions of bytes."""

import re
from os.path import splitext

_PACKED = frozenset((b".zso", b".ziso", b".cso", b".ciso", b".dax", b".chd"))
_PLAIN = frozenset((b".iso", b".img", b".bin"))
_DISCS = _PACKED | _PLAIN
_LOOKED_INTO = _DISCS | {b""}
_KEPT_FOR_DISCS = _PACKED | {b".iso"}
_CUE = b".cue"
_PLAYLIST = b".m3u"

MAX_NAME = 255
"""The longest file name that Linux file systems and the kernel's FUSE accept, in bytes."""

NOT_PACKED = "it has the name of a packed disc, but not the contents of one"
"""Reason for a file with a packed-disc name (:func:`is_packed_name`) that is not a container."""

APPLE_DOUBLE = "an AppleDouble file"
IN_TRASH = "in a trash or system directory"
"""Why a file with the name of a disc is ignored; the only other reason is AppleDouble."""

APPLE_DOUBLE_MAGIC = b"\0\5\x16\7"
"""Magic of an AppleDouble file (RFC 1740, appendix A)."""

_SYSTEM_DIRECTORY = re.compile(
    rb"\.trash(es|-\d+)?"  # freedesktop.org trash, macOS
    rb"|\$recycle\.bin|recycle[rd]|system volume information"  # Windows
    rb"|[.#@]recycle|@eadir"  # Samba's vfs_recycle, Synology, QNAP
    rb"|lost\+found",  # ext4's fsck
    re.IGNORECASE,
)

_TRACK = re.compile(rb"(?i)(?:.*\(track \d+\)|track ?\d+)", re.DOTALL)
_FIRST_TRACK = re.compile(rb" \(Track 0?1\)\Z")

_UNFINISHED = re.compile(rb"\..*\.zsofs-[0-9a-f]{8}\.(part|replaced)", re.DOTALL)
_REPLACED = re.compile(rb"\.(.+)\.zsofs-([0-9a-f]{8})\.replaced", re.DOTALL)
_DELETED = re.compile(rb"\.(.+)\.zsofs-[0-9a-f]{8}\.deleting", re.DOTALL)


def unfinished_name(name: bytes, token: str) -> bytes:
    """Return the hidden name of a file while it is being written.

    Args:
        name: the final name; a long one is shortened.
        token: eight hexadecimal digits that make the name unique.
    """
    return _hidden(name, f".zsofs-{token}.part".encode())


def replaced_name(name: bytes, token: str) -> bytes:
    """Return the hidden name of a file while it is exchanged with the new file for its name.

    Args:
        name: the name; a long one is shortened.
        token: eight hexadecimal digits by which the new file is known.
    """
    return _hidden(name, f".zsofs-{token}.replaced".encode())


def name_before_exchange(name: bytes) -> tuple[bytes, str] | None:
    """Return what :func:`replaced_name` was given; None for any other name."""
    found = _REPLACED.fullmatch(name)
    return None if found is None else (found[1], found[2].decode())


def deletion_name(name: bytes, token: str) -> bytes:
    """Return the hidden name of a file during its deletion; arguments as above."""
    return _hidden(name, f".zsofs-{token}.deleting".encode())


def name_before_deletion(name: bytes) -> bytes | None:
    """Return the name that :func:`deletion_name` was given; None for any other name."""
    found = _DELETED.fullmatch(name)
    return None if found is None else found[1]


def _hidden(name: bytes, ending: bytes) -> bytes:
    room = MAX_NAME - 1 - len(ending)
    # Do not split a character: some file systems reject names that are not valid text.
    begin = name if len(name) <= room else name[:room].decode(errors="ignore").encode()
    return b"." + begin + ending


def is_unfinished(name: bytes) -> bool:
    """Return whether this is the name of a temporary file of zsofs."""
    return name.startswith(b".") and _UNFINISHED.fullmatch(name) is not None


def is_system_directory(name: bytes) -> bool:
    """Return whether this is the name of a trash or system directory."""
    return _SYSTEM_DIRECTORY.fullmatch(name) is not None


def is_in_trash(path: bytes) -> bool:
    """Return whether *path*, relative to the source, is or is in a trash or system directory."""
    return any(map(is_system_directory, path.split(b"/")))


def is_apple_double(name: bytes, begin: bytes) -> bool:
    """Return whether a file is an AppleDouble file of macOS, by name and magic."""
    return name.startswith(b"._") and begin.startswith(APPLE_DOUBLE_MAGIC)


def may_be_disc(name: bytes) -> bool:
    """Return whether a file with this name is opened to inspect its content."""
    return ending_of(name) in _LOOKED_INTO


def is_cue_sheet(name: bytes) -> bool:
    """Return whether this is the name of a cue sheet."""
    return ending_of(name) == _CUE


def is_track(name: bytes) -> bool:
    """Return whether a plain image is named as one track of a CD: ``Game (Track 2).bin``."""
    return is_undecided(name) and _TRACK.fullmatch(splitext(name)[0]) is not None


def without_first_track(stem: bytes) -> bytes:
    """Return the name of a disc without ``(Track 1)``, which Redump adds for its data track."""
    return _FIRST_TRACK.sub(b"", stem)


def cue_sheets_of(name: bytes) -> tuple[bytes, ...]:
    """Return the names that the cue sheet of an image may have beside it."""
    stem = splitext(name)[0]
    stems = dict.fromkeys((stem, without_first_track(stem)))
    return tuple(one + ending for one in stems for ending in (_CUE, _CUE.upper()))


def is_sheet(name: bytes) -> bool:
    """Return whether this is the name of a playlist or cue sheet, which may name discs."""
    return ending_of(name) in (_CUE, _PLAYLIST)


def is_inspected(name: bytes) -> bool:
    """Return whether what a file with this name is shown as depends on its content."""
    return may_be_disc(name) or is_sheet(name)


def is_plain_image(name: bytes) -> bool:
    """Return whether a file with this name is a disc image although it is not a container."""
    return ending_of(name) in _PLAIN


def is_undecided(name: bytes) -> bool:
    """Return whether a plain image of this name may be another file, such as a memory card."""
    return is_plain_image(name) and not is_kept_for_discs(name)


def is_kept_for_discs(name: bytes) -> bool:
    """Return whether the name is reserved for discs: no other file of that name is created.

    A `.bin` or `.img` may be anything, such as a memory card.
    """
    return ending_of(name) in _KEPT_FOR_DISCS


def is_packed_name(name: bytes) -> bool:
    """Return whether this is the name of a container."""
    return ending_of(name) in _PACKED


def has_disc_ending(name: bytes) -> bool:
    """Return whether a name has the extension of a disc, packed or plain."""
    return ending_of(name) in _DISCS


def ending_of(name: bytes) -> bytes:
    """Return the extension, as splitext does, in a third of its time: scans ask for it often."""
    dot = name.rfind(b".")
    ending = name[dot:]
    if dot > 0 and name[dot - 1] not in b"./" and b"/" not in ending:
        return ending.lower()
    stem = name[name.rfind(b"/") + 1 : max(dot, 0)]
    return ending.lower() if stem.strip(b".") else b""


def misnamed(ending: str) -> str:
    """Return the remark on a plain image with the name of a packed disc.

    Args:
        ending: the correct extension, ``.iso`` or ``.bin``.
    """
    return f"it is a plain image, not packed: its name should end in {ending}"
