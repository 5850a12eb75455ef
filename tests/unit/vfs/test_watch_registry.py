"""Changes that come before it is known to which folder a watch belongs."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from zsofs.system.inotify import Change
from zsofs.vfs import watch_registry
from zsofs.vfs.folder_state import SourceFolder, Use
from zsofs.vfs.watch_registry import WatchRegistry


@pytest.fixture
def registry() -> Iterator[WatchRegistry]:
    with closing(WatchRegistry()) as made:
        yield made


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def added(registry: WatchRegistry, folder: SourceFolder, path: Path) -> int:
    """The watch that a look at *path* begins in its thread."""
    with opened(path) as fd:
        watch = registry.add(folder, fd)
    assert watch is not None
    return watch


def kept(registry: WatchRegistry) -> list[Change]:
    """The changes that are there, after each of them was kept."""
    found = list(registry.changes())
    assert all(map(registry.keep, found))
    return found


def test_a_change_before_the_number_is_known_is_the_folders(
    registry: WatchRegistry, source: Path
) -> None:
    folder = SourceFolder(b"", frozenset(), 0)
    with registry.looking():
        watch = added(registry, folder, source)
        (source / "new").touch()
        assert b"new" in {change.name for change in kept(registry)}
        assert not registry.folders(watch)  # nobody would have heard of it
        assert b"new" in {change.name for change in registry.assign(folder, watch)}
    assert registry.folders(watch) == [folder]
    assert folder.watch == watch


def test_a_watch_that_is_known_already_tells_nothing_twice(
    registry: WatchRegistry, source: Path
) -> None:
    folder = SourceFolder(b"", frozenset(), 0)
    registry.assign(folder, added(registry, folder, source))
    with registry.looking():
        watch = added(registry, folder, source)
        (source / "new").touch()
        assert kept(registry)
        assert registry.assign(folder, watch) == []


def test_a_watch_that_ended_during_a_look_is_not_believed(
    registry: WatchRegistry, source: Path
) -> None:
    """The kernel gives two looks at one folder one number, and one of them ends the watch."""
    one, other = (SourceFolder(b"", frozenset(), 0) for _ in range(2))
    registry.assign(one, added(registry, one, source))
    with registry.looking():
        watch = added(registry, other, source)
        assert watch == one.watch
        registry.end(one)
        assert registry.has_ended(watch)
    assert not registry.has_ended(watch)


def test_a_watch_goes_with_the_last_folder_that_has_it(
    registry: WatchRegistry, source: Path
) -> None:
    folders = [SourceFolder(b"", frozenset(), 0) for _ in range(2)]
    watches = {added(registry, folder, source) for folder in folders}
    for folder in folders:
        registry.assign(folder, *watches)
    registry.end(folders[0])
    (source / "first").touch()
    assert b"first" in {change.name for change in registry.changes()}
    registry.end(folders[1])
    list(registry.changes())
    (source / "second").touch()
    assert not list(registry.changes())


def test_too_many_changes_are_not_kept(
    registry: WatchRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads them has to take every folder for changed."""
    monkeypatch.setattr(watch_registry, "_MOST_KEPT", 2)
    folder = SourceFolder(b"", frozenset(), 0)
    with registry.looking():
        watch = added(registry, folder, source)
        changes = [Change(watch, name) for name in (b"a", b"b", b"c")]
        assert [registry.keep(change) for change in changes] == [True, True, False]
        assert registry.assign(folder, watch) == []


def test_nothing_is_kept_while_nobody_looks(registry: WatchRegistry, source: Path) -> None:
    folder = SourceFolder(b"", frozenset(), 0)
    watch = added(registry, folder, source)
    assert registry.keep(Change(watch, b"old"))
    with registry.looking():
        assert registry.keep(Change(watch, b"older"))
    with registry.looking():
        assert registry.assign(folder, watch) == []


def test_folders_that_are_only_counted_do_not_take_every_watch(
    registry: WatchRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_registry, "_MOST_WATCHED_TO_COUNT", 0)
    folder = SourceFolder(b"", frozenset(), 0)
    folder.use = Use.COUNTED
    with opened(source) as fd:
        assert registry.add(folder, fd) is None
        folder.use = Use.LISTED
        assert registry.add(folder, fd) is not None
