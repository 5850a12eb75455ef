"""The process that decodes an archive: reads descriptors, writes frames to standard output.

It is started by :mod:`zsofs.archives.decoder`. Its memory is limited, and it can write no file.
"""

import json
import os
import resource
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zsofs.archives.checksums import Check
from zsofs.archives.frames import HEAD_SIZE, TAKE, Frame, send, send_gap
from zsofs.archives.joined import Joined
from zsofs.archives.kinds import HEAD, ArchiveKind, is_tar
from zsofs.errors import DamagedError, ForeignError, ZsofsError, reason
from zsofs.formats import rar_headers, sevenzip
from zsofs.formats.file_names import has_disc_ending
from zsofs.formats.rar_headers import RarFile

if TYPE_CHECKING:
    from zsofs.archives.libarchive import Archive

MAX_MEMBERS = 100_000

_MEMORY = 256 << 20
"""Address space without dictionaries, in bytes: Python and libraries take about 60 MiB of it."""

_MAX_DICTIONARY = 3 << 29
_MAX_DISC = 64 << 30
_COMPRESSED = (ArchiveKind.GZIP, ArchiveKind.BZIP2, ArchiveKind.XZ, ArchiveKind.ZSTD)
_LISTED = (ArchiveKind.SEVEN_ZIP, ArchiveKind.ZIP, ArchiveKind.TAR)


@dataclass(frozen=True, slots=True)
class _Order:
    """What to decode: the volumes, and what kind of archive they are."""

    kind: ArchiveKind
    file: Joined
    volumes: list[Joined]
    next_name: str


def main() -> None:
    """Decode the archive that the first argument describes, as JSON."""
    order = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(0)
    sizes = dict(zip(order["fds"], order["sizes"], strict=True))
    what = _Order(
        ArchiveKind[order["kind"]],
        Joined(order["fds"], order["sizes"]),
        [Joined([fd], [size]) for fd, size in sizes.items()],
        order["next_name"],
    )
    try:
        try:
            _decode(what)
            send(1, Frame.DONE)
        except MemoryError:
            _fail("it needs more memory to decode than zsofs permits")
        except ZsofsError as error:
            _fail(str(error))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            _fail(f"it cannot be read: {reason(error)}")
    except BrokenPipeError:  # nobody reads any more
        os._exit(1)


def _fail(text: str) -> None:
    send(1, Frame.FAILED, text.encode())


def _limit_memory(dictionary: int) -> None:
    """Limit the address space; *dictionary* is what a decoder needs beyond the usual, in bytes."""
    if dictionary > _MAX_DICTIONARY:
        raise ForeignError(
            f"its dictionary of {dictionary >> 20} MiB is larger than the {_MAX_DICTIONARY >> 20}"
            " MiB that zsofs permits; extract it first"
        )
    most = _MEMORY + _MAX_DICTIONARY + (_MAX_DICTIONARY >> 3)
    wanted = _MEMORY + dictionary + (dictionary >> 3)
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        resource.setrlimit(limit, (wanted, most))


def _decode(order: _Order) -> None:
    kind, file = order.kind, order.file
    if kind in _COMPRESSED:
        _decode_compressed(order)
        return
    files = _examine(order)
    listed = _listed(kind, file) if kind in _LISTED else None
    file.seek(0)
    _send_archive(kind, file, listed, files)


def _decode_compressed(order: _Order) -> None:
    from zsofs.archives import streams

    kind, file = order.kind, order.file
    if kind in (ArchiveKind.XZ, ArchiveKind.ZSTD):
        _limit_memory(_MAX_DICTIONARY)
    pieces = streams.decoded(kind, file)
    first = b""
    while len(first) < HEAD:
        piece = next(pieces, b"")
        if not piece:
            break
        first += piece
    if is_tar(first):
        _send_tar(first, pieces)
        return
    size, modulo = streams.size_of(kind, file)
    _send_member(b"", size, modulo=modulo)
    member = _Sender()
    taken = member.send_first(first)
    for piece in pieces if taken else ():
        taken = member.send(memoryview(piece))
        if not taken:
            break
    member.end()


def _send_tar(first: bytes, pieces: Iterator[bytes]) -> None:
    from zsofs.archives.libarchive import Archive

    waiting = [first]
    archive = Archive(
        ArchiveKind.TAR, lambda: waiting.pop() if waiting else next(pieces, b""), None
    )
    _send_members(archive, None, None)
    for _ in pieces:  # to its end, where the checksum is
        pass


def _send_archive(
    kind: ArchiveKind, file: Joined, images: int | None, files: list[RarFile] | None
) -> None:
    from zsofs.archives.libarchive import Archive

    archive = Archive(kind, lambda: file.read(256 << 10), file.seek)
    _send_members(archive, images, files)


def _listed(kind: ArchiveKind, file: Joined) -> int:
    """Return the number of files with the names of discs; raises like :func:`_decode`."""
    from zsofs.archives.libarchive import Archive

    file.seek(0)
    archive = Archive(kind, lambda: file.read(256 << 10), file.seek)
    images = 0
    for number, member in enumerate(archive.members()):
        _check_count(number)
        images += has_disc_ending(member.name)
    archive.close()
    return images


def _check_count(number: int) -> None:
    if number >= MAX_MEMBERS:
        raise ForeignError(f"it has more than {MAX_MEMBERS} files; extract the disc from it first")


def _send_members(archive: "Archive", images: int | None, files: list[RarFile] | None) -> None:
    for number, member in enumerate(archive.members()):
        _check_count(number)
        if member.size > _MAX_DISC:
            raise ForeignError(
                f"one of its files claims to have {member.size} bytes, more than any disc;"
                " extract the disc from it first"
            )
        _send_member(member.name, member.size, problem=member.problem, images=images)
        if member.problem:
            continue
        if files is not None and member.number >= len(files):
            raise DamagedError("the archive is damaged: its headers differ")
        _send_content(archive, Check(files[member.number]) if files is not None else None)


def _send_content(archive: "Archive", check: Check | None) -> None:
    sender = _Sender()
    for offset, data in archive.blocks():
        if check is not None:
            check.update(data)
        if not sender.send(data, offset):
            break
    else:
        if check is not None:
            check.finish()
    if sender.end():
        archive.skip()


def _send_member(
    name: bytes,
    size: int | None,
    *,
    modulo: int = 0,
    problem: str = "",
    images: int | None = None,
) -> None:
    described = {
        "name": name.hex(),
        "size": size,
        "modulo": modulo,
        "problem": problem,
        "images": images,
    }
    send(1, Frame.MEMBER, json.dumps(described).encode())


class _Sender:
    """Sends the content of one file, and asks after its first bytes whether to go on."""

    def __init__(self) -> None:
        self._sent = 0
        self._is_asked = False
        self._is_taken = True

    def send_first(self, data: bytes) -> bool:
        """Send the first bytes."""
        return self.send(memoryview(data)) if data else True

    def send(self, data: memoryview, offset: int | None = None) -> bool:
        """Send bytes at *offset*, by default after the last ones; return whether to go on."""
        if offset is not None and offset != self._sent:
            if offset < self._sent:
                raise DamagedError("the archive is damaged: its headers differ")
            self._send_gap(offset - self._sent)
        if not self._is_asked and self._sent + len(data) >= HEAD_SIZE:
            room = HEAD_SIZE - self._sent
            self._send(data[:room])
            data = data[room:]
            self._ask()
        if self._is_taken:
            self._send(data)
        return self._is_taken

    def _send(self, data: memoryview) -> None:
        if data:
            send(1, Frame.DATA, data)
            self._sent += len(data)
        if self._sent > _MAX_DISC:
            raise ForeignError(
                f"it has more than the {_MAX_DISC >> 30} GiB of any disc; extract the disc from it"
                " first"
            )

    def _send_gap(self, size: int) -> None:
        """Send zeros; those within the first bytes as such."""
        room = min(size, max(HEAD_SIZE - self._sent, 0))
        if room:
            self._send(memoryview(bytes(room)))
        if size > room:
            if not self._is_asked:
                self._ask()
            if self._is_taken:
                send_gap(1, size - room)
            self._sent += size - room

    def _ask(self) -> None:
        self._is_asked = True
        send(1, Frame.ASK)
        self._is_taken = os.read(0, 1) == TAKE

    def end(self) -> bool:
        """End the file, whose content was read; return whether the rest of it is to be skipped."""
        if not self._is_asked:
            self._ask()
            if self._is_taken:
                send(1, Frame.END)
            return False
        if self._is_taken:
            send(1, Frame.END)
        return not self._is_taken


def _examine(order: _Order) -> list[RarFile] | None:
    """Refuse what cannot be decoded before anything is.

    Returns:
        What the headers of a RAR say of its files, in order; None for other archives.

    Raises:
        ForeignError: the archive is of a form that is not read.
        DamagedError: it is damaged, or a volume is missing.
    """
    file = order.file
    if order.kind is ArchiveKind.SEVEN_ZIP:
        facts = sevenzip.parse(file.read_at, file.size)
        if facts.end > file.size:
            raise DamagedError(_truncated(order, f"{file.size} of {facts.end} bytes are there"))
        if facts.problem:
            raise ForeignError(facts.problem)
        _limit_memory(facts.dictionary)
    elif order.kind is ArchiveKind.ZIP:
        _examine_zip(order)
    elif order.kind in (ArchiveKind.RAR_3, ArchiveKind.RAR_5):
        continues, files = False, []
        for volume in order.volumes:
            found = rar_headers.parse(volume.read_at, volume.size)
            if found.problem:
                raise ForeignError(found.problem)
            continues = found.continues
            files += found.files
            _check_count(len(files) - 1)
        if continues:
            raise DamagedError(_truncated(order, "its last volume says that another one follows"))
        return files
    return None


def _truncated(order: _Order, why: str) -> str:
    if order.next_name:
        return f"{order.next_name} is missing: {why}"
    return f"it is truncated: {why}"


_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 95}
"""Methods of a ZIP that libarchive reads (APPNOTE.TXT, section 4.4.5): also Zstandard and xz."""


def _examine_zip(order: _Order) -> None:
    try:
        with zipfile.ZipFile(order.file) as found:
            members = found.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise DamagedError(
            _truncated(order, f"its list of files is not at its end ({error})")
        ) from None
    _check_count(len(members) - 1)
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


if __name__ == "__main__":
    main()
