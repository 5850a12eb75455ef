"""Readers of one disc, each of another place, that all hang if the disc does.

Run it as ``python -m bench.hang DISC COUNT``. It opens the disc, says ``open``, waits for a line,
begins to read, and says ``reading``. Each thread ends when its read does.
"""

import os
import sys
import threading
from contextlib import suppress

_SIZE = 32 << 10


def main(path: str, count: int) -> None:
    size = os.stat(path).st_size
    opened = [os.open(path, os.O_RDONLY) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.readline()
    for number, fd in enumerate(opened):
        place = (number + 1) * size // (count + 2) // _SIZE * _SIZE
        threading.Thread(target=_read, args=(fd, place), daemon=True).start()
    print("reading", flush=True)
    sys.stdin.readline()


def _read(fd: int, place: int) -> None:
    with suppress(OSError):
        os.pread(fd, _SIZE, place)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
