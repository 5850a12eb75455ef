"""A watch gives way to programs that read from a mount of its library."""

import functools
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.disks import MIB, disk_mounted, make_ext4
from tests.support.mounting import ZSOFS, all_the_time, drop_pages, mounted, names, wait_until
from tests.support.packed import image_of
from tests.support.watching import watching


@functools.cache
def game() -> bytes:
    return writers.disc(4 * MIB, ["text", "mixed"], 1)


@functools.cache
def big() -> bytes:
    return writers.disc(8 * MIB, ["text", "mixed"], 2)


@pytest.fixture(autouse=True)
def one_place_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts and watches of a user have the same runtime directory."""
    (tmp_path / "state/run").mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "state/run"))


def read(path: Path) -> None:
    """Read a block of a disc, not from memory."""
    drop_pages(path)
    with path.open("rb", buffering=0) as file:
        assert file.read(4096) == game()[:4096]


def test_an_active_reader_is_given_way_to(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "Game.zso").write_bytes(writers.zsoz(game()))
    with (
        mounted(library, tmp_path / "mnt") as mount,
        watching(tmp_path, "--for", "small") as watch,
    ):
        (watch.inbox / "Big.iso").write_bytes(big())
        wait_until(lambda: watch.status()["current"]["done_bytes"], "the job")
        with all_the_time(lambda: read(mount.path / "Game.iso")):
            wait_until(lambda: watch.status()["state"] == "paused", "the pause")
            assert watch.status()["note"].endswith(f" reads from {mount.path}")
            wait_until(lambda: is_stopped(watch.job()), "the job to stop")
            (watch.inbox / "Other.iso").write_bytes(game())
            wait_until(lambda: watch.status()["counts"]["queue"] == 1, "the queue")
            assert names(library) == ["Game.zso"] or left_hidden(library)
        watch.wait_for_results("Big.iso", "Other.iso")
    assert image_of(library / "Big.zso") == big()


def is_stopped(process: int) -> bool:
    """Whether a process is stopped by a signal."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def left_hidden(library: Path) -> bool:
    """Whether only a hidden file was added."""
    return [name for name in names(library) if not name.startswith(".")] == ["Game.zso"]


def test_a_job_does_not_begin_while_there_is_a_reader(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "Game.zso").write_bytes(writers.zsoz(game()))
    with mounted(library, tmp_path / "mnt") as mount, watching(tmp_path) as watch:
        with all_the_time(lambda: read(mount.path / "Game.iso")):
            (watch.inbox / "Big.iso").write_bytes(big())
            wait_until(lambda: watch.status()["state"] == "paused", "the pause")
            assert watch.status()["current"]["path"] == ""
        watch.wait_for_results("Big.iso")
    assert image_of(library / "Big.zso") == big()


def test_a_mount_of_another_directory_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/Game.zso").write_bytes(writers.zsoz(game()))
    with (
        mounted(tmp_path / "other", tmp_path / "mnt") as mount,
        watching(tmp_path) as watch,
        all_the_time(lambda: read(mount.path / "Game.iso")),
    ):
        (watch.inbox / "Big.iso").write_bytes(big())
        watch.wait_for_results("Big.iso")


def test_a_mount_of_another_disk_does_not_count(as_root: None, tmp_path: Path) -> None:
    """The mount also shows the library, which is on a disk of its own, as the inbox is."""
    one = make_ext4(tmp_path / "one.img", 32 * MIB)
    other = make_ext4(tmp_path / "other.img", 64 * MIB)
    with disk_mounted(one, tmp_path / "all") as source:
        (source / "Game.zso").write_bytes(writers.zsoz(game()))
        with (
            disk_mounted(other, source / "disk") as top,
            mounted(source, tmp_path / "mnt") as mount,
            watching(top) as watch,
            all_the_time(lambda: read(mount.path / "Game.iso")),
        ):
            (watch.inbox / "Ico.iso").write_bytes(game())
            watch.wait_for_results("Ico.iso")


def test_status(tmp_path: Path) -> None:
    with watching(tmp_path, "--for", "small") as watch:
        (watch.inbox / "Bad.iso").write_bytes(b"This is no disc.\n" * 500)
        watch.wait_for_results("Bad.iso")
        (watch.inbox / "Big.iso").write_bytes(big())
        (watch.inbox / "Next.iso").write_bytes(game())
        with (watch.inbox / "Open.iso").open("wb") as file:
            file.write(game())
            file.flush()
            wait_until(lambda: watch.status()["current"]["bytes_per_second"], "the speed")
            wait_until(lambda: watch.waits_for("Open.iso"), "what waits")
            job = watch.job()
            os.kill(job, signal.SIGSTOP)  # or it might end meanwhile
            printed = run("status", str(watch.inbox), env=watch.environment)
            every = json.loads(run("status", "--json", env=watch.environment))
            (found,) = [one for one in every if one.get("type") == "watch"]
            alone = json.loads(run("status", "--json", str(watch.library), env=watch.environment))
            os.kill(job, signal.SIGCONT)
        watch.wait_for_results("Big.iso", "Next.iso", "Open.iso")
    assert found["ok"]
    assert found["inboxes"] == [str(watch.inbox)]
    assert found["library"] == alone["library"] == str(watch.library)
    assert found["results"][0]["state"] == "failed"
    for text in ("Big.iso", "MB/s", "left", "Next.iso", "Open.iso", "failed: it is a text file"):
        assert text in printed
    assert "watch" not in run("status", env=watch.environment)


def run(*words: str, env: dict[str, str]) -> str:
    """What zsofs prints; other mounts of this user, which tests make, may not answer."""
    done = subprocess.run(
        [*ZSOFS, *words], capture_output=True, text=True, check=False, env=env, timeout=60
    )
    assert done.returncode in (0, 7), done.stderr
    return done.stdout


def test_the_state_of_a_killed_watch_is_not_shown(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        watch.end(9)
        assert [path.suffix for path in (watch.state / "run/zsofs").glob("watch-*")] == [".json"]
        assert "watch" not in run("status", env=watch.environment)
        watch.start()
        assert os.path.basename(watch.inbox) in run("status", env=watch.environment)
