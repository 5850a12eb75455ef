"""What a mount holds, descriptors and inode numbers: no more than allowed, nor longer than used."""

import errno
import os
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.ends import join
from tests.support.mounting import ZSOFS, Mount, open_files, wait_until
from zsofs.mount.control.client import ask
from zsofs.source.entry import Entry, Kind
from zsofs.source.tree import SourceTree
from zsofs.vfs.inodes import Inodes
from zsofs.vfs.node import Folder

LIMIT = 256
LIMITED = ("prlimit", f"--nofile=100:{LIMIT}", *ZSOFS)
"""zsofs, with a hard limit of open files and a soft one that is lower still."""

DISCS = 2000
IMAGE = writers.content(40_000, ["text", "noise", "zeros"], 5)


def fill(folder: Path, count: int) -> None:
    packed = writers.maxcso_zso(IMAGE)
    for number in range(count):
        (folder / f"{number:04}.zso").write_bytes(packed)


def descriptors(mount: Mount) -> list[str]:
    """What the daemon has open."""
    return list(open_files(mount.daemon.pid).values())


def from_source(mount: Mount) -> list[str]:
    """Descriptors of the daemon that keep the file system of the source from being unmounted."""
    device = mount.source.stat().st_dev
    folder = Path(f"/proc/{mount.daemon.pid}/fd")
    found = []
    for fd, path in open_files(mount.daemon.pid).items():
        with suppress(FileNotFoundError):
            if (folder / fd).stat().st_dev == device:
                found.append(path)
    return found


def inodes(mount: Mount) -> int:
    found = ask(os.fsencode(mount.path), "status")["inodes"]
    assert isinstance(found, int)
    return found


def soft_limit(mount: Mount) -> int:
    text = Path(f"/proc/{mount.daemon.pid}/limits").read_text()
    line = next(line for line in text.splitlines() if line.startswith("Max open files"))
    return int(line.split()[3])


def touch(paths: list[Path], problems: list[str], most: list[int], mount: Mount) -> None:
    """Open, read and close each; note what went wrong, and how many the daemon had open."""
    try:
        for number, path in enumerate(paths):
            if path.read_bytes() != IMAGE:
                problems.append(f"{path.name}: wrong bytes")
            if number % 50 == 0:
                most.append(len(descriptors(mount)))
    except Exception as error:
        problems.append(repr(error))


def test_two_thousand_discs_are_read_under_a_limit_of_256_descriptors(
    memory: Path, mount: MountMaker
) -> None:
    fill(memory, DISCS)
    made = mount(memory, command=LIMITED)
    names = sorted(os.listdir(made.path))
    assert len(names) == DISCS
    assert from_source(made) == []
    idle = len(descriptors(made))
    problems: list[str] = []
    most: list[int] = []
    threads = [
        threading.Thread(
            target=touch,
            args=([made.path / name for name in names[part::4]], problems, most, made),
        )
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert not problems
    assert max(most) <= idle + 40, "closed discs are kept open"
    # A thread's bell, of which there is one for each disk, may come once and stay.
    wait_until(lambda: len(descriptors(made)) <= idle + 2, "as few descriptors as before")
    wait_until(lambda: not from_source(made), "the end of all descriptors of discs")
    assert not made.log_lines("WARN")
    assert not made.log_lines("ERROR")


def test_too_many_discs_open_at_once_hinder_nothing_but_the_next_one(
    memory: Path, mount: MountMaker
) -> None:
    fill(memory, 300)
    (memory / "other").mkdir()
    fill(memory / "other", 30)
    made = mount(memory, command=LIMITED)
    names = sorted(name for name in os.listdir(made.path) if name != "other")
    assert soft_limit(made) == LIMIT, "the daemon allows itself all that the system does"
    idle = len(descriptors(made))
    with ExitStack() as stack:
        opened: list[int] = []
        for name in names:
            try:
                opened.append(os.open(made.path / name, os.O_RDONLY | os.O_DIRECT))
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017
                break
            stack.callback(os.close, opened[-1])
        assert 100 < len(opened) < LIMIT
        refused = names[len(opened) :]
        for name in refused:
            with pytest.raises(OSError, match="Too many open files"):
                os.open(made.path / name, os.O_RDONLY)
        again = os.open(made.path / names[0], os.O_RDONLY)  # shares a descriptor
        os.close(again)
        assert all(os.pread(fd, len(IMAGE), 0) == IMAGE for fd in opened)
        assert len(os.listdir(made.path / "other")) == 30, "a folder is listed for the first time"
        fill(memory / "other", 40)
        assert not [name for name in os.listdir(made.path / "other") if name.endswith(".zso")]
        assert len(os.listdir(made.path / "other")) == 40
        assert ask(os.fsencode(made.path), "status")["discs"] == 340
        assert os.statvfs(made.path).f_bsize
        stack.close()
        wait_until(lambda: not from_source(made), "the end of all descriptors")
        for name in refused:
            assert (made.path / name).read_bytes() == IMAGE
    wait_until(lambda: len(descriptors(made)) <= idle + 2, "as few descriptors as before")
    assert not made.log_lines("internal error in zsofs")


def test_a_source_of_which_nobody_has_a_disc_open_can_be_unmounted(
    as_root: None, source: Path, mount: MountMaker
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", source], check=True)
    try:
        fill(source, 20)
        (source / "folder").mkdir()
        fill(source / "folder", 20)
        made = mount(source)
        for folder in (made.path, made.path / "folder"):
            for path in folder.glob("*.iso"):
                assert path.read_bytes() == IMAGE
        with (made.path / "0000.iso").open("rb"):
            assert from_source(made)
            busy = subprocess.run(["umount", source], capture_output=True, check=False)
            assert busy.returncode != 0
        wait_until(lambda: not from_source(made), "the end of all descriptors")
    finally:
        done = subprocess.run(["umount", source], capture_output=True, text=True, check=False)
        if done.returncode:
            subprocess.run(["umount", "-l", source], check=True)
    assert done.returncode == 0, done.stderr


def list_all(mount: Mount) -> None:
    """Look every name up, as `ls -lR` does."""
    subprocess.run(["ls", "-lR", mount.path], stdout=subprocess.DEVNULL, check=True, timeout=300)


def have_kernel_forget(mount: Mount) -> None:
    """Have the kernel let go of all names of a mount that nobody uses; of this mount alone."""
    # By mount(2): through the newer calls the kernel takes no options of a FUSE file system.
    environment = os.environ | {"LIBMOUNT_FORCE_MOUNT2": "always"}
    words = ["mount", "-i", "-o", "remount", str(mount.path)]
    subprocess.run(words, check=True, env=environment)


def has_all(mount: Mount, number: int) -> bool:
    """List everything; whether the table has it all: the kernel may forget some of it already."""
    list_all(mount)
    return inodes(mount) == number


def test_numbers_that_the_kernel_forgot_cost_nothing(
    as_root: None, source: Path, mount: MountMaker
) -> None:
    for number in range(5):
        (source / str(number)).mkdir()
        for name in range(200):
            (source / str(number) / str(name)).touch()
    made = mount(source)
    for _ in range(3):
        wait_until(lambda: has_all(made, 1006), "a table of all names")
        have_kernel_forget(made)
        wait_until(lambda: inodes(made) <= 6, "a table with the folders at most", 40)


@pytest.mark.system
def test_the_table_of_100_000_looked_up_names_shrinks_again(
    as_root: None, source: Path, mount: MountMaker
) -> None:
    for number in range(10):
        (source / str(number)).mkdir()
        for name in range(10_000):
            (source / str(number) / str(name)).touch()
    made = mount(source)
    try:
        wait_until(lambda: has_all(made, 100_011), "a table of all names", 120)
        have_kernel_forget(made)
        wait_until(lambda: inodes(made) <= 11, "a table with the folders at most", 60)
        wait_until(lambda: has_all(made, 100_011), "a table of all names", 120)
        for number in range(10):
            shutil.rmtree(source / str(number))
        os.listdir(made.path)
        wait_until(lambda: inodes(made) == 1, "a table with nothing that is gone", 60)
    finally:
        shutil.rmtree(source)


def test_what_is_moved_to_a_folder_without_a_listing_is_not_kept_for_ever(source: Path) -> None:
    """The listing of a folder of which the kernel knows nothing may go while the disk is slow."""

    def entry(path: bytes, kind: Kind) -> Entry:
        return Entry(path.rpartition(b"/")[2], kind, path, tree.stat(path))

    for place in (source / "one", source / "other"):
        place.mkdir()
        (place / place.name).touch()
    tree = SourceTree(os.fsencode(source))
    library = Inodes(tree, writable=True)
    root, empty = library.root, len(library)
    both = {name: entry(name, Kind.FOLDER) for name in (b"one", b"other")}
    library.update(root, tree.stat(b""), both, time.monotonic())
    children = root.children or {}
    one, other = children[b"one"], children[b"other"]
    assert isinstance(one, Folder)
    assert isinstance(other, Folder)
    for folder, name in ((one, b"one"), (other, b"other")):
        library.remember(folder)
        path = name + b"/" + name
        found = {name: entry(path, Kind.FILE)}
        library.update(folder, folder.entry.status, found, time.monotonic())
    file = (one.children or {})[b"one"]
    for _ in range(2):
        library.remember(file)
    library.forget(file.number, 1)
    library.shrink([one])
    assert other.children is None
    (source / "one" / "one").rename(source / "other" / "new")
    library.move(file, ((one, b"one"), (other, b"new")), entry(b"other/new", Kind.FILE))
    for node in (file, one, other):
        library.forget(node.number, 1)
    library.update(root, tree.stat(b""), {}, time.monotonic())
    assert len(library) == empty
