"""Whether other machines may change a folder is found out once for each device."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zsofs.source import scan
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.tree import SourceTree
from zsofs.system.mountinfo import Mounted, mount_of


@pytest.fixture
def scanner(source: Path) -> Iterator[Scanner]:
    tree = SourceTree(os.fsencode(source))
    with closing(ScanCache(None, tree.path)) as catalog:
        yield Scanner(tree, catalog)


def test_a_device_is_asked_again_when_mounts_have_changed(
    scanner: Scanner, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file system may have got its number."""
    asked = []

    def asking(fd: int) -> Mounted | None:
        asked.append(fd)
        return mount_of(fd)

    monkeypatch.setattr(scan, "mount_of", asking)
    with scanner.tree.folder(b"") as folder:
        mounted = mount_of(folder.fd)
        assert mounted is not None
        for _ in range(2):
            found = scanner.changes_elsewhere(folder.fd, folder.status.st_dev)
            assert found == mounted.changes_elsewhere
        assert len(asked) == 1
        scanner.forget_mounts()
        scanner.changes_elsewhere(folder.fd, folder.status.st_dev)
        assert len(asked) == 2
