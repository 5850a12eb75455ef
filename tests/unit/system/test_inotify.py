"""What the kernel says of directories, and how few changes a flood of it becomes."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounting import opened
from zsofs.system.inotify import Change, Watcher

_TIMES = 500


@pytest.fixture
def watcher(source: Path) -> Iterator[Watcher]:
    """Watches the source, in which there are two files."""
    for name in "ab":
        (source / name).touch()
    with closing(Watcher()) as made:
        with opened(source) as fd:
            assert made.add(fd) is not None
        yield made


def told(watcher: Watcher) -> list[tuple[bytes, str]]:
    """The changes since the last call: name, and what happened."""
    return [(change.name, _kind(change)) for change in watcher.changes()]


def _kind(change: Change) -> str:
    kinds = ("ended", "whole", "deleted", "written", "touched")
    return " ".join(kind for kind in kinds if getattr(change, kind))


def test_files_that_are_touched_by_turns_are_two_changes(watcher: Watcher, source: Path) -> None:
    for _ in range(_TIMES):
        os.utime(source / "a")
        os.utime(source / "b")
    assert told(watcher) == [(b"a", "touched"), (b"b", "touched")]
    assert told(watcher) == []


def test_a_file_that_is_renamed_all_the_time_is_four_changes(
    watcher: Watcher, source: Path
) -> None:
    for _ in range(_TIMES):
        (source / "a").rename(source / "c")
        (source / "c").rename(source / "a")
    assert told(watcher) == [(b"a", ""), (b"c", "whole"), (b"c", ""), (b"a", "whole")]


def test_the_last_of_equal_changes_counts(watcher: Watcher, source: Path) -> None:
    """Whether a file is closed, or being written, is what its last change says."""
    for _ in range(3):
        (source / "a").write_bytes(b"closed")
        (source / "b").write_bytes(b"closed")
    assert told(watcher)[-2:] == [(b"b", "written"), (b"b", "whole")]
    for _ in range(3):
        (source / "a").write_bytes(b"closed")
        (source / "b").write_bytes(b"closed")
    with (source / "a").open("ab", buffering=0) as file:
        file.write(b"open")
        changes = told(watcher)
        assert [kind for name, kind in changes if name == b"a"] == ["whole", "written"]
        assert changes[-1] == (b"a", "written")
    assert told(watcher) == [(b"a", "whole")]


def test_a_directory_that_goes_ends_its_watch(watcher: Watcher, source: Path) -> None:
    for name in "ab":
        (source / name).unlink()
    source.rmdir()
    names = told(watcher)
    assert (b"a", "deleted") in names
    assert (b"b", "deleted") in names
    assert (b"", "ended") in names


def test_names_are_bytes(watcher: Watcher, source: Path) -> None:
    name = b"\xff" * 255  # the longest, and no text
    (source / os.fsdecode(name)).mkdir()
    assert told(watcher) == [(name, "")]
