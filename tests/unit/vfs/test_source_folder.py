"""What is done through a mount while a look at the folder waits for a thread."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from zsofs.source.entry import Entry, Kind
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache
from zsofs.source.tree import SourceTree
from zsofs.vfs.folder_state import Look as LookUnderWay
from zsofs.vfs.folder_state import SourceFolder
from zsofs.vfs.present import as_shown

Look = Callable[[Callable[[], None]], None]


@pytest.fixture
def folder() -> SourceFolder:
    return SourceFolder(b"", frozenset(), 0)


@pytest.fixture
def look(source: Path, folder: SourceFolder) -> Iterator[Look]:
    """Looks at the folder; what it is given happens before a thread comes to it."""
    tree = SourceTree(os.fsencode(source))
    with closing(ScanCache(None, tree.path)) as catalog:
        scanner = Scanner(tree, catalog)

        def look(meanwhile: Callable[[], None]) -> None:
            before = folder.before()
            meanwhile()
            found = scanner.survey(b"", folder.above, before)
            folder.looked_at(found, as_shown(b"", found.entries))

        yield look


def did(folder: SourceFolder, path: Path, *, is_there: bool) -> None:
    name = os.fsencode(path.name)
    entry = Entry(name, Kind.FILE, name, path.stat()) if is_there else None
    folder.did(name, entry, time.monotonic())


@pytest.mark.parametrize("others", [(), ("notes.txt",), ("Game.cue",)])
def test_what_is_kept_of_a_directory_that_is_only_counted(
    source: Path, folder: SourceFolder, look: Look, others: tuple[str, ...]
) -> None:
    """A library of discs stays listed, so that its first request waits for no second scan."""
    (source / "inner").mkdir()
    for name in ("Game.zso", "other.iso", *others):
        (source / name).write_bytes(b"no disc")
    look(lambda: None)
    shown = folder.shown
    folder.listing.reduce()
    assert set(folder.entries or ()) == {b"inner", b"Game.zso", b"other.iso"}
    assert folder.shown is (None if others else shown)
    assert folder.is_fresh is not bool(others)
    (source / "new.zso").write_bytes(b"no disc")
    folder.outdate(b"new.zso")
    look(lambda: None)
    names = {b"inner", b"Game.zso", b"other.iso", b"new.zso", *map(os.fsencode, others)}
    assert folder.shown is not None
    assert set(folder.shown.entries) == names


def test_a_failed_scan_keeps_no_frames(source: Path, folder: SourceFolder, look: Look) -> None:
    """Or each directory that is gone would take 20 KiB until the kernel forgets it."""
    source.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        look(lambda: None)
    assert caught.value.__traceback__ is not None
    folder.failed(caught.value)
    assert folder.error is caught.value
    assert folder.error.__traceback__ is None
    assert folder.error.__context__ is None


def test_what_was_made_meanwhile_stays(source: Path, folder: SourceFolder, look: Look) -> None:
    """The look was to see to another name, and knows of the rest what was known when it began."""
    look(lambda: None)
    made = source / "made"

    def make() -> None:
        made.touch()
        did(folder, made, is_there=True)

    folder.outdate(b"other")
    look(make)
    assert folder.entries is not None
    assert set(folder.entries) == {b"made"}
    look(lambda: None)
    assert set(folder.entries) == {b"made"}


def test_what_was_deleted_meanwhile_does_not_return(
    source: Path, folder: SourceFolder, look: Look
) -> None:
    deleted = source / "deleted"
    deleted.touch()
    look(lambda: None)

    def delete() -> None:
        deleted.unlink()
        did(folder, deleted, is_there=False)

    folder.outdate(b"other")
    look(delete)
    assert folder.entries == {}
    look(lambda: None)
    assert folder.entries == {}


def test_what_is_done_elsewhere_after_that_is_seen(
    source: Path, folder: SourceFolder, look: Look
) -> None:
    """What was done is remembered for as long as it takes, not for ever."""
    look(lambda: None)
    made = source / "made"
    made.touch()
    did(folder, made, is_there=True)
    look(lambda: None)
    made.unlink()
    folder.outdate(b"made")
    look(lambda: None)
    assert folder.entries == {}


@pytest.mark.parametrize("is_awaited", [False, True])
def test_a_look_for_the_count_gives_way(*, is_awaited: bool) -> None:
    """While others use the disk, unless somebody waits for the listing."""

    async def run() -> list[bool]:
        answers = [False, True, True]
        look = LookUnderWay()
        look.is_awaited = is_awaited
        look.give_way(answers.pop)
        return answers

    assert len(trio.run(run)) == (3 if is_awaited else 0)
