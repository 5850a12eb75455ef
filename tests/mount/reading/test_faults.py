"""Faults inside the daemon: each costs one system call, never the mount."""

import ctypes
import inspect
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyfuse3
import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.faulty import ERRORS, HANDLERS, UNCOUNTED, WRITABLE_HANDLERS
from tests.support.mounting import (
    DATA,
    ZSOFS,
    Mount,
    mounted,
    status_of,
    wait_for,
    wait_until,
    wait_until_kept,
    waits_for_fuse,
)
from tests.support.rounds import rounds
from zsofs.fuse.file_operations import LiveOperations
from zsofs.fuse.operations import Operations
from zsofs.fuse.write_operations import WritableOperations
from zsofs.system.mountinfo import mounted_at

ROOT = Path(__file__).parents[3]
FAULTY = (sys.executable, "-m", "tests.support.faulty")
IMAGE = writers.content(3 * 16384 + 777, ["text", "mixed", "noise"], seed=1)
PLAIN = writers.content(30000, ["text"], seed=2)

LIMIT, CLOSED = 200, 140
"""Of open files: of those that the daemon may have in all, more than it may have for discs."""


@pytest.mark.parametrize(
    ("kinds", "named", "others"),
    [
        ((Operations,), HANDLERS, {"serve"}),
        ((LiveOperations, WritableOperations), WRITABLE_HANDLERS, set()),
    ],
)
def test_every_handler_is_guarded(
    kinds: tuple[type, ...], named: tuple[str, ...], others: set[str]
) -> None:
    """functools.wraps, which the guard uses, leaves the attribute __wrapped__."""
    members = {name: member for kind in kinds for name, member in vars(kind).items()}
    handlers = {
        name
        for name, member in members.items()
        if inspect.iscoroutinefunction(member) and hasattr(pyfuse3.Operations, name)
    }
    assert handlers >= set(named)
    unguarded = {name for name in handlers if not hasattr(members[name], "__wrapped__")}
    assert not unguarded
    public = {
        name
        for name, member in members.items()
        if inspect.iscoroutinefunction(member) and not name.startswith("_")
    }
    assert public - handlers == others, "a coroutine that is no handler of pyfuse3"


# What each handler can be provoked by. Each gets the folder of its case, looked up already, and
# raises OSError if the handler fails. In the folder are Game.iso, plain.txt and the symlink link.


def force_getattr(path: Path) -> None:
    """statx with AT_EMPTY_PATH and AT_STATX_FORCE_SYNC: the kernel may not answer by itself."""
    fd = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.statx(fd, b"", 0x1000 | 0x2000, 0x7FF, ctypes.create_string_buffer(512)):
            raise OSError(ctypes.get_errno(), "statx")
    finally:
        os.close(fd)


def read_direct(path: Path, size: int, offset: int) -> None:
    """A read that reaches the daemon as it is, without read-ahead and second tries."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        assert len(os.pread(fd, size, offset)) == size
    finally:
        os.close(fd)


def open_and_close(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def provoke_lookup(folder: Path) -> None:
    os.lstat(folder / "Game.iso")


def provoke_getattr(folder: Path) -> None:
    force_getattr(folder)


def provoke_readlink(folder: Path) -> None:
    assert os.readlink(folder / "link") == "nowhere"


def provoke_listing(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["Game.iso", "link", "plain.txt"]


def provoke_open(folder: Path) -> None:
    open_and_close(folder / "Game.iso")


def provoke_read(folder: Path) -> None:
    read_direct(folder / "Game.iso", 4096, 4096)


def provoke_long_read(folder: Path) -> None:
    read_direct(folder / "Game.iso", 32768, 0)


def provoke_plain_read(folder: Path) -> None:
    read_direct(folder / "plain.txt", 4096, 0)


def provoke_plain_release(folder: Path) -> None:
    open_and_close(folder / "plain.txt")


def provoke_statfs(folder: Path) -> None:
    os.statvfs(folder)


def provoke_forget(folder: Path) -> None:
    """Have the kernel find that a name is gone; it then lets go of the number."""
    os.lstat(folder / "Game.iso")
    source = folder.parent.parent / "source" / folder.name / "Game.zso"
    source.rename(source.with_suffix(".old"))
    wait_until(lambda: not (folder / "Game.iso").exists(), "the name to go")
    source.with_suffix(".old").rename(source)
    wait_until((folder / "Game.iso").exists, "the name to come back")


Provoke = Callable[[Path], None]

# By handler: where a fault is put, what provokes it.
CASES: dict[str, list[tuple[str, Provoke]]] = {
    "lookup": [
        ("Inodes.folder", provoke_lookup),
        ("PlainView.up_to_date", provoke_lookup),
        ("Follower.up_to_date", provoke_lookup),
        ("Follower._take_changes", provoke_lookup),
        ("Watcher.changes", provoke_lookup),
        ("Follower._begin", provoke_lookup),
        ("Scanner.survey", provoke_lookup),
        ("SourceTree.folder", provoke_lookup),
        ("Watcher.add", provoke_lookup),
        ("OpenFolder.names", provoke_lookup),
        ("server.as_shown", provoke_lookup),
        ("shown.shown_names", provoke_lookup),
        ("Inodes.update", provoke_lookup),
        ("Inodes.remember", provoke_lookup),
        ("Appearance.attributes", provoke_lookup),
        ("WorkerThreads.run", provoke_lookup),
        ("os.listdir", provoke_lookup),
    ],
    "getattr": [("Inodes.node", provoke_getattr), ("Appearance.attributes", provoke_getattr)],
    "readlink": [("Inodes.node", provoke_readlink)],
    "opendir": [
        ("Inodes.folder", provoke_listing),
        ("PlainView.up_to_date", provoke_listing),
        ("Follower.up_to_date", provoke_listing),
        ("Follower._take_changes", provoke_listing),
        ("Scanner.survey", provoke_listing),
        ("SourceTree.folder", provoke_listing),
        ("server.as_shown", provoke_listing),
        ("Inodes.update", provoke_listing),
        ("WorkerThreads.run", provoke_listing),
        ("os.open", provoke_listing),
    ],
    "readdir": [
        ("Listings.entries", provoke_listing),
        ("Appearance.attributes", provoke_listing),
        ("pyfuse3.readdir_reply", provoke_listing),
        ("Inodes.remember", provoke_listing),
    ],
    "open": [
        ("Inodes.node", provoke_open),
        ("WorkerThreads.run", provoke_open),
        ("Contents.open", provoke_open),
        ("Contents.opened", provoke_open),
        ("SourceTree.open", provoke_open),
        ("image.block_reader", provoke_open),
        ("os.open", provoke_open),
        ("os.fstat", provoke_open),
    ],
    "read": [
        ("Reader.read", provoke_read),
        ("ExtentCache.get", provoke_read),
        ("ReplyBuffers.take", provoke_long_read),
        ("DiscImage.read_now", provoke_read),
        ("DiscImage.read_now", provoke_long_read),
        ("PlainFile.read_now", provoke_plain_read),
    ],
    "statfs": [
        ("SourceTree.statvfs", provoke_statfs),
        ("WorkerThreads.run", provoke_statfs),
        ("os.statvfs", provoke_statfs),
    ],
    # The kernel waits for no answer to these.
    "releasedir": [("Listings.close", provoke_listing)],
    "release": [
        ("DiscImage.close", provoke_open),
        ("PlainFile.close", provoke_plain_release),
        ("WorkerThreads.run", provoke_open),
    ],
    "forget": [("Inodes.forget", provoke_forget)],
}
UNANSWERED = ("releasedir", "release", "forget")

# Where the source's error is no fault of the call: it is answered as it was the last time.
LAST_ANSWER = ("statfs",)

# Faults in these come before the folder was ever listed, for the kernel keeps what it knows.
BEFORE_LISTING = ("lookup", "opendir")


class Faults:
    """Faults in a daemon that tests.support.faulty runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done_path = path.with_name(path.name + ".done")

    @contextmanager
    def on(self, handler: str, target: str, error: str) -> Iterator[str]:
        """Have a target raise an error on behalf of a handler; gives the line for done()."""
        fault = f"{handler} {target} {error}"
        self.path.write_text(fault)
        try:
            yield fault
        finally:
            self.path.unlink(missing_ok=True)  # another fault within this one may have taken it

    def done(self) -> list[str]:
        """The faults that have been raised."""
        return self.done_path.read_text().splitlines() if self.done_path.exists() else []


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Faults in every daemon that is run as FAULTY from now on."""
    made = Faults(tmp_path / "fault")
    monkeypatch.setenv("ZSOFS_FAULT", str(made.path))
    monkeypatch.chdir(ROOT)
    return made


def make_case(folder: Path) -> None:
    folder.mkdir()
    (folder / "Game.zso").write_bytes(writers.maxcso_zso(IMAGE, block_size=16384))
    (folder / "plain.txt").write_bytes(PLAIN)
    (folder / "link").symlink_to("nowhere")


def check_case(folder: Path) -> None:
    """Everything in the folder is right."""
    provoke_listing(folder)
    provoke_getattr(folder)
    provoke_readlink(folder)
    os.statvfs(folder)
    assert (folder / "Game.iso").read_bytes() == IMAGE
    assert (folder / "plain.txt").read_bytes() == PLAIN


def some_errors(number: int) -> list[str]:
    """The errors of one target: usually a third of them, another one for each *number*.

    Which number a caller gets is the matter of error_guard alone: tests/adapter has all of them
    for all handlers. Here it matters what they leave behind where they are raised.
    """
    step = rounds(3, 1)
    return list(ERRORS)[number % step :: step]


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_fault_costs_one_call(
    source: Path,
    mount: MountMaker,
    faults: Faults,
    handler: str,
) -> None:
    cases = [
        (target, act, error)
        for number, (target, act) in enumerate(CASES[handler])
        for error in some_errors(number)
        # A fault in forget takes more than a second to provoke.
        if handler != "forget" or error in ("ValueError", "OSError", "RecursionError")
    ]
    for number in range(len(cases)):
        make_case(source / f"case{number}")
    made = mount(source, command=(*FAULTY, UNCOUNTED))
    for number, (target, provoke, error) in enumerate(cases):
        folder = made.path / f"case{number}"
        if handler in BEFORE_LISTING:
            os.stat(folder)
        else:
            check_case(folder)
        with faults.on(handler, target, error) as fault:
            is_error_of_source = isinstance(ERRORS[error][0](), OSError | MemoryError)
            if handler in UNANSWERED or (handler in LAST_ANSWER and is_error_of_source):
                provoke(folder)
                wait_for_fault(faults, fault)
            else:
                with pytest.raises(OSError) as caught:
                    provoke(folder)
                assert caught.value.errno == ERRORS[error][1], fault
                assert fault in faults.done()
        assert made.is_alive(), fault
        check_case(folder)
    wait_until(lambda: made.log_lines("fault"), "the log")


def test_what_cannot_be_closed_is_not_counted_as_open(
    source: Path, mount: MountMaker, faults: Faults
) -> None:
    """As on a source whose server has gone: each close of its files is an error."""
    for number in range(CLOSED + 1):
        (source / f"{number}.txt").write_bytes(PLAIN)
    made = mount(source, command=("prlimit", f"--nofile={LIMIT}:{LIMIT}", *FAULTY))
    with faults.on("release", "PlainFile.close", "OSError"):
        for number in range(CLOSED):
            open_and_close(made.path / f"{number}.txt")
        wait_until(lambda: len(faults.done()) == CLOSED, "the faults")
    assert (made.path / f"{CLOSED}.txt").read_bytes() == PLAIN


def test_who_opens_a_file_with_another_hears_of_no_fault_in_the_end_of_a_second_descriptor(
    source: Path, mount: MountMaker, faults: Faults
) -> None:
    (source / "plain.txt").write_bytes(PLAIN)
    made = mount(source, command=FAULTY)
    path = made.path / "plain.txt"
    path.stat()
    with ThreadPoolExecutor(2) as pool, faults.on("open", "Contents.open", "held"):
        both = [pool.submit(path.open, "rb") for _ in range(2)]
        wait_until(lambda: len(faults.done()) == 2, "both")
        with faults.on("open", "PlainFile.close", "OSError"):
            files = [future.result(300) for future in both]
            wait_until(lambda: len(faults.done()) == 3, "the end of a second descriptor")
    for file in files:
        with file:
            assert file.read() == PLAIN
    wait_until(lambda: not status_of(made)["readers"], "the end of both")
    assert len(faults.done()) == 3


# By where a fault is put: what nobody waits for.
BEHIND_THE_SCENES = (
    "Follower._take_changes",
    "Watcher.changes",
    "Follower._begin",
    "WorkerThreads.run",
    "Scanner.survey",
    "SourceTree.folder",
    "Watcher.add",
    "OpenFolder.stat",
    "survey.look_inside",
    "inside.has_writer",
    "server.as_shown",
    "Inodes.update",
    "Invalidations.send",
    "Invalidations._tell",
)


@pytest.mark.parametrize("target", BEHIND_THE_SCENES)
def test_a_fault_behind_the_scenes_costs_nothing(
    source: Path,
    mount: MountMaker,
    faults: Faults,
    target: str,
) -> None:
    folder = source / "case"
    make_case(folder)
    made = mount(source, command=FAULTY)
    check_case(made.path / "case")
    wanted = ["Game.iso", "link", "plain.txt"]
    for error in ("ValueError", "OSError", "StopIteration"):
        with faults.on("background", target, error) as fault:
            (folder / f"{error}.zso").write_bytes(writers.maxcso_zso(IMAGE, block_size=2048))
            keep_changing(folder / "plain.txt", faults, fault)
            assert made.is_alive(), fault
        (folder / "plain.txt").chmod(0o644)
        if target in ("survey.look_inside", "inside.has_writer"):  # it is shown as it is
            subprocess.run([*ZSOFS, "reload", str(made.path)], check=True)
        wanted.append(f"{error}.iso")
        wait_for(made.path / "case", *wanted)
        assert (made.path / "case" / f"{error}.iso").read_bytes() == IMAGE
    wait_until(lambda: made.log_lines("a fault"), "the log")


@pytest.mark.parametrize("target", ["watch.mounts_around", "survey.mount_of"])
def test_a_fault_in_a_look_at_the_mounts_costs_nothing(
    source: Path,
    tmp_path: Path,
    mount: MountMaker,
    faults: Faults,
    target: str,
) -> None:
    """Any mount will do to have the table looked at, here that of a folder in the source."""
    make_case(source / "case")
    (source / "inner").mkdir()
    (tmp_path / "other").mkdir()
    shutil.copy(DATA / "zstd-2048.zso", tmp_path / "other" / "Other.zso")
    made = mount(source, command=FAULTY)
    check_case(made.path / "case")
    assert os.listdir(made.path / "inner") == []
    for error in ("ValueError", "OSError"):
        with (
            faults.on("background", target, error) as fault,
            mounted(tmp_path / "other", source / "inner"),
        ):
            wait_for_fault(faults, fault)
            assert made.is_alive()
            faults.path.write_text("")
            wait_for(made.path / "inner", "Other.iso")
        check_case(made.path / "case")


def keep_changing(file: Path, faults: Faults, fault: str) -> None:
    """Until the fault is raised: another program that walks over the mount just after a change
    has it looked at on its own behalf."""
    modes = itertools.cycle((0o600, 0o640))

    def is_done() -> bool:
        file.chmod(next(modes))
        time.sleep(0.2)
        return fault in faults.done()

    wait_until(is_done, fault)


def wait_for_fault(faults: Faults, fault: str) -> None:
    wait_until(lambda: fault in faults.done(), fault)


@pytest.mark.parametrize("target", ["ScanCache.folder", "ScanCache.keep"])
def test_a_fault_of_the_catalog_costs_nothing(
    source: Path,
    mount: MountMaker,
    faults: Faults,
    target: str,
) -> None:
    for number in range(len(ERRORS)):
        make_case(source / f"case{number}")
    wait_until_kept(source)
    made = mount(source, command=(*FAULTY, UNCOUNTED))
    for number, error in enumerate(ERRORS):
        with faults.on("opendir", target, error) as fault:
            check_case(made.path / f"case{number}")
            assert fault in faults.done(), (faults.done(), made.log_lines())
    # The log is written by a thread of its own, for which no listing waits for long.
    wait_until(lambda: made.log_lines("the scan cache could not be"), "the log")


# A source that hangs.


def is_stopped(process: int) -> bool:
    text = Path(f"/proc/{process}/stat").read_text()
    return text.rpartition(")")[2].split()[0] == "T"


@contextmanager
def stopped(daemon: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Have a daemon stand still: whoever asks its mount for anything hangs."""
    daemon.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(daemon.pid), "the daemon to stand still")
        yield
    finally:
        daemon.send_signal(signal.SIGCONT)


class Readers:
    """Processes that read, each its own piece of a file, and may hang for ever."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, path: Path, offset: int) -> None:
        code = "import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY)"
        code += "; sys.stdout.buffer.write(os.pread(fd, 4096, int(sys.argv[2])))"
        command = [sys.executable, "-c", code, str(path), str(offset)]
        self.running.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )

    def done(self) -> int:
        return sum(reader.poll() is not None for reader in self.running)

    def kill(self) -> None:
        for reader in self.running:
            reader.kill()
        for reader in self.running:
            reader.wait(60)
            assert reader.stdout is not None
            reader.stdout.close()


@contextmanager
def hanging(base: Path) -> Iterator[tuple[Mount, "subprocess.Popen[bytes]", Path]]:
    """A mount whose source has a folder «slow» on a file system of its own, the daemon of that,
    and the file on which readers hang as soon as that daemon is stopped."""
    inner, outer = base / "inner", base / "outer"
    (outer / "slow").mkdir(parents=True)
    inner.mkdir()
    for number in range(12):
        (inner / f"Slow{number}.iso").write_bytes(bytes(2 << 20))
    shutil.copy(DATA / "maxcso-2048.zso", outer / "Game.zso")
    (outer / "folder").mkdir()
    shutil.copy(DATA / "zstd-2048.zso", outer / "folder" / "Other.zso")
    with mounted(inner, outer / "slow") as slow:
        slow_log = slow.log
        assert slow_log.exists()
        with mounted(outer, base / "mnt") as made:
            yield made, slow.daemon, made.path / "slow"


def test_a_source_that_hangs_stops_only_its_own_readers(tmp_path: Path) -> None:
    readers = Readers()
    with hanging(tmp_path) as (made, slow_daemon, slow):
        names = os.listdir(slow)
        assert len(names) == 12
        for name in names:
            os.stat(slow / name)
        try:
            with stopped(slow_daemon):
                # More of them than the threads for one disk, or requests that FUSE has in flight.
                for number in range(40):
                    readers.start(slow / names[number % 12], number * 40960)
                ps2, psp = ((DATA / f"{name}.iso").read_bytes() for name in ("ps2", "psp"))
                for _ in range(4):
                    assert (made.path / "Game.iso").read_bytes() == ps2
                    assert (made.path / "folder" / "Other.iso").read_bytes() == psp
                    for path in (made.path / "Game.iso", made.path / "folder" / "Other.iso"):
                        fd = os.open(path, os.O_RDONLY)
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                        os.close(fd)
                    assert {"Game.iso", "folder", "slow"} <= set(os.listdir(made.path))
                    assert os.listdir(made.path / "folder") == ["Other.iso"]
                    os.statvfs(made.path)
                    wait_for_old_listings(made)
                assert readers.done() == 0, "they were to hang"
            wait_until(lambda: readers.done() == 40, "the readers, once the source is back")
            for reader in readers.running:
                assert reader.stdout is not None
                assert reader.stdout.read() == bytes(4096)
        finally:
            readers.kill()
        assert made.is_alive()


def wait_for_old_listings(made: Mount) -> None:
    """Let what the kernel and the daemon know of the names become too old to use."""
    before = time.monotonic()
    while time.monotonic() < before + 1.1:
        os.stat(made.path / "folder" / "Other.iso")
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_whose_source_hangs_can_be_ended(tmp_path: Path, number: signal.Signals) -> None:
    readers = Readers()
    with hanging(tmp_path) as (made, slow_daemon, slow):
        names = os.listdir(slow)
        made.may_end = True
        try:
            with stopped(slow_daemon):
                for place in range(20):
                    readers.start(slow / names[place % 12], place * 40960)
                assert (made.path / "Game.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
                wait_until(lambda: waits_for_fuse(made) >= 4, "readers that hang")
                made.daemon.send_signal(number)
                assert made.daemon.wait(20) == 0
                assert mounted_at(os.fsencode(made.path)) is None
        finally:
            readers.kill()
