"""Process and program of a thread, from /proc."""

import re
from pathlib import Path


def process_of(thread: int) -> tuple[int, bytes]:
    """Return process ID and program of a thread ID, which is what the kernel reports for an open.

    If the thread has ended, its own number is returned and the program is empty; another process
    may use the file that it opened. Reading this never waits for a disk.
    """
    try:
        said = (Path("/proc") / str(thread) / "status").read_bytes()
        found = re.search(rb"^Tgid:\s*(\d+)$", said, re.M)
        pid = int(found[1]) if found else thread
        return pid, (Path("/proc") / str(pid) / "comm").read_bytes().strip()
    except OSError:
        return thread, b""
