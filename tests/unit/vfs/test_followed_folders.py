"""When a folder is due, as the follower waits for it."""

import math
import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from tests.unit.vfs.test_opl_layout import SOURCE
from zsofs.source.disc_state import Count
from zsofs.source.scan_result import ScanResult
from zsofs.vfs.folder_state import SourceFolder, Use
from zsofs.vfs.followed_folders import FollowedFolders
from zsofs.vfs.present import Presentation


def looked_at(path: bytes = b"") -> SourceFolder:
    """A folder that somebody has asked for."""
    folder = SourceFolder(path, frozenset(), 0)
    found = ScanResult(time.monotonic(), 0.0, SOURCE, {}, has_links=False, unsure=())
    folder.before()
    folder.looked_at(found, Presentation({}, Count(), {}, {}))
    return folder


def due_after(folders: FollowedFolders, change: Callable[[], None]) -> list[SourceFolder]:
    """What is due after a change that is made while somebody waits for that."""

    async def run() -> list[SourceFolder]:
        found: list[SourceFolder] = []

        async def wait() -> None:
            found.extend(await folders.next_due())

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                change()
        return found

    return trio.run(run)


def test_a_folder_that_becomes_due_earlier_is_not_waited_for_longer() -> None:
    folders = FollowedFolders()
    late, early = looked_at(b"late"), looked_at(b"early")
    for folder in (late, early):
        folders.add(folder)
        folders.set_due(folder, math.inf)
    folders.set_due(late, time.monotonic() + 3600)
    assert due_after(folders, lambda: folders.set_due(early, time.monotonic())) == [early]


def test_a_later_time_changes_nothing() -> None:
    folders = FollowedFolders()
    folder = looked_at()
    folders.add(folder)
    folders.set_due(folder, time.monotonic())
    assert due_after(folders, lambda: folders.set_due(folder, math.inf)) == [folder]


@pytest.mark.parametrize("how", ["dropped", "never asked for"])
def test_what_nobody_wants_is_not_due(how: str) -> None:
    folders = FollowedFolders()
    unwanted = SourceFolder(b"unwanted", frozenset(), 0)
    if how == "dropped":
        unwanted = looked_at(b"unwanted")
        unwanted.use = Use.DROPPED
    wanted = looked_at(b"wanted")

    def change() -> None:
        for folder in (unwanted, wanted):
            folders.add(folder)
            folders.set_due(folder, time.monotonic())

    assert due_after(folders, change) == [wanted]


def test_what_was_removed_is_not_due() -> None:
    folders = FollowedFolders()
    removed, stays = looked_at(b"removed"), looked_at(b"stays")
    for folder in (removed, stays):
        folders.add(folder)
        folders.set_due(folder, time.monotonic())
    folders.remove(removed)
    assert due_after(folders, lambda: None) == [stays]


def test_all_folders_can_be_outdated() -> None:
    folders = FollowedFolders()
    both = {looked_at(b"one"), looked_at(b"two")}
    for folder in both:
        folders.add(folder)
    assert not folders.changed()
    folders.outdate_all()
    assert set(folders.changed()) == both


def test_folders_below_a_path() -> None:
    folders = FollowedFolders()
    for path in (b"", b"a", b"a/b", b"ab", b"c/a"):
        folders.add(SourceFolder(path, frozenset(), 0))
    assert {folder.path for folder in folders.at_or_below({b"a"})} == {b"a", b"a/b"}
