"""One disk of the source hangs under very many requests; those to others must not notice."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hanging import HangingDisk, hanging_disk
from tests.support.mounting import DATA, Mount, mounted, names, open_files, status_of, wait_until
from zsofs.errors import DiskBusyError
from zsofs.reading.admission import Admission
from zsofs.system.mountinfo import mounted_at

FOLDERS, FILES = 120, 2
LIMITED = ("sh", "-c", f'ulimit -n 256 && exec "{sys.executable}" -m zsofs "$@"', "sh")

CALLS = """
import os, sys, threading

threading.stack_size(256 << 10)
kind, count, *paths = sys.argv[1:]

def call(number):
    path = paths[number % len(paths)]
    try:
        if kind == "open":
            os.close(os.open(path, os.O_RDONLY))
        elif kind == "read":
            os.pread(opened[number], 4096, 2 << 20)  # where nothing has been read before
        else:
            with open(path, "r+b", buffering=0) as file:
                file.write(bytes(4096))
    except OSError:
        pass

if kind == "read":
    opened = [os.open(paths[number % len(paths)], os.O_RDONLY) for number in range(int(count))]
print("open", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=call, args=(number,)) for number in range(int(count))]
for thread in threads:
    thread.start()
print("begun", flush=True)
for thread in threads:
    thread.join()
print("done", flush=True)
"""


class Calls:
    """Very many system calls at a time, in a process of their own."""

    def __init__(self, kind: str, count: int, paths: list[Path]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CALLS, kind, str(count), *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.said() == b"open\n"

    def said(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        assert self.said() == b"begun\n"

    def waiting(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task")) - 1

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def calls(kind: str, count: int, paths: list[Path]) -> Iterator[Calls]:
    """So many calls, which the caller begins; they must be able to end when the context does."""
    made = Calls(kind, count, paths)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def half_dead(base: Path) -> Iterator[tuple[Path, HangingDisk]]:
    """A source with two discs of its own and a folder `dead`, which is a disk that can hang."""
    origin, source = base / "origin", base / "half"
    source.mkdir()
    for number in range(FOLDERS):
        (origin / f"{number}").mkdir(parents=True)
        for file in range(FILES):
            with (origin / f"{number}" / f"{file}.iso").open("wb") as disc:
                disc.truncate(4 << 20)
    shutil.copy(DATA / "maxcso-2048.zso", source / "Game.zso")
    (source / "folder").mkdir()
    shutil.copy(DATA / "zstd-2048.zso", source / "folder" / "Other.zso")
    with hanging_disk(origin, source / "dead") as disk:
        yield source, disk


def dead_discs(made: Mount) -> list[Path]:
    """All files of the disk that can hang, listed."""
    folders = [made.path / "dead" / name for name in names(made.path / "dead")]
    return [folder / name for folder in folders for name in names(folder)]


OTHERS = """
import os, sys, time
from pathlib import Path
from tests.support.mounting import DATA, drop_pages

root = Path(sys.argv[1])
for number in range(3):
    for name, image in (("Game.iso", "ps2.iso"), ("folder/Other.iso", "psp.iso")):
        assert (root / name).read_bytes() == (DATA / image).read_bytes()
        drop_pages(root / name)
    assert {"Game.iso", "folder"} <= set(os.listdir(root))
    assert os.listdir(root / "folder") == ["Other.iso"]
    os.statvfs(root)
    time.sleep(0.6)  # what the kernel and the daemon know of names gets too old
"""


def check_others(made: Mount) -> None:
    """What does not lie on the dead disk can be listed, opened and read."""
    others = subprocess.Popen([sys.executable, "-c", OTHERS, str(made.path)])
    try:
        wait_until(lambda: others.poll() is not None, "requests to others", 60)
    except BaseException:
        others.kill()  # it ends when the disk does not hang any more
        raise
    assert others.returncode == 0


def check_hung_opens(base: Path, count: int) -> None:
    with half_dead(base) as (source, disk), mounted(source, base / "mnt") as made:
        discs = dead_discs(made)
        with calls("open", count, discs) as opens:
            disk.hang("open")
            opens.begin()
            try:
                check_others(made)
                assert opens.waiting() == count, "they were to hang"
            finally:
                disk.hang()
            assert opens.said() == b"done\n"
        wait_until(lambda: not status_of(made)["readers"], "the end of all")
        assert not made.log_lines("WARN")
        check_others(made)


def test_hung_opens_leave_others_alone(tmp_path: Path) -> None:
    """More than pyfuse3 has tasks by itself, which is 99."""
    check_hung_opens(tmp_path, 400)


@pytest.mark.system
def test_four_thousand_hung_opens_leave_others_alone(tmp_path: Path) -> None:
    check_hung_opens(tmp_path, 4000)


@pytest.mark.parametrize("requests", ["lookup getattr opendir", "opendir"])
def test_hung_listings_leave_others_alone(tmp_path: Path, requests: str) -> None:
    """Folders that nobody has looked into yet; each look-up in one waits for its listing.

    One that has nothing but discs would be listed from its look for the count.
    """
    with half_dead(tmp_path) as (source, disk):
        for number in range(FOLDERS):
            (tmp_path / "origin" / str(number) / "notes.txt").touch()
        with mounted(source, tmp_path / "mnt") as made:
            wait_until(lambda: not status_of(made)["counting"], "the count")
            check_hung_listings(made, disk, requests)


def check_hung_listings(made: Mount, disk: HangingDisk, requests: str) -> None:
    folders = [made.path / "dead" / name for name in names(made.path / "dead")]
    discs = [folder / f"{number}.iso" for folder in folders for number in range(2)]
    with calls("open", len(discs), discs) as opens:
        disk.hang(*requests.split())
        opens.begin()
        try:
            check_others(made)
            assert opens.waiting() == len(discs), "they were to hang"
        finally:
            disk.hang()
        assert opens.said() == b"done\n"


def test_hung_looks_at_links_leave_others_alone(tmp_path: Path) -> None:
    """A look at a folder of one disk can hang at a link to another."""
    with half_dead(tmp_path) as (source, disk):
        for number in range(8):
            (source / f"links{number}").mkdir()
            (source / f"links{number}" / "link.iso").symlink_to(source / f"dead/{number}/0.iso")
        with mounted(source, tmp_path / "mnt") as made:
            assert len(dead_discs(made)) == FOLDERS * FILES
            disk.hang("lookup", "getattr", "open")
            folders = [made.path / f"links{number}" for number in range(8)]
            with calls("open", 8, [folder / "link.iso" for folder in folders]) as links:
                links.begin()
                try:
                    check_others(made)
                finally:
                    disk.hang()
                assert links.said() == b"done\n"


def test_files_that_cannot_be_closed_leave_others_alone(tmp_path: Path) -> None:
    """The kernel counts their ends among the few requests for read-ahead under way at a time."""
    with half_dead(tmp_path) as (source, disk), mounted(source, tmp_path / "mnt") as made:
        files = [path.open("rb") for path in dead_discs(made)[:150]]
        disk.hang("flush")
        try:
            for file in files:
                file.close()
            check_others(made)
        finally:
            disk.hang()
        wait_until(lambda: not from_disk(made, disk), "the end of all descriptors")


def from_disk(made: Mount, disk: HangingDisk) -> list[str]:
    """What the daemon has open of a disk."""
    found = open_files(made.daemon.pid).values()
    return [path for path in found if path.startswith(str(disk.path))]


def test_hung_opens_take_no_descriptors_from_others(tmp_path: Path) -> None:
    with (
        half_dead(tmp_path) as (source, disk),
        mounted(source, tmp_path / "mnt", command=LIMITED) as made,
        calls("open", 400, dead_discs(made)) as opens,
    ):
        disk.hang("open")
        opens.begin()
        try:
            check_others(made)
            assert not made.log_lines("limit of open files")
        finally:
            disk.hang()
        assert opens.said() == b"done\n"


def test_hung_reads_leave_others_alone(tmp_path: Path) -> None:
    """More than the 12 of all files together that the kernel has under way by itself."""
    with (
        half_dead(tmp_path) as (source, disk),
        mounted(source, tmp_path / "mnt") as made,
        calls("read", 60, dead_discs(made)[:60]) as reads,
    ):
        disk.hang("read")
        reads.begin()
        try:
            check_others(made)
            assert reads.waiting() == 60, "they were to hang"
        finally:
            disk.hang()
        assert reads.said() == b"done\n"


@contextmanager
def overlaid(folder: Path) -> Iterator[None]:
    """Hide *folder* under an overlay of itself."""
    empty = folder.with_name("empty")
    empty.mkdir()
    options = f"ro,lowerdir={folder}:{empty}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def check_that_it_hangs_after_quick_reads(base: Path, source: Path, disk: HangingDisk) -> None:
    """The event loop waits for such a disk itself, as long as it answers at once."""
    with mounted(source, base / "mnt") as made:
        disc = made.path / "dead" / "0" / "0.iso"
        fd = os.open(disc, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for place in range(64):
                assert os.pread(fd, 4096, place << 12) == bytes(4096)
            with calls("read", 12, [disc]) as reads:
                disk.hang("read")
                reads.begin()
                try:
                    check_others(made)
                    assert reads.waiting() == 12, "they were to hang"
                finally:
                    disk.hang()
                assert reads.said() == b"done\n"
            assert os.pread(fd, 4096, 3 << 20) == bytes(4096)
        finally:
            os.close(fd)


def test_a_disk_that_hangs_after_quick_reads(tmp_path: Path) -> None:
    with half_dead(tmp_path) as (source, disk):
        check_that_it_hangs_after_quick_reads(tmp_path, source, disk)


@pytest.mark.usefixtures("as_root")
def test_a_disk_under_an_overlay_that_hangs_after_quick_reads(tmp_path: Path) -> None:
    with half_dead(tmp_path) as (source, disk), overlaid(disk.path):
        check_that_it_hangs_after_quick_reads(tmp_path, source, disk)


def test_hung_writes_leave_others_alone(tmp_path: Path) -> None:
    with half_dead(tmp_path) as (source, disk):
        for folder in (tmp_path / "origin").iterdir():
            (folder / "save.dat").write_bytes(bytes(4096))
        with mounted(source, tmp_path / "mnt", "--writable") as made:
            paths = [path for path in dead_discs(made) if path.name == "save.dat"]
            assert len(paths) == FOLDERS  # writes to one file come one after another
            (made.path / "memory.card").write_bytes(b"before")
            with calls("write", len(paths), paths) as writes:
                disk.hang("write")
                writes.begin()
                try:
                    check_others(made)
                    (made.path / "memory.card").write_bytes(b"after")
                    assert (source / "memory.card").read_bytes() == b"after"
                finally:
                    disk.hang()
                assert writes.said() == b"done\n"


def check_end(base: Path, count: int, act: Callable[[Mount], None]) -> None:
    """The mount ends, and with it whatever waits in it, while the disk still hangs."""
    with half_dead(base) as (source, disk), mounted(source, base / "mnt") as made:
        made.may_end = True
        with calls("open", count, dead_discs(made)) as opens:
            disk.hang("open")
            opens.begin()
            try:
                wait_until(lambda: opens.waiting() == count, "all to hang")
                begun = time.monotonic()
                act(made)
                wait_until(lambda: mounted_at(os.fsencode(made.path)) is None, "the end", 30)
                assert opens.said() == b"done\n"
                assert time.monotonic() - begun < 30
            finally:  # threads that wait for an answer of the disk's outlive even SIGKILL
                disk.hang()
            assert made.daemon.wait(20) == 0


def test_a_mount_ends_while_opens_hang(tmp_path: Path) -> None:
    check_end(tmp_path, 400, lambda made: made.daemon.terminate())


@pytest.mark.system
def test_a_mount_ends_while_four_thousand_opens_hang(tmp_path: Path) -> None:
    check_end(tmp_path, 4000, lambda made: made.daemon.terminate())


def test_killed_programs_leave_nothing_open(tmp_path: Path) -> None:
    """The kernel lets them end when the disk answers; what was opened for them is closed."""
    with half_dead(tmp_path) as (source, disk), mounted(source, tmp_path / "mnt") as made:
        with calls("open", 300, dead_discs(made)) as opens:
            disk.hang("open")
            opens.begin()
            try:
                opens.process.kill()
                check_others(made)
            finally:
                disk.hang()
        wait_until(lambda: not status_of(made)["readers"], "the end of all")
        wait_until(lambda: not from_disk(made, disk), "the end of all descriptors")
        check_others(made)


def test_no_device_gets_all_that_may_wait() -> None:
    admission = Admission(max_requests=16, max_bytes=16)
    held = []
    for device in (1, 2, 3):
        while True:
            waiting = admission.waiting(device)
            try:
                waiting.__enter__()
            except DiskBusyError:
                break
            held.append((device, waiting))
    assert [sum(one == device for one, _ in held) for device in (1, 2, 3)] == [8, 4, 2]
    with admission.waiting(4):
        pass
    for _, waiting in held:
        waiting.__exit__(None, None, None)
    with admission.waiting(1, 8), pytest.raises(DiskBusyError), admission.waiting(1, 1):
        pass
    with admission.waiting(1, 16):
        pass


def test_what_waits_too_long_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(max_requests=2)
    with admission.waiting(0x801):
        for _ in range(3):
            with pytest.raises(DiskBusyError, match="8:1"), admission.waiting(0x801):
                pass
    assert len(caplog.records) == 1
