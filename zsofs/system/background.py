"""Low priority of a process in the background, and its end with the process that started it."""

import ctypes
import os
import platform
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "loongarch64": 30, "armv7l": 314}
"""Numbers of ioprio_set(2), for which the C library has no function."""
_WHO_PROCESS = 1
_CLASS_IDLE = 3 << 13
"""IOPRIO_CLASS_IDLE in ``linux/ioprio.h``: served when no other program uses the disk, where the
scheduler has classes (BFQ)."""
_NICEST = 19


def run_in_background(parent: int) -> None:
    """Give this process the lowest priority for processors and disks, and end it with its parent.

    Args:
        parent: process ID of the parent; this process ends at once if it has another one already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    with suppress(OSError):  # a sandbox may forbid it
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        libc.syscall(number, _WHO_PROCESS, 0, _CLASS_IDLE)
