"""Directories that are gone, or changed where no event tells: no listing of before is shown."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.following.test_following import few_watches
from tests.support.mounting import DATA, mounted, names, status_of, timed, wait_until

PACKED = DATA / "zstd-2048.zso"


def listed(folder: int) -> list[str]:
    """The names in an open directory of the mount, as a new listing of it; none if it is gone."""
    try:
        again = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    except OSError:
        return []
    try:
        return os.listdir(again)
    except OSError:
        return []
    finally:
        os.close(again)


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"a file now")


def move(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")


@pytest.mark.parametrize("how", [delete, replace_by_a_file, move])
@pytest.mark.parametrize("was_listed", [True, False], ids=["listed", "counted"])
def test_a_program_in_a_directory_that_is_gone(
    source: Path, mount: MountMaker, how: Callable[[Path], None], was_listed: bool
) -> None:
    """It keeps its number, but shows nothing more, as on a disk."""
    (source / "games/inner").mkdir(parents=True)
    shutil.copy(PACKED, source / "games/inner/Game.zso")
    made = mount(source)
    wait_until(lambda: not status_of(made)["counting"], "the count")
    inside = os.open(made.path / "games/inner", os.O_RDONLY | os.O_DIRECTORY)
    try:
        if was_listed:
            assert listed(inside) == ["Game.iso"]
        how(source / "games/inner")
        wait_until(lambda: not listed(inside), "the end of the listing")
        wait_until(lambda: not (made.path / "games/inner").is_dir(), "the end of the name")
    finally:
        os.close(inside)
    assert made.log_lines("WARNING") == []


@pytest.mark.usefixtures("as_root", "own_users")
@pytest.mark.parametrize("how", [delete, replace_by_a_file])
def test_a_directory_that_is_gone_without_events(
    source: Path, tmp_path: Path, how: Callable[[Path], None]
) -> None:
    (source / "games/inner").mkdir(parents=True)
    shutil.copy(PACKED, source / "games/inner/Game.zso")
    with few_watches(source, tmp_path / "mnt", 0, "instances") as (shown, _):
        inside = os.open(shown / "games/inner", os.O_RDONLY | os.O_DIRECTORY)
        try:
            wait_until(lambda: listed(inside) == ["Game.iso"], "the listing")
            how(source / "games/inner")
            wait_until(lambda: not listed(inside), "the end of the listing")
        finally:
            os.close(inside)


def test_directories_of_a_source_that_is_away_stay(source: Path, mount: MountMaker) -> None:
    """They are not deleted: a program in one of them still sees its discs."""
    (source / "games").mkdir()
    shutil.copy(PACKED, source / "games/Game.zso")
    made = mount(source)
    inside = os.open(made.path / "games", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert listed(inside) == ["Game.iso"]
        source.rename(source.with_name("away"))
        wait_until(lambda: made.log_lines("is not available"), "the end of the source")
        assert listed(inside) == ["Game.iso"]
        assert names(made.path / "games") == ["Game.iso"]
        source.with_name("away").rename(source)
        wait_until(lambda: made.log_lines("available again"), "the source")
        assert listed(inside) == ["Game.iso"]
    finally:
        os.close(inside)


def test_the_first_listing_of_a_directory_that_was_counted_long_ago(tmp_path: Path) -> None:
    """Where no event tells of changes, that listing is of now, however long its scan takes."""
    folder = tmp_path / "origin"
    (folder / "PS2").mkdir(parents=True)
    shutil.copy(PACKED, folder / "PS2/Old.zso")
    quick = timed(first_poll=0.1, longest_poll=0.1, stale_listing=0.0)
    with (
        mounted(folder, tmp_path / "inner") as inner,
        mounted(inner.path, tmp_path / "outer", command=quick) as outer,
    ):
        wait_until(lambda: not status_of(outer)["counting"], "the count")
        (folder / "PS2/Old.zso").rename(folder / "PS2/New.zso")
        wait_until(lambda: names(inner.path / "PS2") == ["New.iso"], "the change")
        time.sleep(0.3)  # until the listing for the count has expired
        assert names(outer.path / "PS2") == ["New.iso"]
