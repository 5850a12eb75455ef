"""Inputs of `zsofs watch` that deceive it: names, reused inode numbers, sets that arrive slowly."""

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.disks import MIB, disk_mounted, make_ext4, take_down
from tests.support.mounting import ZSOFS, mounted, names, wait_until
from tests.support.packed import image_of, zsofs
from tests.support.watching import Watching, watching
from tests.unit.discs.test_identify import raw
from tests.unit.watch.test_watch import dat_of
from zsofs.source.new_disc_mark import set_mark
from zsofs.watch.ledger import Ledger
from zsofs.watch.settings import WatchSettings
from zsofs.watch.units import units_of
from zsofs.watch.whole import FileIdentity

CHDS = Path(__file__).parents[2] / "data/chd"
IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)
OTHER = writers.disc(2048 * 300, ["text", "noise"], 6)
NO_DISC = b"This is no disc.\n" * 500


def test_a_track_waits_for_its_cue_sheet(tmp_path: Path) -> None:
    """Tracks arrive before their cue sheet, whose name sorts behind theirs."""
    with watching(tmp_path, "--delete-source") as watch:
        track = watch.inbox / "Game (Track 1).bin"
        track.write_bytes(raw(IMAGE, 1))
        wait_until(lambda: "cue sheet" in watch.waits_for(track.name), "the reason")
        (watch.inbox / "Ico.iso").write_bytes(OTHER)
        watch.wait_for_results("Ico.iso")
        time.sleep(1)
        assert names(watch.inbox) == [track.name]
        assert names(watch.library) == ["Ico.zso"]


def test_an_incomplete_copy_through_a_mount_is_not_packed(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        path = watch.inbox / "Game.iso"
        with path.open("wb") as file:
            file.write(IMAGE)
            file.flush()
            set_mark(file.fileno(), is_open=False)
        wait_until(lambda: "copied" in watch.waits_for("Game.iso"), "the reason")
        time.sleep(1)
        assert names(watch.library) == []
        path.write_bytes(IMAGE)
        os.removexattr(path, "user.zsofs.new-disc")
        watch.wait_for_results("Game.iso")
    assert names(watch.library) == ["Game.zso"]


def test_the_same_disc_arrives_again_later(tmp_path: Path) -> None:
    """Its date is newer than that of the output, which has the date of the first copy."""
    with watching(tmp_path, "--delete-source") as watch:
        for date in (1_600_000_000, 1_700_000_000):
            hidden = watch.inbox / ".Game"
            hidden.write_bytes(IMAGE)
            os.utime(hidden, (date, date))
            hidden.rename(watch.inbox / "Game.iso")
            wait_until(lambda: names(watch.inbox) == [], f"the deletion {date}")
        assert watch.results()["Game.iso"]["state"] == "packed"
    assert image_of(watch.library / "Game.zso") == IMAGE


def test_a_name_like_an_error_is_no_full_disk(tmp_path: Path) -> None:
    name = "A No space left on device.iso"
    with watching(tmp_path) as watch:
        (watch.inbox / name).write_bytes(NO_DISC)
        (watch.inbox / f"{name}.zip").write_bytes(b"PK\3\4" + NO_DISC)
        (watch.inbox / "Game.iso").write_bytes(IMAGE)
        results = watch.wait_for_results(name, f"{name}.zip", "Game.iso")
    assert results[name]["state"] == "failed"
    assert results[f"{name}.zip"]["state"] == "failed"
    assert results["Game.iso"]["state"] == "packed"


def test_another_disc_with_the_inode_number_of_a_deleted_one(tmp_path: Path) -> None:
    """Files of some archives all have the same date, and some discs the same size."""
    with watching(tmp_path) as watch:
        hidden = watch.inbox / ".the number"
        hidden.write_bytes(IMAGE)
        os.utime(hidden, (851_439_120, 851_439_120))
        (watch.inbox / "A.iso").hardlink_to(hidden)
        watch.wait_for_results("A.iso")
        (watch.inbox / "A.iso").unlink()
        with hidden.open("r+b") as file:
            file.write(OTHER)
        os.utime(hidden, (851_439_120, 851_439_120))
        hidden.rename(watch.inbox / "B.iso")
        watch.wait_for_results("B.iso")
    assert image_of(watch.library / "B.zso") == OTHER


def test_a_disc_that_was_deleted_arrives_again(tmp_path: Path) -> None:
    """Also with the same date, and if the directory of it was moved away."""
    with watching(tmp_path) as watch:
        for number, folder in enumerate(("", "", "below", "below")):
            (tmp_path / "x").mkdir()
            (tmp_path / "x/Game.iso").write_bytes(IMAGE)
            os.utime(tmp_path / "x/Game.iso", (851_439_120, 851_439_120))
            there = watch.inbox / folder
            (tmp_path / ("x" if folder else "x/Game.iso")).rename(
                there if folder else there / "Game.iso"
            )
            output = watch.library / folder / "Game.zso"
            wait_until(output.exists, f"the output {number}")
            wait_until(lambda: watch.status()["state"] == "idle", "the end")
            there.rename(tmp_path / f"old {number}") if folder else (there / "Game.iso").unlink()
            output.unlink()
            (watch.library / "another").touch()  # or its disk might be missing
            time.sleep(0.3)
            shutil.rmtree(tmp_path / "x", ignore_errors=True)


def test_a_library_that_becomes_read_only(as_root: None, tmp_path: Path) -> None:
    disk = make_ext4(tmp_path / "disk.img", 32 * MIB)
    failed = tmp_path / "failed"
    failed.mkdir()
    (tmp_path / "library").mkdir()
    with (
        disk_mounted(disk, tmp_path / "library") as library,
        watching(tmp_path, "--move-failed", str(failed)) as watch,
    ):
        subprocess.run(["mount", "-o", "remount,ro", library], check=True)
        (watch.inbox / "Game.iso").write_bytes(IMAGE)
        wait_until(lambda: "read-only" in watch.status()["note"].lower(), "the note")
        time.sleep(0.5)
        assert names(failed) == []
        assert names(watch.inbox) == ["Game.iso"]
        subprocess.run(["mount", "-o", "remount,rw", library], check=True)
        assert watch.wait_for_results("Game.iso")["Game.iso"]["state"] == "packed"


def test_an_inbox_that_becomes_read_only(as_root: None, tmp_path: Path) -> None:
    disk = make_ext4(tmp_path / "disk.img", 32 * MIB)
    (tmp_path / "inbox").mkdir()
    with (
        disk_mounted(disk, tmp_path / "inbox") as inbox,
        watching(tmp_path, "--delete-source", watch_quiet=1.0) as watch,
    ):
        (inbox / "Game.iso").write_bytes(IMAGE)
        subprocess.run(["mount", "-o", "remount,ro", inbox], check=True)
        wait_until(lambda: "is read-only" in watch.waits_for("Game.iso"), "the reason")
        subprocess.run(["mount", "-o", "remount,rw", inbox], check=True)
        wait_until(lambda: not (inbox / "Game.iso").exists(), "the deletion")
    assert image_of(watch.library / "Game.zso") == IMAGE


def test_a_library_that_was_filled_by_others_and_has_gone(as_root: None, tmp_path: Path) -> None:
    disk = make_ext4(tmp_path / "disk.img", 32 * MIB)
    library = tmp_path / "library"
    library.mkdir()
    with watching_disk(disk, library, tmp_path) as watch:
        (watch.inbox / "Game.iso").write_bytes(IMAGE)
        wait_until(lambda: "its disk may be missing" in watch.status()["note"], "the note")
        assert names(library) == []
        assert names(watch.inbox) == ["Game.iso"]


def test_the_library_is_in_the_inbox_under_another_path(as_root: None, tmp_path: Path) -> None:
    """As in a container with both as volumes: outputs are no inputs."""
    library, other = tmp_path / "library", tmp_path / "inbox/packed"
    other.mkdir(parents=True)
    library.mkdir()
    subprocess.run(["mount", "--bind", other, library], check=True)
    try:
        with watching(tmp_path) as watch:
            (watch.inbox / "Game.iso").write_bytes(IMAGE)
            watch.wait_for_results("Game.iso")
            (watch.inbox / "Ico.iso").write_bytes(OTHER)
            watch.wait_for_results("Ico.iso")
            assert sorted(watch.results()) == ["Game.iso", "Ico.iso"]
        assert names(other) == ["Game.zso", "Ico.zso"]
        done = zsofs("watch", other, "-o", library, code=2)
        assert "outputs would be inputs" in done.stderr
    finally:
        take_down(library)


@contextmanager
def watching_disk(disk: Path, library: Path, folder: Path) -> Iterator[Watching]:
    """A watch whose library, with a disc in it, has lost its disk since the start."""
    made = Watching(folder / "inbox", library, folder / "state", ("--delete-source",))
    made.inbox.mkdir()
    with disk_mounted(disk, library):
        (library / "packed by hand.zso").touch()
        made.start()
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("which", ["library", "inbox"])
def test_a_mount_covers_a_directory(tmp_path: Path, which: str) -> None:
    """Its discs are none that arrived, and nothing is packed into it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "Game.zso").write_bytes(writers.zsoz(IMAGE))
    with watching(tmp_path, "--delete-source") as watch:
        with mounted(source, tmp_path / which, "--writable"):
            if which == "library":
                (watch.inbox / "Ico.iso").write_bytes(OTHER)
                wait_until(lambda: "covers the library" in watch.status()["note"], "the note")
            else:
                wait_until(lambda: "covers it" in watch.status()["note"], "the note")
            time.sleep(1)
            assert watch.results() == {}
        if which == "inbox":
            (watch.inbox / "Ico.iso").write_bytes(OTHER)
        watch.wait_for_results("Ico.iso")
    assert names(watch.library) == ["Ico.zso"]


def test_a_chd_waits_for_its_parent(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        shutil.copy(CHDS / "dvd-child.chd", watch.inbox)
        wait_until(lambda: "parent" in watch.waits_for("dvd-child.chd"), "the reason")
        parent = (CHDS / "dvd-default.chd").read_bytes()
        with (watch.inbox / "dvd-default.chd").open("wb") as file:
            file.write(parent[:-100])
            file.flush()
            time.sleep(1)
            file.write(parent[-100:])
        results = watch.wait_for_results("dvd-child.chd", "dvd-default.chd")
    assert {one["state"] for one in results.values()} <= {"packed", "kept"}, results
    assert {"dvd-child.zso", "dvd-default.zso"} == set(names(watch.library))


def test_a_dat_that_has_gone(tmp_path: Path) -> None:
    """It may be on a disk of its own; no input fails for that."""
    dat = dat_of(tmp_path, "The Game", IMAGE)
    with watching(tmp_path, "--dat", str(dat)) as watch:
        dat.rename(tmp_path / "gone")
        (watch.inbox / "Game.iso").write_bytes(IMAGE)
        wait_until(lambda: "DAT" in watch.waits_for("Game.iso"), "the reason")
        (tmp_path / "gone").rename(dat)
        assert watch.wait_for_results("Game.iso")["Game.iso"]["state"] == "packed"
    assert names(watch.library) == ["The Game.zso"]


def test_a_directory_that_may_not_be_listed(tmp_path: Path) -> None:
    """Its discs are not packed, which would otherwise have no visible reason."""
    less = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    watch = Watching(tmp_path / "inbox", tmp_path / "library", tmp_path / "state")
    closed = watch.inbox / "closed"
    closed.mkdir(parents=True)
    watch.library.mkdir()
    watch.start(*less)
    try:
        closed.chmod(0)
        watch.inbox.touch()
        wait_until(lambda: f"list the directory {closed}" in watch.status()["note"], "the note")
        closed.chmod(0o700)
        (closed / "Game.iso").write_bytes(IMAGE)
        watch.wait_for_results("Game.iso")
        wait_until(lambda: watch.status()["note"] == "", "the end of the note")
    finally:
        watch.end()


def test_a_directory_that_can_be_listed_later(tmp_path: Path) -> None:
    """What was there before may be incomplete; what is in a directory that has come is not."""
    less = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    options = ("--delete-source",)
    watch = Watching(tmp_path / "inbox", tmp_path / "library", tmp_path / "state", options)
    before, new = watch.inbox / "before", tmp_path / "new"
    for folder in (before, watch.library, new):
        folder.mkdir(parents=True)
    for game in (before / "Old.iso", new / "Game.iso"):
        game.write_bytes(IMAGE)
    before.chmod(0)
    watch.start(*less)
    try:
        new.chmod(0o300)  # a directory that may not be written to cannot be moved
        new.rename(watch.inbox / "new")
        before.chmod(0o700)
        wait_until(lambda: "/new" in watch.status()["note"], "the note")
        (watch.inbox / "new").chmod(0o700)
        results = watch.wait_for_results("Old.iso", "Game.iso")
    finally:
        watch.end()
    assert (results["Old.iso"]["state"], results["Game.iso"]["state"]) == ("kept", "packed")
    assert (names(before), names(watch.inbox / "new")) == (["Old.iso"], [])


def test_the_root_directory_contains_all_files() -> None:
    assert WatchSettings(("/",), "/library").inbox_of("/games/A.iso") == "/"


def test_dates_that_are_set_after_the_close(tmp_path: Path) -> None:
    """File managers copy in this way."""
    with watching(tmp_path, "--delete-source") as watch:
        path = watch.inbox / "Game.iso"
        path.write_bytes(IMAGE)
        time.sleep(0.1)
        os.utime(path, (851_439_120, 851_439_120))
        result = watch.wait_for_results("Game.iso")["Game.iso"]
    assert (result["state"], names(watch.inbox)) == ("packed", [])


def test_a_date_that_is_set_during_a_write_is_no_close(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        path = watch.inbox / "Game.iso"
        path.write_bytes(IMAGE)
        writer = path.open("r+b")
        writer.write(IMAGE)
        writer.flush()
        os.utime(path, (851_439_120, 851_439_120))
        wait_until(lambda: "open for writing" in watch.waits_for("Game.iso"), "the reason")
        watch.end()  # so that no close is seen
        writer.close()
        watch.start()
        assert watch.wait_for_results("Game.iso")["Game.iso"]["state"] == "kept"


def test_a_volume_that_is_being_downloaded() -> None:
    files = ["A.part1.rar", "A.part2.rar", "A.part3.rar.crdownload", "B.7z.001", "B.7z.002.part"]
    lacks = {unit.path: unit.lacks for unit in units_of("/inbox", files)}
    assert "A.part3.rar.crdownload" in lacks["/inbox/A.part1.rar"]
    assert "B.7z.002.part" in lacks["/inbox/B.7z.001"]


def test_a_set_is_moved_together(tmp_path: Path) -> None:
    """Its files keep their names, by which a cue sheet finds them, also if one is taken."""
    failed = tmp_path / "failed"
    (failed / "below").mkdir(parents=True)
    (failed / "below/Game 2.bin").write_bytes(b"another")
    tracks = {f"Game {number}.bin": raw(IMAGE, number) for number in (1, 2)}
    with watching(tmp_path, "--move-failed", str(failed)) as watch:
        there = tmp_path / "below"
        there.mkdir()
        for name, image in tracks.items():
            (there / name).write_bytes(image)
        (there / "Game.cue").write_text(
            'FILE "Game 1.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
            'FILE "Game 2.bin" BINARY\n  TRACK 02 AUDIO\n    INDEX 01 00:00:00\n'
        )
        there.rename(watch.inbox / "below")
        watch.wait_for_results("Game.cue")
        wait_until(lambda: names(watch.inbox / "below") == [], "the move")
    (moved,) = failed.rglob("Game.cue")
    assert moved.parent == failed / "below/Game (2)"
    assert {name: (moved.parent / name).read_bytes() for name in tracks} == tracks
    assert (failed / "below/Game 2.bin").read_bytes() == b"another"


def test_the_longest_names(tmp_path: Path) -> None:
    long = "\xe9" * 125 + "\n.iso"
    with watching(tmp_path, "--delete-source") as watch:
        (watch.inbox / long).write_bytes(IMAGE)
        bad = "b" * 251 + ".iso"
        (watch.inbox / bad).write_bytes(NO_DISC)
        results = watch.wait_for_results(long, bad)
    assert results[long]["state"] == "packed", results[long]
    assert results[bad]["state"] == "failed"
    assert names(watch.library) == [long.replace(".iso", ".zso")]
    (text,) = {*names(watch.inbox)} - {bad}
    assert text.endswith(".zsofs-error.txt")


def test_a_full_disk_for_the_ledger_costs_one_line(tmp_path: Path) -> None:
    """What is written after a line that was cut off is not lost."""
    ledger = Ledger(tmp_path, "key")
    file = tmp_path / "watch-key.jsonl"
    identities = [FileIdentity(number, 2, 3, 4) for number in range(3)]
    ledger.note_closed(identities[0])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 9, hard))
    try:
        ledger.note_closed(identities[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    ledger.note_closed(identities[2])
    ledger.close()
    again = Ledger(tmp_path, "key")
    assert [again.was_closed(one) for one in identities] == [True, False, True]
    again.close()


def test_the_state_of_many_long_names(tmp_path: Path) -> None:
    """A guest of a share cannot hide a watch from `zsofs status`."""
    folder = "inbox" + f"/{os.fsdecode(bytes([0xFF] * 250))}" * 12
    with watching(tmp_path) as watch:
        (tmp_path / folder).mkdir(parents=True)
        for number in range(100):
            (tmp_path / folder / f"{number}.iso").touch()
        wait_until(lambda: len(watch.status()["waiting"]) == 100, "the scan")
        done = subprocess.run(
            [*ZSOFS, "status", "--json", watch.inbox],
            check=False,
            env=watch.environment,
            capture_output=True,
        )
    assert json.loads(done.stdout)["type"] == "watch", done.stderr
