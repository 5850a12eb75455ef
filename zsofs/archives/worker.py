"""The process that decodes an archive: reads descriptors, writes frames to standard output.

It is started by :mod:`zsofs.archives.decoder`. Its memory is limited, and it can write no file.
"""

import itertools
import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from zsofs.archives.checksums import Check
from zsofs.archives.examine import MAX_DICTIONARY, Order, check_count, examine, limit_memory
from zsofs.archives.frames import HEAD_SIZE, TAKE, Frame, send, send_gap
from zsofs.archives.joined import Joined
from zsofs.archives.kinds import HEAD, ArchiveKind, is_tar
from zsofs.errors import DamagedError, ForeignError, ZsofsError, reason
from zsofs.formats.file_names import has_disc_ending
from zsofs.formats.rar_headers import RarFile

if TYPE_CHECKING:
    from zsofs.archives.libarchive import Archive, Member

_MAX_DISC = 64 << 30
_MAX_NAME = 4096
"""Longest path on Linux, in bytes."""

_SHOWN_NAME = 100
_NO_NAME = b"disc"
"""For a file without a name; it is meaningless, so that the output is named after the archive."""

_INPUT = 256 << 10
"""Bytes that libarchive gets at once."""

_AHEAD = 1024
"""Bytes that libarchive looks at before it uses them, at the end of a tar archive."""

_COMPRESSED = (ArchiveKind.GZIP, ArchiveKind.BZIP2, ArchiveKind.XZ, ArchiveKind.ZSTD)
_LISTED = (ArchiveKind.SEVEN_ZIP, ArchiveKind.ZIP, ArchiveKind.TAR)


def main() -> None:
    """Decode the archive that the first argument describes, as JSON."""
    order = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_memory(0)
    what = Order(
        ArchiveKind[order["kind"]],
        Joined(order["fds"], order["sizes"]),
        [Joined([fd], [size]) for fd, size in zip(order["fds"], order["sizes"], strict=True)],
        order["next_name"],
    )
    try:
        try:
            outside = _decode(what)
            kept_for = f"{outside} bytes of the file are not part of it" if outside else ""
            send(1, Frame.DONE, kept_for.encode())
        except MemoryError:
            _fail("it needs more memory to decode than zsofs permits")
        except ZsofsError as error:
            _fail(str(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            _fail(f"it cannot be read: {reason(error)}")
    except BrokenPipeError:  # the reader is gone
        os._exit(1)


def _fail(text: str) -> None:
    send(1, Frame.FAILED, text.encode(errors="surrogateescape"))


def _decode(order: Order) -> int:
    """Decode it; return how many bytes of the file are not part of it."""
    kind, file = order.kind, order.file
    if kind in _COMPRESSED:
        _decode_compressed(order)
        return 0
    found = examine(order)
    images = _listed(kind, file) if kind in _LISTED else None
    _send_members(_opened(kind, file), images, found.files)
    return found.outside


def _decode_compressed(order: Order) -> None:
    from zsofs.archives import streams

    kind, file = order.kind, order.file
    if kind in (ArchiveKind.XZ, ArchiveKind.ZSTD):
        limit_memory(MAX_DICTIONARY)
    pieces = streams.decoded(kind, file)
    first = b""
    while len(first) < HEAD:
        piece = next(pieces, b"")
        if not piece:
            break
        first += piece
    if is_tar(first):
        _send_tar(order)
        return
    size, modulo = streams.size_of(kind, file)
    _send_member(b"", size, modulo=modulo)
    member = _Sender()
    for piece in itertools.chain([first], pieces):
        if not member.send(memoryview(piece)):
            break
    member.end()


def _send_tar(order: Order) -> None:
    """Send the files of a compressed tar archive, after a pass over all of it.

    A tar archive has no checksums of its files: only the end of the compressed file shows that a
    disc before it is undamaged, and no disc may get its name before that.
    """
    pieces = _Pieces(order)
    archive = pieces.open()
    images = _count_images(archive)
    _check_end(itertools.chain([pieces.after(archive.position)], pieces.rest()))
    archive.close()
    _send_members(_Pieces(order).open(), images, None)


class _Pieces:
    """The content of a compressed file, for libarchive, which cannot seek in it."""

    def __init__(self, order: Order) -> None:
        from zsofs.archives import streams

        self._pieces = streams.decoded(order.kind, order.file)
        self._last = b""
        self._given = 0

    def open(self) -> "Archive":
        """Return it as a tar archive."""
        from zsofs.archives.libarchive import Archive

        return Archive(ArchiveKind.TAR, self._read, None)

    def _read(self) -> bytes:
        piece = next(self._pieces, b"")
        self._given += len(piece)
        self._last = self._last[-_AHEAD:] + piece
        return piece

    def after(self, position: int) -> bytes:
        """Return what was given to libarchive from *position* on, and it did not use."""
        return self._last[max(len(self._last) - (self._given - position), 0) :]

    def rest(self) -> Iterator[bytes]:
        """Return what was not given to libarchive yet."""
        return self._pieces


def _check_end(rest: Iterable[bytes]) -> None:
    """Read what follows the end of a tar archive; raises ForeignError if it is not zeros."""
    for data in rest:
        if data.strip(b"\0"):
            raise ForeignError(
                "something follows the end of the tar archive, perhaps another one; extract it"
                " with: tar --ignore-zeros -xf"
            )


def _opened(kind: ArchiveKind, file: Joined) -> "Archive":
    """Return an archive at its beginning."""
    from zsofs.archives.libarchive import Archive

    file.seek(0)
    return Archive(kind, lambda: file.read(_INPUT), file.seek)


def _listed(kind: ArchiveKind, file: Joined) -> int:
    """Return the number of files with the names of discs; raises like :func:`_decode`."""
    archive = _opened(kind, file)
    images = _count_images(archive)
    if kind is ArchiveKind.TAR:
        file.seek(archive.position)
        _check_end(iter(lambda: file.read(_INPUT), b""))
    archive.close()
    return images


def _count_images(archive: "Archive") -> int:
    images = 0
    for member in _checked(archive):
        images += has_disc_ending(member.name)
    return images


def _checked(archive: "Archive") -> Iterator["Member"]:
    """Return the files; raises ForeignError before it takes hours to read them."""
    for number, member in enumerate(archive.members()):
        check_count(number)
        if member.size > _MAX_DISC:
            raise ForeignError(
                f"one of its files claims to have {member.size} bytes, more than any disc;"
                " extract the disc from it first"
            )
        yield member


def _send_members(archive: "Archive", images: int | None, files: list[RarFile] | None) -> None:
    for member in _checked(archive):
        name, problem = member.name or _NO_NAME, member.problem
        if len(name) > _MAX_NAME:
            name, problem = name[:_SHOWN_NAME] + b"...", "its name is longer than any path"
        _send_member(name, member.size, problem=problem, images=images)
        if problem:
            continue
        if files is not None and member.number >= len(files):
            raise DamagedError("the archive is damaged: its headers differ")
        check = Check(files[member.number]) if files is not None else None
        _send_content(archive, member.size, check)


def _send_content(archive: "Archive", size: int, check: Check | None) -> None:
    sender = _Sender()
    for offset, data in archive.blocks():
        if check is not None:
            check.update(data)
        if not sender.send(data, offset):
            break
    else:
        if check is not None:
            check.finish()
        sender.fill(size)
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


def _check_disc_size(size: int) -> None:
    if size > _MAX_DISC:
        raise ForeignError(
            f"it has more than the {_MAX_DISC >> 30} GiB of any disc; extract the disc from it"
            " first"
        )


class _Sender:
    """Sends the content of one file; asks after its first bytes whether to continue."""

    def __init__(self) -> None:
        self._sent = 0
        self._is_asked = False
        self._is_taken = True

    def send(self, data: memoryview, offset: int | None = None) -> bool:
        """Send bytes at *offset*, by default after the last ones; return whether to continue."""
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

    def fill(self, size: int) -> None:
        """Send the zeros at the end of a file of *size* bytes, which a sparse file does not store.

        Raises:
            DamagedError: it is longer.
        """
        if self._is_taken and self._sent != size:
            self.send(memoryview(b""), size)

    def _send(self, data: memoryview) -> None:
        if data:
            send(1, Frame.DATA, data)
            self._sent += len(data)
        _check_disc_size(self._sent)

    def _send_gap(self, size: int) -> None:
        """Send zeros; those within the first bytes as such."""
        _check_disc_size(self._sent + size)
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
