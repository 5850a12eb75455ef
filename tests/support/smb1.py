"""What a PlayStation 2 with Open PS2 Loader says to an SMB server, packet by packet.

The dialect is NT LM 0.12 without extended security. The menu of OPL opens files by NT_CREATE_ANDX
and lists folders one entry a request; a running game opens its disc by OPEN_ANDX and reads at most
8 KiB a request, each answered before the next is sent. Offsets have 64 bits, in two halves.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

READ_SIZE = 8192
"""Bytes: the most that OPL asks for at once."""

ACCESS_DENIED = 0xC0000022
NAME_NOT_FOUND = 0xC0000034
NAME_COLLISION = 0xC0000035
PATH_NOT_FOUND = 0xC000003A
LOGON_FAILURE = 0xC000006D
FOLDER_NOT_EMPTY = 0xC0000101

_CREATE_FOLDER, _DELETE_FOLDER, _CLOSE, _DELETE, _RENAME = 0x00, 0x01, 0x04, 0x06, 0x07
_ECHO, _OPEN_ANDX, _READ_ANDX, _WRITE_ANDX, _TRANSACTION2 = 0x2B, 0x2D, 0x2E, 0x2F, 0x32
_TREE_DISCONNECT, _NEGOTIATE, _SESSION_SETUP_ANDX, _LOGOFF_ANDX = 0x71, 0x72, 0x73, 0x74
_TREE_CONNECT_ANDX, _QUERY_DISK, _NT_CREATE_ANDX = 0x75, 0x80, 0xA2

_FIND_FIRST2, _FIND_NEXT2, _QUERY_PATH, _QUERY_FILE = 1, 2, 5, 7
_BASIC_INFO, _STANDARD_INFO, _BOTH_DIRECTORY_INFO, _INTERNAL_INFO = 0x101, 0x102, 0x104, 1006

_CASELESS, _CANONICAL = 0x08, 0x10
_LONG_NAMES, _STATUS32, _UNICODE = 0x0001, 0x4000, 0x8000
_ALONE = bytes((0xFF, 0, 0, 0))
"""The head of an ANDX request that nothing follows."""

_HEADER = struct.Struct("<4sBIBH12xHHHH")
_ENTRY = struct.Struct("<8xqqqqQQIIIH24s")
_FOLDER = 0x10
_CAPABILITIES = 0x0000C04C
"""Large reads and writes, 32-bit states, 64-bit offsets, UTF-16: what OPL takes of the offer."""


class Refused(Exception):
    """The server answered with an error.

    Attributes:
        status: its NTSTATUS.
    """

    def __init__(self, command: int, status: int) -> None:
        super().__init__(f"command 0x{command:02X} was answered with 0x{status:08X}")
        self.status = status


@dataclass(frozen=True)
class Details:
    """What the server knows of a file or folder.

    Attributes:
        size: in bytes.
        allocated: bytes that it takes on disk.
        attributes: as in DOS; 0x10 is a folder.
        times: when it was created, read, written and changed: 100 ns since 1601.
        is_folder: whether it is one.
        number: that the server knows it by; Samba makes it of the inode number.
    """

    size: int
    allocated: int
    attributes: int
    times: tuple[int, int, int, int]
    is_folder: bool
    number: int


@dataclass(frozen=True)
class Entry:
    """One line of a listing, with size in bytes."""

    name: str
    size: int
    is_folder: bool
    written: int


class Console:
    """A connection as OPL makes it.

    Args:
        port: of a server on this machine.
        user: whom to log on as.
        proof: of the user's password, from the server's challenge of 8 bytes; None for no password.
        host: address of the server.
        timeout: seconds after which OPL takes a request for lost.
    """

    def __init__(
        self,
        port: int,
        user: str = "GUEST",
        proof: Callable[[bytes], bytes] | None = None,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
    ) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._user = 0
        self._tree = 0
        try:
            self._log_on(user, proof)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, once the server has read everything."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(4096):
                pass
        except OSError:
            pass  # it closed the connection first, or hangs itself
        finally:
            self._socket.close()

    # The connection

    def connect(self, share: str) -> None:
        """Connect to a share of the server."""
        words = _ALONE + struct.pack("<HH", 0, 1)
        name = f"\\\\{self._socket.getpeername()[0]}\\{share}"
        _, _, ids = self._ask(_TREE_CONNECT_ANDX, words, b"\0" + _text(name) + b"?????\0")
        self._tree = ids[0]

    def echo(self, data: bytes = b"PS2 KEEPALIVE ECHO") -> bytes:
        """What OPL sends every three seconds while it has nothing else to say."""
        return self._ask(_ECHO, struct.pack("<H", 1), data)[1]

    def disconnect(self) -> None:
        """Leave the share and log off."""
        self._ask(_TREE_DISCONNECT)
        self._ask(_LOGOFF_ANDX, _ALONE)

    def disk(self) -> tuple[int, int]:
        """Units of the share's disk, in all and free; each has many bytes."""
        words, _, _ = self._ask(_QUERY_DISK)
        total, _, _, free = struct.unpack_from("<4H", words)
        return total, free

    # Files

    def open(self, path: str, *, write: bool = False, create: bool = False) -> tuple[int, int]:
        """Open a file as the menu does; gives its handle and size.

        Args:
            path: with backslashes, from the top of the share.
            write: not for reading alone.
            create: make it, and empty it if it is there.
        """
        access, attributes = (0x2019F, 0x80) if write else (0x20089, 0x01)
        name = _text(path)
        words = _ALONE + struct.pack(
            "<xHIIIQIIIIIB",
            *(len(name), 0, 0, access, 0, attributes),
            *(1, 5 if create else 1, 0, 2, 3),  # others may read; overwrite or make it, or open it
        )
        found, _, _ = self._ask(_NT_CREATE_ANDX, words, b"\0" + name)
        return int.from_bytes(found[5:7], "little"), int.from_bytes(found[55:63], "little")

    def open_in_game(self, path: str, *, write: bool = False) -> int:
        """Open a file as a running game does its disc or memory card; gives its handle."""
        words = _ALONE + struct.pack(
            "<HHHHIHI8x", 0, 2 if write else 0, 0, 0x80 if write else 0x01, 0, 1, 0
        )
        found, _, _ = self._ask(_OPEN_ANDX, words, b"\0" + _text(path))
        return int.from_bytes(found[4:6], "little")

    def close_file(self, handle: int) -> None:
        """Close an open file."""
        self._ask(_CLOSE, struct.pack("<HI", handle, 0))

    def read(self, handle: int, offset: int, size: int = READ_SIZE) -> bytes:
        """Read once; fewer bytes at the end of the file."""
        low, high = offset & 0xFFFFFFFF, offset >> 32
        words = _ALONE + struct.pack("<HIHHIHI", handle, low, size & 0xFFFF, 0, size >> 16, 0, high)
        found, data, _ = self._ask(_READ_ANDX, words)
        length, place, length_high = struct.unpack_from("<HHH", found, 10)
        length |= length_high << 16
        place -= _HEADER.size + 1 + len(found) + 2  # from the header to the bytes behind the words
        return data[place : place + length]

    def write(self, handle: int, offset: int, data: bytes) -> None:
        """Write once, saying that it is to reach the disk, as OPL does."""
        low, high = offset & 0xFFFFFFFF, offset >> 32
        words = _ALONE + struct.pack(
            "<HIIHHHHHI",
            *(handle, low, 0, 1, len(data) & 0xFFFF),
            *(len(data) >> 16, len(data) & 0xFFFF, _HEADER.size + 1 + 28 + 2 + 1, high),
        )
        found, _, _ = self._ask(_WRITE_ANDX, words, b"\0" + data)
        written = int.from_bytes(found[4:6], "little") | int.from_bytes(found[8:10], "little") << 16
        if written != len(data):
            raise OSError(f"the server wrote {written} bytes of {len(data)}")

    def delete(self, path: str) -> None:
        """Delete a file."""
        self._ask(_DELETE, struct.pack("<H", 0), b"\x04" + _text(path))

    def rename(self, path: str, new: str) -> None:
        """Rename a file or folder."""
        data = b"\x04" + _text(path) + b"\x04\0" + _text(new)
        self._ask(_RENAME, struct.pack("<H", 0), data)

    def make_folder(self, path: str) -> None:
        """Make a folder."""
        self._ask(_CREATE_FOLDER, b"", b"\x04" + _text(path))

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        self._ask(_DELETE_FOLDER, b"", b"\x04" + _text(path))

    # What there is

    def entries(self, path: str) -> Iterator[Entry]:
        """List a folder: one entry a request, with «.» and «..»."""
        asked = struct.pack("<HHHHI", 0x37, 1, 0x02 | 0x04, _BOTH_DIRECTORY_INFO, 0)
        found, data = self._transact(_FIND_FIRST2, asked + _text(f"{path}\\*"))
        search, count, is_last = struct.unpack_from("<HHH", found)
        while count:
            yield _entry(data)
            if is_last:
                return
            asked = struct.pack("<HHHIHx", search, 1, _BOTH_DIRECTORY_INFO, 0, 0x02 | 0x04 | 0x08)
            found, data = self._transact(_FIND_NEXT2, asked)
            count, is_last = struct.unpack_from("<HH", found)

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted."""
        found = (entry.name for entry in self.entries(path))
        return sorted(name for name in found if name not in (".", ".."))

    def details(self, path: str) -> Details:
        """What the server says of a file or folder by its path."""
        return self._details(_QUERY_PATH, lambda level: struct.pack("<HI", level, 0) + _text(path))

    def details_of_open(self, handle: int) -> Details:
        """What the server says of an open file."""
        return self._details(_QUERY_FILE, lambda level: struct.pack("<HH", handle, level))

    def _details(self, function: int, asked: Callable[[int], bytes]) -> Details:
        _, basic = self._transact(function, asked(_BASIC_INFO))
        _, standard = self._transact(function, asked(_STANDARD_INFO))
        _, internal = self._transact(function, asked(_INTERNAL_INFO))
        *times, attributes = struct.unpack_from("<qqqqI", basic)
        allocated, size, _, _, is_folder = struct.unpack_from("<QQIBB", standard)
        first, second, third, fourth = times
        return Details(
            size,
            allocated,
            attributes,
            (first, second, third, fourth),
            bool(is_folder),
            int.from_bytes(internal[:8], "little"),
        )

    # Packets

    def _log_on(self, user: str, proof: Callable[[bytes], bytes] | None) -> None:
        words, data, _ = self._ask(_NEGOTIATE, b"", b"\x02NT LM 0.12\0", unicode=False)
        if len(words) != 34:
            raise OSError("the server does not speak NT LM 0.12")
        key, key_length = words[15:19], words[33]
        challenge, domain = data[:key_length], data[key_length:].decode("utf-16-le")
        password = b"" if proof is None else proof(challenge)
        words = _ALONE + struct.pack(
            "<HHH4sHHII", 0xFFFF, 2, 1, key, 0, len(password), 0, _CAPABILITIES
        )
        names = (user, domain.split("\0")[0], "PlayStation 2", "SMBMAN")
        data = password + b"\0" + b"".join(map(_text, names))
        _, _, ids = self._ask(_SESSION_SETUP_ANDX, words, data)
        self._user = ids[1]

    def _transact(self, function: int, asked: bytes) -> tuple[bytes, bytes]:
        """One TRANSACTION2; gives the parameters and the data of the answer."""
        place = _HEADER.size + 1 + 30 + 2 + 3
        words = struct.pack(
            "<HHHHBBHIHHHHHBBH",
            *(len(asked), 0, 256, 4096 - 256, 0, 0, 0, 0, 0),
            *(len(asked), place, 0, place + len(asked), 1, 0, function),
        )
        found, data, _ = self._ask(_TRANSACTION2, words, bytes(3) + asked)
        _, _, _, count, at, _, data_count, data_at = struct.unpack_from("<8H", found)
        start = _HEADER.size + 1 + len(found) + 2
        at, data_at = at - start, data_at - start
        return data[at : at + count], data[data_at : data_at + data_count]

    def _ask(
        self, command: int, words: bytes = b"", data: bytes = b"", *, unicode: bool = True
    ) -> tuple[bytes, bytes, tuple[int, int]]:
        """One request; gives words and bytes of the answer, and its ids of tree and user."""
        flags = _CASELESS if command in _FIRST else _CANONICAL
        flags2 = _LONG_NAMES | _STATUS32 | (_UNICODE if unicode else 0)
        header = _HEADER.pack(b"\xffSMB", command, 0, flags, flags2, self._tree, 0, self._user, 0)
        packet = b"".join(
            (header, bytes((len(words) // 2,)), words, struct.pack("<H", len(data) & 0xFFFF), data)
        )
        self._socket.sendall(len(packet).to_bytes(4) + packet)
        answer = self._receive()
        magic, answered, status, _, _, tree, _, user, _ = _HEADER.unpack_from(answer)
        if magic != b"\xffSMB" or answered != command:
            raise OSError(f"the answer to 0x{command:02X} is of 0x{answered:02X}")
        if status:
            raise Refused(command, status)
        end = _HEADER.size + 1 + 2 * answer[_HEADER.size]
        return answer[_HEADER.size + 1 : end], answer[end + 2 :], (tree, user)

    def _receive(self) -> bytes:
        while True:
            head = self._receive_all(4)
            body = self._receive_all(int.from_bytes(head[1:]))
            if head[0] == 0:  # else it only says that it is still there
                return body

    def _receive_all(self, size: int) -> bytes:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            count = self._socket.recv_into(rest)
            if not count:
                raise OSError("the server hung up")
            rest = rest[count:]
        return bytes(data)


_FIRST = {_NEGOTIATE, _SESSION_SETUP_ANDX, _TREE_CONNECT_ANDX}
"""Commands of a connection's beginning, which OPL sends with other flags."""


def _text(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


def _entry(data: bytes) -> Entry:
    _, _, written, _, size, _, attributes, length, _, _, _ = _ENTRY.unpack_from(data)
    name = data[_ENTRY.size : _ENTRY.size + length].decode("utf-16-le")
    return Entry(name.rstrip("\0"), size, bool(attributes & _FOLDER), written)
