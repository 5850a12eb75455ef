"""`status` counts from the start of a mount, without a listing, what `list` counts."""

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_status import runtime as runtime
from tests.mount.control.test_status import state
from tests.mount.opl.test_opl_mount import OPL, game, put, put_game
from tests.support import writers
from tests.support.hanging import hanging_disk
from tests.support.mounting import Mount, mounted, open_to_others, timed, wait_until
from tests.support.packed import zsofs
from tests.unit.cli.test_messages import run
from tests.unit.discs.test_identify import PS2_IMAGE, PSP_FILES, made, raw
from tests.unit.source.test_ignored import APPLE_DOUBLE

ROOT = Path(__file__).parents[3]
PACKED = writers.maxcso_zso(PS2_IMAGE)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Discs of all kinds, and what is like one."""
    source = tmp_path / "mixed"
    put(source / "Game.zso", PACKED)
    put(source / "Ciso.cso", writers.ciso_py(PS2_IMAGE))
    put(source / "below" / "far" / "Dax.dax", writers.dax(made(PSP_FILES)))
    put(source / "below" / "Plain.iso", game(4))
    put(source / "below" / "html.iso", b"<html>No such file</html>")
    put(source / "below" / "Empty.iso", b"")
    put(source / "below" / "Misnamed.zso", PS2_IMAGE)
    put(source / "._Game.iso", APPLE_DOUBLE)
    put(source / "._Real.zso", PACKED)
    put(source / ".Trash-1000" / "files" / "Deleted.zso", PACKED)
    put(source / "Damaged.zso", PACKED[: len(PACKED) // 2])
    put(source / "raw" / "Track.zso", writers.danixu(raw(game(3), 2), block_size=2352))
    put(source / "raw" / "Disc.bin", raw(game(5), 1))
    put(source / "VMC" / "Card.bin", bytes(100_000))
    put(source / "long" / ("x" * 253), writers.ciso_py(PS2_IMAGE))
    put(source / "old" / "Game.zso", PACKED)
    (source / "below" / "Link.zso").symlink_to("../Game.zso")
    (source / "linked").symlink_to("old")
    return source


def counted(at: Mount) -> dict[str, Any]:
    """What a mount says of itself once it has counted."""
    wait_until(lambda: not state(at)["counting"], "the count")
    return state(at)


def numbers(said: dict[str, Any]) -> dict[str, int]:
    """How many files of each kind `status` counts."""
    return {
        "compressed": said["compressed_discs"],
        "plain": said["plain_discs"],
        "others": said["refused_total"] + said["left_out_total"] + said["copying"],
    }


def numbers_of_list(path: Path) -> dict[str, int]:
    """How many `list` lists."""
    found = Counter(
        "others" if not row["is_disc"] else "compressed" if row["container"] else "plain"
        for row in json.loads(zsofs("list", "--json", path).stdout)
    )
    return {kind: found[kind] for kind in ("compressed", "plain", "others")}


OPTIONS = {
    "plain": [],
    "opl": [*OPL],
    "raw": ["--show-raw"],
    "excluded": ["--exclude", "old"],
    "writable": ["--writable"],
}


@pytest.mark.parametrize("layout", OPTIONS)
def test_it_counts_what_list_counts(mixed: Path, mount: MountMaker, layout: str) -> None:
    at = mount(mixed, *OPTIONS[layout])
    found = counted(at)
    assert found["requests"] == 0
    assert found["discs"] == found["compressed_discs"] + found["plain_discs"]
    before = numbers(found)
    assert before == numbers_of_list(at.path)
    for folder, _, files in os.walk(at.path):
        assert files is not None, folder
    assert numbers(counted(at)) == before
    if layout == "plain":
        assert before == numbers_of_list(mixed)
        assert before == {"compressed": 7, "plain": 5, "others": 2}
        said = run("status", at.path).stdout
        assert "  discs    12 (7 compressed, 5 plain)\n" in said
        assert "\n12 discs (7 compressed, 5 plain), " in run("list", at.path).stdout


def test_the_next_mount_counts_the_same(mixed: Path, tmp_path: Path) -> None:
    with mounted(mixed, tmp_path / "mnt") as at:
        before = numbers(counted(at))
    with mounted(mixed, tmp_path / "mnt") as at:
        assert numbers(counted(at)) == before


@pytest.mark.parametrize("options", [[], [*OPL]], ids=["plain", "opl"])
def test_it_follows_what_nobody_lists(
    source: Path, tmp_path: Path, mount: MountMaker, options: list[str]
) -> None:
    put_game(source / "a" / "b" / "One.zso", 1)
    at = mount(source, *options)
    assert counted(at)["discs"] == 1

    def becomes(number: int, what: str) -> None:
        wait_until(lambda: state(at)["discs"] == number, what)

    put_game(source / "a" / "b" / "Two.zso", 2)
    put(source / "a" / "b" / "notes.txt", b"text")
    becomes(2, "a disc in an old directory")
    put_game(source / "c" / "d" / "Three.zso", 3)
    becomes(3, "a disc in a new directory")
    put(source / "c" / "Plain.iso", game(4))
    becomes(4, "a plain disc")
    (source / "a" / "b" / "One.zso").unlink()
    becomes(3, "the end of a disc")
    (source / "c").rename(tmp_path / "elsewhere")
    becomes(1, "the end of a directory")
    (tmp_path / "elsewhere").rename(source / "e")
    becomes(3, "the directory under another name")
    put_game(source / "e" / "d" / "Five.zso", 5)
    becomes(4, "a disc in the directory that was renamed")
    (source / "a").rename(tmp_path / "a")
    put_game(source / "a" / "b" / "Six.zso", 6)
    (source / "a" / "b" / "Seven.iso").write_bytes(game(7))
    becomes(5, "another directory under an old name")
    assert numbers(counted(at)) == numbers_of_list(at.path)


def test_listing_and_forgetting_change_no_number(source: Path, mount: MountMaker) -> None:
    """A directory that is listed is looked at once for both; one that nobody lists is followed."""
    put_game(source / "a" / "One.zso", 1)
    at = mount(source)
    assert counted(at)["discs"] == 1
    assert os.listdir(at.path / "a") == ["One.iso"]
    put_game(source / "a" / "Two.zso", 2)
    wait_until(lambda: state(at)["discs"] == 2, "the new disc")
    assert sorted(os.listdir(at.path / "a")) == ["One.iso", "Two.iso"]
    shutil.rmtree(source / "a")
    wait_until(lambda: state(at)["discs"] == 0, "the end of the directory")


def test_a_disk_that_hangs(tmp_path: Path) -> None:
    """Its discs are still to be counted, those of other disks are; it holds one thread."""
    slow, source = tmp_path / "slow", tmp_path / "source"
    for number in range(6):
        put_game(slow / str(number) / "Game.zso", number)
    put_game(source / "fast" / "Game.zso", 7)
    (source / "slow").mkdir()
    with hanging_disk(slow, source / "slow") as disk:
        disk.hang("read")
        with mounted(source, tmp_path / "mnt") as at:
            wait_until(lambda: len(opened_on(at, disk.path)) == 1, "the look that hangs")
            wait_until(lambda: state(at)["discs"] == 1, "the other disk")
            found = state(at)
            assert found["counting"] is True
            assert found["source_state"] == "there"
            assert len(opened_on(at, disk.path)) == 1
            assert "  discs    1, still counting\n" in run("status", at.path).stdout
            assert (at.path / "fast" / "Game.iso").read_bytes() == game(7)
            disk.hang()
            # One that is seconds old may still be written to, for all that FUSE tells.
            wait_until(lambda: counted(at)["discs"] == 7, "all discs")


def opened_on(at: Mount, disk: Path) -> set[str]:
    """What the daemon has open on a disk."""
    files = set()
    for link in Path(f"/proc/{at.daemon.pid}/fd").iterdir():
        try:
            files.add(os.readlink(link))
        except OSError:
            continue
    return {file for file in files if file.startswith(f"{disk}/") and file.endswith(".zso")}


def test_a_source_that_is_not_there_yet(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    at = mount(source, "--nofail")
    wait_until(lambda: state(at)["source_state"] == "not there yet", "the first look")
    found = state(at)
    assert (found["discs"], found["counting"]) == (0, False)
    put_game(tmp_path / "made" / "a" / "Game.zso", 1)
    (tmp_path / "made").rename(source)
    wait_until(lambda: state(at)["discs"] == 1, "the source")
    assert counted(at)["source_state"] == "there"


def test_where_no_event_tells_of_changes(tmp_path: Path) -> None:
    """A source through FUSE: `status` has such directories looked at again, and says so."""
    put_game(tmp_path / "origin" / "a" / "One.zso", 1)
    with (
        mounted(tmp_path / "origin", tmp_path / "inner", "--show-raw") as inner,
        mounted(
            inner.path, tmp_path / "outer", "--exclude", "*.iso", command=timed(trust_count=1.0)
        ) as at,
    ):
        wait_until(lambda: counted(at)["discs"] == 1, "the first disc")
        put_game(tmp_path / "origin" / "a" / "Two.zso", 2)
        wait_until(lambda: counted(at)["discs"] == 2, "the second disc", 60)


def test_a_directory_that_may_be_read_later(source: Path, mount: MountMaker) -> None:
    put_game(source / "a" / "One.zso", 1)
    (source / "later").symlink_to("a")
    at = mount(source)
    assert counted(at)["discs"] == 1
    (source / "later").unlink()
    put_game(source / "later" / "Two.zso", 2)
    wait_until(lambda: state(at)["discs"] == 2, "the directory in place of the symlink")


def test_fields_for_programs_are_documented(source: Path, mount: MountMaker) -> None:
    text = (ROOT / "docs" / "reference" / "json.md").read_text()
    (section,) = re.findall(r"^## zsofs status\n.*?(?=^## )", text, re.M | re.S)
    documented = set(re.findall(r"`(\w+)`", section))
    fields = set(state(mount(source)))
    assert fields <= documented, fields - documented
    assert json.loads(run("status", "--json").stdout)


@pytest.mark.usefixtures("as_root")
def test_a_directory_that_may_not_be_read_is_not_counted(tmp_path: Path, mount: MountMaker) -> None:
    """Nor its discs opened. It counts again once it may be read."""
    source = tmp_path / "source"
    put(source / "Game.zso", PACKED)
    put(source / "below" / "Game.zso", PACKED)
    open_to_others(source, source / "below")
    at = mount(source, "--setuid", "nobody", "--allow-other")
    wait_until(lambda: state(at)["discs"] == 2, "both")
    (source / "below").chmod(0)
    wait_until(lambda: state(at)["discs"] == 1, "the count without it")
    (source / "below").chmod(0o755)
    wait_until(lambda: state(at)["discs"] == 2, "the count with it")
