"""Watches on files whose descriptors, nodes and numbers come and go at the same time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zsofs.system.file_watch import FileWatch, FileWatcher


@pytest.fixture
def watcher() -> Iterator[FileWatcher]:
    made = FileWatcher()
    yield made
    made.close()


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "Game.zso", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def added(watcher: FileWatcher, fd: int) -> FileWatch:
    return FileWatch(0, watcher.add(fd), alone=True, dated=True)


def claimed(watcher: FileWatcher, fd: int) -> FileWatch:
    with watcher.adding():
        watch = added(watcher, fd)
        watcher.claim(watch)
    return watch


def test_a_watch_stays_if_another_of_the_same_file_ends_while_it_is_added(
    watcher: FileWatcher, fd: int
) -> None:
    """As when a disc was renamed: its old node goes while its new one is opened."""
    old = claimed(watcher, fd)
    with watcher.adding():
        new = added(watcher, fd)
        assert new.number == old.number
        watcher.release(old)
        watcher.claim(new)
    watcher.take()
    assert new.is_clean
    os.write(fd, b"x")
    watcher.take()
    assert new.written


def test_a_write_between_the_end_of_one_watch_and_the_claim_of_another_is_reported(
    watcher: FileWatcher, fd: int
) -> None:
    old = claimed(watcher, fd)
    with watcher.adding():
        new = added(watcher, fd)
        watcher.release(old)
        os.write(fd, b"x")
        watcher.take()
        watcher.claim(new)
    assert new.written


def test_a_watch_that_ends_while_another_is_added_is_removed(watcher: FileWatcher, fd: int) -> None:
    """Watches are few on old kernels: the number of a file that is not watched is not kept."""
    old = claimed(watcher, fd)
    number = old.number
    with watcher.adding():
        watcher.release(old)
    assert claimed(watcher, fd).number != number
