"""`zsofs watch --in-place`: the images of a library are replaced by their packed files."""

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import writers
from tests.support.disks import MIB, cut_off, disk_mounted, make_ext4
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of, left_in, zsofs
from tests.support.rounds import rounds
from tests.support.watching import Watching, watching
from tests.unit.watch.test_watch_ends import copy_of
from zsofs.pack.in_place import exchange_token
from zsofs.watch import service
from zsofs.watch.inbox_events import InboxEvents
from zsofs.watch.inbox_folders import InboxFolders
from zsofs.watch.ledger import Ledger
from zsofs.watch.pausing import ReaderCheck
from zsofs.watch.settings import IN_PLACE, WatchSettings
from zsofs.watch.space import Space
from zsofs.watch.tracker import Tracker
from zsofs.watch.watch import Watch
from zsofs.watch.whole import FileIdentity, identity_at

IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)
OTHER = writers.disc(2048 * 200, ["text", "noise"], 6)


def put(path: Path, image: bytes) -> None:
    """Write a file as programs do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library that exists before its watch."""
    (tmp_path / "library").mkdir()
    return tmp_path / "library"


def test_an_image_is_packed_in_place(tmp_path: Path) -> None:
    with watching(tmp_path, "--in-place") as watch:
        put(watch.library / "below/Okami.iso", IMAGE)
        os.utime(watch.library / "below/Okami.iso", (1_000_000, 1_000_000))
        (watch.library / "below/Okami.iso").chmod(0o640)
        result = watch.wait_for_results("Okami.iso")["Okami.iso"]
        assert watch.status()["counts"]["packed"] == 1
    packed = watch.library / "below/Okami.zso"
    assert names(watch.library / "below") == ["Okami.zso"]
    assert image_of(packed) == IMAGE
    assert (packed.stat().st_mtime, packed.stat().st_mode & 0o777) == (1_000_000, 0o640)
    assert result["state"] == "packed"
    assert result["outputs"] == [str(packed)]
    assert result["plain_bytes"] == len(IMAGE)
    assert result["stored_bytes"] == packed.stat().st_size
    assert f"below/Okami.iso -> {packed}" in watch.log.read_text()


def test_other_files_stay(tmp_path: Path, library: Path) -> None:
    """Nothing but images of their own is packed, and no text with an error lies among the discs."""
    put(library / "Track.bin", IMAGE)
    put(library / "Disc.iso", IMAGE)
    (library / "Disc.cue").write_text(
        'FILE "Disc.iso" BINARY\n  TRACK 01 MODE1/2048\n INDEX 01 00:00:00\n'
    )
    (library / "Link.iso").symlink_to("Track.bin")
    with watching(tmp_path, "--in-place") as watch:
        subprocess.run(["touch", "-a", *library.glob("[TD]*.*")], check=True)
        put(library / "Text.iso", b"no disc at all " * 5000)
        put(library / "Cut.iso", IMAGE[: 2048 * 100])
        put(library / "Okami.iso", IMAGE)
        before = names(library)
        results = watch.wait_for_results("Text.iso", "Cut.iso", "Okami.iso")
    assert results["Text.iso"]["state"] == results["Cut.iso"]["state"] == "failed"
    assert "packed when it is complete" in results["Cut.iso"]["error"]
    assert names(library) == sorted({*before, "Okami.zso"} - {"Okami.iso"})
    assert (library / "Disc.iso").read_bytes() == IMAGE


def test_what_was_there_before_waits_for_a_touch(tmp_path: Path, library: Path) -> None:
    put(library / "Okami.iso", IMAGE)
    os.utime(library / "Okami.iso", (1_000_000, 1_000_000))
    with watching(tmp_path, "--in-place") as watch:
        wait_until(lambda: "no program was seen closing" in watch.waits_for("Okami.iso"), "why")
        time.sleep(1)
        assert names(library) == ["Okami.iso"]
        subprocess.run(["touch", "-a", library / "Okami.iso"], check=True)
        watch.wait_for_results("Okami.iso")
    assert names(library) == ["Okami.zso"]
    assert (library / "Okami.zso").stat().st_mtime == 1_000_000


def test_a_dat_tells_that_an_image_is_complete(tmp_path: Path, library: Path) -> None:
    put(library / "mine.iso", IMAGE)
    put(library / "unknown.iso", OTHER)
    sha1 = hashlib.sha1(IMAGE, usedforsecurity=False).hexdigest()
    dat = tmp_path / "test.dat"
    dat.write_text(
        f'<datafile><game name="Okami"><rom name="Okami.iso" size="{len(IMAGE)}" sha1="{sha1}"/>'
        "</game></datafile>"
    )
    with watching(tmp_path, "--in-place", "--dat", str(dat)) as watch:
        results = watch.wait_for_results("mine.iso", "unknown.iso")
    assert results["unknown.iso"]["error"].endswith("and no DAT has it")
    assert names(library) == ["mine.zso", "unknown.iso"]


def test_a_name_that_is_taken(tmp_path: Path, library: Path) -> None:
    """In the mount, each of two discs has its own name, which has to stay."""
    taken = ("A.zso", "B.chd", "c.CSO", "D.ISO")
    for name in taken:
        put(library / name, writers.zsoz(OTHER))
    with watching(tmp_path, "--in-place") as watch:
        for name in ("A.iso", "B.iso", "C.iso", "D.iso", "E.iso", "F.ISO"):
            put(library / name, IMAGE)
        watch.wait_for_results("E.iso")
        wait_until(
            lambda: all("the same name" in watch.waits_for(f"{name}.iso") for name in "ABCD"),
            "the reasons",
        )
        assert "rename it to that" in watch.waits_for("F.ISO")
        (library / "A.zso").unlink()
        watch.wait_for_results("A.iso")
    assert image_of(library / "A.zso") == IMAGE
    assert (library / "B.iso").read_bytes() == IMAGE
    assert {"B.iso", "C.iso", "D.iso", "F.ISO", "E.zso", *taken} == set(names(library))


def test_a_hard_link_keeps_its_image(tmp_path: Path) -> None:
    with watching(tmp_path, "--in-place") as watch:
        put(watch.library / "Okami.iso", IMAGE)
        (watch.library / "seed").hardlink_to(watch.library / "Okami.iso")
        wait_until(lambda: "a hard link" in watch.waits_for("Okami.iso"), "the reason")
        (watch.library / "seed").unlink()
        subprocess.run(["touch", "-a", watch.library / "Okami.iso"], check=True)
        watch.wait_for_results("Okami.iso")
    assert names(watch.library) == ["Okami.zso"]


def test_a_writer_is_waited_for(tmp_path: Path) -> None:
    with watching(tmp_path, "--in-place", watch_quiet_closed=4.0) as watch:
        put(watch.library / "Okami.iso", IMAGE)
        wait_until(lambda: "may still be written" in watch.waits_for("Okami.iso"), "a verdict")
        with (watch.library / "Okami.iso").open("r+b"):
            wait_until(lambda: "open for writing" in watch.waits_for("Okami.iso"), "the reason")
        watch.wait_for_results("Okami.iso")
    assert names(watch.library) == ["Okami.zso"]


@contextmanager
def being_opened(path: Path) -> Iterator[None]:
    """Let a program wait to open a file for writing, until it is killed.

    For other programs, the file is open for writing then. No event tells that it is not any more.
    """
    with path.open("rb") as file, disarmed_lease(file.fileno()):
        opener = subprocess.Popen(["sh", "-c", 'exec true >>"$1"', "sh", path])
        wait_until(lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_RDLCK, "the program")
        yield
        opener.kill()
        opener.wait(30)


@contextmanager
def disarmed_lease(fd: int) -> Iterator[None]:
    """Have a read lease, whose end no signal tells."""
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    try:
        yield
    finally:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def test_a_file_that_is_still_open_at_its_last_event(tmp_path: Path) -> None:
    """As while Linux closes an overwritten file: the event comes first."""
    with watching(tmp_path, "--in-place") as watch:
        put(watch.library / "Okami.tmp", IMAGE)
        with being_opened(watch.library / "Okami.tmp"):
            (watch.library / "Okami.tmp").rename(watch.library / "Okami.iso")
            wait_until(lambda: watch.waits_for("Okami.iso"), "the event")
        watch.wait_for_results("Okami.iso")
    assert names(watch.library) == ["Okami.zso"]


def closed_after_scans(inbox: Path, act: Callable[[], None]) -> set[FileIdentity]:
    """What counts as closed after two scans; *act* is done after the events before were taken."""
    closed: set[FileIdentity] = set()
    events = InboxEvents(closed.add)
    with closing(events):
        for _ in range(2):
            events.take()
            act()
            for folder in (inbox, *(path for path in inbox.iterdir() if path.is_dir())):
                events.enter(str(folder))
            events.entered_all()
        events.take()
    return closed


def test_a_directory_that_appears_after_the_events_were_taken(library: Path) -> None:
    """Its files were closed before it was watched, like those of one that an event reports."""

    def copy() -> None:
        if is_second.pop():
            put(library / "below/Okami.iso", IMAGE)

    put(library / "before/Ico.iso", IMAGE)  # what was there before has no such sign
    is_second = [True, False]
    closed = closed_after_scans(library, copy)
    assert closed == {identity_at(str(library / "below/Okami.iso"))}


def test_what_is_closed_during_the_first_scan(tmp_path: Path, library: Path) -> None:
    """In a directory that the scan has yet to reach: one that was there before, and a new one."""
    put(library / "a/Old.iso", IMAGE)
    put(library / "b/Old.iso", IMAGE)
    settings = WatchSettings((str(library),), str(library), after=IN_PLACE)
    ledger = Ledger(tmp_path / "state", settings.key)
    events = InboxEvents(ledger.note_closed)
    copies: list[Path] = []

    def enter(folder: str) -> None:
        events.enter(folder)
        if folder.endswith("/a"):
            copies.append(library / f"b/{len(copies)}.iso")
            put(copies[-1], IMAGE)
            if len(copies) > 1:  # it is watched by then
                os.utime(copies[-1], (1_000_000, 1_000_000))
                put(library / "b/new/2.iso", IMAGE)

    readers, space = ReaderCheck(str(library)), Space(str(library), ledger)
    with closing(readers), closing(events), closing(ledger):
        watch = Watch(settings, ledger, events, Tracker(settings, ledger, enter), space, readers)
        events.enter(str(library))
        watch.step()
        events.take()
        files = {path: identity_at(str(path)) for path in library.rglob("*.iso")}
        closed = {path for path, one in files.items() if one is not None and ledger.was_closed(one)}
    assert closed == {library / "b/0.iso", library / "b/1.iso", library / "b/new/2.iso"}


def test_a_directory_that_perhaps_can_be_listed_now_is_scanned() -> None:
    """An event tells of its new permissions; what is in it was there before."""
    folders = InboxFolders()
    folders.enter("/inbox", is_new=False)
    folders.cannot_enter("/inbox/closed")
    folders.end_scan()
    assert folders.appear("/inbox/closed")
    assert not folders.is_new("/inbox/closed")
    folders.enter("/inbox/closed", is_new=False)
    assert not folders.appear("/inbox/closed")


def test_dates_that_are_set_in_a_new_directory(tmp_path: Path) -> None:
    """As file managers do with a copy after they have closed it."""
    with watching(tmp_path, "--in-place", watch_quiet_closed=4.0) as watch:
        put(watch.library / "below/Okami.iso", IMAGE)
        wait_until(lambda: "may still be written" in watch.waits_for("Okami.iso"), "a verdict")
        os.utime(watch.library / "below/Okami.iso", (1_000_000, 1_000_000))
        watch.wait_for_results("Okami.iso")
    assert names(watch.library / "below") == ["Okami.zso"]


def test_an_image_that_changes_while_it_is_packed(tmp_path: Path) -> None:
    """Its new content is packed, and no other."""
    big = writers.disc(8 * MIB, ["text", "mixed"], 5)
    with watching(tmp_path, "--in-place", "--for", "small") as watch:
        path = watch.library / "Big.iso"
        put(path, big)
        wait_until(lambda: watch.status()["current"]["done_bytes"], "the job")
        with path.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"new")
        watch.wait_for_results("Big.iso", seconds=60)
    assert image_of(watch.library / "Big.zso") == big[: 5 * MIB] + b"new" + big[5 * MIB + 3 :]
    assert names(watch.library) == ["Big.zso"]


def test_a_container_is_renamed(tmp_path: Path, library: Path) -> None:
    """As a crash leaves it between the two renames; the image of the first is packed only once."""
    put(library / "A.iso", writers.zsoz(IMAGE))
    put(library / "B.iso", writers.maxcso_cso1(OTHER))
    put(library / ".A.iso.zsofs-0123abcd.part", IMAGE)
    (library / ".A.iso.zsofs-0123abcd.part").chmod(0o444)
    with watching(tmp_path, "--in-place") as watch:
        watch.wait_for_results("A.iso", "B.iso")
    assert names(library) == ["A.zso", "B.cso"]
    assert (library / "A.zso").read_bytes() == writers.zsoz(IMAGE)


def test_a_kill_while_a_program_waits_to_write(tmp_path: Path, library: Path) -> None:
    """What it has written then is shown again, and is packed."""
    written = b"new" + IMAGE[3:]
    put(library / "A.iso", writers.zsoz(IMAGE))
    os.utime(library / "A.iso", (1_000_000, 1_000_000))
    hidden = f".A.iso.zsofs-{exchange_token((library / 'A.iso').stat())}.replaced"
    put(library / hidden, written)
    with watching(tmp_path, "--in-place") as watch:
        wait_until(lambda: (library / "A.iso").read_bytes() == written, "the image")
        subprocess.run(["touch", "-a", library / "A.iso"], check=True)
        watch.wait_for_results("A.iso")
    assert names(library) == ["A.zso"]
    assert image_of(library / "A.zso") == written
    assert "A.iso: restored; a program wrote to it" in watch.log.read_text()


def test_a_group_of_which_the_user_is_no_member(as_root: None, another_user: None) -> None:
    """It is refused before it is packed, and packed when its group is changed."""
    user = ("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "--inh-caps=-all")
    with TemporaryDirectory() as name:  # that the user can enter
        made = Watching(Path(name, "library"), Path(name, "library"), Path(name, "state"))
        made.options = ("--in-place",)
        for folder in (Path(name), made.library, made.state, made.state / "run"):
            folder.mkdir(exist_ok=True)
            os.chown(folder, 1234, 1234)
        try:
            made.start(*user)
            image = made.library / "Okami.iso"
            put(made.library / "Okami.tmp", IMAGE)
            os.chown(made.library / "Okami.tmp", 1234, 1235)
            (made.library / "Okami.tmp").rename(image)
            wait_until(lambda: "only root can create" in made.waits_for("Okami.iso"), "the reason")
            assert made.results() == {}
            os.chown(image, 1234, 1234)
            made.wait_for_results("Okami.iso")
            assert names(made.library) == ["Okami.zso"]
        finally:
            made.end()


def test_attributes_stay(tmp_path: Path) -> None:
    with watching(tmp_path, "--in-place") as watch:
        path = watch.library / "Okami.iso"
        unfinished = watch.library / "Okami.tmp"
        put(unfinished, IMAGE)
        try:
            os.setxattr(unfinished, "user.DOSATTRIB", b"0x20")
        except OSError:
            pytest.skip("the file system has no extended attributes")
        unfinished.rename(path)
        watch.wait_for_results("Okami.iso")
    assert os.getxattr(watch.library / "Okami.zso", "user.DOSATTRIB") == b"0x20"


def test_owner_and_group_stay(as_root: None, tmp_path: Path) -> None:
    with watching(tmp_path, "--in-place") as watch:
        put(watch.library / "Okami.tmp", IMAGE)
        os.chown(watch.library / "Okami.tmp", 1234, 1235)
        (watch.library / "Okami.tmp").rename(watch.library / "Okami.iso")
        watch.wait_for_results("Okami.iso")
    status = (watch.library / "Okami.zso").stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_a_full_disk_is_waited_for(as_root: None, tmp_path: Path, library: Path) -> None:
    noise = writers.disc(6 * MIB, ["noise"], 3)
    with disk_mounted(make_ext4(tmp_path / "disk.img", 32 * MIB), library):
        with watching(tmp_path, "--in-place") as watch:
            put(library / "Noise.iso", noise)
            with (library / "filler").open("wb") as file:
                free = os.statvfs(library).f_bavail * 4096
                os.posix_fallocate(file.fileno(), 0, free - 2 * MIB)
            wait_until(lambda: "is full" in watch.status()["note"], "the full disk")
            assert (library / "Noise.iso").read_bytes() == noise
            assert left_in(library) == []
            (library / "filler").unlink()
            watch.wait_for_results("Noise.iso")
        assert image_of(library / "Noise.zso") == noise


def states_of(library: Path, name: str) -> list[tuple[str, bytes]]:
    """What there is of a disc: the extension of each file, and its image."""
    found = []
    for ending in (".iso", ".zso"):
        path = library / (name + ending)
        if path.exists():
            found.append((ending, image_of(path)))
    return found


@pytest.mark.timeout(1800)
def test_random_kills(tmp_path: Path) -> None:
    """After each, a disc has exactly one name, and all its bytes; nothing is packed twice."""
    chance = random.Random(11)
    images: dict[str, bytes] = {}
    with watching(tmp_path, "--in-place", "--for", "console") as watch:
        for number in range(rounds(6, 200)):
            left = list(watch.library.glob("*.iso"))
            if len(left) < 4:
                name = f"Disc {number}"
                images[name] = writers.disc(MIB // 2, ["text", "mixed"], number)
                put(watch.library / f"{name}.iso", images[name])
            else:  # their close may have been lost with the watch
                for path in left:
                    close_again(path)
            time.sleep(chance.uniform(0, 1.2))
            if chance.random() < 0.3:
                kill_job(watch)
            watch.end(signal.SIGKILL)
            check_discs(watch.library, dict(list(images.items())[-10:]))
            watch.start()
        # Those that were closed while the watch was dead.
        wait_until(lambda: is_idle(watch), "the end of the queue", 120)
        for path in watch.library.glob("*.iso"):
            close_again(path)
        wait_until(lambda: not list(watch.library.glob("*.iso")), "all discs", 120)
    assert left_in(watch.library) == []
    for name, image in images.items():
        assert states_of(watch.library, name) == [(".zso", image)]


@pytest.mark.timeout(1800)
def test_random_power_cuts(as_root: None, tmp_path: Path) -> None:
    """Library and state are on a disk that forgets what was not synced."""
    chance = random.Random(5)
    disk = make_ext4(tmp_path / "disk.img", 64 * MIB)
    images: dict[str, bytes] = {}
    for number in range(rounds(2, 40)):
        with disk_mounted(disk, tmp_path / "disk") as top:
            check_discs(top / "library", images)
            with watching(top, "--in-place", "--for", "console") as watch:
                name = f"Disc {number}"
                images[name] = writers.disc(MIB // 2, ["text", "mixed"], number)
                put(watch.library / f"{name}.iso", images[name])
                os.sync()
                time.sleep(chance.uniform(0.2, 1.8))
                cut_off(top)
                watch.end(signal.SIGKILL)
        disk = copy_of(disk, tmp_path / f"disk{number}.img")
    with disk_mounted(disk, tmp_path / "disk") as top:
        check_discs(top / "library", images)


def check_discs(library: Path, images: dict[str, bytes]) -> None:
    """Check that each disc has one name, and all its bytes."""
    for name, image in images.items():
        assert [found for _, found in states_of(library, name)] == [image], name


def close_again(path: Path) -> None:
    """Open and close a file as `touch -a` does, if it exists."""
    with suppress(FileNotFoundError):
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))


def kill_job(watch: Watching) -> None:
    """Kill the process that packs, if there is one."""
    try:
        os.kill(watch.job(), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return


def is_idle(watch: Watching) -> bool:
    """Whether only images wait that nobody was seen closing."""
    status = watch.status()
    reasons = [one["reason"] for one in status["waiting"]]
    return status["state"] == "idle" and all("was seen closing" in one for one in reasons)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--in-place", "library", "-o", "other"], "--in-place takes one directory"),
        (["--in-place", "library", "other"], "--in-place takes one directory"),
        (["--in-place", "--delete-source", "library"], "not allowed with"),
        (["--in-place", "--move-failed", "other", "library"], "cannot be combined"),
        (["library"], "the following arguments are required: -o/--output"),
    ],
)
def test_what_cannot_be_combined(tmp_path: Path, words: list[str], error: str) -> None:
    for name in ("library", "other"):
        (tmp_path / name).mkdir()
    given = [str(tmp_path / word) if word in {"library", "other"} else word for word in words]
    assert error in zsofs("watch", *given, code=2).stderr


def test_the_command_line_of_a_unit() -> None:
    settings = WatchSettings(("/lib",), "/lib", IN_PLACE)
    assert " ".join(service._words(settings)) == "watch --for mount --in-place -- /lib"
    assert 'ReadWritePaths="-/"\n' in service._text("pack", WatchSettings(("/",), "/"), "root")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--in-place"], "require --watch"),
        (["other", "--watch", "--in-place"], "--in-place takes one directory"),
        (["--watch"], "the following arguments are required: MOUNTPOINT"),
    ],
)
def test_a_service(tmp_path: Path, words: list[str], error: str) -> None:
    (tmp_path / "library").mkdir()
    said = zsofs("service", "install", "--user", "x", tmp_path / "library", *words, code=2).stderr
    assert error in said
