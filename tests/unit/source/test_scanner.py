"""What a scan of a folder finds, and what is found out once for each device."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zsofs.source import scan
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.scan_result import ScanHints
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


def test_a_renamed_disc_is_found_with_the_loss_of_its_old_name(
    scanner: Scanner, source: Path
) -> None:
    """The events of a rename are two, and a scan may begin between them."""
    (source / "Okami.iso").write_bytes(b"CISO")
    (source / "notes.txt").touch()
    before = scanner.survey(b"", frozenset(), ScanHints())
    place = (before.status.st_dev, before.status.st_ino)
    (source / "Okami.iso").rename(source / "Okami.cso")
    (source / "new.txt").touch()
    hints = ScanHints(before.entries, place, frozenset([b"notes.txt"]))
    assert set(scanner.survey(b"", frozenset(), hints).entries) == {b"Okami.iso", b"notes.txt"}
    hints = ScanHints(before.entries, place, frozenset([b"Okami.iso"]))
    found = scanner.survey(b"", frozenset(), hints).entries
    assert set(found) == {b"Okami.cso", b"notes.txt", b"new.txt"}


def test_a_disc_that_is_renamed_before_it_is_opened(scanner: Scanner, source: Path) -> None:
    """It is found under its new name, and not as a file that cannot be read under the old one."""
    (source / "Okami.iso").write_bytes(b"CISO")
    (source / "Ico.iso").write_bytes(b"CISO")

    def rename() -> None:
        if (source / "Okami.iso").exists():
            (source / "Okami.iso").rename(source / "Okami.cso")

    found = scanner.survey(b"", frozenset(), ScanHints(), give_way=rename).entries
    assert set(found) == {b"Okami.cso", b"Ico.iso"}


def test_a_file_that_is_deleted_before_it_is_opened(scanner: Scanner, source: Path) -> None:
    (source / "Okami.iso").write_bytes(b"CISO")
    found = scanner.survey(b"", frozenset(), ScanHints(), give_way=(source / "Okami.iso").unlink)
    assert found.entries == {}
