"""Checks of an archive before anything in it is decoded."""

import resource
from dataclasses import dataclass

from zsofs.archives.joined import Joined
from zsofs.archives.kinds import ArchiveKind
from zsofs.errors import DamagedError, ForeignError
from zsofs.formats import rar_headers, sevenzip
from zsofs.formats.rar_headers import RarFile

MAX_MEMBERS = 100_000

_MEMORY = 256 << 20
"""Address space without dictionaries, in bytes: Python and libraries take about 60 MiB of it."""

MAX_DICTIONARY = 3 << 29
"""Largest dictionary that is accepted, in bytes: 1.5 GiB, that of 7-Zip's highest setting."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to decode: the volumes, and what kind of archive they are."""

    kind: ArchiveKind
    file: Joined
    volumes: list[Joined]
    next_name: str


def limit_memory(dictionary: int) -> None:
    """Limit the address space; *dictionary* is what a decoder needs beyond the usual, in bytes."""
    if dictionary > MAX_DICTIONARY:
        raise ForeignError(
            f"its dictionary of {dictionary >> 20} MiB is larger than the {MAX_DICTIONARY >> 20}"
            " MiB that zsofs permits; extract it first"
        )
    most = _MEMORY + MAX_DICTIONARY + (MAX_DICTIONARY >> 3)
    wanted = _MEMORY + dictionary + (dictionary >> 3)
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        resource.setrlimit(limit, (wanted, most))


def check_count(number: int) -> None:
    """Raise ForeignError if an archive has more files than are read; *number* counts from 0."""
    if number >= MAX_MEMBERS:
        raise ForeignError(f"it has more than {MAX_MEMBERS} files; extract the disc from it first")


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in an archive before anything is decoded.

    Attributes:
        files: sizes and checksums in the headers of a RAR, in order; None for other archives.
        outside: number of bytes before or after the archive, which are not part of it.
    """

    files: list[RarFile] | None = None
    outside: int = 0


def examine(order: Order) -> Examined:
    """Refuse what cannot be decoded before anything is.

    Raises:
        ForeignError: the archive is of a form that is not read.
        DamagedError: it is damaged, or a volume is missing.
    """
    if order.kind is ArchiveKind.SEVEN_ZIP:
        return _examine_7z(order)
    if order.kind is ArchiveKind.ZIP:
        return _examine_zip(order)
    if order.kind in (ArchiveKind.RAR_3, ArchiveKind.RAR_5):
        return _examine_rar(order)
    return Examined()


def _examine_7z(order: Order) -> Examined:
    file = order.file
    facts = sevenzip.parse(file.read_at, file.size)
    if facts.end > file.size:
        raise DamagedError(_truncated(order, f"{file.size} of {facts.end} bytes are there"))
    if facts.problem:
        raise ForeignError(facts.problem)
    _check_last(order, facts.end)
    limit_memory(facts.dictionary)
    return Examined(None, file.size - facts.end)


def _examine_rar(order: Order) -> Examined:
    continues, files = False, []
    end = after = 0
    for number, volume in enumerate(order.volumes):
        if number and not continues:
            _check_last(order, end)
        end += volume.size
        found = rar_headers.parse(volume.read_at, volume.size)
        if found.problem:
            raise ForeignError(found.problem)
        continues = found.continues
        files += found.files
        after += max(volume.size - found.end, 0)
        check_count(len(files) - 1)
    if continues:
        raise DamagedError(_truncated(order, "its last volume says that another one follows"))
    return Examined(files, after)


def _check_last(order: Order, end: int) -> None:
    """Check that the archive, which ends at *end*, does not end before its last volume.

    Raises:
        ForeignError: it does. The volume may be of another archive, and must not be deleted.
    """
    if order.next_name and end <= order.file.size - order.volumes[-1].size:
        raise ForeignError(
            f"it has {len(order.volumes)} volumes by their names, but ends before the last one;"
            " move those away that do not belong to it"
        )


def _truncated(order: Order, why: str) -> str:
    if order.next_name:
        return f"{order.next_name} is missing: {why}"
    return f"it is truncated: {why}"


_MAX_END = 22 + (1 << 16)
"""Bytes of the end of a ZIP, with the longest comment."""

_MARKER = 4
"""Bytes that may be before the first file (APPNOTE.TXT, section 8.5)."""

_METHODS = {0, 8, 12, 14, 93, 95}
"""Methods of a ZIP that libarchive reads (APPNOTE.TXT, section 4.4.5): stored, Deflate, bzip2,
LZMA, Zstandard and xz."""


def _examine_zip(order: Order) -> Examined:
    import zipfile  # here, because it is a sixth of the start of this process

    try:
        with zipfile.ZipFile(order.file) as found:
            members = found.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise DamagedError(
            _truncated(order, f"its list of files is not at its end ({error})")
        ) from None
    check_count(len(members) - 1)
    end = _end_of_zip(order)
    for member in members:
        if member.flag_bits & 1:
            raise ForeignError("it is encrypted; extract it with its password first")
        if member.compress_type == 9:
            raise ForeignError(
                "it is packed with Deflate64, which zsofs does not read; extract it first"
            )
        if member.compress_type not in _METHODS:
            raise ForeignError(
                f"it is packed with method {member.compress_type}, which zsofs does not read;"
                " extract it first"
            )
    before = min((member.header_offset for member in members), default=0)
    before = before if before > _MARKER else 0
    return Examined(None, max(order.file.size - end, 0) + before)


def _end_of_zip(order: Order) -> int:
    """Return where a ZIP ends (APPNOTE.TXT, section 4.3.16).

    Raises:
        ForeignError: that is before its last volume.
        DamagedError: it has another number of volumes.
    """
    begin = max(order.file.size - _MAX_END, 0)
    tail = order.file.read_at(begin, _MAX_END)
    at = tail.rfind(b"PK\5\6", 0, len(tail) - 18)
    if at < 0:  # the file was modified since zipfile found it, which is noticed later
        return order.file.size
    last, comment = int.from_bytes(tail[at + 4 : at + 6], "little"), tail[at + 20 : at + 22]
    end = begin + at + 22 + int.from_bytes(comment, "little")
    _check_last(order, end)
    if 0 < last < 0xFFFF and last != len(order.volumes) - 1:
        raise DamagedError(
            f"it has {last + 1} volumes, but {len(order.volumes)} are there, by their names"
        )
    return end
