"""The files of an archive, from the process that decodes it."""

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from zsofs.archives.frames import HEAD_SIZE, HEADER, SKIP, TAKE, Frame
from zsofs.archives.kinds import ArchiveKind
from zsofs.errors import DamagedError, InputError
from zsofs.system.own_processes import module_command, start_with_pipes

_PIPE = 1 << 20
"""Capacity of the pipe in bytes, the most that a user may request."""

_MAX_TEXT = 1 << 16
"""Bytes of a frame that describes something; a name has 4,096 at most."""

_UNEXPECTED = "the process that decodes it ended unexpectedly"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path there; empty for the content of a compressed file.
        size: of its content in bytes, None if unknown.
        modulo: the size is known modulo this number; 0 if it is the size itself.
        problem: why it cannot be read, as a sentence; empty if it can.
        images: number of files in the archive with names of discs; None if unknown.
        head: its first bytes, up to :data:`zsofs.archives.frames.HEAD_SIZE`.
        is_whole: whether these are all of it.
    """

    name: bytes
    size: int | None
    modulo: int
    problem: str
    images: int | None
    head: bytes = b""
    is_whole: bool = False


class Decoder:
    """A process that decodes an archive; its files come in order.

    Attributes:
        kept_for: after the last file, why the archive must not be deleted; usually empty.
    """

    def __init__(
        self, kind: ArchiveKind, fds: Sequence[int], sizes: Sequence[int], next_name: str
    ) -> None:
        """Start it.

        Args:
            kind: kind of the archive.
            fds: descriptors of its volumes, which stay open.
            sizes: their sizes in bytes.
            next_name: name of the volume after the last one, if there are several.

        Raises:
            InputError: the process cannot be started.
        """
        order = {"kind": kind.name, "fds": list(fds), "sizes": list(sizes), "next_name": next_name}
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        try:
            self._process = start_with_pipes(
                module_command("zsofs.archives.worker", json.dumps(order)),
                stderr=subprocess.DEVNULL,
                fds=fds,
                env=environment,
            )
        except OSError as error:
            raise InputError(f"the process that decodes it cannot be started: {error}") from None
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        with suppress(OSError):  # the user's pipes have all the memory that they may have
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE)
        self._left = 0
        """Bytes of the current frame that were not read."""
        self._zeros = 0
        self._failure = ""
        self.kept_for = ""

    def close(self) -> None:
        """End the process."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        process.kill()
        process.wait()

    def members(self) -> Iterator[Member]:
        """Yield the files, each with its first bytes; the answer is :meth:`take` or :meth:`skip`.

        Raises:
            DamagedError: the archive is damaged, or of a form that is not read.
        """
        while True:
            kind, size = self._frame()
            if kind is Frame.DONE:
                self.kept_for = self._bytes(min(size, _MAX_TEXT)).decode()
                return
            self._expect(kind, Frame.MEMBER)
            found = json.loads(self._bytes(size))
            member = Member(
                bytes.fromhex(found["name"]),
                found["size"],
                found["modulo"],
                found["problem"],
                found["images"],
            )
            if not member.problem:
                member = self._with_head(member)
            yield member

    def _with_head(self, member: Member) -> Member:
        head = bytearray()
        while True:
            kind, size = self._frame()
            if kind is Frame.ASK:
                break
            self._expect(kind, Frame.DATA)
            if len(head) + size > HEAD_SIZE:
                raise DamagedError(_UNEXPECTED)
            head += self._bytes(size)
        return replace(member, head=bytes(head), is_whole=len(head) < HEAD_SIZE)

    def take(self) -> None:
        """Request the rest of the current file, for :meth:`read_into`."""
        self._answer(TAKE)
        self._left = self._zeros = 0

    def skip(self) -> None:
        """Skip the rest of the current file."""
        self._answer(SKIP)

    def _answer(self, answer: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the next frame says why
            os.write(self._process.stdin.fileno(), answer)

    def read_into(self, out: memoryview) -> int:
        """Fill *out* with the next bytes of the file taken; return how many, fewer at its end.

        Raises:
            DamagedError: it is damaged; at its end, its checksum is known to be right.
        """
        done = 0
        while done < len(out):
            if not self._left and not self._zeros:
                kind, size = self._frame()
                if kind is Frame.END:
                    break
                if kind is Frame.GAP:
                    self._zeros = size
                else:
                    self._expect(kind, Frame.DATA)
                    self._left = size
            if self._zeros:
                count = min(self._zeros, len(out) - done)
                out[done : done + count] = bytes(count)
                self._zeros -= count
            else:
                count = os.readv(self._fd, (out[done : done + self._left],))
                if not count:
                    raise self._ended()
                self._left -= count
            done += count
        return done

    def _frame(self) -> tuple[Frame, int]:
        if self._failure:  # sent once, but read for the damaged file and for those after it
            raise DamagedError(self._failure)
        kind, size = HEADER.unpack(self._bytes(HEADER.size))
        if kind == Frame.FAILED:
            text = self._bytes(min(size, _MAX_TEXT))
            self._failure = text.decode(errors="surrogateescape")
            raise DamagedError(self._failure)
        if kind == Frame.MEMBER and size > _MAX_TEXT:
            raise DamagedError(_UNEXPECTED)
        return Frame(kind), size

    def _bytes(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = os.read(self._fd, size - len(data))
            if not piece:
                raise self._ended()
            data += piece
        return bytes(data)

    def _expect(self, kind: Frame, expected: Frame) -> None:
        if kind is not expected:
            raise DamagedError(_UNEXPECTED)

    def _ended(self) -> DamagedError:
        """Return why the process has ended without a message."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return DamagedError("the process that decodes it was killed")
        if code < 0:
            name = signal.Signals(-code).name
            return DamagedError(
                f"the archive is damaged: it crashed the process that decodes it ({name})"
            )
        return DamagedError(_UNEXPECTED)


@contextmanager
def decoder(
    kind: ArchiveKind, fds: Sequence[int], sizes: Sequence[int], next_name: str
) -> Iterator[Decoder]:
    """Provide a :class:`Decoder`, which ends with the context; arguments as there."""
    process = Decoder(kind, fds, sizes, next_name)
    try:
        yield process
    finally:
        process.close()
