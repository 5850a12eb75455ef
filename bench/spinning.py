"""Starts of a game from a hard disk: the first, the second, one that diverges, and a plain ISO.

Run it as ``python -m bench.spinning [--rounds N] [--reader NAME] [--spin-up]``, as root. The disk
is that of :mod:`bench.spinning_disk`, with an ext4. Before each start, everything is mounted again,
so that nothing of the disc is in memory; the library was scanned before the first one. The starts
of a round follow each other, and are compared in pairs.

On a busy machine, a read also waits for the processor. So the time in which the disk was at work
during a read is reported apart; that is what a trace can change.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.discs import NAMES, Discs
from bench.game_starts import READERS, Played, Step, play, start_of_game, without_pauses
from bench.mounting import served, unmount
from bench.servers import LZ4_2K
from bench.slow_disk import write_disk
from bench.system import BenchError, Unavailable, set_read_ahead_kb

_SIZE = 768
LEAST_SIZE = 640
"""MB of a disc that has room for all that a game reads."""

_SCHEDULER = "mq-deadline"
_READ_AHEAD_KB = 128
_DISC = f"{NAMES[0]}.iso"
_PLAIN = f"plain/{NAMES[0]}.iso"
_STORED = f"packed/{NAMES[0]}{LZ4_2K.suffix}"
_DIVERGENCE = 0.5

Used = TypeVar("Used")
Request = tuple[float, float, int, int]


@dataclass(frozen=True)
class Start:
    """One start of a game.

    Attributes:
        played: its reads.
        requests: of the disk: begin and end in seconds of the monotonic clock, offset and size.
        at_disk: seconds in which the disk was at work, for each of them.
        disk_bytes: bytes that the disk read.
        seeks: how often its arm moved.
        preload: what ``zsofs status`` says of reading ahead by the trace.
    """

    played: Played
    requests: list[Request]
    at_disk: list[float]
    disk_bytes: int
    seeks: int
    preload: dict[str, int]


def disk_image(discs: Discs) -> Path:
    files = {_PLAIN: discs.image(), _STORED: discs.container(LZ4_2K)}
    return discs.made("spinning.ext4", lambda target: write_disk(target, files))


@contextmanager
def _spinning(image: Path, work: Path) -> Iterator[tuple[Path, Path, int]]:
    """Mount the disk; yields where its ext4 is, its counters, and the process that is the disk."""
    disk, files = work / "disk", work / "files"
    command = [sys.executable, "-m", "bench.spinning_disk", str(image), str(disk)]
    with served(command, disk) as pid:
        options = ["--direct-io=on", "--read-only", "--find", "--show"]
        device = _run("losetup", *options, str(disk / "disk"))
        try:
            queue = Path("/sys/block") / Path(device).name / "queue"
            (queue / "rotational").write_text("1")
            (queue / "scheduler").write_text(_SCHEDULER)
            files.mkdir(exist_ok=True)
            _run("mount", "-t", "ext4", "-o", "ro,noload", device, str(files))
            try:
                set_read_ahead_kb(files, _READ_AHEAD_KB)
                yield files, disk / "counters", pid
            finally:
                unmount(files)
        finally:
            _run("losetup", "-d", device)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


class Bench:
    """Starts of one game.

    Args:
        image: the disk.
        work: a directory for mounts.
        read_size: bytes of a read.
        asleep: whether the disk sleeps before each start.
    """

    def __init__(
        self, image: Path, work: Path, read_size: int = READERS["pcsx2"], *, asleep: bool = False
    ) -> None:
        self._image = image
        self._work = work
        self._read_size = read_size
        self._asleep = asleep

    def plain(self, steps: list[Step]) -> Start:
        """Start it from the plain ISO on that disk."""
        with _spinning(self._image, self._work) as (files, counters, pid):
            return self._started(files / _PLAIN, counters, pid, steps)

    def mounted(self, steps: list[Step], cache: Path, *options: str) -> Start:
        """Start it from a mount, whose scan cache is in *cache*."""
        return self._serve(
            cache,
            lambda point, counters, pid: self._started(point / _DISC, counters, pid, steps, point),
            *options,
        )

    def scan(self, cache: Path) -> None:
        """Have a mount scan the library, as the first one does."""
        self._serve(cache, lambda point, *_: (point / _DISC).stat())

    def recorded(self, steps: list[Step], cache: Path) -> None:
        """Have a start recorded, without its pauses."""
        self._serve(
            cache,
            lambda point, *_: play(point / _DISC, without_pauses(steps), self._read_size),
        )

    def _serve(self, cache: Path, use: Callable[[Path, Path, int], Used], *options: str) -> Used:
        point = self._work / "point"
        command = ["env", f"XDG_CACHE_HOME={cache}", sys.executable, "-m", "zsofs", "mount", "-f"]
        with _spinning(self._image, self._work) as (files, counters, pid):
            command += ["-q", *options, str(files / "packed"), str(point)]
            with served(command, point):
                return use(point, counters, pid)

    def _started(
        self, disc: Path, counters: Path, pid: int, steps: list[Step], point: Path | None = None
    ) -> Start:
        disc.stat()
        if self._asleep:
            os.kill(pid, signal.SIGUSR1)
        before = json.loads(counters.read_text())
        played = play(disc, steps, self._read_size)
        after = json.loads(counters.read_text())
        preload: dict[str, int] = {}
        if point is not None:
            status = _run(sys.executable, "-m", "zsofs", "status", "--json", str(point))
            preload = json.loads(status).get("preload") or {}
        requests = json.loads(counters.with_name("requests").read_text())
        size, seeks, spin_ups = (
            after[name] - before[name] for name in ("bytes", "seeks", "spin_ups")
        )
        if spin_ups != self._asleep:
            raise BenchError(f"the disk spun up {spin_ups} times")
        return Start(played, requests, _at_disk(played, requests), size, seeks, preload)


def _at_disk(played: Played, requests: list[Request]) -> list[float]:
    """Return for how many seconds of each read the disk was at work, for whomever."""
    found = []
    for (begun, _), wait in zip(played.reads, played.waits, strict=True):
        ended = begun + wait
        overlaps = (min(end, ended) - max(begin, begun) for begin, end, *_ in requests)
        found.append(sum(max(overlap, 0.0) for overlap in overlaps))
    return found


KINDS = ("plain", "first", "second", "diverging", "diverging, without")


def start(bench: Bench, work: Path, seed: int, size: int, kind: str) -> Start:
    """Return one of the KINDS of starts of the game *seed*, on a disc of *size* bytes."""
    steps, other = start_of_game(size, seed), start_of_game(size, seed, _DIVERGENCE)
    if kind == "plain":
        return bench.plain(steps)
    cache = work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    bench.scan(cache)
    if kind == "first":
        return bench.mounted(steps, cache)
    if kind == "diverging, without":
        return bench.mounted(other, cache, "--no-preload")
    bench.recorded(steps, cache)
    return bench.mounted(steps if kind == "second" else other, cache)


def _round(
    bench: Bench, work: Path, seed: int, kinds: Sequence[str], longest: int
) -> dict[str, Start]:
    found = {}
    for name in kinds:
        one = found[name] = start(bench, work, seed, _SIZE << 20, name)
        print(
            f"  {name:20} waited {one.played.waited:6.2f} s in {len(one.played.waits)} reads,"
            f" longest {max(one.played.waits) * 1e3:6.1f} ms; at the disk {sum(one.at_disk):6.2f}"
            f" s, longest {max(one.at_disk) * 1e3:6.1f} ms; disk {one.disk_bytes / 1e6:6.1f} MB,"
            f" {one.seeks} seeks; {one.preload}",
            flush=True,
        )
        for line in _explained(one, longest):
            print(line, flush=True)
    return found


def _explained(one: Start, count: int) -> Iterator[str]:
    """Yield the longest waits at the disk, and what the disk did meanwhile, in milliseconds."""
    order = sorted(range(len(one.at_disk)), key=lambda at: -one.at_disk[at])
    for at in sorted(order[:count]):
        begun, place = one.played.reads[at]
        ended = begun + one.played.waits[at]
        meanwhile = [
            f"[{(begin - begun) * 1e3:.0f} to {(end - begun) * 1e3:.0f}: {size >> 10} KiB at"
            f" {offset / 1e6:.2f} MB]"
            for begin, end, offset, size in one.requests
            if end > begun and begin < ended
        ]
        since = begun - one.played.reads[0][0]
        yield (
            f"    {since:6.2f} s, read {at} at {place / 1e6:.2f} MB:"
            f" {one.at_disk[at] * 1e3:.1f} ms: {' '.join(meanwhile)}"
        )


def _waited(start: Start) -> float:
    return start.played.waited


def _longest(start: Start) -> float:
    return max(start.played.waits)


def _at_disk_all(start: Start) -> float:
    return sum(start.at_disk)


def _longest_at_disk(start: Start) -> float:
    return max(start.at_disk)


_RATIOS = (
    ("waiting, second : first", "second", "first", _waited, 0.35),
    ("waiting, second : plain ISO", "second", "plain", _waited, 0.35),
    ("longest wait, second : first", "second", "first", _longest, 0.5),
    ("at the disk, second : first", "second", "first", _at_disk_all, 0.35),
    ("longest at the disk, second : first", "second", "first", _longest_at_disk, 0.5),
    ("waiting, diverging : without", "diverging", "diverging, without", _waited, 1.05),
    ("at the disk, diverging : without", "diverging", "diverging, without", _at_disk_all, 1.05),
)


def _report(rounds: list[dict[str, Start]]) -> None:
    for name, one, other, measure, most in _RATIOS:
        ratios = sorted(
            measure(each[one]) / measure(each[other])
            for each in rounds
            if {one, other} <= each.keys()
        )
        if not ratios:
            continue
        middle = statistics.median(ratios)
        print(
            f"{name:36} {middle:5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), target {most}:"
            f" {'met' if middle <= most else 'not met'}"
        )
    for name in ("second", "diverging"):
        shares = sorted(wasted(each[name]) for each in rounds if name in each)
        if shares:
            middle = statistics.median(shares)
            print(f"{'wasted, ' + name:36} {middle:5.2f} ({shares[0]:.2f} to {shares[-1]:.2f})")


def wasted(start: Start) -> float:
    """Return the part of what was read ahead that was not read afterwards."""
    done = start.preload
    return done.get("wasted_bytes", 0) / max(done.get("fetched_bytes", 0), 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.spinning", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reader", choices=READERS, default="pcsx2")
    parser.add_argument("--only", choices=KINDS, action="append")
    parser.add_argument("--longest", type=int, default=0, metavar="N", help="explain N waits")
    parser.add_argument("--seed", type=int, default=0, help="of the first game")
    parser.add_argument("--spin-up", action="store_true")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "zsofs-bench")
    options = parser.parse_args()
    image = disk_image(Discs(options.work, _SIZE))
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        bench = Bench(image, work, READERS[options.reader], asleep=options.spin_up)
        rounds = []
        for seed in range(options.seed, options.seed + options.rounds):
            load = os.getloadavg()[0]
            print(f"game {seed}, {options.reader}, load {load:.1f}", flush=True)
            rounds.append(_round(bench, work, seed, options.only or KINDS, options.longest))
        if not options.spin_up:  # which is the longest wait of every start
            _report(rounds)


if __name__ == "__main__":
    main()
