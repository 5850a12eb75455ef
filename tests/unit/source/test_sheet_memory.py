"""The texts of playlists and cue sheets take bounded memory and disk, however many there are."""

import gc
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from zsofs.formats.sheets import Sheet, parse_sheet
from zsofs.source import file_looks, finding_rows, scan_cache
from zsofs.source.finding import NOTHING, FileFinding
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.scan_result import ScanHints
from zsofs.source.sheet_memory import SheetMemory
from zsofs.source.tree import SourceTree

TEXT = b"Game.zso\n" * 20


def sheet() -> Sheet:
    found = parse_sheet(b"list.m3u", TEXT)
    assert found is not None
    return found


def test_sheets_count_as_long_as_they_exist() -> None:
    memory = SheetMemory(len(TEXT) + 20 * 150)
    first = sheet()
    assert memory.take(first)
    assert not memory.take(sheet())
    del first
    gc.collect()
    assert memory.take(sheet())


def test_sheets_that_are_too_many_are_no_sheets(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(most: int, cache: Path) -> int:
        memory = SheetMemory(most)
        monkeypatch.setattr(file_looks, "sheet_memory", memory)
        monkeypatch.setattr(finding_rows, "sheet_memory", memory)
        tree = SourceTree(os.fsencode(source))
        with closing(ScanCache(cache, tree.path)) as catalog:
            entries = Scanner(tree, catalog).survey(b"", frozenset(), ScanHints()).entries
            return sum(entry.finding.sheet is not None for entry in entries.values())

    for number in range(9):
        file = source / f"{number}.m3u"
        file.write_bytes(TEXT)
        os.utime(file, (1e9, 1e9))
    time.sleep(0.1)  # before, findings are not kept
    room = 4 * (len(TEXT) + 20 * 150)
    assert count(room, tmp_path / "few") == 4
    assert count(1 << 20, tmp_path / "all") == 9
    assert count(room, tmp_path / "all") == 4, "also those of the scan cache"


def test_the_scan_cache_of_a_source_with_many_playlists_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no room in it is read again by the next mount; all else is kept."""
    most, count = 1 << 20, 200
    monkeypatch.setattr(scan_cache, "_MOST", most)
    text = b"Game.zso\n" + b"#" * 60_000
    listed = parse_sheet(b"list.m3u", text)
    finding = FileFinding(sheet=listed)
    key = (len(text), 5, 6)
    file = tmp_path / "cache"
    with closing(ScanCache(file, b"/source")) as catalog:
        for number in range(count):
            folder = b"%d" % number
            catalog.keep(folder, [(b"list.m3u", key, finding), (b"x.bin", key, NOTHING)])
        found = [name for _, name, _ in catalog.findings()]
        assert found.count(b"x.bin") == count
        kept = found.count(b"list.m3u")
        assert most // len(text) - 2 <= kept <= most // len(text) + 1
        catalog.keep(b"0", [(b"list.m3u", (len(text), 7, 8), finding)])
        assert b"list.m3u" not in catalog.folder(b"0"), "one with other content"
        catalog.drop_folders(b"%d" % number for number in range(count // 2))
        catalog.keep(b"new", [(b"list.m3u", key, finding)])
        assert catalog.folder(b"new")[b"list.m3u"][1].sheet == listed
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * most
