"""Starts of a game from a hard disk: the first, the second, one that diverges, and a plain ISO.

Run it as ``python -m bench.spinning [--rounds N] [--reader NAME] [--spin-up]``, as root. The disk
is that of :mod:`bench.spinning_disk`, with an ext4. Before each start, everything is mounted again,
so that nothing of the disc is in memory. The starts of a round follow each other, and are compared
in pairs.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.discs import NAMES, Discs
from bench.game_starts import READERS, Played, Step, play, start_of_game
from bench.mounting import served, unmount
from bench.servers import LZ4_2K
from bench.slow_disk import write_disk
from bench.system import set_read_ahead_kb

_SIZE = 768
_SCHEDULER = "mq-deadline"
_READ_AHEAD_KB = 128
_PLAIN = f"plain/{NAMES[0]}.iso"
_STORED = f"packed/{NAMES[0]}{LZ4_2K.suffix}"
_DIVERGENCE = 0.5


@dataclass(frozen=True)
class Start:
    """One start of a game.

    Attributes:
        played: its reads.
        disk_bytes: bytes that the disk read.
        seeks: how often its arm moved.
        preload: what ``zsofs status`` says of reading ahead by the trace.
    """

    played: Played
    disk_bytes: int
    seeks: int
    preload: dict[str, int]


def _disk_image(discs: Discs) -> Path:
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
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Bench:
    """Starts of one game.

    Args:
        image: the disk.
        work: a directory for mounts.
        read_size: bytes of a read.
        asleep: whether the disk sleeps before each start.
    """

    def __init__(self, image: Path, work: Path, read_size: int, *, asleep: bool) -> None:
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
        point = self._work / "point"
        command = ["env", f"XDG_CACHE_HOME={cache}", sys.executable, "-m", "zsofs", "mount", "-f"]
        with _spinning(self._image, self._work) as (files, counters, pid):
            command += ["-q", *options, str(files / "packed"), str(point)]
            with served(command, point):
                return self._started(point / f"{NAMES[0]}.iso", counters, pid, steps, point)

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
        size, seeks = (after[name] - before[name] for name in ("bytes", "seeks"))
        return Start(played, size, seeks, preload)


def _round(bench: Bench, work: Path, seed: int) -> dict[str, Start]:
    size = _SIZE << 20
    steps, other = start_of_game(size, seed), start_of_game(size, seed, _DIVERGENCE)
    cache = work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    found = {"plain": bench.plain(steps), "first": bench.mounted(steps, cache)}
    kept = work / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(cache, kept)
    found["second"] = bench.mounted(steps, cache)
    found["diverging"] = bench.mounted(other, kept)
    found["diverging, without"] = bench.mounted(other, work / "none", "--no-preload")
    for name, start in found.items():
        played = start.played
        print(
            f"  {name:20} waited {played.waited:6.2f} s in {len(played.waits)} reads, longest"
            f" {max(played.waits) * 1e3:6.1f} ms; disk {start.disk_bytes / 1e6:6.1f} MB,"
            f" {start.seeks} seeks; {start.preload}",
            flush=True,
        )
    return found


def _waited(start: Start) -> float:
    return start.played.waited


def _longest(start: Start) -> float:
    return max(start.played.waits)


_RATIOS = (
    ("waiting, second : first", "second", "first", _waited, 0.35),
    ("waiting, second : plain ISO", "second", "plain", _waited, 0.35),
    ("longest wait, second : first", "second", "first", _longest, 0.5),
    ("waiting, diverging : without", "diverging", "diverging, without", _waited, 1.05),
)


def _report(rounds: list[dict[str, Start]]) -> None:
    for name, one, other, measure, most in _RATIOS:
        ratios = sorted(measure(each[one]) / measure(each[other]) for each in rounds)
        middle = statistics.median(ratios)
        print(
            f"{name:32} {middle:5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), target {most}:"
            f" {'met' if middle <= most else 'not met'}"
        )
    for name in ("second", "diverging"):
        shares = sorted(
            each[name].preload.get("wasted_bytes", 0)
            / max(each[name].preload.get("fetched_bytes", 0), 1)
            for each in rounds
        )
        middle = statistics.median(shares)
        print(f"{'wasted, ' + name:32} {middle:5.2f} ({shares[0]:.2f} to {shares[-1]:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.spinning", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reader", choices=READERS, default="pcsx2")
    parser.add_argument("--spin-up", action="store_true")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "zsofs-bench")
    options = parser.parse_args()
    image = _disk_image(Discs(options.work, _SIZE))
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        bench = Bench(image, work, READERS[options.reader], asleep=options.spin_up)
        rounds = []
        for seed in range(options.rounds):
            load = os.getloadavg()[0]
            print(f"round {seed + 1}, {options.reader}, load {load:.1f}", flush=True)
            rounds.append(_round(bench, work, seed))
        _report(rounds)


if __name__ == "__main__":
    main()
