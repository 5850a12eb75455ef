"""A watch that is killed, whose disk fills, goes or loses its power: nothing is lost."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.disks import MIB, cut_off, disk_mounted, make_ext4, take_down
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of, left_in
from tests.support.rounds import rounds
from tests.support.watching import Watching, watching

IMAGES = {
    f"{name}.iso": writers.disc(MIB, ["text", "mixed"], seed) for seed, name in enumerate("ABCD")
}


def put(path: Path, image: bytes) -> None:
    """Write an input as programs do: under its name, and synced."""
    with path.open("wb") as file:
        file.write(image)
        file.flush()
        os.fsync(file.fileno())


def check_nothing_is_lost(inbox: Path, library: Path, images: dict[str, bytes]) -> None:
    """Every image is whole in its inbox or in the library, and no output is anything else."""
    for name, image in images.items():
        output = library / name.replace(".iso", ".zso")
        in_library = output.exists() and image_of(output) == image
        assert in_library or not output.exists(), name
        hidden = [path for path in inbox.iterdir() if path.name.startswith(f".{name}.zsofs-")]
        kept = [path for path in (inbox / name, *hidden) if path.exists()]
        assert in_library or [path.read_bytes() for path in kept] == [image], name


@pytest.mark.timeout(1800)
def test_random_kills(tmp_path: Path) -> None:
    chance = random.Random(7)
    images = dict(IMAGES)
    with watching(tmp_path, "--delete-source", "--for", "console") as watch:
        for number in range(rounds(8, 200)):
            name = f"More {number}.iso"
            images[name] = writers.disc(MIB // 2, ["text", "mixed"], number)
            put(watch.inbox / name, images[name])
            if number == 0:
                for other, image in IMAGES.items():
                    put(watch.inbox / other, image)
            time.sleep(chance.uniform(0, 0.9))
            watch.end(signal.SIGKILL)
            check_nothing_is_lost(watch.inbox, watch.library, images)
            watch.start()
        wait_until(
            lambda: not [name for name in names(watch.inbox) if not is_kept(watch, name)],
            "the end of the queue",
            rounds(120, 1500),  # jobs have the lowest priority
        )
        check_nothing_is_lost(watch.inbox, watch.library, images)
        wait_until(lambda: left_in(watch.library) == [], "no unfinished files")
    assert names(watch.library) == sorted(name.replace(".iso", ".zso") for name in images)


def is_kept(watch: Watching, name: str) -> bool:
    """Whether an input was packed and kept, because the watch was dead when it was closed."""
    return watch.results().get(name, {}).get("state") == "kept" or (
        (watch.library / name.replace(".iso", ".zso")).exists()
        and watch.status()["state"] == "idle"
    )


def test_a_killed_job_is_done_again(tmp_path: Path) -> None:
    big = writers.disc(10 * MIB, ["text", "mixed"], 5)
    with watching(tmp_path, "--delete-source", "--for", "small") as watch:
        put(watch.inbox / "Big.iso", big)
        wait_until(lambda: watch.status()["state"] == "packing", "the job")
        os.kill(watch.job(), signal.SIGKILL)
        watch.wait_for_results("Big.iso")
    assert "ended unexpectedly, by signal 9" in watch.log.read_text()
    assert image_of(watch.library / "Big.zso") == big
    assert names(watch.inbox) == []
    assert left_in(watch.library) == []


def test_a_killed_job_while_another_input_waits(tmp_path: Path) -> None:
    """What it was deleting is restored before the next job, and not with the next watch."""
    with watching(tmp_path, "--for", "small") as watch:
        put(watch.inbox / "Big.iso", writers.disc(8 * MIB, ["text", "mixed"], 5))
        put(watch.inbox / "Other.iso", writers.disc(MIB, ["text"], 6))
        wait_until(lambda: bool(watch.status()["current"]["done_bytes"]), "the job")
        (watch.inbox / ".Okami.iso.zsofs-0123abcd.deleting").write_bytes(
            writers.disc(MIB, ["text"], 6)
        )
        os.kill(watch.job(), signal.SIGKILL)
        watch.wait_for_results("Okami.iso", "Big.iso", "Other.iso")
    assert "Okami.iso: restored" in watch.log.read_text()


def test_the_job_ends_with_a_killed_watch(tmp_path: Path) -> None:
    big = writers.disc(30 * MIB, ["text", "mixed"], 5)
    with watching(tmp_path, "--for", "small") as watch:
        put(watch.inbox / "Big.iso", big)
        wait_until(lambda: watch.status()["state"] == "packing", "the job")
        job = watch.job()
        watch.end(signal.SIGKILL)
        wait_until(lambda: not is_running(job), "the end of the job")
        watch.start()


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_full_disk_is_waited_for(as_root: None, tmp_path: Path) -> None:
    disk = make_ext4(tmp_path / "disk.img", 32 * MIB)
    noise = writers.disc(6 * MIB, ["noise"], 3)
    (tmp_path / "library").mkdir()
    with disk_mounted(disk, tmp_path / "library") as library:
        with (library / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(library).f_bavail * 4096 - 2 * MIB)
        with watching(tmp_path, "--delete-source") as watch:
            put(watch.inbox / "Noise.iso", noise)
            wait_until(lambda: "is full" in watch.status()["note"], "the full disk")
            assert watch.status()["state"] == "waiting"
            assert names(watch.inbox) == ["Noise.iso"]
            assert left_in(library) == []
            (library / "filler").unlink()
            watch.wait_for_results("Noise.iso")
        assert image_of(library / "Noise.zso") == noise
        assert names(watch.inbox) == []


def test_a_library_whose_disk_has_gone(as_root: None, tmp_path: Path) -> None:
    """Nothing is packed into the empty mount point."""
    disk = make_ext4(tmp_path / "disk.img", 32 * MIB, "-O", "^has_journal")
    library = tmp_path / "library"
    library.mkdir()
    with disk_mounted(disk, library):
        (library / "lost+found").rmdir()
        with watching(tmp_path, "--delete-source") as watch:
            put(watch.inbox / "A.iso", IMAGES["A.iso"])
            watch.wait_for_results("A.iso")
            take_down(library)
            put(watch.inbox / "B.iso", IMAGES["B.iso"])
            wait_until(lambda: "its disk may be missing" in watch.status()["note"], "the note")
            assert names(library) == []
            with disk_mounted(disk, library):
                watch.wait_for_results("B.iso")
                watch.end()
                assert names(library) == ["A.zso", "B.zso"]


def test_an_inbox_whose_disk_goes_and_returns(as_root: None, tmp_path: Path) -> None:
    disk = make_ext4(tmp_path / "disk.img", 32 * MIB)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with watching(tmp_path, "--delete-source") as watch:
        for name in ("A.iso", "B.iso"):
            with disk_mounted(disk, inbox):
                wait_until(lambda: inbox.joinpath("lost+found").exists(), "the disk")
                time.sleep(0.3)
                put(inbox / name, IMAGES[name])
                watch.wait_for_results(name)
    assert names(watch.library) == ["A.zso", "B.zso"]
    with disk_mounted(disk, inbox):
        assert names(inbox) == ["lost+found"]


@pytest.mark.timeout(1800)
def test_random_power_cuts(as_root: None, tmp_path: Path) -> None:
    """Inbox, library and state are on a disk that forgets what was not synced."""
    chance = random.Random(5)
    disk = make_ext4(tmp_path / "disk.img", 64 * MIB)
    images: dict[str, bytes] = {}
    for number in range(rounds(4, 40)):
        with disk_mounted(disk, tmp_path / "disk") as top:
            if number:
                check_nothing_is_lost(top / "inbox", top / "library", images)
            with watching(top, "--delete-source", "--for", "console") as watch:
                name = f"Disc {number}.iso"
                images[name] = writers.disc(MIB // 2, ["text", "mixed"], number)
                put(watch.inbox / name, images[name])
                os.sync()
                time.sleep(chance.uniform(0.2, 1.2))
                cut_off(top)
                watch.end(signal.SIGKILL)
        disk = copy_of(disk, tmp_path / f"disk{number}.img")
    with disk_mounted(disk, tmp_path / "disk") as top:
        check_nothing_is_lost(top / "inbox", top / "library", images)
        with watching(top, "--delete-source", "--for", "console") as watch:
            wait_until(lambda: len(list(watch.library.glob("*.zso"))) == len(images), "all", 60)
            wait_until(lambda: watch.status()["state"] == "idle", "the end of the queue")
        check_nothing_is_lost(top / "inbox", top / "library", images)
        assert left_in(top / "library") == []


def copy_of(disk: Path, copy: Path) -> Path:
    """The same disk in another file, without the first one.

    A process in another mount namespace may still have the file system mounted, whose next mount
    would then be the same one: shut down.
    """
    subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
    disk.unlink()
    return copy
