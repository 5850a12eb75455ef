"""docs/reference/json.md has every field that commands print as JSON, and no other."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.documents import DOCS
from tests.support.mounting import DATA

PAGE = DOCS / "reference" / "json.md"


def documented(command: str) -> list[str]:
    """The fields in the table of a command."""
    section = re.search(rf"^## zsofs {command}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    assert section is not None
    return re.findall(r"^\| `(\w+)` \|", section[1], re.M)


def printed(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "zsofs", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a disc."""
    (tmp_path / "source").mkdir()
    shutil.copy(DATA / "ziso-py.zso", tmp_path / "source" / "disc.zso")
    return tmp_path / "source"


def test_status(source: Path, mount: MountMaker) -> None:
    found = json.loads(printed("status", "--json", mount(source).path))
    assert list(found) == documented("status")
    text = PAGE.read_text()
    for name in found["cache"]:
        assert f"`{name}`" in text
    other = json.loads(printed("status", "--json", source.parent, code=7) or "{}")
    assert set(other) <= {"ok", "mount_point", "error"}


def test_top(source: Path, mount: MountMaker) -> None:
    made = mount(source, "--slow-ms", "1")
    (made.path / "disc.iso").read_bytes()
    (found,) = json.loads(printed("top", "--json", made.path))
    assert list(found) == documented("top")
    section = PAGE.read_text().partition("## zsofs top")[2].partition("\n## ")[0]
    words = set(re.findall(r"`(\w+)`", section))
    parts = [found["mount"], found["reads"], found["reads"]["counts"], found["reads"]["rates"]]
    parts += [found["reads"]["latency"][0], *found["readers"], *found["discs"], *found["disks"]]
    for part in (*parts, *found["slow_reads"]):
        assert set(part) <= words
    other = json.loads(printed("top", "--json", source.parent, code=7))
    assert set(other[0]) == {"ok", "mount_point", "error"}


def test_list(source: Path) -> None:
    (found,) = json.loads(printed("list", "--json", source))
    assert list(found) == documented("list")


def test_info(source: Path, tmp_path: Path) -> None:
    printed("pack", "-q", source / "disc.zso", "-o", tmp_path / "sealed.zso")
    (found,) = json.loads(printed("info", "--json", tmp_path / "sealed.zso"))
    assert list(found) == documented("info")
    assert {f"`{name}`" for name in found["seal"]} <= set(re.findall(r"`\w+`", PAGE.read_text()))
    (broken,) = json.loads(printed("info", "--json", tmp_path / "missing.zso", code=8))
    assert set(broken) == {"path", "error"}


def test_pack(source: Path, tmp_path: Path) -> None:
    found = json.loads(printed("pack", "--json", source, "-o", tmp_path / "packed.zso"))
    assert list(found) == documented("pack")
    unpacked = json.loads(
        printed("unpack", "--json", tmp_path / "packed.zso", "-o", tmp_path / "plain.iso")
    )
    assert list(unpacked) == documented("pack")
    assert {found["state"], unpacked["state"]} == {"packed", "unpacked"}


def test_verify(source: Path) -> None:
    found = json.loads(printed("verify", "--no-cache", "--json", source))
    assert list(found) == documented("verify")
    data = bytearray((source / "disc.zso").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    (source / "disc.zso").write_bytes(data)
    damaged = json.loads(printed("verify", "--no-cache", "--json", source, code=9))
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith("| `damage`"))
    assert set(damaged["damage"]) <= set(re.findall(r"`(\w+)`", line))
