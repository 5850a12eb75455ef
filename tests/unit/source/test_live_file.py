"""What is written through a handle, and what the kernel keeps of it in memory."""

import ctypes
import os
from pathlib import Path

import pytest

from tests.support.mounting import is_in_memory
from zsofs.source.live_file import LiveFile

_CACHESTAT = 451
"""The number of cachestat(2), on x86-64 and arm64; Linux 6.5 and later have it."""

_libc = ctypes.CDLL(None, use_errno=True)

WRITE = 1 << 17
MIB = 1 << 20


def dirty_bytes(fd: int) -> int:
    """How much of a file is in memory and not yet on its way to the disk."""
    whole, counts = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    if _libc.syscall(_CACHESTAT, fd, ctypes.byref(whole), ctypes.byref(counts), 0):
        pytest.skip(f"no cachestat: {os.strerror(ctypes.get_errno())}")
    return counts[1] * os.sysconf("SC_PAGESIZE")


def test_the_kernel_does_not_collect_what_is_copied(tmp_path: Path) -> None:
    if is_in_memory(tmp_path):
        pytest.skip("no disk")
    fd = os.open(tmp_path / "New.iso", os.O_RDWR | os.O_CREAT)
    live = LiveFile(fd, os.fstat(fd).st_dev, writable=True, readable=True, appends=False)
    live.is_copy = True
    try:
        for offset in range(0, 16 * MIB, WRITE):
            live.write(offset, os.urandom(WRITE), offset)
            assert dirty_bytes(fd) < 2 * MIB
    finally:
        live.close()
