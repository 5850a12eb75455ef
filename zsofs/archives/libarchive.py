"""Calls of libarchive, which is loaded by name: 7z, ZIP, RAR and tar.

A warning is an error: libarchive only warns of a wrong checksum in a ZIP or 7z. All
calls are made by the process that decodes (:mod:`zsofs.archives.worker`).
"""

import ctypes
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from zsofs.archives.kinds import ArchiveKind
from zsofs.errors import DamagedError, ForeignError

LIBRARY = "libarchive.so.13"
"""Its name since version 3.0, in all distributions."""

_OK, _EOF, _WARN, _FAILED = 0, 1, -20, -25
_REGULAR = 0o100000
_TYPE_MASK = 0o170000
_DIRECTORY = 0o040000

FORMATS = {
    ArchiveKind.SEVEN_ZIP: "7zip",
    ArchiveKind.ZIP: "zip",
    ArchiveKind.RAR_3: "rar",
    ArchiveKind.RAR_5: "rar5",
    ArchiveKind.TAR: "tar",
}
"""What libarchive reads for zsofs, by the name of its function."""

_READ = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
)
_SEEK = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
)
_SKIP = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)

_POINTER, _TEXT = ctypes.c_void_p, ctypes.c_char_p
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "archive_read_new": (_POINTER, []),
    "archive_read_free": (ctypes.c_int, [_POINTER]),
    "archive_read_set_read_callback": (ctypes.c_int, [_POINTER, _READ]),
    "archive_read_set_seek_callback": (ctypes.c_int, [_POINTER, _SEEK]),
    "archive_read_set_skip_callback": (ctypes.c_int, [_POINTER, _SKIP]),
    "archive_read_set_callback_data": (ctypes.c_int, [_POINTER, _POINTER]),
    "archive_read_open1": (ctypes.c_int, [_POINTER]),
    "archive_read_next_header": (ctypes.c_int, [_POINTER, ctypes.POINTER(_POINTER)]),
    "archive_read_data_block": (
        ctypes.c_int,
        [
            _POINTER,
            ctypes.POINTER(_POINTER),
            ctypes.POINTER(ctypes.c_size_t),
            ctypes.POINTER(ctypes.c_int64),
        ],
    ),
    "archive_read_data_skip": (ctypes.c_int, [_POINTER]),
    "archive_error_string": (_TEXT, [_POINTER]),
    "archive_filter_bytes": (ctypes.c_int64, [_POINTER, ctypes.c_int]),
    "archive_entry_pathname_utf8": (_TEXT, [_POINTER]),
    "archive_entry_pathname": (_TEXT, [_POINTER]),
    "archive_entry_hardlink": (_TEXT, [_POINTER]),
    "archive_entry_filetype": (ctypes.c_uint, [_POINTER]),
    "archive_entry_size": (ctypes.c_int64, [_POINTER]),
    "archive_entry_size_is_set": (ctypes.c_int, [_POINTER]),
    "archive_entry_is_encrypted": (ctypes.c_int, [_POINTER]),
}
"""The functions that are called, with the types of their results and arguments."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path there.
        size: of its content in bytes.
        number: which entry it is, counted from 0, directories included.
        problem: why it cannot be read, as a sentence; empty if it can.
    """

    name: bytes
    size: int
    number: int
    problem: str = ""


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise ForeignError(
            f"reading it needs libarchive ({LIBRARY}), which is not installed; on Debian, install"
            " it with: apt install libarchive13"
        ) from None
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Archive:
    """An open archive, read in order."""

    def __init__(
        self,
        kind: ArchiveKind,
        read: Callable[[], bytes],
        seek: Callable[[int, int], int] | None,
    ) -> None:
        """Open it.

        Args:
            kind: one of those that libarchive reads; it tries no other.
            read: returns the next bytes, empty at the end.
            seek: moves the position, like that of a file; None if that is not possible.

        Raises:
            ForeignError: libarchive is not installed.
            DamagedError: it cannot be read.
        """
        self._library = _load()
        self._archive = self._library.archive_read_new()
        if not self._archive:
            raise MemoryError
        self._failure: Exception | None = None
        self._given: ctypes.Array[ctypes.c_char] | None = None
        # libarchive keeps only their addresses.
        self._calls = (_READ(self._read), _SEEK(self._seek), _SKIP(self._skip))
        self._next, self._move = read, seek
        name = f"archive_read_support_format_{FORMATS[kind]}"
        support = getattr(self._library, name)
        support.restype, support.argtypes = ctypes.c_int, [_POINTER]
        if support(self._archive) < _WARN:
            raise ForeignError(f"this libarchive was built without support for {kind.value}")
        self._library.archive_read_set_read_callback(self._archive, self._calls[0])
        if seek is not None:
            self._library.archive_read_set_seek_callback(self._archive, self._calls[1])
            self._library.archive_read_set_skip_callback(self._archive, self._calls[2])
        self._library.archive_read_set_callback_data(self._archive, None)
        self._check(self._library.archive_read_open1(self._archive))

    def _read(self, _: int, __: int, out: "ctypes._Pointer[ctypes.c_void_p]") -> int:
        try:
            data = self._next()
        except Exception as error:  # noqa: BLE001 - no exception may pass through C
            self._failure = error
            return -30
        self._given = ctypes.create_string_buffer(data, max(len(data), 1))
        out[0] = ctypes.addressof(self._given)
        return len(data)

    def _seek(self, _: int, __: int, offset: int, whence: int) -> int:
        assert self._move is not None
        try:
            return self._move(offset, whence)
        except (ValueError, OverflowError):  # the archive leads before its beginning
            return -30

    def _skip(self, _: int, __: int, count: int) -> int:
        assert self._move is not None
        if count <= 0:
            return 0
        self._move(count, 1)
        return count

    def _check(self, code: int) -> None:
        """Raise an exception for any code but OK."""
        if self._failure is not None:
            raise self._failure
        if code == _OK:
            return
        text = self._library.archive_error_string(self._archive)
        said = " ".join((text or b"no reason given").decode(errors="replace").split())
        if "llocate" in said or "memory" in said:
            raise MemoryError
        raise DamagedError(f"the archive is damaged, or of a form that is not read: {said}")

    def members(self) -> Iterator[Member]:
        """Yield the files, in order; directories are left out.

        Raises:
            DamagedError: the archive is damaged.
        """
        entry = ctypes.c_void_p()
        for number in itertools.count():
            code = self._library.archive_read_next_header(self._archive, ctypes.byref(entry))
            if code == _EOF and self._failure is None:
                return
            text = self._library.archive_error_string(self._archive) if code == _WARN else b""
            # A name that the locale cannot express is still a name.
            if not (text or b"").startswith((b"Pathname", b"Linkname")):
                self._check(code)
            kind = self._library.archive_entry_filetype(entry) & _TYPE_MASK
            if kind != _DIRECTORY:
                yield self._member(entry, kind, number)

    def _member(self, entry: ctypes.c_void_p, kind: int, number: int) -> Member:
        library = self._library
        name = library.archive_entry_pathname_utf8(entry) or library.archive_entry_pathname(entry)
        size = library.archive_entry_size(entry)
        is_known = library.archive_entry_size_is_set(entry) and size >= 0
        problem = ""
        if kind != _REGULAR or library.archive_entry_hardlink(entry) is not None or not is_known:
            problem = "it is a link or a special file, not a file"
        elif library.archive_entry_is_encrypted(entry):
            problem = "it is encrypted; extract it with its password first"
        return Member(name or b"", size if is_known else 0, number, problem)

    def blocks(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the content of the current file as offset and bytes, valid until the next one.

        Bytes between two of them are zeros.

        Raises:
            DamagedError: it is damaged, or its checksum differs.
        """
        place, size, offset = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_int64()
        while True:
            code = self._library.archive_read_data_block(
                self._archive, ctypes.byref(place), ctypes.byref(size), ctypes.byref(offset)
            )
            if code == _EOF and self._failure is None:
                return
            self._check(code)
            if size.value and place.value:
                data = (ctypes.c_char * size.value).from_address(place.value)
                yield offset.value, memoryview(data).cast("B")

    def skip(self) -> None:
        """Skip the rest of the current file; its checksum does not matter."""
        code = self._library.archive_read_data_skip(self._archive)
        if code < _FAILED:
            self._check(code)

    @property
    def position(self) -> int:
        """Bytes of the archive that libarchive has used."""
        return int(self._library.archive_filter_bytes(self._archive, 0))

    def close(self) -> None:
        """Close it."""
        self._library.archive_read_free(self._archive)
