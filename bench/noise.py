"""A program that reads the second half of a file at random until it is killed or alone.

Run it as ``python -m bench.noise PATH``; it says ``ready`` when it has begun.
"""

import os
import random
import sys

_SIZE = 32 << 10


def main(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    count = os.fstat(fd).st_size // _SIZE
    places = list(range(count // 2, count))
    buffer = [bytearray(_SIZE)]
    print("ready", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        random.shuffle(places)
        for place in places:
            os.preadv(fd, buffer, place * _SIZE)
        os.posix_fadvise(fd, count // 2 * _SIZE, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main(sys.argv[1])
