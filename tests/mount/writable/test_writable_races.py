"""Several programs change names at once, while the disk takes its time over one of the changes."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.reading.test_faults import FAULTY, Faults, faults
from tests.support.disks import MIB, disk_mounted, make_ext4
from tests.support.mounting import Mount, all_the_time, names, opened, status_of, wait_until
from tests.support.rounds import rounds

__all__ = ["faults"]  # a fixture

SECONDS = 3.0


@pytest.fixture
def made(source: Path, mount: MountMaker, faults: Faults) -> Mount:
    """A mount of two directories with a file of the same name each."""
    for name in ("one", "other"):
        (source / name).mkdir()
        (source / name / "file").write_text(name)
    return mount(source, "--writable", command=FAULTY)


@contextmanager
def under_way(faults: Faults, fault: str, act: Callable[[], object]) -> Iterator["Future[object]"]:
    """*act* has come to where *fault*, «handler target», makes it slow; at the end it is done."""
    handler, target = fault.split()
    before = len(faults.done())
    with ThreadPoolExecutor(1) as pool:
        with faults.on(handler, target, "slow"):
            future = pool.submit(act)
            wait_until(lambda: len(faults.done()) > before or future.done(), fault)
        assert len(faults.done()) > before, f"was not made slow: {future.result(300)}"
        yield future
        future.result(300)


def swap(folder: Path) -> None:
    """Exchange the names of the two directories."""
    (folder / "one").rename(folder / "aside")
    (folder / "other").rename(folder / "one")
    (folder / "aside").rename(folder / "other")


def look(folder: Path) -> None:
    """Have the daemon see what has changed in a folder."""
    with opened(folder):
        pass


def make(name: str, folder: int) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=folder))


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Something in the folder changes all the time, so that each request looks at it again."""

    def change() -> None:
        (folder / "changing").touch()
        time.sleep(0.001)

    with all_the_time(change):
        yield


# Folders that are renamed meanwhile

DONE_IN_A_FOLDER: dict[str, tuple[str, Callable[[int], object], list[str]]] = {
    "a file is made": (
        "create SourceWriter.create",
        lambda folder: make("new", folder),
        ["file", "new"],
    ),
    "a file is made and the rest is slow": (
        "create changes.seen",
        lambda folder: make("new", folder),
        ["file", "new"],
    ),
    "a node is made": (
        "mknod SourceWriter.create",
        lambda folder: os.mknod("new", stat.S_IFREG | 0o600, dir_fd=folder),
        ["file", "new"],
    ),
    "a folder is made": (
        "mkdir SourceWriter.make_folder",
        lambda folder: os.mkdir("new", dir_fd=folder),
        ["file", "new"],
    ),
    "a file is deleted": (
        "unlink SourceWriter.remove_file",
        lambda folder: os.unlink("file", dir_fd=folder),
        [],
    ),
    "a file is renamed": (
        "rename SourceWriter.rename",
        lambda folder: os.rename("file", "new", src_dir_fd=folder, dst_dir_fd=folder),
        ["new"],
    ),
}


@pytest.mark.parametrize("what", DONE_IN_A_FOLDER)
def test_done_in_the_folder_that_was_meant(made: Mount, faults: Faults, what: str) -> None:
    """Whatever is called so by the time that the disk comes to it."""
    fault, act, wanted = DONE_IN_A_FOLDER[what]
    with opened(made.path / "one") as folder, under_way(faults, fault, lambda: act(folder)):
        swap(made.path)
    assert names(made.source / "other") == names(made.path / "other") == wanted
    assert names(made.source / "one") == names(made.path / "one") == ["file"]
    for name in wanted:
        shown, own = (folder / "other" / name for folder in (made.path, made.source))
        assert shown.stat().st_nlink == (own.stat().st_nlink if own.is_dir() else 1)
    assert (made.path / "one" / "file").read_text() == "other"


def test_a_file_is_opened_in_the_folder_that_was_meant(made: Mount, faults: Faults) -> None:
    with opened(made.path / "one") as folder:

        def read() -> str:
            with open("file", opener=lambda name, flags: os.open(name, flags, dir_fd=folder)) as it:
                return it.read()

        with under_way(faults, "open SourceWriter.open", read) as done:
            (made.path / "one").rename(made.path / "new")
        assert done.result(300) == "one"


def test_names_are_put_on_the_disk_in_the_folder_that_was_meant(
    made: Mount, faults: Faults
) -> None:
    with (
        opened(made.path / "one") as folder,
        under_way(faults, "fsyncdir SourceWriter.sync_folder", lambda: os.fsync(folder)),
    ):
        (made.path / "one").rename(made.path / "new")
    assert names(made.source / "new") == ["file"]


def test_of_a_deleted_folder_nothing_needs_to_be_put_on_the_disk(made: Mount) -> None:
    (made.path / "empty").mkdir()
    with opened(made.path / "empty") as folder:
        (made.path / "empty").rmdir()
        os.fsync(folder)


def test_rights_are_those_of_the_folder_that_was_meant(made: Mount, faults: Faults) -> None:
    for name in ("one", "other"):
        (made.path / name).chmod(0o755)
    with opened(made.path / "one") as folder:
        act = lambda: os.fchmod(folder, 0o700)  # noqa: E731
        with under_way(faults, "setattr SourceWriter.set_attributes", act):
            swap(made.path)
    rights = {name: stat.S_IMODE((made.source / name).stat().st_mode) for name in names(made.path)}
    assert rights == {"one": 0o755, "other": 0o700}


def work_in(folder: int, name: str) -> None:
    make(name, folder)
    fd = os.open(name, os.O_WRONLY | os.O_TRUNC, dir_fd=folder)
    try:
        os.write(fd, name.encode())
    finally:
        os.close(fd)
    os.rename(name, name + "x", src_dir_fd=folder, dst_dir_fd=folder)
    assert os.stat(name + "x", dir_fd=folder).st_size == len(name)
    os.unlink(name + "x", dir_fd=folder)


def test_a_folder_above_that_is_renamed_all_the_time(made: Mount) -> None:
    """Who works in it never hears of that."""
    with (
        opened(made.path / "one") as one,
        opened(made.path / "other") as other,
        all_the_time(lambda: swap(made.path)),
    ):
        for number in range(rounds(60, 200)):
            for folder in (one, other):
                work_in(folder, f"{folder}.{number}")
    assert names(made.source / "one") == names(made.source / "other") == ["file"]


# Files that are renamed or deleted meanwhile


RESULTS = {
    "by another name": (["one more"], [" more", "one"]),
    "for ever": ([], [" more"]),
}
"""What the folder may then have, whichever of the two comes first."""


@pytest.mark.parametrize("goes", RESULTS)
def test_a_file_that_goes_while_it_is_opened_is_made_anew_or_opened(
    made: Mount, faults: Faults, goes: str
) -> None:
    """As a program does that writes a log which another one puts aside."""
    path = made.path / "one" / "file"

    def append() -> None:
        with path.open("a") as file:
            file.write(" more")

    with under_way(faults, "open SourceWriter.open", append):
        if goes == "for ever":
            path.unlink()
        else:
            path.rename(path.with_name("older"))
    texts = [(made.source / "one" / name).read_text() for name in names(made.source / "one")]
    assert texts in RESULTS[goes]


@pytest.mark.usefixtures("as_root")
def test_a_deleted_file_is_never_taken_for_a_new_one(
    tmp_path: Path, source: Path, mount: MountMaker
) -> None:
    """The source gives the new one the number of the old one."""
    with disk_mounted(make_ext4(tmp_path / "disk", 8 * MIB), source):
        try_deleted_file(mount(source, "--writable"))


def try_deleted_file(made: Mount) -> None:
    path, below = made.path / "file", made.source / "file"
    os.mknod(path, stat.S_IFREG | 0o644)  # whose handle is closed before this returns
    number, text = below.stat().st_ino, "is to stay"
    with opened(path, os.O_PATH) as fd:  # no handle of ours
        path.unlink()
        path.write_text(text)
        assert below.stat().st_ino == number
        old = f"/proc/self/fd/{fd}"
        with suppress(OSError):
            os.truncate(old, 1)
        with suppress(OSError), opened(old, os.O_WRONLY | os.O_TRUNC):
            pass
        with suppress(OSError):
            os.chmod(old, 0o600)
        with suppress(OSError):
            assert os.fstat(fd).st_size != len(text)
    assert below.read_text() == path.read_text() == text
    assert stat.S_IMODE(below.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) != 0o600


# What a look at the source sees of a change that is under way


def test_nothing_stays_of_what_was_seen_before_it_was_made(made: Mount, faults: Faults) -> None:
    path = made.path / "one" / "new"
    names(path.parent)
    before = status_of(made)["inodes"]
    for _ in range(3):
        with under_way(faults, "create changes.seen", path.touch):
            look(path.parent)
        path.unlink()
    look(path.parent)
    wait_until(lambda: status_of(made)["inodes"] <= before, "the nodes to go")


def test_a_file_replaced_and_renamed_at_once_can_be_used(made: Mount, faults: Faults) -> None:
    """The kernel does not know yet what it renames."""
    path, below = made.path / "one" / "file", made.source / "one" / "file"
    new = path.with_name("new")
    (made.source / "one" / "aside").write_text("replaced")
    path.stat()
    below.with_name("aside").replace(below)
    with under_way(faults, "rename changes.seen", lambda: path.rename(new)):
        look(path.parent)
    time.sleep(SECONDS)  # the kernel forgets what it was told
    assert new.read_text() == "replaced"
    os.truncate(new, 3)
    assert below.with_name("new").read_text() == "rep"


def test_a_file_replaced_while_it_is_opened_stays_that_file(made: Mount, faults: Faults) -> None:
    """The kernel first hears of it when a program would make it."""
    path, below = made.path / "one" / "new", made.source / "one" / "new"
    assert not path.exists()
    below.with_name("aside").write_text("the second one")
    below.write_text("the first")
    act = lambda: os.open(path, os.O_CREAT | os.O_RDWR)  # noqa: E731
    with under_way(faults, "open changes.seen", act) as done:
        below.with_name("aside").replace(below)
        look(path.parent)
    fd = done.result(300)
    assert isinstance(fd, int)
    try:
        for _ in range(2):
            assert os.fstat(fd).st_size == len("the first")
            assert os.pread(fd, 100, 0) == b"the first"
            assert path.read_text() == "the second one"
            time.sleep(1.5)  # until the kernel asks again
    finally:
        os.close(fd)


def test_programs_that_make_a_file_at_once_share_it(made: Mount) -> None:
    """Whichever of them comes first, the source included.

    What is written in the source has another length: a first line of as many bytes, written by a
    handle for reading and writing, could be a mapped page (`LiveFile.write`) and would replace it.
    """

    def make_or_open(folder: Path, number: int) -> None:
        fd = os.open(folder / str(number), os.O_CREAT | os.O_RDWR | os.O_APPEND)
        try:
            os.write(fd, b"in the source\n" if folder == made.source / "one" else b"line\n")
        finally:
            os.close(fd)

    folders = [made.path / "one", made.path / "one", made.source / "one"]
    with ThreadPoolExecutor(len(folders)) as pool:
        for number in range(100):
            for done in [pool.submit(make_or_open, folder, number) for folder in folders]:
                done.result(300)
    for number in range(100):
        lines = (made.source / "one" / str(number)).read_text().splitlines()
        assert sorted(lines) == ["in the source", "line", "line"]


@pytest.mark.usefixtures("as_root")
def test_what_is_put_in_the_place_of_a_new_folder_is_not_given_away(
    made: Mount, faults: Faults
) -> None:
    """Who may write to the source directory could else have any file in it given to himself."""
    folder = made.source / "one"
    for secret in (folder / "secret.txt", folder / "secrets"):
        if secret.suffix:
            secret.write_text("root's")
            secret.chmod(0o600)
        else:
            secret.mkdir(mode=0o700)
            (secret / "file").write_text("root's")
        rights = secret.stat().st_mode

        def make_folder() -> None:
            with suppress(OSError):
                os.mkdir(made.path / "one" / "new", 0o777)

        with under_way(faults, "mkdir OpenFolder.step", make_folder):
            (folder / "new").rename(folder / f"aside of {secret.name}")
            secret.rename(folder / "new")
        assert (folder / "new").stat().st_mode == rights
        (folder / "new").rename(secret)
        look(made.path / "one")


def test_a_file_replaced_again_while_it_is_renamed_can_be_used(made: Mount, faults: Faults) -> None:
    """The folder that it is moved to is looked at meanwhile."""
    path, below = made.path / "one" / "file.txt", made.source / "one" / "file.txt"
    new = made.path / "other" / "new.txt"
    for text in ("first", "second", "third"):
        below.with_name(text).write_text(text)
    below.with_name("first").replace(below)
    path.stat()
    below.with_name("second").replace(below)  # which the request finds by itself
    with (
        ThreadPoolExecutor(1) as pool,
        changing(made.source / "other"),
        faults.on("rename", "Scanner.survey", "brief"),
    ):
        done = pool.submit(path.rename, new)
        wait_until(lambda: len(faults.done()) > 1 or done.done(), "the look at the other folder")
        below.with_name("third").replace(below)
        look(path.parent)
        done.result(300)
    time.sleep(SECONDS)  # the kernel forgets what it was told
    assert new.read_text() in ("second", "third")  # the latter but on a very busy machine
    os.truncate(new, 3)
    assert (made.source / "other" / "new.txt").read_text() in ("sec", "thi")


def test_a_file_that_another_program_just_created_is_opened(made: Mount, faults: Faults) -> None:
    """open(2) with O_CREAT opens what is there, however long the directory takes to be scanned."""
    folder = made.path / "one"
    names(folder)
    with faults.on("lookup", "Scanner.survey", "slow"):
        (made.source / "one" / "new.txt").write_text("elsewhere")
        fd = os.open(folder / "new.txt", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        assert os.read(fd, 100) == b"elsewhere"
    finally:
        os.close(fd)
    assert faults.done()
    assert names(folder) == ["file", "new.txt"]
    with faults.on("lookup", "Scanner.survey", "slow"):
        (made.source / "one" / "other.txt").write_text("elsewhere")
        with pytest.raises(FileExistsError):
            os.open(folder / "other.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


# Files that others have replaced


@pytest.mark.parametrize("handler", ["lookup", "setattr"])
@pytest.mark.parametrize("change", ["rights", "size"])
def test_a_file_that_was_replaced_and_whose_directory_takes_long_to_scan(
    made: Mount, faults: Faults, handler: str, change: str
) -> None:
    """The kernel looks the name up again, but once: it has to find the new file then."""
    path, own = made.path / "one" / "file", made.source / "one" / "file"
    assert path.stat().st_size == 3
    new = made.source / "one" / "new"
    new.write_text("a new one")
    with faults.on(handler, "Scanner.survey", "slow"):
        new.replace(own)
        if change == "rights":
            path.chmod(0o640)
        else:
            os.truncate(path, 5)
    status = own.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640 if change == "rights" else status.st_size == 5


def test_a_file_that_was_replaced_is_opened_although_its_directory_takes_long_to_scan(
    made: Mount, faults: Faults
) -> None:
    path, own = made.path / "one" / "file", made.source / "one" / "file"
    assert path.stat().st_size == 3
    new = made.source / "one" / "new"
    new.write_text("a new one")
    with faults.on("open", "Scanner.survey", "slow"):
        new.replace(own)
        assert path.read_text() == "a new one"
