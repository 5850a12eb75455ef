"""The picture in the README: ``python -m release.picture`` draws what commands print.

The commands really run, on a mount of sample discs.
"""

import html
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "terminal.svg"

_DISCS = {
    "Gran Sasso Rally.zso": "ziso-py.zso",
    "PSP/Tidal Quest.zso": "zstd-2048.zso",
    "RPG/Ember Crown.cso": "maxcso-2048.cso",
}
"""Names of the discs, invented, and the samples in tests/data that stand for them."""

_WIDTH, _LINE, _MARGIN = 8.43, 19, 14  # of a character, of a line, around all, in pixels
_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" role="img"
 aria-label="Output of zsofs mount, zsofs list and zsofs status">
<rect width="100%" height="100%" rx="6" fill="#1b2230"/>
<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" fill="#d7dde8">
"""


def main() -> int:
    """Draw the picture."""
    PICTURE.write_text(drawn(shown()))
    print(PICTURE)
    return 0


def shown() -> list[str]:
    """Return the lines of a terminal in which the commands run."""
    with tempfile.TemporaryDirectory(prefix="zsofs-picture-") as directory:
        home = Path(directory).resolve()
        for name, sample in _DISCS.items():
            (home / "zso" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "tests" / "data" / sample, home / "zso" / name)
        lines = []
        try:
            for command in ("mount ~/zso ~/iso", "list ~/iso", "status ~/iso"):
                if command.startswith("status"):
                    _wait_for_count(home)
                lines += [f"$ zsofs {command}", *_output(home, command), ""]
        finally:
            _output(home, "umount ~/iso")
    return lines[:-1]


def _wait_for_count(home: Path) -> None:
    """Wait until the mount has counted its discs, as somebody who types does."""
    for _ in range(100):
        if not json.loads("".join(_output(home, "status --json ~/iso")))["counting"]:
            return
        time.sleep(0.1)
    raise SystemExit("zsofs: the discs are not counted within 10 seconds")


def _output(home: Path, command: str) -> list[str]:
    environment = {"HOME": str(home), "PATH": os.defpath, "COLUMNS": "80"}
    words = [word.replace("~", str(home)) for word in command.split()]
    done = subprocess.run(
        [sys.executable, "-m", "zsofs", *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.replace(str(home), "/home/me").rstrip("\n").splitlines()


def drawn(lines: list[str]) -> str:
    """Return the lines as SVG."""
    width = 2 * _MARGIN + _WIDTH * max(map(len, lines))
    parts = [_HEAD.format(width=width, height=2 * _MARGIN + _LINE * len(lines))]
    for number, line in enumerate(lines):
        y = _MARGIN + _LINE * number + 14
        text = html.escape(line).replace(" ", "\u00a0")  # else renderers join blanks
        color = ' fill="#8fd18f" font-weight="bold"' if line.startswith("$ ") else ""
        parts.append(f'<text x="{_MARGIN}" y="{y}"{color}>{text}</text>\n')
    return "".join([*parts, "</g>\n</svg>\n"])


if __name__ == "__main__":
    raise SystemExit(main())
