"""Reads a disc at random and lists its folder, and says what each took.

Run it as ``python -m bench.healthy DISC SEED SECONDS PATIENCE``; it prints two lists of
milliseconds as JSON: of reads, and of listings with a look at the disc's attributes. If one of them
takes longer than PATIENCE seconds, it counts as what it has taken so far and is the last one.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = 32 << 10
_READS_TO_A_LISTING = 8
_PAUSE_SECONDS = 0.01
"""Between listings: asked without a pause, nearly all would be answered from what is known."""


class Client:
    def __init__(self, path: Path, seed: int, seconds: float) -> None:
        self.took: dict[str, list[float]] = {"reads": [], "listings": []}
        self.under_way = ""
        self.begun = time.perf_counter()
        self._path = path
        self._random = random.Random(seed)
        self._seconds = seconds

    def work(self) -> None:
        fd = os.open(self._path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        places = list(range(os.fstat(fd).st_size // _SIZE))
        self._random.shuffle(places)
        buffer = [bytearray(_SIZE)]
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            for _ in range(_READS_TO_A_LISTING):
                if not places:
                    return
                place = places.pop() * _SIZE
                with self._timed("reads"):
                    os.preadv(fd, buffer, place)
            with self._timed("listings"):
                os.listdir(self._path.parent)
                os.stat(self._path.parent)
                os.stat(self._path)
            time.sleep(_PAUSE_SECONDS)

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        self.begun = time.perf_counter()
        self.under_way = kind
        yield
        self.took[kind].append((time.perf_counter() - self.begun) * 1e3)
        self.under_way = ""


def main(path: str, seed: str, seconds: str, patience: str) -> None:
    client = Client(Path(path), int(seed), float(seconds))
    thread = threading.Thread(target=client.work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        waited = time.perf_counter() - client.begun
        if client.under_way and waited > float(patience):
            client.took[client.under_way].append(waited * 1e3)
            break
    print(json.dumps([client.took["reads"], client.took["listings"]]), flush=True)
    os._exit(0)  # a thread may hang


if __name__ == "__main__":
    main(*sys.argv[1:])
