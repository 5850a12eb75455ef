"""What `zsofs info` says of the recorded starts of a disc."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounting import DATA
from tests.support.packed import zsofs
from zsofs.inspection.known_start import known_start
from zsofs.native.read_log import PAGE
from zsofs.preload.boot_trace import BootTrace
from zsofs.source.scan_cache import ScanCache, TraceKey, default_catalog_file


@pytest.fixture
def disc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "source" / "PS2" / "Game.zso"
    path.parent.mkdir(parents=True)
    shutil.copy(DATA / "ziso-py.zso", path)
    return path


def keep(source: Path, disc: Path, trace: bytes, part: int = 0, mtime_ns: int = 0) -> None:
    status = disc.stat()
    file = default_catalog_file(os.fsencode(source))
    key = TraceKey(
        os.fsencode(disc.relative_to(source)),
        part,
        status.st_size,
        mtime_ns or status.st_mtime_ns,
    )
    with closing(ScanCache(file, os.fsencode(source))) as catalog:
        catalog.keep_boot_trace(key, trace)


def trace(*starts: list[tuple[int, int]]) -> bytes:
    found = BootTrace([])
    for start in starts:
        found.merge(start)
    return found.to_bytes()


@pytest.fixture(params=["source", "source/PS2"])
def source(request: pytest.FixtureRequest, disc: Path, tmp_path: Path) -> Path:
    """A directory that the disc lies in."""
    name: str = request.param
    return tmp_path / name


def test_it_says_what_is_recorded(disc: Path, source: Path) -> None:
    keep(source, disc, trace([(0, 10), (100, 120)], [(0, 10), (100, 120), (7, 12)]))
    (found,) = json.loads(zsofs("info", "--json", disc).stdout)
    stored_at = found["boot_trace"].pop("stored_at")
    assert found["boot_trace"] == {"starts": 2, "ranges": 3, "bytes": 32 * PAGE}
    assert abs(stored_at - disc.parent.stat().st_ctime) < 3600
    line = next(line for line in zsofs("info", disc).stdout.splitlines() if "boot trace" in line)
    assert "3 parts, 131 kB, of 2 starts, the last on 20" in line


def test_without_a_trace_it_says_nothing(disc: Path) -> None:
    (found,) = json.loads(zsofs("info", "--json", disc).stdout)
    assert found["boot_trace"] is None
    assert "boot trace" not in zsofs("info", disc).stdout


def test_a_trace_of_another_content_is_not_of_this_one(disc: Path) -> None:
    keep(disc.parent, disc, trace([(0, 10)]), mtime_ns=1)
    assert known_start(str(disc)) is None


def test_of_several_discs_in_a_file_it_is_the_last_that_was_started(disc: Path) -> None:
    for part in (1, 2):
        keep(disc.parent, disc, trace(*[[(0, 10)]] * part), part=part)
    start = known_start(str(disc))
    assert start is not None
    assert str(start).startswith("1 part, 41.0 kB, of 2 starts, the last")


def test_a_damaged_trace_is_none(disc: Path) -> None:
    keep(disc.parent, disc, b"\xff" * 9)
    assert known_start(str(disc)) is None
