"""The native functions for CDs, compiled for tests: as a library, and with sanitizers."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.chd_reference_cd import FRAME, SUBCODE

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "tests" / "support" / "cd_harness.c"

Unpack = Callable[[bytes, int], bytes]
"""Decodes bytes to at most so many; raises ValueError for what is damaged."""

REFUSED_BY_CALLER = 7

_DECODER = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint8),
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_uint8),
    ctypes.c_size_t,
)


def compiled(to: Path, *options: str) -> Path:
    """Compile the harness, and return where it is."""
    command = ["cc", *options, "-I", str(ROOT / "zsofs" / "native"), str(HARNESS), "-o", str(to)]
    subprocess.run(command, check=True, timeout=120)
    return to


class Library:
    """The functions of zsofs/native/cd_frames.h, with decoders of Python's."""

    def __init__(self, folder: Path) -> None:
        path = compiled(folder / "cd.so", "-O2", "-shared", "-fPIC", "-Wall", "-Werror",
                        "-Wno-unused-function")  # fmt: skip
        self._native = ctypes.CDLL(str(path))
        self._native.harness_start()

    def flac(self, data: bytes, size: int, *, big_endian: bool = True) -> tuple[bytes, int] | None:
        """The samples, and where the frames end; None if they are refused."""
        out = ctypes.create_string_buffer(size or 1)
        used = ctypes.c_size_t()
        length = ctypes.c_size_t(len(data))
        good = self._native.harness_flac(
            data, length, out, ctypes.c_size_t(size), int(big_endian), ctypes.byref(used)
        )
        return (out.raw[:size], used.value) if good else None

    def plain_flac(self, data: bytes, size: int) -> bytes | int:
        """A hunk of `flac`; the number of the failure if there is one."""
        out = ctypes.create_string_buffer(size or 1)
        length = ctypes.c_size_t(len(data))
        code: int = self._native.harness_plain_flac(data, length, out, ctypes.c_size_t(size))
        return code or out.raw[:size]

    def cd(
        self, data: bytes, size: int, base: Unpack, subcode: Unpack, *, later: bool = False
    ) -> bytes | int:
        """A hunk of `cdlz`, `cdzl` or `cdzs`; with *later*, parity is rebuilt frame by frame."""
        out = ctypes.create_string_buffer(size or 1)
        frames = size // FRAME
        scratch = ctypes.create_string_buffer(frames * SUBCODE or 1)
        flagged = ctypes.create_string_buffer((frames + 7) // 8 or 1)
        code: int = self._native.harness_cd(
            data,
            ctypes.c_size_t(len(data)),
            out,
            ctypes.c_size_t(size),
            _decoder(base),
            _decoder(subcode),
            scratch,
            flagged if later else None,
        )
        if code:
            return code
        if later:
            for number in reversed(range(frames)):
                self.rebuild(out, number, 1, flagged)
        return out.raw[:size]

    def cd_flac(self, data: bytes, size: int, subcode: Unpack) -> bytes | int:
        """A hunk of `cdfl`."""
        out = ctypes.create_string_buffer(size or 1)
        scratch = ctypes.create_string_buffer(size // FRAME * SUBCODE or 1)
        length = ctypes.c_size_t(len(data))
        code: int = self._native.harness_cd_flac(
            data, length, out, ctypes.c_size_t(size), _decoder(subcode), scratch
        )
        return code or out.raw[:size]

    def rebuild(
        self, frames: ctypes.Array[ctypes.c_char], first: int, count: int, flagged: object
    ) -> None:
        """Rebuild the flagged of *count* frames."""
        self._native.harness_rebuild(
            frames, ctypes.c_size_t(first), ctypes.c_size_t(count), flagged
        )

    def parity(self, sectors: ctypes.Array[ctypes.c_char], count: int) -> None:
        """Compute the parity of *count* sectors in place."""
        self._native.harness_parity(sectors, ctypes.c_size_t(count))


def _decoder(unpack: Unpack) -> object:
    def decode(_context: object, source: object, size: int, out: object, out_size: int) -> int:
        data = ctypes.string_at(source, size)  # type: ignore[arg-type]
        try:
            plain = unpack(data, out_size)
        except ValueError:
            return REFUSED_BY_CALLER
        if len(plain) != out_size:
            return REFUSED_BY_CALLER
        ctypes.memmove(out, plain, out_size)  # type: ignore[arg-type]
        return 0

    return _DECODER(decode)
