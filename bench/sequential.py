"""Reading discs from end to end.

Run as ``python -m bench.sequential PATH SIZE BEFORE`` it reads all of the file BEFORE, then so many
bytes of PATH, and prints the seconds that those took.
"""

import os
import sys
import threading
import time
from pathlib import Path

from bench.decoding import ONE_CORE, Packed
from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb, percentile
from bench.payload import MB
from bench.servers import CONTENDERS, OWN_READ_AHEAD, Served
from bench.system import cpu_seconds, drop_pages, peak_memory_mb


def read_through(path: Path, start: int, size: int, step: int = MB) -> list[float]:
    """Read so many bytes in order; gives what each read took, in seconds."""
    took = []
    buffer = [bytearray(step)]
    fd = os.open(path, os.O_RDONLY)
    try:
        for offset in range(start, start + size, step):
            before = time.perf_counter()
            if not os.preadv(fd, buffer, offset):
                raise OSError(f"{path.name} ends at {offset}")
            took.append(time.perf_counter() - before)
    finally:
        os.close(fd)
    return took


def _sequential(served: Served, occasion: Occasion) -> Figures:
    size = occasion.image_size
    if isinstance(served, Packed):
        served.decode(served.container)
        return {"cold_mbs": per_second_mb(size, served.decode(served.container))}
    disc = served.discs[0]
    # Twice, so that the memory for the pages is there: a virtual machine may have to ask for it.
    read_through(disc, 0, size)
    drop_pages(disc)
    cpu_before = cpu_seconds(served.pids)
    cold = sum(read_through(disc, 0, size))
    cpu = cpu_seconds(served.pids) - cpu_before
    cpu_before = cpu_seconds(served.pids)
    warm = sum(read_through(disc, 0, size))
    warm_cpu = cpu_seconds(served.pids) - cpu_before
    figures = {"cold_mbs": per_second_mb(size, cold), "warm_mbs": per_second_mb(size, warm)}
    if served.pids:
        figures["cpu_s_per_gb"] = cpu / (size / 1e9)
        figures["warm_cpu_ms"] = warm_cpu * 1e3
    return figures


def _opl(served: Served, occasion: Occasion) -> Figures:
    size = min(occasion.pick(64 * MB, 16 * MB), occasion.image_size)
    start = occasion.places("opl", 1, size, MB)[0]
    took = read_through(served.discs[0], start, size, 8192)
    return {
        "mbs": per_second_mb(size, sum(took)),
        "p99_us": percentile(took, 99) * 1e6,
        "worst_ms": max(took) * 1e3,
    }


def _four(served: Served, occasion: Occasion) -> Figures:
    readers = len(served.discs)
    if readers < 4:
        return {}
    part = occasion.image_size // readers // MB * MB
    ends: list[float] = []

    def read(number: int) -> None:
        read_through(served.discs[number], number * part, part)
        ends.append(time.perf_counter())

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    if len(ends) < readers:
        raise OSError("a reader failed")
    return {
        "mbs": per_second_mb(readers * part, max(ends) - begin),
        "first_to_last": (max(ends) - begin) / (min(ends) - begin),
    }


def _memory(served: Served, occasion: Occasion) -> Figures:
    return {"peak_mb": peak_memory_mb(served.pids)} if served.pids else {}


SEQUENTIAL = Workload(
    "sequential",
    "A whole disc in order, 1 MiB reads",
    "After a pass that is not counted, one with the mount's pages dropped and the packed file in"
    " memory (cold), and at once another from the page cache (warm). Processor time"
    " is that of the server's process: in the cold pass, and in the warm one, where nothing should"
    " reach it. «Own read-ahead» leaves the read_ahead_kb that zsofs sets by itself.",
    {
        "cold_mbs": Figure("cold", "MB/s"),
        "warm_mbs": Figure("warm", "MB/s"),
        "cpu_s_per_gb": Figure("server CPU", "s/GB", 2),
        "warm_cpu_ms": Figure("server CPU, warm", "ms", 1),
    },
    _sequential,
    (*CONTENDERS, *OWN_READ_AHEAD, *ONE_CORE),
)

OPL = Workload(
    "opl",
    "OPL: 8 KiB reads in order, one at a time",
    "64 MiB (16 in a quick run) from some place on, as Open PS2 Loader asks a share for it; the"
    " mount's pages are dropped before.",
    {
        "mbs": Figure("throughput", "MB/s"),
        "p99_us": Figure("99th percentile", "µs"),
        "worst_ms": Figure("worst", "ms", 1),
    },
    _opl,
)

FOUR = Workload(
    "four-readers",
    "Four readers on four discs",
    "The disc under four names, each with its own pages; four threads each read another quarter in"
    " 1 MiB reads at the same time; pages dropped before. Servers whose mount shows one disc take"
    " no part.",
    {
        "mbs": Figure("together", "MB/s"),
        "first_to_last": Figure("last / first to end", "", 2),
    },
    _four,
)

MEMORY = Workload(
    "memory",
    "Memory of the server",
    "VmHWM of the server's process after all other measurements of a round.",
    {"peak_mb": Figure("peak", "MB")},
    _memory,
)


if __name__ == "__main__":
    read_through(Path(sys.argv[3]), 0, Path(sys.argv[3]).stat().st_size)
    print(sum(read_through(Path(sys.argv[1]), 0, int(sys.argv[2]))))
