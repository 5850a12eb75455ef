"""Random reads one after another, by fio or, where that is missing, by a loop of our own."""

import json
import os
import random
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import Figure, Figures, Occasion, Workload, percentile
from bench.servers import CONTENDERS, Served
from bench.system import BenchError

_COUNTS = {4: 10_000, 8: 10_000, 32: 6_000, 128: 3_000}
"""Reads in one run, for each size in KiB; no place is read twice in a run."""

_SLOW = ("ratarmount-zst", "ratarmount-gz")
"""Measured with two sizes only, as each of their runs takes all the time that it may."""

_FIGURES = {
    "iops": Figure("reads/s", "1/s"),
    "p50_us": Figure("median latency", "µs"),
    "p99_us": Figure("99th percentile", "µs"),
}


def read_randomly(kib: int, served: Served, occasion: Occasion) -> Figures:
    """Read *kib* KiB from here and there on the first disc, one read after another."""
    blocks = occasion.image_size // (kib << 10)
    count = min(blocks, occasion.pick(_COUNTS[kib], _COUNTS[kib] // 5))
    seconds = occasion.pick(4, 1)
    fio = shutil.which("fio")
    if fio:
        return _with_fio(fio, served.discs[0], kib, count, seconds, occasion.round)
    return _with_python(served.discs[0], kib << 10, count, seconds, occasion.round)


def _with_fio(
    fio: str, path: Path, kib: int, count: int, seconds: int, round_number: int
) -> Figures:
    command = [fio, "--name=random", f"--filename={_escaped(path)}", "--readonly", "--thread"]
    command += ["--ioengine=psync", "--rw=randread", f"--bs={kib}k", "--norandommap=0"]
    command += ["--clocksource=clock_gettime"]  # starts sooner: nothing to calibrate
    command += [f"--number_ios={count}", f"--runtime={seconds}", f"--randseed={round_number + 1}"]
    done = subprocess.run(
        [*command, "--output-format=json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"fio failed: {done.stderr.strip()}")
    job: dict[str, Any] = json.loads(done.stdout)["jobs"][0]["read"]
    latency = job["clat_ns"]["percentile"]
    return {
        "iops": float(job["iops"]),
        "p50_us": latency["50.000000"] / 1000,
        "p99_us": latency["99.000000"] / 1000,
    }


def _escaped(path: Path) -> str:
    """fio takes a colon as the start of another file's name."""
    return str(path).replace(":", "\\:")


def _with_python(path: Path, size: int, count: int, seconds: int, round_number: int) -> Figures:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # as fio does
        blocks = os.fstat(fd).st_size // size
        buffer = [bytearray(size)]
        latencies = []
        begin = time.perf_counter()
        for block in random.Random(round_number).sample(range(blocks), count):
            before = time.perf_counter()
            os.preadv(fd, buffer, block * size)
            after = time.perf_counter()
            latencies.append((after - before) * 1e6)
            if after - begin > seconds:
                break
        took = time.perf_counter() - begin
    finally:
        os.close(fd)
    return {
        "iops": len(latencies) / took,
        "p50_us": percentile(latencies, 50),
        "p99_us": percentile(latencies, 99),
    }


_TOOL = "fio (psync, randread, each place at most once)" if shutil.which("fio") else "a Python loop"

RANDOM_READS = tuple(
    Workload(
        f"random-{kib}k",
        f"Random {kib} KiB reads, one at a time",
        f"{_TOOL}: {count:,} reads of {kib} KiB (a fifth in a quick run) or 4 s (1), whichever is"
        " less, the same places for all; the mount's pages are dropped before. (The"
        " kernel's squashfs unpacks whole blocks into the page cache, so some of its reads are"
        " there already.)",
        _FIGURES,
        partial(read_randomly, kib),
        tuple(c for c in CONTENDERS if kib in (4, 32) or c.name not in _SLOW),
    )
    for kib, count in _COUNTS.items()
)
