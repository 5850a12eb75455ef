"""What readers of a healthy disc notice when others hang on a dead disk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import NAMES, Discs, remove
from bench.measure import Figure, Figures, Occasion, Workload, percentile
from bench.mounting import served, unmount
from bench.servers import LZ4_2K, Contender, Served, zsofs_command
from bench.system import BenchError, Unavailable, mounts
from tests.support.ends import spawned

_PATIENCE = 20
"""Seconds after which a read of the healthy disc counts as hung itself."""

_HEALTHY = f"{NAMES[0]}.iso"
_DEAD = "dead"


_WITHOUT_ROOT = 8
"""Readers that may hang where the kernel's limit of 12 waiting background requests stays."""

_CONTROL = Path("/sys/fs/fuse/connections")
_OURS = "zsofs-bench"


@dataclass(frozen=True, kw_only=True)
class _BesideDeadDisk(Served):
    """A disc beside one that hangs.

    Attributes:
        client: the process that hangs.
        dead: the process that was stopped.
    """

    client: int
    dead: int


@contextmanager
def _fuse_control() -> Iterator[None]:
    """The file system where zsofs, as root, raises the limit of waiting requests of its mount.

    Every system with systemd has it mounted; a container may not.
    """
    if any(entry.path == _CONTROL for entry in mounts()):
        yield
        return
    command = ["mount", "-t", "fusectl", _OURS, str(_CONTROL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{_CONTROL} cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        unmount(_CONTROL)


def clear_hung_leftovers() -> None:
    """Undo what a benchmark that was killed has left mounted outside of its folder."""
    if any(entry.path == _CONTROL and entry.source == _OURS for entry in mounts()):
        unmount(_CONTROL)


@contextmanager
def _beside_a_dead_disk(readers: int, discs: Discs, point: Path) -> Iterator[Served]:
    """zsofs over a folder with a healthy disc and a FUSE mount that hangs under its readers."""
    packed = discs.packed(LZ4_2K)
    source = point.with_name(point.name + "-source")
    with ExitStack() as stack:
        if readers > _WITHOUT_ROOT:
            if os.geteuid() != 0:
                raise Unavailable("only root can raise the number of reads that may wait: 12")
            stack.enter_context(_fuse_control())
        remove(source)
        source.mkdir(parents=True)
        stack.callback(remove, source)
        healthy = source / f"{NAMES[0]}{LZ4_2K.suffix}"
        os.link(packed / healthy.name, healthy)
        below = source / _DEAD
        command = [sys.executable, "-m", "bench.dead_disk", str(packed), str(below)]
        dead = stack.enter_context(served(command, below, log=point.with_name("dead-disk.log")))
        pid = stack.enter_context(served(zsofs_command(source, point), point))
        os.listdir(point)
        os.listdir(point / _DEAD)
        with _hanging(point / _DEAD / _HEALTHY, readers, dead) as client:
            yield _BesideDeadDisk([point / _HEALTHY], [healthy], [pid], client=client, dead=dead)


@contextmanager
def _hanging(disc: Path, readers: int, server: int) -> Iterator[int]:
    """Have so many readers hang on *disc* by stopping its *server*; gives their process."""
    with spawned(
        [sys.executable, "-m", "bench.hang", str(disc), str(readers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            if not process.stdin or not process.stdout or not process.stdout.readline():
                raise BenchError("the readers that are to hang did not start")
            os.kill(server, signal.SIGSTOP)
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            time.sleep(0.5)
            yield process.pid
        finally:
            os.kill(server, signal.SIGCONT)
            process.kill()


def _measure(served: Served, occasion: Occasion) -> Figures:
    seconds = occasion.pick(5, 3)
    command = [sys.executable, "-m", "bench.healthy", str(served.discs[0])]
    command += [str(occasion.round), str(seconds), str(_PATIENCE)]
    if not isinstance(served, _BesideDeadDisk):
        raise TypeError("there is no dead disk")
    with spawned(command, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            still = len(os.listdir(f"/proc/{served.client}/task")) - 1
        finally:
            os.kill(served.dead, signal.SIGCONT)  # or a reader that hangs too would never end
            process.kill()
    if not line:
        raise BenchError("the reader of the healthy disc failed")
    reads, listings = json.loads(line)
    figures = {"hung": float(still)}
    for name, took in (("read", reads), ("list", listings)):
        if took:
            figures[f"{name}_p50_ms"] = percentile(took, 50)
            figures[f"{name}_p99_ms"] = percentile(took, 99)
            figures[f"{name}_worst_ms"] = max(took)
    return figures


HUNG = Workload(
    "hung",
    "A healthy disc while others hang on a dead disk",
    "The source folder holds a disc and, in a folder below, a FUSE mount whose server is stopped"
    " once its discs were listed and opened; so many readers then hang on one of them. Meanwhile"
    " another process reads 32 KiB of the healthy disc at random, eight times, then lists its"
    " folder and asks for the attributes of both, and pauses for 10 ms, for 5 s (3 in a quick run)."
    f" Something that takes {_PATIENCE} s counts as hung. Each run has a mount of its own.",
    {
        "hung": Figure("hung readers", ""),
        "read_p50_ms": Figure("read, median", "ms", 2),
        "read_p99_ms": Figure("read, 99th percentile", "ms", 2),
        "read_worst_ms": Figure("read, worst", "ms", 1),
        "list_p50_ms": Figure("listing, median", "ms", 2),
        "list_p99_ms": Figure("listing, 99th percentile", "ms", 2),
        "list_worst_ms": Figure("listing, worst", "ms", 1),
    },
    _measure,
    tuple(
        Contender(
            f"zsofs-{readers}-hung",
            f"zsofs LZ4 2 KiB, {readers} hang",
            "zsofs",
            partial(Discs.packed, packing=LZ4_2K),
            partial(_beside_a_dead_disk, readers),
        )
        for readers in (_WITHOUT_ROOT, 32)
    ),
    fresh=True,
)
