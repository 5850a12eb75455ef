"""CPU time of the daemon for each random 4 KiB read, of two builds in turn.

Run it as ``python -m bench.daemon_cpu BEFORE AFTER DISC [ROUNDS]``: two checkouts that are built,
and a packed disc. Both mount the same directory at the same time. In each round, both answer the
same reads, one after the other, and the second round begins with the other one. Medians of the
ratios are less disturbed by other programs than the two times themselves.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_SIZE = 4096
_READS = 1_000
_ROUNDS = 60


@contextmanager
def _served(checkout: Path, source: Path, work: Path) -> Iterator[tuple[Path, int]]:
    """Mount *source*; yield the disc and the process of the daemon."""
    point = Path(tempfile.mkdtemp(dir=work))
    command = [sys.executable, "-m", "zsofs", "mount", "-f", str(source), str(point)]
    daemon = subprocess.Popen(command, cwd=checkout)
    try:
        while not os.path.ismount(point):
            assert daemon.poll() is None
            time.sleep(0.05)
        (disc,) = point.iterdir()
        yield disc, daemon.pid
    finally:
        subprocess.run(["fusermount3", "-u", str(point)], check=True)
        daemon.wait(60)


def _cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _cost(disc: Path, pid: int, seed: int) -> float:
    """Read at random; return the CPU time of the daemon for each read in microseconds."""
    fd = os.open(disc, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        blocks = os.fstat(fd).st_size // _SIZE
        places = random.Random(seed).sample(range(blocks), min(_READS, blocks))
        buffer = [bytearray(_SIZE)]
        before = _cpu_ns(pid)
        for place in places:
            os.preadv(fd, buffer, place * _SIZE)
        return (_cpu_ns(pid) - before) / len(places) / 1000
    finally:
        os.close(fd)


def main(before: str, after: str, disc: str, rounds: int = _ROUNDS) -> None:
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        source = Path(work) / "source"
        source.mkdir()
        shutil.copy(disc, source)
        served = [
            stack.enter_context(_served(Path(checkout), source, Path(work)))
            for checkout in (before, after)
        ]
        for one in served:
            _cost(*one, -1)
        found: tuple[list[float], list[float]] = ([], [])
        for seed in range(rounds):
            for which in (0, 1) if seed % 2 else (1, 0):
                found[which].append(_cost(*served[which], seed))
    ratios = [new / old for old, new in zip(*found, strict=True)]
    print(f"before: {statistics.median(found[0]):.2f} us, after: {statistics.median(found[1]):.2f}")
    quartiles = statistics.quantiles(ratios)
    print(
        f"ratio: median {statistics.median(ratios):.4f}, quartiles {quartiles[0]:.4f} to"
        f" {quartiles[2]:.4f}, {len(ratios)} rounds of {_READS} reads"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
