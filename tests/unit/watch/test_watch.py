"""`zsofs watch`: what arrives is packed once, when it is complete."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.archives import archive
from tests.support.mounting import is_in_memory, names, wait_until
from tests.support.packed import image_of, left_in, zsofs
from tests.support.watching import watching

IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)
OTHER = writers.disc(2048 * 200, ["text", "noise"], 6)


def test_what_arrives_is_packed_and_left(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        (watch.inbox / "notes.txt").write_text("no disc")
        result = watch.wait_for_results("Okami.iso")["Okami.iso"]
    assert result["state"] == "packed"
    assert result["plain_bytes"] == len(IMAGE)
    assert image_of(watch.library / "Okami.zso") == IMAGE
    assert names(watch.inbox) == ["Okami.iso", "notes.txt"]


def test_an_input_is_packed_once(tmp_path: Path) -> None:
    """Also after a restart, after a rename, and if its output has gone."""
    with watching(tmp_path) as watch:
        (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        watch.wait_for_results("Okami.iso")
        watch.end()
        (watch.library / "Okami.zso").unlink()
        (watch.library / "another").touch()  # or its disk might be missing
        (watch.inbox / "Okami.iso").rename(watch.inbox / "Renamed.iso")
        watch.start()
        (watch.inbox / "Ico.iso").write_bytes(OTHER)
        watch.wait_for_results("Ico.iso")
    assert names(watch.library) == ["Ico.zso", "another"]


@pytest.mark.parametrize("way", ["write", "rename", "directory", "moved directory"])
def test_a_complete_input_is_deleted(tmp_path: Path, way: str) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        if way == "write":
            (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        elif way == "rename":
            (watch.inbox / "Okami.iso.part").write_bytes(IMAGE)
            (watch.inbox / "Okami.iso.part").rename(watch.inbox / "Okami.iso")
        elif way == "directory":
            (watch.inbox / "below").mkdir()
            (watch.inbox / "below/Okami.iso").write_bytes(IMAGE)
        else:
            (tmp_path / "below").mkdir()
            (tmp_path / "below/Okami.iso").write_bytes(IMAGE)
            (tmp_path / "below").rename(watch.inbox / "below")
        watch.wait_for_results("Okami.iso")
    below = "below" if "directory" in way else ""
    assert names(watch.inbox / below) == []
    assert image_of(watch.library / below / "Okami.zso") == IMAGE


def test_what_was_there_before_is_packed_and_not_deleted(tmp_path: Path) -> None:
    """Nobody saw a program close it: a torrent client may have allocated it."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/Okami.iso").write_bytes(IMAGE)
    archive(tmp_path / "inbox/Ico.7z", "7z", {"Ico.iso": OTHER})
    with watching(tmp_path, "--delete-source") as watch:
        results = watch.wait_for_results("Okami.iso", "Ico.7z")
        assert results["Okami.iso"]["state"] == "kept"
        assert "no program was seen closing or renaming it" in results["Okami.iso"]["error"]
        assert results["Ico.7z"]["state"] == "packed"
        status = watch.status()
        assert [one["path"] for one in status["kept"]] == [str(watch.inbox / "Okami.iso")]
        assert "while the watch was running" in status["kept"][0]["reason"]
        assert status["counts"]["kept"] == 1
        with (watch.inbox / "Okami.iso").open("r+b") as file:  # as touch(1) does
            os.utime(file.fileno())
        wait_until(lambda: names(watch.inbox) == [], "the deletion")
        wait_until(lambda: watch.status()["counts"]["kept"] == 0, "the status")
    assert names(watch.library) == ["Ico.zso", "Okami.zso"]


def test_a_dat_tells_that_an_image_is_complete_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/dump.iso").write_bytes(IMAGE)
    (tmp_path / "inbox/other.iso").write_bytes(OTHER)
    dat = dat_of(tmp_path, "Okami (USA): 1/2", IMAGE)
    with watching(tmp_path, "--delete-source", "--dat", str(dat)) as watch:
        results = watch.wait_for_results("dump.iso", "other.iso")
    assert results["dump.iso"]["state"] == "packed"
    assert names(watch.library) == ["Okami (USA): 1-2.zso", "other.zso"]
    assert names(watch.inbox) == ["other.iso"]
    assert image_of(watch.library / "Okami (USA): 1-2.zso") == IMAGE


def test_a_title_that_is_taken(tmp_path: Path) -> None:
    """By the same image, nothing is to do; by another one, the disc keeps its name."""
    dat = dat_of(tmp_path, "Okami", IMAGE)
    (tmp_path / "library").mkdir()
    with watching(tmp_path, "--delete-source", "--dat", str(dat)) as watch:
        (watch.inbox / "one.iso").write_bytes(IMAGE)
        watch.wait_for_results("one.iso")
        (watch.inbox / "two.iso").write_bytes(IMAGE)
        result = watch.wait_for_results("two.iso")["two.iso"]
        assert result["state"] == "packed"
        assert result["outputs"] == [str(watch.library / "Okami.zso")]
        (tmp_path / "x.iso").write_bytes(OTHER)
        zsofs("pack", "--force", tmp_path / "x.iso", "-o", watch.library / "Okami.zso")
        (watch.inbox / "three.iso").write_bytes(IMAGE)
        watch.wait_for_results("three.iso")
    assert names(watch.library) == ["Okami.zso", "three.zso"]
    assert names(watch.inbox) == []
    assert image_of(watch.library / "Okami.zso") == OTHER


def dat_of(folder: Path, title: str, image: bytes) -> Path:
    """A DAT with one disc."""
    import hashlib

    path = folder / "test.dat"
    path.write_text(
        f'<datafile><header><name>Test</name></header><game name="{title}"><rom name="x.iso"'
        f' size="{len(image)}" sha1="{hashlib.sha1(image).hexdigest()}"/></game></datafile>'
    )
    return path


def test_packed_inputs_are_moved(tmp_path: Path) -> None:
    """The tree below the inbox is kept, and no file is replaced."""
    done = tmp_path / "done"
    (done / "PS2").mkdir(parents=True)
    (done / "PS2/Okami.iso").write_bytes(b"another")
    with watching(tmp_path, "--move-source", str(done)) as watch:
        (watch.inbox / "PS2").mkdir()
        (watch.inbox / "PS2/Okami.iso").write_bytes(IMAGE)
        watch.wait_for_results("Okami.iso")
    assert names(watch.inbox / "PS2") == []
    assert (done / "PS2/Okami.iso").read_bytes() == b"another"
    assert (done / "PS2/Okami (2).iso").read_bytes() == IMAGE
    assert image_of(watch.library / "PS2/Okami.zso") == IMAGE


def test_what_was_deleted_and_arrives_again_is_a_new_input(tmp_path: Path) -> None:
    """As when somebody has deleted the disc, and copies it with its date from a backup."""
    (tmp_path / "Okami.iso").write_bytes(IMAGE)
    with watching(tmp_path, "--delete-source") as watch:
        for _ in range(2):
            shutil.copy2(tmp_path / "Okami.iso", watch.inbox)
            wait_until((watch.library / "Okami.zso").exists, "the disc")
            wait_until(lambda: names(watch.inbox) == [], "the deletion")
            (watch.library / "Okami.zso").rename(watch.library / "before")


def test_names_in_any_encoding(tmp_path: Path) -> None:
    name = os.fsdecode(b"Pok\xe9mon \n")
    with watching(tmp_path, "--delete-source") as watch:
        (watch.inbox / f"{name}.iso").write_bytes(IMAGE)
        (watch.inbox / f"{name} 2.iso").write_bytes(b"This is no disc.\n" * 500)
        watch.wait_for_results(f"{name}.iso", f"{name} 2.iso")
    assert names(watch.library) == [f"{name}.zso"]
    text = (watch.inbox / f"{name} 2.iso.zsofs-error.txt").read_text()
    assert r"Pok\udce9mon \n 2.iso: it is a text file" in text


# ---- What is not complete


def test_an_open_file_is_not_complete(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        with (watch.inbox / "Okami.iso").open("wb") as file:
            file.write(IMAGE)
            file.flush()
            wait_until(
                lambda: watch.waits_for("Okami.iso") == "a program has it open for writing",
                "the reason",
            )
            assert names(watch.library) == []
        watch.wait_for_results("Okami.iso")
    assert names(watch.library) == ["Okami.zso"]
    assert names(watch.inbox) == []


@pytest.mark.parametrize("beside", [".aria2", ".part", ".crdownload"])
def test_a_download_in_progress_is_not_complete(tmp_path: Path, beside: str) -> None:
    with watching(tmp_path) as watch:
        (watch.inbox / f"Okami.iso{beside}").write_bytes(b"state")
        (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        (watch.inbox / "Ico.iso").write_bytes(OTHER)
        watch.wait_for_results("Ico.iso")
        assert "it is being downloaded" in watch.waits_for("Okami.iso")
        (watch.inbox / f"Okami.iso{beside}").unlink()
        watch.wait_for_results("Okami.iso")
    assert names(watch.library) == ["Ico.zso", "Okami.zso"]


def test_a_file_that_is_allocated_and_not_written_is_not_complete(tmp_path: Path) -> None:
    """A torrent client allocates it, and closes it now and then."""
    if is_in_memory(tmp_path):
        pytest.skip("tmpfs does not tell what is allocated from what is a hole")
    with watching(tmp_path, "--delete-source") as watch:
        path = watch.inbox / "Okami.iso"
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(IMAGE))
            file.write(IMAGE[: len(IMAGE) // 2])
        wait_until(lambda: "never written" in watch.waits_for("Okami.iso"), "the reason")
        with path.open("r+b") as file:
            file.write(IMAGE)
        watch.wait_for_results("Okami.iso")
    assert image_of(watch.library / "Okami.zso") == IMAGE
    assert names(watch.inbox) == []


def test_a_file_with_holes_waits_with_that_reason(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        with (watch.inbox / "Okami.iso").open("wb") as file:
            file.write(IMAGE)
            file.truncate(len(IMAGE) + (1 << 20))
        wait_until(lambda: "it has holes" in watch.waits_for("Okami.iso"), "the reason")


def test_a_file_with_holes_waits_longer_and_is_never_deleted(tmp_path: Path) -> None:
    image = writers.disc(2048 * 300, ["text", "zeros"], 5)
    image = image[: 2048 * 100] + bytes(2048 * 100) + image[2048 * 200 :]
    with watching(tmp_path, "--delete-source", watch_quiet_holes=1.0) as watch:
        with (watch.inbox / "Okami.iso").open("wb") as file:
            file.write(image[: 2048 * 100])
            file.seek(2048 * 200)
            file.write(image[2048 * 200 :])
        result = watch.wait_for_results("Okami.iso")["Okami.iso"]
    assert result["state"] == "kept"
    assert "it has holes" in result["error"]
    assert image_of(watch.library / "Okami.zso") == image
    assert names(watch.inbox) == ["Okami.iso"]


def test_an_image_that_is_shorter_than_its_descriptors_say(tmp_path: Path) -> None:
    """As of a transfer that broke off: it is not packed before it is complete."""
    image = writers.described(writers.content(2048 * 1000, ["mixed", "noise"], 5))
    with watching(tmp_path, "--delete-source") as watch:
        path = watch.inbox / "Okami.iso"
        path.write_bytes(image[: len(image) // 2])
        result = watch.wait_for_results("Okami.iso")["Okami.iso"]
        assert result["state"] == "failed"
        assert "packed when it is complete" in result["error"]
        wait_until((watch.inbox / "Okami.iso.zsofs-error.txt").exists, "the reason beside it")
        assert names(watch.library) == []
        with path.open("ab") as file:
            file.write(image[len(image) // 2 :])
        wait_until(lambda: watch.results()["Okami.iso"]["state"] == "packed", "the result")
        wait_until(lambda: names(watch.inbox) == [], "the deletion of both")
    assert image_of(watch.library / "Okami.zso") == image


# ---- Sets


def test_volumes_are_one_input(tmp_path: Path) -> None:
    noise = writers.disc(2048 * 300, ["noise"], 5)
    (tmp_path / "Okami.iso").write_bytes(noise)
    subprocess.run(
        ["7z", "a", "-v200k", "-mx0", "Okami.7z", "Okami.iso"],
        cwd=tmp_path,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    volumes = sorted(tmp_path.glob("Okami.7z.*"))
    assert len(volumes) > 2
    with watching(tmp_path, "--delete-source") as watch:
        for volume in volumes[1:]:
            shutil.copy(volume, watch.inbox)
        wait_until(
            lambda: "its volume Okami.7z.001 is missing" in watch.waits_for("Okami.7z.002"),
            "the reason",
        )
        shutil.copy(volumes[0], watch.inbox)
        watch.wait_for_results("Okami.7z.001")
    assert image_of(watch.library / "Okami.zso") == noise
    assert names(watch.inbox) == []


def test_a_cue_sheet_and_its_bin_are_one_input(tmp_path: Path) -> None:
    from tests.unit.discs.test_identify import raw

    image = raw(IMAGE, 1)
    sheet = 'FILE "Game.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
    with watching(tmp_path) as watch:
        (watch.inbox / "Game.cue").write_text(sheet)
        wait_until(lambda: "Game.bin" in watch.waits_for("Game.cue"), "the missing file")
        (watch.inbox / "Game.bin").write_bytes(image)
        results = watch.wait_for_results("Game.cue")
        assert "Game.bin" not in results
    assert names(watch.inbox) == ["Game.bin", "Game.cue"]
    assert names(watch.library) == ["Game.zso"]


def test_an_archive_with_something_else_is_kept(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        archive(tmp_path / "Games.zip", "zip", {"Okami.iso": IMAGE, "save.dat": b"\1\2\3" * 99})
        shutil.copy(tmp_path / "Games.zip", watch.inbox)
        result = watch.wait_for_results("Games.zip")["Games.zip"]
    assert result["state"] == "kept"
    assert "save.dat" in result["error"]
    assert names(watch.inbox) == ["Games.zip"]
    assert names(watch.library) == ["Okami.zso"]


# ---- Failures


def test_a_failure_is_told_beside_the_input(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        path = watch.inbox / "Okami.iso"
        path.write_bytes(b"This is no disc.\n" * 500)
        result = watch.wait_for_results("Okami.iso")["Okami.iso"]
        assert result["state"] == "failed"
        beside = watch.inbox / "Okami.iso.zsofs-error.txt"
        wait_until(beside.exists, "the reason beside it")
        assert "it is a text file, not a disc image" in beside.read_text()
        path.write_bytes(IMAGE)
        wait_until(lambda: names(watch.inbox) == [], "the deletion of both")
    assert image_of(watch.library / "Okami.zso") == IMAGE


def test_a_failed_input_is_moved(tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    with watching(tmp_path, "--move-failed", str(failed)) as watch:
        (watch.inbox / "Okami.iso").write_bytes(b"This is no disc.\n" * 500)
        watch.wait_for_results("Okami.iso")
        wait_until(lambda: len(names(failed)) == 2, "the move")
    assert names(failed) == ["Okami.iso", "Okami.iso.zsofs-error.txt"]
    assert names(watch.inbox) == []


def test_a_text_file_of_that_name_is_not_touched(tmp_path: Path) -> None:
    with watching(tmp_path, "--delete-source") as watch:
        (watch.inbox / "Okami.iso.zsofs-error.txt").write_text("mine")
        (watch.inbox / "Okami.iso").write_bytes(b"This is no disc.\n" * 500)
        watch.wait_for_results("Okami.iso")
        (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        wait_until(lambda: watch.results()["Okami.iso"]["state"] == "packed", "the result")
    assert (watch.inbox / "Okami.iso.zsofs-error.txt").read_text() == "mine"


def test_an_output_of_another_disc_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "x.iso").write_bytes(OTHER)
    zsofs("pack", tmp_path / "x.iso", "-o", tmp_path / "library/Okami.zso")
    with watching(tmp_path, "--delete-source") as watch:
        (watch.inbox / "Okami.iso").write_bytes(IMAGE)
        result = watch.wait_for_results("Okami.iso")["Okami.iso"]
    assert result["state"] == "failed"
    assert image_of(watch.library / "Okami.zso") == OTHER
    assert (watch.inbox / "Okami.iso").read_bytes() == IMAGE


def test_an_output_that_exists_is_compared_before_its_input_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "Okami.iso").write_bytes(IMAGE)
    zsofs("pack", tmp_path / "Okami.iso", "-o", tmp_path / "library/")
    changed = bytearray(IMAGE)
    changed[-1] ^= 1
    (tmp_path / "changed.iso").write_bytes(changed)
    zsofs("pack", tmp_path / "changed.iso", "-o", tmp_path / "library/")
    os.utime(tmp_path / "Okami.iso", (1, 1))
    with watching(tmp_path, "--delete-source") as watch:
        os.utime(tmp_path / "changed.iso", (1, 1))
        (tmp_path / "Okami.iso").rename(watch.inbox / "Okami.iso")
        shutil.copy2(tmp_path / "changed.iso", tmp_path / "inbox/.changed")
        (watch.inbox / ".changed").write_bytes(IMAGE)
        os.utime(watch.inbox / ".changed", (1, 1))
        (watch.inbox / ".changed").rename(watch.inbox / "changed.iso")
        results = watch.wait_for_results("Okami.iso", "changed.iso")
    assert results["Okami.iso"]["state"] == "packed"
    assert results["changed.iso"]["state"] == "failed"
    assert names(watch.inbox) == ["changed.iso", "changed.iso.zsofs-error.txt"]


def test_nothing_unfinished_is_left_by_a_signal(tmp_path: Path) -> None:
    big = writers.disc(2048 * 20000, ["text", "mixed"], 5)
    with watching(tmp_path, "--for", "small") as watch:
        (watch.inbox / "Okami.iso").write_bytes(big)
        wait_until(lambda: watch.status()["state"] == "packing", "the job")
        time.sleep(0.2)
        watch.end()
    assert left_in(watch.library) == []
    assert names(watch.library) in ([], ["Okami.zso"])
