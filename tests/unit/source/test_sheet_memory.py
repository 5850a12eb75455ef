"""The texts of playlists and cue sheets take a bounded memory, however many there are."""

import gc
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from zsofs.formats.sheets import Sheet, parse_sheet
from zsofs.source import file_looks, scan_cache
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
        monkeypatch.setattr(scan_cache, "sheet_memory", memory)
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
