"""Inputs of `zsofs watch` that belong together and arrive one after the other."""

import shutil
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of
from tests.support.watching import watching
from tests.unit.discs.test_identify import raw

CHDS = Path(__file__).parents[2] / "data/chd"
IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)
OTHER = writers.disc(2048 * 300, ["text", "noise"], 6)
SHEET = 'FILE "Game.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'


def test_a_bin_waits_for_its_cue_sheet(tmp_path: Path) -> None:
    """Longer than anything else: a browser saves the two files one after the other."""
    with watching(tmp_path) as watch:
        (watch.inbox / "Game.bin").write_bytes(raw(IMAGE, 1))
        wait_until(lambda: "its cue sheet may still" in watch.waits_for("Game.bin"), "the reason")
        (watch.inbox / "plain.bin").write_bytes(OTHER)  # packed later than a raw one was
        watch.wait_for_results("plain.bin")
        assert names(watch.library) == ["plain.zso"]
        (watch.inbox / "Game.cue").write_text(SHEET)
        watch.wait_for_results("Game.cue")
    assert image_of(watch.library / "Game.zso") == IMAGE
    assert names(watch.library) == ["Game.zso", "plain.zso"]


def test_a_bin_without_a_cue_sheet_is_packed_later(tmp_path: Path) -> None:
    with watching(tmp_path, watch_quiet_sheet=1.0) as watch:
        (watch.inbox / "Game.bin").write_bytes(raw(IMAGE, 1))
        watch.wait_for_results("Game.bin")
    assert image_of(watch.library / "Game.zso") == raw(IMAGE, 1)


def test_a_bin_that_is_renamed_to_iso_is_packed_soon(tmp_path: Path) -> None:
    """As its reason in `zsofs status` advises."""
    with watching(tmp_path) as watch:
        (watch.inbox / "Game.bin").write_bytes(raw(IMAGE, 1))
        wait_until(lambda: "rename it to .iso" in watch.waits_for("Game.bin"), "the reason")
        (watch.inbox / "Game.bin").rename(watch.inbox / "Game.iso")
        watch.wait_for_results("Game.iso")
    assert image_of(watch.library / "Game.zso") == raw(IMAGE, 1)


@pytest.mark.parametrize("where", ["inbox/below", "library/below"])
def test_a_parent_is_kept_for_a_child_elsewhere(tmp_path: Path, where: str) -> None:
    (tmp_path / where).mkdir(parents=True)
    shutil.copy(CHDS / "dvd-child.chd", tmp_path / where / "Child.CHD")
    with watching(tmp_path, "--delete-source") as watch:
        shutil.copy(CHDS / "dvd-default.chd", watch.inbox)
        result = watch.wait_for_results("dvd-default.chd")["dvd-default.chd"]
    assert result["state"] == "kept"
    assert f"needs it as its parent: {tmp_path / where / 'Child.CHD'}" in result["error"]
    assert (watch.inbox / "dvd-default.chd").exists()


def test_a_child_arrives_after_its_parent_was_packed(tmp_path: Path) -> None:
    """It names what the parent has become. A parent that is copied again is kept."""
    with watching(tmp_path, "--delete-source") as watch:
        shutil.copy(CHDS / "dvd-default.chd", watch.inbox)
        watch.wait_for_results("dvd-default.chd")
        assert names(watch.inbox) == []
        watch.end()
        watch.start()
        shutil.copy(CHDS / "dvd-child.chd", watch.inbox)
        wait_until(lambda: "already deleted" in watch.waits_for("dvd-child.chd"), "the reason")
        packed = watch.library / "dvd-default.zso"
        assert watch.waits_for("dvd-child.chd").endswith(f"; it was packed as {packed}")
        shutil.copy(CHDS / "dvd-default.chd", watch.inbox)
        watch.wait_for_results("dvd-child.chd")
        wait_until(lambda: watch.status()["state"] == "idle", "the end")
    assert names(watch.library) == ["dvd-child.zso", "dvd-default.zso"]
