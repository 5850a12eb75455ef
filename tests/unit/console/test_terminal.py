"""What commands show on a terminal of 40, 80 and 200 columns."""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from pathlib import Path

import pyte
import pytest

from tests.support.mounting import DATA, ZSOFS
from zsofs.console.tables import shortened, width, wrapped

LINES = 60
COLUMNS = pytest.mark.parametrize("columns", [40, 80, 200])
NAME = "A long name of a game, number {} (Europe) (En,Fr,De,Es,It)"


class Terminal:
    """A terminal with a program in it, and all that it has shown.

    Attributes:
        lines: what is on it when the program has ended.
        seen: each line that was on it at some time, also of a bar that is gone.
    """

    def __init__(self, columns: int, *words: str | Path) -> None:
        screen = pyte.Screen(columns, LINES)
        stream = pyte.ByteStream(screen)
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", LINES, columns, 0, 0))
        program = subprocess.Popen(
            [*ZSOFS, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ
        )
        os.close(theirs)
        self.seen: set[str] = set()
        try:
            while data := os.read(ours, 1 << 16):
                # tqdm writes a bar at once, and goes back to the margin
                for piece in re.findall(rb"[^\r%]*[\r%]|[^\r%]+", data):
                    stream.feed(piece)
                    if piece[-1] in b"\r%":
                        self.seen |= {_line(screen, y) for y in screen.dirty}
                        screen.dirty.clear()
        except OSError:  # the last program that had it open has ended
            pass
        os.close(ours)
        assert program.wait(60) == 0
        self.lines = "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")


def _line(screen: pyte.Screen, y: int) -> str:
    """A line as `screen.display` has it, which draws all of them: these texts have no wide ones."""
    cells = screen.buffer[y]
    return "".join(cells[x].data for x in range(screen.columns)).rstrip()


@pytest.fixture
def games(tmp_path: Path) -> Path:
    folder = tmp_path / "games"
    folder.mkdir()
    for number in range(3):
        shutil.copy(DATA / "ps2.iso", folder / f"{NAME.format(number)}.iso")
    return folder


@COLUMNS
def test_the_last_line_of_a_batch_begins_at_the_margin(games: Path, columns: int) -> None:
    shown = Terminal(columns, "pack", games)
    assert [line for line in shown.lines if line.startswith("3 files packed, ")], shown.lines
    assert not any(line.startswith("   ") for line in shown.lines)


@COLUMNS
def test_a_bar_has_name_and_share(games: Path, columns: int) -> None:
    shown = Terminal(columns, "pack", games)
    bars = [line for line in shown.seen if line.startswith("A long name") and " %" in line]
    assert bars, shown.seen
    assert all(line.startswith("A long name") for line in bars)
    assert any("left" in line for line in bars), bars
    assert any("|" in line for line in bars) is (columns > 40)


@COLUMNS
def test_a_list_breaks_at_blanks_and_is_indented(games: Path, columns: int) -> None:
    shown = Terminal(columns, "list", games).lines
    if columns == 200:
        assert shown[0].split() == ["stored", "plain", "ratio", "id", "container", "name"]
        assert sum(".iso" in line for line in shown) == 3
        return
    names = [line for line in shown if line.startswith("A long name of a game")]
    assert len(names) == 3
    whole = " ".join(line.strip() for line in shown)
    for number in range(3):
        assert f"{NAME.format(number)}.iso 1.47 MB of 1.47 MB (100 %), SLUS_209.63, plain" in whole
    indented = [line for line in shown[: len(shown) - 2] if line and line not in names]
    assert all(line.startswith("  ") for line in indented), shown


def test_a_list_that_is_no_terminal_is_a_table(games: Path) -> None:
    done = subprocess.run([*ZSOFS, "list", games], capture_output=True, text=True, check=True)
    assert max(map(len, done.stdout.splitlines())) > 100
    assert done.stdout.split()[:2] == ["stored", "plain"]


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("", 10, [""]),
        ("one two", 7, ["one two"]),
        ("one two three", 7, ["one two", "  three"]),
        ("  one two", 5, ["  one", "  two"]),
        ("abcdefghij", 4, ["abcd", "  ef", "  gh", "  ij"]),
        ("a  b", 10, ["a  b"]),
        ("大神 日本語", 6, ["大神", "  日本", "  語"]),
    ],
)
def test_wrapping(text: str, columns: int, lines: list[str]) -> None:
    assert wrapped(text, columns, "  ") == lines


@pytest.mark.parametrize(
    ("text", "columns", "cut"),
    [
        ("Okami", 5, "Okami"),
        ("Okami", 4, "Oka…"),
        ("大神伝", 6, "大神伝"),
        ("大神伝", 5, "大神…"),
        ("大神伝", 4, "大…"),
    ],
)
def test_shortening(text: str, columns: int, cut: str) -> None:
    assert shortened(text, columns) == cut
    assert width(cut) <= columns
