"""The mount follows its source: what changes there shows, without remounting."""

import itertools
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.ends import spawned
from tests.support.mounting import (
    DATA,
    ZSOFS,
    Mount,
    mounted,
    names,
    status_of,
    wait_for,
    wait_until,
)
from zsofs.source.entry import Entry, Kind

ROOT = Path(__file__).parents[3]
FAULTY = (sys.executable, "-m", "tests.support.faulty")
PS2, PSP = DATA / "ps2.iso", DATA / "psp.iso"
PS2_PACKED, PSP_PACKED = DATA / "ziso-py.zso", DATA / "zstd-2048.zso"
ROUNDS = 6


OTHER_FILE = "notes.txt"
"""With it, a directory that was scanned for the count is scanned again for its first listing."""


def wait_for_one(folder: Path, name: str) -> None:
    """Wait until a folder shows a name, among others."""
    wait_until(lambda: name in names(folder), f"{name} in {folder}")


def has_bytes(path: Path, image: Path) -> bool:
    """Whether a file is there, and is this image."""
    try:
        return path.read_bytes() == image.read_bytes()
    except FileNotFoundError:  # a disc is shown packed while it is being copied
        return False


def tree(folder: Path) -> set[str]:
    """Paths of everything in a folder and below it."""
    return {
        os.path.relpath(os.path.join(path, name), folder)
        for path, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


# Names: what is added, renamed, replaced, deleted


def test_files_come_and_go(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    assert names(made.path) == []
    shutil.copy(PS2_PACKED, source / "One.zso")
    (source / "cover.jpg").write_bytes(b"picture")
    wait_for(made.path, "One.iso", "cover.jpg")
    assert (made.path / "One.iso").read_bytes() == PS2.read_bytes()
    (source / "One.zso").rename(source / "Two.zso")
    wait_for(made.path, "Two.iso", "cover.jpg")
    assert (made.path / "Two.iso").read_bytes() == PS2.read_bytes()
    shutil.copy(PSP_PACKED, source / "Two.zso")
    wait_until(lambda: has_bytes(made.path / "Two.iso", PSP), "the other disc", 10)
    (source / "Two.zso").unlink()
    wait_for(made.path, "cover.jpg")
    wait_until(lambda: not (made.path / "Two.iso").exists(), "the old name's end", 10)


def test_a_name_that_is_taken_and_given_back(source: Path, mount: MountMaker) -> None:
    """One file's coming and going changes under which name another one is shown."""
    made = mount(source)
    shutil.copy(PS2_PACKED, source / "Game.zso")
    wait_for(made.path, "Game.iso")
    shutil.copy(DATA / "ciso-py.cso", source / "Game.cso")
    wait_for(made.path, "Game.cso.iso", "Game.zso.iso")
    (source / "Game.iso").write_text("a real one")
    wait_for(made.path, "Game.cso.iso", "Game.iso", "Game.zso.iso")
    assert (made.path / "Game.iso").read_text() == "a real one"
    (source / "Game.iso").unlink()
    (source / "Game.cso").unlink()
    wait_for(made.path, "Game.iso")
    assert (made.path / "Game.iso").read_bytes() == PS2.read_bytes()


def test_who_lists_right_after_a_change_sees_it(source: Path, mount: MountMaker) -> None:
    """A listing takes in what the kernel has told. Most of the time, since a machine that is busy
    may take longer than who lists is kept waiting."""
    made = mount(source)
    assert names(made.path) == []
    at_once = 0
    for number in range(20):
        shutil.copy(PSP_PACKED, source / f"{number:02}.zso")
        at_once += f"{number:02}.iso" in os.listdir(made.path)
        (source / f"{number:02}.zso").unlink()
        wait_for(made.path)
    assert at_once >= 10


def test_folders_come_and_go(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    assert names(made.path) == []
    (source / "PS2").mkdir()
    wait_for(made.path, "PS2")
    assert names(made.path / "PS2") == []
    shutil.copy(PS2_PACKED, source / "PS2" / "Game.zso")
    wait_for(made.path / "PS2", "Game.iso")
    (source / "PS2").rename(source / "Old")
    wait_for(made.path, "Old")
    wait_for(made.path / "Old", "Game.iso")
    wait_until(lambda: not (made.path / "PS2").exists(), "the old name's end", 10)
    shutil.copy(PSP_PACKED, source / "Old" / "Other.zso")
    wait_for(made.path / "Old", "Game.iso", "Other.iso")
    shutil.rmtree(source / "Old")
    wait_for(made.path)
    assert made.log_lines("WARNING") == []


def test_a_folder_moves_into_another(source: Path, mount: MountMaker) -> None:
    for folder in ("a/b", "c/d"):
        (source / folder).mkdir(parents=True)
    shutil.copy(PS2_PACKED, source / "a" / "b" / "Game.zso")
    made = mount(source)
    assert tree(made.path) == {"a", "a/b", "a/b/Game.iso", "c", "c/d"}
    (source / "a" / "b").rename(source / "c" / "d" / "b")
    wait_for(made.path / "a")
    wait_for(made.path / "c" / "d", "b")
    assert (made.path / "c" / "d" / "b" / "Game.iso").read_bytes() == PS2.read_bytes()
    shutil.copy(PSP_PACKED, source / "c" / "d" / "b" / "Other.zso")
    wait_for(made.path / "c" / "d" / "b", "Game.iso", "Other.iso")


def test_two_folders_change_places(source: Path, mount: MountMaker) -> None:
    for name, disc in (("one", PS2_PACKED), ("two", PSP_PACKED)):
        (source / name / "below").mkdir(parents=True)
        shutil.copy(disc, source / name / "below" / "Game.zso")
        shutil.copy(disc, source / name / f"{name}.zso")
    made = mount(source)
    assert len(tree(made.path)) == 8
    (source / "one").rename(source / "kept")
    (source / "two").rename(source / "one")
    (source / "kept").rename(source / "two")
    wait_for(made.path / "one", "below", "two.iso")
    wait_for(made.path / "two", "below", "one.iso")
    below = "below/Game.iso"
    wait_until(lambda: has_bytes(made.path / "one" / below, PSP), "the second disc", 10)
    wait_until(lambda: has_bytes(made.path / "two" / below, PS2), "the first disc", 10)


def test_a_folder_that_takes_the_place_of_one_in_use(source: Path, mount: MountMaker) -> None:
    """Who is inside keeps the old folder's number in use; the new one's listing shows all the same.

    The kernel tells nothing of a folder that is moved with the one above it.
    """
    (source / "a" / "b").mkdir(parents=True)
    shutil.copy(PS2_PACKED, source / "a" / "b" / "Old.zso")
    made = mount(source)
    assert names(made.path / "a" / "b") == ["Old.iso"]
    inside = os.open(made.path / "a" / "b", os.O_RDONLY)
    try:
        (source / "a").rename(source / "kept")
        (source / "a" / "b").mkdir(parents=True)
        shutil.copy(PSP_PACKED, source / "a" / "b" / "New.zso")
        wait_for(made.path / "a" / "b", "New.iso")
        assert names(made.path / "kept" / "b") == ["Old.iso"]
        shutil.copy(PS2_PACKED, source / "a" / "b" / "Newer.zso")
        wait_for(made.path / "a" / "b", "New.iso", "Newer.iso")
    finally:
        os.close(inside)


def test_a_folder_removed_while_a_program_is_in_it_and_made_again(
    source: Path, mount: MountMaker
) -> None:
    """The kernel tells of a folder's end only when nobody uses it any more."""
    (source / "a").mkdir()
    made = mount(source)
    assert names(made.path / "a") == []
    inside = os.open(made.path / "a", os.O_RDONLY)
    try:
        with spawned(["sleep", "600"], cwd=source / "a") as program:
            try:
                (source / "a").rmdir()
                (source / "a").mkdir()
                shutil.copy(PS2_PACKED, source / "a" / "Game.zso")
                wait_for(made.path / "a", "Game.iso")
            finally:
                program.kill()
    finally:
        os.close(inside)


def test_a_folder_renamed_while_one_of_its_discs_is_read(source: Path, mount: MountMaker) -> None:
    (source / "PS2").mkdir()
    image = writers.content(8 << 20, ["mixed", "noise"], seed=3)
    (source / "PS2" / "Game.zso").write_bytes(writers.maxcso_zso(image, block_size=16384))
    shutil.copy(PSP_PACKED, source / "PS2" / "Other.zso")
    made = mount(source)
    with (made.path / "PS2" / "Game.iso").open("rb", buffering=0) as reader:
        assert reader.read(65536) == image[:65536]
        (source / "PS2").rename(source / "PS1")
        wait_for(made.path, "PS1")
        assert names(made.path / "PS1") == ["Game.iso", "Other.iso"]
        assert (made.path / "PS1" / "Game.iso").read_bytes() == image
        (source / "PS1" / "Game.zso").unlink()
        wait_for(made.path / "PS1", "Other.iso")
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        reader.seek(0)
        assert reader.readall() == image


def test_folders_made_and_filled_at_once_while_all_is_listed(
    source: Path, mount: MountMaker
) -> None:
    made = mount(source)
    code = "import os, sys\nwhile True: list(os.walk(sys.argv[1]))"
    with spawned([sys.executable, "-c", code, made.path]) as lister:
        try:
            for number in range(40):
                folder = source / f"{number}" / "a" / "b" / "c"
                folder.mkdir(parents=True)
                for above in (folder.parents[2], folder.parents[0], folder):
                    shutil.copy(PSP_PACKED, above / f"{number}.zso")
                if number % 4 == 3:
                    shutil.rmtree(source / f"{number - 1}")
        finally:
            lister.kill()
    wanted = {path.replace(".zso", ".iso") for path in tree(source)}
    assert len(wanted) == 30 * 7
    wait_until(lambda: tree(made.path) == wanted, "everything", 10)


# What the kernel remembers


def quickest(rounds: int, change: Callable[[int], Callable[[], bool]]) -> float:
    """Seconds until a change shows, in the best of several rounds: the machine may be busy.

    *change* makes it and returns what tells whether it shows.
    """
    best = float("inf")
    for number in range(rounds):
        shows = change(number)
        begun = time.monotonic()
        wait_until(shows, "the change", 10)
        best = min(best, time.monotonic() - begun)
    return best


KERNEL_SECONDS = 0.8
"""The kernel keeps what it was told for a second: what shows sooner, it was told to forget."""


def test_a_name_that_was_not_there_just_now(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    assert names(made.path) == []

    def change(number: int) -> Callable[[], bool]:
        shown = made.path / f"{number}.iso"
        with pytest.raises(FileNotFoundError):
            shown.stat()
        shutil.copy(PSP_PACKED, source / f"{number}.zso")
        return shown.exists

    assert quickest(ROUNDS, change) < KERNEL_SECONDS


def test_a_name_that_was_there_just_now(source: Path, mount: MountMaker) -> None:
    for number in range(ROUNDS):
        shutil.copy(PSP_PACKED, source / f"{number}.zso")
    made = mount(source)

    def change(number: int) -> Callable[[], bool]:
        shown = made.path / f"{number}.iso"
        assert shown.stat().st_size == PSP.stat().st_size
        (source / f"{number}.zso").unlink()
        return lambda: not shown.exists()

    assert quickest(ROUNDS, change) < KERNEL_SECONDS


@pytest.mark.parametrize("way", ["in place", "by rename"])
def test_size_and_date_of_a_replaced_file(source: Path, mount: MountMaker, way: str) -> None:
    made = mount(source)
    shown = made.path / "Game.iso"
    dates = itertools.count(1_000_000_000)
    images = {PS2_PACKED: PS2, PSP_PACKED: PSP}
    shutil.copy(PSP_PACKED, source / "Game.zso")
    wait_until(lambda: has_bytes(shown, PSP), "a disc")

    def change(number: int) -> Callable[[], bool]:
        packed = (PS2_PACKED, PSP_PACKED)[number % 2]
        assert shown.stat().st_size != images[packed].stat().st_size
        target = source / ("Game.zso" if way == "in place" else "new.part")
        shutil.copyfile(packed, target)
        date = next(dates)
        os.utime(target, ns=(date, date))
        if way == "by rename":
            target.rename(source / "Game.zso")
        wanted = images[packed].stat().st_size, date

        def shows() -> bool:
            with suppress(FileNotFoundError):  # shown packed until the copy is whole
                status = shown.stat()
                return (status.st_size, status.st_mtime_ns) == wanted
            return False

        return shows

    assert quickest(ROUNDS, change) < KERNEL_SECONDS
    assert shown.read_bytes() == images[(PS2_PACKED, PSP_PACKED)[(ROUNDS - 1) % 2]].read_bytes()


def test_rights_of_a_file_and_of_a_folder(source: Path, mount: MountMaker) -> None:
    (source / "folder").mkdir()
    shutil.copy(PSP_PACKED, source / "Game.zso")
    (source / "text.txt").write_text("text")
    made = mount(source)
    for name, real in (("Game.iso", "Game.zso"), ("text.txt", "text.txt"), ("folder", "folder")):

        def change(number: int, name: str = name, real: str = real) -> Callable[[], bool]:
            mode = (0o750, 0o555)[number % 2]
            assert stat.S_IMODE((made.path / name).stat().st_mode) != mode & 0o555
            (source / real).chmod(mode)
            return lambda: stat.S_IMODE((made.path / name).stat().st_mode) == mode & 0o555

        assert quickest(ROUNDS, change) < KERNEL_SECONDS
    assert (made.path / "Game.iso").read_bytes() == PSP.read_bytes()


def test_an_open_disc_survives_a_change_of_its_rights(source: Path, mount: MountMaker) -> None:
    shutil.copy(PS2_PACKED, source / "Game.zso")
    made = mount(source)
    with (made.path / "Game.iso").open("rb", buffering=0) as reader:
        assert reader.read(2048) == PS2.read_bytes()[:2048]
        (source / "Game.zso").chmod(0o600)
        wait_until(lambda: stat.S_IMODE((made.path / "Game.iso").stat().st_mode) == 0o400, "it", 10)
        assert (made.path / "Game.iso").read_bytes() == PS2.read_bytes()
        reader.seek(0)
        assert reader.readall() == PS2.read_bytes()


def test_the_date_of_a_folder_stays_new_when_the_one_above_changes(
    source: Path, mount: MountMaker
) -> None:
    (source / "folder").mkdir()
    made = mount(source)
    assert names(made.path / "folder") == []
    time.sleep(0.1)  # so that the dates differ on any file system
    (source / "folder" / "a.txt").write_text("a")
    wait_for(made.path / "folder", "a.txt")
    wait_until(lambda: same_date(made.path / "folder", source / "folder"), "the new date", 10)
    (source / "b.txt").write_text("b")
    wait_for(made.path, "b.txt", "folder")
    # Twice as long as the kernel keeps what it was told.
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert same_date(made.path / "folder", source / "folder")
        time.sleep(0.05)


def same_date(one: Path, other: Path) -> bool:
    return one.stat().st_mtime_ns == other.stat().st_mtime_ns


def test_only_the_same_size_and_both_dates_are_the_same_content(source: Path) -> None:
    """A file copied with its date and renamed over another may have the same size and date."""
    (source / "1").write_bytes(b"one")
    (source / "2").write_bytes(b"two")
    for name in ("1", "2"):
        os.utime(source / name, ns=(7, 7))
    status = (source / "1").stat()
    entry = Entry(b"Game.zso", Kind.FILE, b"Game.zso", status)
    assert entry.same_content(Entry(b"Game.zso", Kind.FILE, b"Game.zso", status))
    wait_until(lambda: changed_status(source / "2").st_ctime_ns != status.st_ctime_ns, "a tick")
    other = (source / "2").stat()
    assert (other.st_size, other.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert not entry.same_content(replace(entry, status=other))
    moved = list(status)
    moved[stat.ST_INO] += 1
    exact = {name: getattr(status, name) for name in ("st_mtime_ns", "st_ctime_ns")}
    assert entry.same_content(replace(entry, status=os.stat_result(moved, exact)))
    assert not entry.same_content(replace(entry, path=b"Other.zso"))
    assert not entry.same_content(replace(entry, name=b"Other.zso"))
    folder = Entry(b"Game.zso", Kind.FOLDER, b"Game.zso", source.stat())
    assert not entry.same_content(folder)


def changed_status(path: Path) -> os.stat_result:
    """Its status after its change time, and that alone, was made new."""
    os.utime(path, ns=(7, 7))
    return path.stat()


# Watches


def test_a_folder_and_a_symlink_to_it_share_what_the_kernel_tells(
    source: Path, mount: MountMaker
) -> None:
    (source / "real").mkdir()
    (source / "link").symlink_to("real")
    made = mount(source)
    shown = (made.path / "real", made.path / "link")
    for folder in shown:
        assert names(folder) == []
    shutil.copy(PSP_PACKED, source / "real" / "One.zso")
    for folder in shown:
        wait_for(folder, "One.iso")
    (source / "link").unlink()
    wait_for(made.path, "real")
    for number in range(3):
        shutil.copy(PSP_PACKED, source / "real" / f"{number}.zso")
        wait_for(made.path / "real", "One.iso", *(f"{done}.iso" for done in range(number + 1)))
    (source / "link").symlink_to("real")
    wait_for(made.path, "link", "real")
    (source / "real" / "0.zso").unlink()
    for folder in shown:
        wait_for(folder, "1.iso", "2.iso", "One.iso")


def test_a_file_that_changes_behind_a_symlink(source: Path, mount: MountMaker) -> None:
    """The kernel tells of the file's own folder, which nobody has listed."""
    (source / "store").mkdir()
    shutil.copy(PS2_PACKED, source / "store" / "disc")
    (source / "Game.zso").symlink_to("store/disc")
    made = mount(source)
    assert (made.path / "Game.iso").read_bytes() == PS2.read_bytes()
    shutil.copy(PSP_PACKED, source / "store" / "new")
    (source / "store" / "new").rename(source / "store" / "disc")
    size = PSP.stat().st_size
    wait_until(lambda: (made.path / "Game.iso").stat().st_size == size, "the other disc", 10)
    assert (made.path / "Game.iso").read_bytes() == PSP.read_bytes()


def test_more_changes_than_the_kernel_keeps(source: Path, mount: MountMaker) -> None:
    """A daemon that stood still is told that changes were lost, and looks at everything."""
    (source / "a" / "b").mkdir(parents=True)
    made = mount(source, "-v")
    assert tree(made.path) == {"a", "a/b"}
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    made.daemon.send_signal(signal.SIGSTOP)
    try:
        one, other = source / "a" / "1.txt", source / "a" / "2.txt"
        one.touch()
        for _ in range(most // 4 + 1):  # each tells of two names
            one.rename(other)
            other.rename(one)
        shutil.copy(PS2_PACKED, source / "New.zso")
        shutil.copy(PSP_PACKED, source / "a" / "b" / "New.zso")
    finally:
        made.daemon.send_signal(signal.SIGCONT)
    wait_until(
        lambda: tree(made.path) == {"New.iso", "a", "a/1.txt", "a/b", "a/b/New.iso"}, "all", 10
    )
    assert made.log_lines("inotify events were lost")
    (source / "a" / "1.txt").unlink()
    wait_for(made.path / "a", "b")


@contextmanager
def few_watches(
    source: Path, path: Path, most: int, of: str = "watches"
) -> Iterator[tuple[Path, Path]]:
    """A mount in a user namespace with a limit of its own; gives where it shows, and its log."""
    path.mkdir()
    log = path.with_name("few.log")
    script = f'echo {most} > /proc/sys/user/max_inotify_{of}; exec "$@"'
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
            + [*ZSOFS, "mount", "-f", str(source), str(path)],
            stdout=output,
            stderr=output,
        )
    shown = Path(f"/proc/{daemon.pid}/root") / path.relative_to("/")

    def table() -> str:
        return Path(f"/proc/{daemon.pid}/mountinfo").read_text()

    try:
        wait_until(lambda: daemon.poll() is not None or f" {path} " in table(), "the mount")
        assert daemon.poll() is None, log.read_text()
        yield shown, log
        assert daemon.poll() is None, log.read_text()
    finally:
        daemon.terminate()
        assert daemon.wait(20) == 0


@pytest.mark.usefixtures("as_root", "own_users")
def test_no_watches_left(source: Path, tmp_path: Path) -> None:
    """What cannot be watched is asked for again; the log says how to have more watches."""
    for number in range(6):
        (source / str(number)).mkdir()
    with few_watches(source, tmp_path / "mnt", 3) as (shown, log):
        assert tree(shown) == {str(number) for number in range(6)}
        for number in range(6):
            shutil.copy(PSP_PACKED, source / str(number) / "Game.zso")
            wait_for(shown / str(number), "Game.iso")
        for number in range(6):
            (source / str(number) / "Game.zso").unlink()
            wait_for(shown / str(number))
        lines = [line for line in log.read_text().splitlines() if "max_user_watches" in line]
        assert len(lines) == 1
        assert "sudo sysctl fs.inotify.max_user_watches=" in lines[0]


@pytest.mark.usefixtures("as_root", "own_users")
def test_no_word_of_changes_at_all(source: Path, tmp_path: Path) -> None:
    """Other programs of the user have used up what may be told of changes."""
    (source / "folder").mkdir()
    with few_watches(source, tmp_path / "mnt", 0, "instances") as (shown, log):
        assert tree(shown) == {"folder"}
        shutil.copy(PSP_PACKED, source / "folder" / "Game.zso")
        wait_for(shown / "folder", "Game.iso")
        (source / "folder" / "Game.zso").unlink()
        wait_for(shown / "folder")
        assert "sudo sysctl fs.inotify.max_user_instances=" in log.read_text()


def test_changes_while_the_first_look_is_under_way(
    source: Path, tmp_path: Path, mount: MountMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told before the look has ended must not be lost with it."""
    fault = tmp_path / "fault"
    monkeypatch.setenv("ZSOFS_FAULT", str(fault))
    monkeypatch.chdir(ROOT)
    (source / "folder").mkdir()
    (source / "link").symlink_to("folder")
    shutil.copy(PS2_PACKED, source / "folder" / "Old.zso")
    (source / "folder" / OTHER_FILE).touch()
    made = mount(source, command=FAULTY)
    assert names(made.path) == ["folder", "link"]
    wait_until(lambda: not status_of(made)["counting"], "the look for the count")
    discs = ["Old.zso", OTHER_FILE]
    for name in ("folder", "link"):
        with slow_list(made.path / name, fault):
            shutil.copy(PSP_PACKED, source / "folder" / f"{name}.zso")
        discs.append(f"{name}.zso")
        for folder in ("folder", name):
            wait_for(made.path / folder, *(disc.replace(".zso", ".iso") for disc in discs))


@pytest.mark.parametrize("path", ["folder", "folder/below"])
def test_what_goes_while_it_is_looked_at_does_not_count(
    source: Path, tmp_path: Path, mount: MountMaker, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    fault = tmp_path / "fault"
    monkeypatch.setenv("ZSOFS_FAULT", str(fault))
    monkeypatch.chdir(ROOT)
    (source / path).mkdir(parents=True)
    shutil.copy(PS2_PACKED, source / path / "Game.zso")
    (source / path / OTHER_FILE).touch()
    made = mount(source, command=FAULTY)
    assert names(made.path) == ["folder"]
    wait_until(lambda: not status_of(made)["counting"], "the look for the count")
    with slow_list(made.path / path, fault, "OpenFolder.names"):
        (source / "folder").rename(tmp_path / "elsewhere")
        assert not names(made.path)
    assert status_of(made)["discs"] == 0


@contextmanager
def slow_list(folder: Path, fault: Path, held: str = "server.as_shown") -> Iterator[None]:
    """List a folder; within the context the look at it is under way, and at the call *held*."""
    done = fault.with_name(fault.name + ".done")
    done.unlink(missing_ok=True)
    fault.write_text(f"opendir {held} held")
    with spawned(["ls", folder], stdout=subprocess.DEVNULL) as lister:
        try:
            wait_until(done.exists, "the slow look")
            yield
            assert lister.poll() is None
            time.sleep(0.2)  # for what was told meanwhile
        finally:
            fault.unlink()
        assert lister.wait(20) == 0


# A source that tells nothing


@pytest.fixture
def through_another(tmp_path: Path) -> Iterator[tuple[Path, Mount]]:
    """A folder, and a mount of a mount of it: the outer one is told nothing."""
    folder = tmp_path / "origin"
    (folder / "PS2").mkdir(parents=True)
    shutil.copy(PS2_PACKED, folder / "PS2" / "Game.zso")
    with mounted(folder, tmp_path / "inner") as inner, mounted(inner.path, tmp_path / "outer") as o:
        yield folder, o


def test_a_source_that_tells_nothing_is_polled(through_another: tuple[Path, Mount]) -> None:
    folder, made = through_another
    assert tree(made.path) == {"PS2", "PS2/Game.iso"}
    assert status_of(made)["following"] == "events and polling"
    (folder / "New.txt").write_text("new")
    (folder / "PS2" / "Game.zso").unlink()
    # Listing here looks at nothing before it is time, so this takes five seconds or so.
    wait_for(made.path, "New.txt", "PS2", seconds=15)
    wait_for(made.path / "PS2", seconds=15)


@pytest.mark.parametrize("way", ["reload", "SIGHUP"])
def test_a_look_at_everything_can_be_asked_for(
    through_another: tuple[Path, Mount], way: str
) -> None:
    folder, made = through_another
    best = float("inf")
    for number in range(3):
        assert f"{number}.txt" not in names(made.path)
        (folder / f"{number}.txt").write_text("new")
        (folder / "PS2" / f"{number}.txt").write_text("new")
        for inner in (made.source, made.source / "PS2"):
            wait_for_one(inner, f"{number}.txt")
        begun = time.monotonic()
        if way == "reload":
            subprocess.run([*ZSOFS, "reload", str(made.path)], check=True)
            assert f"{number}.txt" in names(made.path)
            assert f"{number}.txt" in names(made.path / "PS2")
        else:
            made.daemon.send_signal(signal.SIGHUP)
            wait_for_one(made.path, f"{number}.txt")
            wait_for_one(made.path / "PS2", f"{number}.txt")
        best = min(best, time.monotonic() - begun)
    assert best < 3, "sooner than it would have been looked at anyway"
    assert made.is_alive()


def test_names_that_are_no_text(source: Path, mount: MountMaker) -> None:
    """File systems accept any bytes in names, and so do the events."""
    made = mount(source)
    shown = os.fsencode(made.path)
    assert os.listdir(shown) == []
    packed = os.path.join(os.fsencode(source), b"caf\xe9\xff.zso")
    shutil.copy(PSP_PACKED, os.fsdecode(packed))
    wait_until(lambda: os.listdir(shown) == [b"caf\xe9\xff.iso"], "the new disc")
    os.stat(os.path.join(shown, b"caf\xe9\xff.iso"))
    os.rename(packed, packed.replace(b"\xff", b"\xfe"))
    wait_until(lambda: os.listdir(shown) == [b"caf\xe9\xfe.iso"], "the new name")
    wait_until(lambda: not os.path.exists(os.path.join(shown, b"caf\xe9\xff.iso")), "its end")
