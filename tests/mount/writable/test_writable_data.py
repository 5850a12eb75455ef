"""What is written through a writable mount: the right bytes, on the disk when it was synced, and
no harm to what was there when the disk is full, read-only, or the daemon dies."""

import errno
import fcntl
import hashlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import durable, fsx
from tests.support.disks import MIB, disk_mounted, make_disk, make_ext4
from tests.support.mounting import ZSOFS, mounted, names, opened, unmount, wait_until

SEED = 20261125
FICLONE = 0x40049409


def lengths(short: int, long: int) -> pytest.MarkDecorator:
    """*short* of it in the ordinary run, *long* in the one of heavy tests."""
    return pytest.mark.parametrize(
        "amount",
        [
            pytest.param(short, id="short"),
            pytest.param(long, id="long", marks=pytest.mark.system),
        ],
    )


# Random operations


@lengths(5, 30)
@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_fsx(source: Path, mount: MountMaker, layout: str, amount: int) -> None:
    """One file that might be a disc, as memory cards are called, and one that cannot."""
    (source / "VMC").mkdir()
    made = mount(source, "--writable", "--layout", layout)
    runs = []
    for number, name in enumerate(("VMC/card.bin", "VMC/settings.cfg")):
        words = (made.path / name, source / name, SEED + amount + number, amount)
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.fsx", *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [run.communicate(timeout=amount + 60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "".join(problems for _, problems in said)
    assert made.log_lines("WARN") == []


def test_what_fsx_leaves_out(source: Path, mount: MountMaker) -> None:
    made = mount(source, "--writable")
    assert fsx.left_out(made.path / "file.txt") == {
        "fallocate": "ENOTSUP",
        "KEEP_SIZE": "ENOTSUP",
        "PUNCH_HOLE": "ENOTSUP",
        "ZERO_RANGE": "ENOTSUP",
        "COLLAPSE_RANGE": "ENOTSUP",
        "INSERT_RANGE": "ENOTSUP",
        "SEEK_HOLE": str(1 << 20),
        "SEEK_DATA": "0",
        "copy_file_range": "3",
        "copied": "end",
    }


SIZES = "--bssplit=512/20:4k/30:12k/10:64k/20:128k/20"
FIO = {
    "synced now and then": ("--rw=randwrite", "--ioengine=psync", "--fsync=32", SIZES),
    "never synced": ("--rw=randwrite", "--ioengine=psync", SIZES),
    "mapped": ("--rw=randwrite", "--ioengine=mmap", "--fsync=64", "--bsrange=4k-128k"),
    "direct": ("--rw=randwrite", "--ioengine=libaio", "--direct=1", "--iodepth=16", SIZES),
}


@pytest.mark.system
@pytest.mark.parametrize("how", FIO)
def test_fio_verifies_what_several_writers_wrote(
    source: Path, mount: MountMaker, tmp_path: Path, how: str
) -> None:
    made = mount(source, "--writable")
    done = subprocess.run(
        [
            "fio", "--name=writer", f"--directory={made.path}", "--numjobs=4", "--size=16M",
            "--fallocate=none", "--loops=2", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
            "--randseed=1", "--output-format=json", *FIO[how],
        ],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = json.loads(done.stdout[done.stdout.index("{") :])["jobs"]
    assert len(jobs) == 4
    for job in jobs:
        assert job["error"] == 0
        assert job["write"]["io_bytes"] > 4 * MIB
        assert job["read"]["io_bytes"] > 4 * MIB  # the verifying
    written = sorted(source.glob("writer.*"))
    assert len(written) == 4
    for path in written:
        assert path.stat().st_size == 16 * MIB
        shown = hashlib.sha1((made.path / path.name).read_bytes()).digest()
        assert hashlib.sha1(path.read_bytes()).digest() == shown


# What was synced is on the disk


@contextmanager
def a_client(folder: Path, notes: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Writes in *folder* and says what; see tests/support/durable.py."""
    words = (folder, notes, SEED)
    client = subprocess.Popen(
        [sys.executable, "-m", "tests.support.durable", *map(str, words)], stderr=subprocess.PIPE
    )
    try:
        wait_until(
            lambda: client.poll() is not None or (notes.exists() and notes.stat().st_size > 20_000),
            "the client to write",
            120,  # some 400 writes that are synced, on whatever disk this is
        )
        yield client
    finally:
        client.kill()
        client.communicate(timeout=60)


@lengths(4, 40)
def test_what_was_synced_survives_a_power_cut(
    memory: Path, as_root: None, mount: MountMaker, amount: int
) -> None:
    """The disk of the source is copied while all is under way, and the copy mounted.

    The copy is what the disk had at one moment, as XFS clones a file in one go: all that was
    written to the disk, and nothing that was in the memory of the kernel only. So it tells what a
    power cut leaves of a disk that keeps what it was told to flush.
    """
    generator = random.Random(SEED)
    below = make_disk(memory / "below", 512 * MIB, "mkfs.xfs", "-q", "-m", "reflink=1")
    kept = lost = found = 0
    with ExitStack() as stack:
        disks = stack.enter_context(disk_mounted(below, memory / "disks"))
        disk, copy, notes = make_ext4(disks / "disk", 96 * MIB), disks / "copy", memory / "notes"
        source = stack.enter_context(disk_mounted(disk, memory / "source"))
        made = stack.enter_context(mounted(source, memory / "mnt", "--writable"))
        client = stack.enter_context(a_client(made.path, notes))
        for _ in range(amount):
            time.sleep(generator.uniform(0.02, 0.5))
            before = durable.Notes.read(notes)
            clone(disk, copy)
            assert client.poll() is None, client.communicate(timeout=60)
            after = durable.Notes.read(notes)
            with disk_mounted(copy, memory / "copy") as left:
                check = durable.Check(left, before, after).run()
            kept, lost, found = kept + check.kept, lost + check.lost, check.found
    print(f"{found} things synced at last; of those never synced {kept} whole, {lost} not")
    assert found > 100
    assert lost > amount  # nothing is claimed of these, so the copies do tell


@pytest.mark.usefixtures("as_root")
def test_lists_of_games_that_were_synced_survive_a_power_cut(memory: Path) -> None:
    """In folders of the source that are only made for them; see the test above."""
    below = make_disk(memory / "below", 512 * MIB, "mkfs.xfs", "-q", "-m", "reflink=1")
    with ExitStack() as stack:
        disks = stack.enter_context(disk_mounted(below, memory / "disks"))
        disk, copy = make_ext4(disks / "disk", 96 * MIB), disks / "copy"
        source = stack.enter_context(disk_mounted(disk, memory / "source"))
        words = ("--writable", "--layout", "opl")
        made = stack.enter_context(mounted(source, memory / "mnt", *words))
        for number, folder in enumerate(("DVD", "CD", "DVD", "CD")):
            data, games = old_content(number), made.path / folder / "games.bin"
            assert (source / folder).exists() == (number > 1)
            with games.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with opened(games.parent) as fd:
                os.fsync(fd)
            clone(disk, copy)
            with disk_mounted(copy, memory / "copy") as left:
                assert (left / folder / "games.bin").read_bytes() == data


def clone(disk: Path, copy: Path) -> None:
    """Copy a disk that is in use, as it is at one moment, to a new file.

    While a mount namespace of another test has the last copy mounted, its loop device stays, and
    mount(8) would use that again for the same file, with old blocks in its page cache.
    """
    copy.unlink(missing_ok=True)
    with disk.open("rb") as old, copy.open("wb") as new:
        fcntl.ioctl(new, FICLONE, old.fileno())


def test_a_killed_daemon_leaves_the_source_whole(source: Path, tmp_path: Path) -> None:
    """What was written is there, synced or not: the system keeps it. The next mount continues."""
    point, notes = tmp_path / "mnt", tmp_path / "notes"
    command = [*ZSOFS, "mount", "-q", "--writable", str(source), str(point)]
    try:
        subprocess.run(command, check=True)
        with a_client(point, notes) as client:
            os.kill(daemon_at(point), signal.SIGKILL)
            assert client.wait(10) != 0
        said = durable.Notes.read(notes)
        check = durable.Check(source, said, said).run()
        assert check.found > 20
        assert check.kept
        assert check.lost == 0
        before = {path.name: path.read_bytes() for path in source.iterdir()}
        subprocess.run(command, check=True)
        assert {path.name: path.read_bytes() for path in point.iterdir()} == before
        (point / "save0.dat").write_bytes(b"new")
        assert (source / "save0.dat").read_bytes() == b"new"
    finally:
        unmount(point)


def daemon_at(point: Path) -> int:
    said = subprocess.run(
        [*ZSOFS, "status", "--json", str(point)], capture_output=True, check=True
    ).stdout
    return int(json.loads(said)["pid"])


# Full disks, and others that cannot be written


@pytest.fixture
def small(memory: Path, as_root: None) -> Iterator[Path]:
    """A source of 12 MiB, with a few files."""
    image = make_ext4(memory / "disk", 12 * MIB, "-O", "^has_journal", "-N", "64")
    with disk_mounted(image, memory / "source") as source:
        for number in range(3):
            (source / f"old{number}.dat").write_bytes(old_content(number))
        yield source


def old_content(number: int) -> bytes:
    return random.Random(number).randbytes(500_000 + number)


def check_old(folder: Path) -> None:
    for number in range(3):
        assert (folder / f"old{number}.dat").read_bytes() == old_content(number)


def fill(path: Path, size: int = 100_000) -> bytes:
    """Write until nothing more is taken; what was."""
    data = random.Random(SEED).randbytes(16 * MIB)
    with path.open("wb", buffering=0) as file:
        taken = 0
        for _ in range(3):  # who tries again gets the same answer
            more, code = write_until_refused(file.fileno(), data[taken:], size)
            assert code == errno.ENOSPC
            taken += more
        assert os.fstat(file.fileno()).st_size == taken
        os.fsync(file.fileno())
    return data[:taken]


def write_until_refused(fd: int, data: bytes, size: int) -> tuple[int, int]:
    """How many bytes were taken, *size* at a time, and the number of the error."""
    taken = 0
    try:
        while taken < len(data):
            taken += os.write(fd, data[taken : taken + size])
    except OSError as error:
        return taken, error.errno or 0
    return taken, 0


@pytest.mark.parametrize("size", [7_777, 100_000, 3_000_000])
def test_a_full_disk(small: Path, memory: Path, size: int) -> None:
    with mounted(small, memory / "mnt", "--writable") as made:
        room = os.statvfs(made.path)
        taken = fill(made.path / "new.dat", size)
        assert len(taken) > 0.9 * room.f_bavail * room.f_frsize
        assert os.statvfs(made.path).f_bavail < 0.05 * room.f_bavail
        for folder in (made.path, small):
            assert (folder / "new.dat").read_bytes() == taken
            check_old(folder)
        # In place there is room; a new name, over an old one or not, needs none either.
        with (made.path / "old0.dat").open("r+b") as file:
            file.write(b"over")
        os.rename(made.path / "old0.dat", made.path / "old.dat")
        assert (small / "old.dat").read_bytes() == b"over" + old_content(0)[4:]
        os.rename(made.path / "old.dat", made.path / "old0.dat")
        os.unlink(made.path / "new.dat")
        assert os.statvfs(made.path).f_bavail > 0.99 * room.f_bavail
        (made.path / "old0.dat").write_bytes(old_content(0))
        again = fill(made.path / "again.dat", size)
        assert len(again) > 0.98 * len(taken)
        assert (small / "again.dat").read_bytes() == again
        check_old(small)
        assert [line.partition("WARNING: ")[2] for line in made.log_lines("WARN")] == [
            f"{name}: cannot be written to: No space left on device"
            for name in ("new.dat", "again.dat")
        ]


def test_a_full_disk_and_mapped_pages(small: Path, memory: Path) -> None:
    """The kernel hears of it when it writes the pages; who syncs hears of it from the kernel."""
    with mounted(small, memory / "mnt", "--writable") as made:
        with (made.path / "holes.dat").open("w+b") as file:
            file.truncate(4 * MIB)
            with mmap.mmap(file.fileno(), 0) as pages:
                pages[: 1 << 16] = b"s" * (1 << 16)
                pages.flush()
                taken = fill(made.path / "new.dat")
                pages[2 * MIB : 3 * MIB] = b"x" * MIB
                with pytest.raises(OSError) as caught:
                    pages.flush()
        assert caught.value.errno in (errno.ENOSPC, errno.EIO)
        assert (small / "holes.dat").read_bytes()[: 1 << 16] == b"s" * (1 << 16)
        assert (small / "new.dat").read_bytes() == taken
        check_old(small)
        check_old(made.path)


def test_no_inodes_left(small: Path, memory: Path) -> None:
    with mounted(small, memory / "mnt", "--writable") as made:
        new = [f"{number}.txt" for number in range(os.statvfs(small).f_ffree)]
        for name in new:
            (made.path / name).write_text(name)
        with pytest.raises(OSError) as caught:
            (made.path / "more.txt").touch()
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError) as caught:
            (made.path / "folder").mkdir()
        assert caught.value.errno == errno.ENOSPC
        assert names(made.path) == names(small)
        assert {*new} < {*names(small)}
        check_old(small)
        os.unlink(made.path / new.pop())
        (made.path / "folder").mkdir()
        assert names(made.path) == names(small)
        assert "folder" in names(small)


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda folder: (folder / "new.txt").write_bytes(b"new"),
    "write": lambda folder: (folder / "old0.dat").open("r+b"),
    "truncate": lambda folder: os.truncate(folder / "old0.dat", 1),
    "delete": lambda folder: os.unlink(folder / "old0.dat"),
    "rename": lambda folder: os.rename(folder / "old0.dat", folder / "new.dat"),
    "replace": lambda folder: os.rename(folder / "old0.dat", folder / "old1.dat"),
    "make a folder": lambda folder: (folder / "folder").mkdir(),
    "remove a folder": lambda folder: (folder / "lost+found").rmdir(),
    "rights": lambda folder: (folder / "old0.dat").chmod(0o600),
    "owner": lambda folder: os.chown(folder / "old0.dat", 1, 1),
    "times": lambda folder: os.utime(folder / "old0.dat", (1, 1)),
}


def test_a_disk_that_is_mounted_read_only(small: Path, memory: Path) -> None:
    with mounted(small, memory / "mnt", "--writable") as made:
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        for what, change in CHANGES.items():
            with pytest.raises(OSError) as caught:
                change(made.path)
            assert caught.value.errno == errno.EROFS, what
            check_old(made.path)
        assert names(made.path) == names(small)
        subprocess.run(["mount", "-o", "remount,rw", small], check=True)
        for what, change in CHANGES.items():
            if what in ("create", "rights", "owner", "times", "make a folder"):
                change(made.path)
        check_old(made.path)
        assert names(made.path) == names(small)


def test_a_limit_of_the_size_of_files(source: Path, mount: MountMaker) -> None:
    """The system sends SIGXFSZ with it, which ends programs that do not expect it."""
    made = mount(source, "--writable", command=("prlimit", "--fsize=1000000", *ZSOFS))
    (made.path / "other.txt").write_bytes(b"other")
    data = random.Random(SEED).randbytes(2_000_000)
    with (made.path / "large.dat").open("wb", buffering=0) as file:
        assert write_until_refused(file.fileno(), data, 300_000) == (1_000_000, errno.EFBIG)
        with pytest.raises(OSError) as caught:
            os.ftruncate(file.fileno(), 1_000_001)
        assert caught.value.errno == errno.EFBIG
    assert (source / "large.dat").read_bytes() == data[:1_000_000]
    assert (made.path / "large.dat").read_bytes() == data[:1_000_000]
    assert made.is_alive()
    (made.path / "other.txt").write_bytes(b"still")
    assert (source / "other.txt").read_bytes() == b"still"
