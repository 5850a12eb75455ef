"""Scans that fail after they have begun to watch the folder."""

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio

from zsofs.source import scan
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.tree import OpenFolder, SourceTree
from zsofs.vfs.folder_state import Look, SourceFolder
from zsofs.vfs.present import as_shown
from zsofs.vfs.source_scans import Opened, SourceScans
from zsofs.vfs.watch_registry import WatchRegistry


@pytest.fixture
def scans(source: Path) -> Iterator[SourceScans]:
    tree = SourceTree(os.fsencode(source))
    with closing(ScanCache(None, tree.path)) as catalog, closing(WatchRegistry()) as watches:
        made = SourceScans(Scanner(tree, catalog), partial(as_shown), lambda device: False, watches)
        with closing(made.mounts):
            yield made


def opened_by(scans: SourceScans, error: type[Exception]) -> Opened:
    """What is known after a scan that raised *error*."""

    async def run() -> Opened:
        folder, opened = SourceFolder(b"", frozenset(), 0), Opened()
        with pytest.raises(error):
            scans.scan(folder, Look(), folder.before(), opened)
        return opened

    return trio.run(run)


def test_a_watch_that_was_begun_is_told_where_the_listing_fails(
    scans: SourceScans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: OpenFolder) -> list[bytes]:
        raise PermissionError

    monkeypatch.setattr(OpenFolder, "names", fail)
    opened = opened_by(scans, PermissionError)
    assert opened.watch is not None
    assert opened.elsewhere is not None


def test_a_watch_that_was_begun_is_told_where_its_file_system_is_not(
    scans: SourceScans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise RuntimeError

    monkeypatch.setattr(scan, "mount_of", fail)
    opened = opened_by(scans, RuntimeError)
    assert opened.is_open
    assert opened.watch is not None
    assert opened.elsewhere is None


def test_a_folder_that_cannot_be_opened_keeps_its_watch(scans: SourceScans, source: Path) -> None:
    source.rename(source.with_name("elsewhere"))
    assert not opened_by(scans, FileNotFoundError).is_open
