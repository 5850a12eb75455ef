"""`zsofs top` on a terminal: its screen is compared, its keys are pressed."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_activity import (
    BLOCK,
    hanging_read,
    read_by_another,
    sample_on_hanging_disk,
)
from tests.mount.control.test_activity import source as source
from tests.mount.control.test_metrics import metrics, only, parsed
from tests.mount.control.test_status import runtime as runtime
from tests.support.mounting import ZSOFS, mounted, wait_until
from tests.unit.cli.test_messages import refused, run

KEYS = "q: quit  p: pause  s: sort  /: filter  Esc: show all"


class Top:
    """The program on a terminal of its own.

    Attributes:
        screen: what it shows.
        process: the program.
    """

    def __init__(self, columns: int, rows: int, *words: str | Path, **variables: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._fd, theirs = pty.openpty()
        self._set_size(columns, rows)
        self.process = subprocess.Popen(
            ["env", *ZSOFS, "top", *words],
            preexec_fn=lambda: os.login_tty(theirs),
            env=os.environ | {"TERM": "linux", "LC_ALL": "C.UTF-8"} | variables,
        )
        os.close(theirs)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Have another size; the kernel tells the program."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def lines(self) -> list[str]:
        """The lines of the screen, after what was written meanwhile."""
        while select.select([self._fd], [], [], 0.02)[0]:
            try:
                self._stream.feed(os.read(self._fd, 1 << 16))
            except OSError:  # the program has ended
                break
        return [line.rstrip() for line in self.screen.display]

    def wait_for(self, *patterns: str) -> list[str]:
        """Wait until each of these patterns is in a line; return the screen then."""

        def all_there() -> bool:
            lines = self.lines()
            return all(any(re.search(one, line) for line in lines) for one in patterns)

        wait_until(all_there, f"{patterns} on {self.lines()}")
        return self.lines()

    def colors(self) -> set[str]:
        self.lines()
        return {cell.fg for row in self.screen.buffer.values() for cell in row.values()}

    def end(self) -> None:
        self.process.kill()
        self.process.wait(60)
        os.close(self._fd)


@contextmanager
def top(columns: int, rows: int, *words: str | Path, **variables: str) -> Iterator[Top]:
    shown = Top(columns, rows, *words, **variables)
    try:
        yield shown
    finally:
        shown.end()


def row(lines: list[str], first: str) -> list[str]:
    """The columns of the line that begins with *first*."""
    (found,) = (line for line in lines if line.startswith(first + " "))
    return found.split()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_the_screen_shows_what_was_read(
    mount: MountMaker, source: Path, columns: int, rows: int
) -> None:
    made = mount(source)
    places = [number * 4096 for number in range(0, 256, 8)]
    read_by_another(made.path / "Game.iso", *places, *places[:3])
    pid = read_by_another(made.path / "Plain.iso", *places[:7])
    hits = 35 - len({place // BLOCK for place in places})
    with top(columns, rows, made.path, LINES="24", COLUMNS="80") as shown:
        lines = shown.wait_for("^Game.zso ", "^Plain.iso ", "^q: quit")
        assert re.match(r"zsofs top \d\d:\d\d:\d\d  1 mount  sorted by rate$", lines[0])
        assert lines[-1] == KEYS
        assert len(lines) == rows
        assert "2 discs" in lines[1]
        share = f"{100 * hits // 35} %"
        assert f"hits {share}" in lines[1]
        game, plain = row(lines, "Game.zso"), row(lines, "Plain.iso")
        assert game[5:] == ["143", "kB", *share.split(), "0", "0", *game[-2:]]
        assert plain[5:8] == ["28.7", "kB", "-"]
        reader = next(line.split() for line in lines if f" {pid} " in line)
        assert reader[0].startswith("python")
        shown.press("q")
        assert shown.process.wait(60) == 0


def test_the_keys(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    read_by_another(made.path / "Plain.iso", *range(0, 65536, 4096))
    read_by_another(made.path / "Game.iso", 0)
    with top(80, 24, made.path) as shown:
        shown.wait_for("^Game.zso ", "^Plain.iso ", "^q: quit")
        shown.press("s")
        shown.wait_for("sorted by total")
        discs = [line.split()[0] for line in shown.lines() if re.match("(Game|Plain)", line)]
        assert discs == ["Plain.iso", "Game.zso"]
        shown.press("ss")
        shown.wait_for("sorted by name")
        discs = [line.split()[0] for line in shown.lines() if re.match("(Game|Plain)", line)]
        assert discs == ["Game.zso", "Plain.iso"]
        shown.press("/plX\x7f")
        shown.wait_for("filter: pl_$", "Enter: done")
        assert not [line for line in shown.lines() if line.startswith("Game")]
        shown.press("q\x7f\n")
        shown.wait_for("filter: pl$", "^q: quit")
        shown.press("\x1b")
        shown.wait_for("^Game.zso ", "^Plain.iso ", "^q: quit")
        shown.press("p")
        shown.wait_for("  paused$", "p: continue")
        read_by_another(made.path / "Game.iso", *range(0, 262144, 4096))
        time.sleep(1.5)  # longer than it takes to ask again
        assert row(shown.lines(), "Game.zso")[5:7] == ["4.10", "kB"]
        shown.press(" ")
        shown.wait_for("^Game.zso .* 266 kB ")
        assert shown.process.poll() is None


def test_a_disk_that_hangs_and_the_read_that_was_slow(tmp_path: Path) -> None:
    with sample_on_hanging_disk(tmp_path) as (disk, made), top(80, 24, made.path) as shown:
        with hanging_read(disk, made.path / "Game.iso", 320 * 2048):
            shown.wait_for(
                r"^  disk \d+:\d+ has not answered for \d+ s: 1 read waits$",
                r"^  python\S* waits for Game.zso at 655,360: \d+ s$",
            )
            assert "red" in shown.colors()
        shown.wait_for(
            r"^SLOW READS \(1\)$",
            r"^\d\d:\d\d:\d\d  Game.zso, /DATA/MOVIE.PSS: \d+\.\d s, (waiting for the disk|the disk"
            " did not answer)",
        )


def test_without_colors(mount: MountMaker, source: Path, tmp_path: Path) -> None:
    mount(source)
    with top(80, 24, tmp_path / "none", NO_COLOR="1") as shown:
        shown.wait_for("^nothing is mounted at ")
        assert shown.colors() == {"default"}
    with top(80, 24, tmp_path / "none", TERM="vt100") as shown:
        shown.wait_for("^nothing is mounted at ")
        assert shown.colors() == {"default"}
    with top(80, 24, tmp_path / "none") as shown:
        shown.wait_for("^nothing is mounted at ")
        assert shown.colors() == {"default", "red"}


def test_another_size(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    (made.path / "Game.iso").read_bytes()
    with top(80, 24, made.path) as shown:
        shown.wait_for("^Game.zso ")
        for columns, rows in ((120, 40), (30, 8), (80, 24), (3, 2), (100, 30)):
            shown.resize(columns, rows)
            shown.wait_for("^q: quit  p" if columns > 12 else "^q")
        lines = shown.wait_for("^Game.zso ", "^q: quit")
        assert lines[-1] == KEYS
        assert shown.process.poll() is None


def test_a_mount_that_goes_and_comes(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    with top(100, 24, path) as shown:
        shown.wait_for("^nothing is mounted at ")
        for _ in range(2):
            with mounted(source, path) as made:
                read_by_another(made.path / "Game.iso", 0, 65536)
                lines = shown.wait_for("^Game.zso .* 8.19 kB ")
                assert not [line for line in lines if "nothing is mounted" in line]
            shown.wait_for("^nothing is mounted at ")
        assert shown.process.poll() is None


def test_once_json_and_metrics_agree(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    read_by_another(made.path / "Game.iso", *range(0, 262144, 4096))
    (found,) = json.loads(run("top", "--json", made.path).stdout)
    assert (found["ok"], found["mount_point"]) == (True, str(made.path))
    counts = found["reads"]["counts"]
    assert (counts["requests"], counts["bytes"]) == (64, 64 * 4096)
    assert [one["disc"] for one in found["discs"]] == ["Game.zso"]
    samples = parsed(metrics("--per-disc", made.path))
    for name, value in (
        ("zsofs_reads_total", counts["requests"]),
        ("zsofs_read_bytes_total", counts["bytes"]),
        ("zsofs_cache_hits_total", counts["hits"]),
        ("zsofs_disc_reads_total", found["discs"][0]["counts"]["requests"]),
    ):
        assert only(samples, name) == [value]
    everything = json.loads(run("top", "--json").stdout)  # others may be mounted as well
    assert str(made.path) in [one["mount_point"] for one in everything]
    printed = run("top", "--once", made.path).stdout.splitlines()
    assert row(printed, "Game.zso")[5:7] == ["262", "kB"]
    assert max(map(len, printed)) <= 80


def test_what_is_refused(source: Path, tmp_path: Path) -> None:
    assert "top needs a terminal" in refused(2, "top")
    done = run("top", "--once", tmp_path)
    assert (done.returncode, done.stderr) == (7, "")
    assert "nothing is mounted at" in done.stdout
    done = run("top", "--json", tmp_path)
    assert done.returncode == 7
    assert json.loads(done.stdout)[0]["ok"] is False
    with top(80, 24, TERM="none-such") as shown:
        shown.wait_for("the terminal 'none-such' cannot be used: ")
        assert shown.process.wait(60) == 2
