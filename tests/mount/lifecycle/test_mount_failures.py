"""A mount that cannot be served is taken back, with the reason in one line; never half of one."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.mount.lifecycle.test_setuid import NOBODY, library, processes_of, uncounted
from tests.support.ends import spawned
from tests.support.mounting import DATA, ZSOFS, unmount, wait_until
from tests.support.namespaces import LET_GO
from tests.support.rounds import rounds
from zsofs.system.mountinfo import mounted_at

__all__ = ["library"]

pytestmark = pytest.mark.usefixtures("as_root")

SIGNAL_ROUNDS = rounds(6, 30)
HARMLESS = (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT)
HANDLED = (*HARMLESS, signal.SIGUSR1, signal.SIGHUP)

PLACES = (
    ("zsofs.source.tree:SourceTree", "__init__"),
    ("zsofs.mount.lifecycle", "start_helpers"),
    ("zsofs.mount.lifecycle", "ScanCache"),
    ("zsofs.mount.lifecycle", "Server"),
    ("zsofs.mount.lifecycle", "Supervision"),
    ("trio", "run"),
    ("trio", "open_signal_receiver"),
    ("pyfuse3", "init"),
    ("zsofs.mount.lifecycle", "ControlSocket"),
    ("zsofs.mount.control.server:ControlSocket", "__enter__"),
    ("zsofs.system.daemonize", "leave_terminal"),
)
"""What is called on the way to a mount that is ready, by all kinds of mounts."""

OF_ROOT = (
    ("zsofs.mount.root_helper", "mount_as_root"),
    ("zsofs.system.privileges", "become"),
    ("zsofs.mount.root_helper:InheritedMount", "__init__"),
)
"""What is called only where root mounts and another user serves."""

AS_NOBODY = ("--setuid", "nobody")


@pytest.fixture(autouse=True)
def _counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other user cannot write where coverage is counted."""
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)


def faulty(
    place: tuple[str, str], fault: str, *words: object
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.support.faulty_start", *place, fault, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check_nothing_stays(point: Path) -> None:
    wait_until(lambda: not processes_of(point), "the end of all processes")
    assert mounted_at(os.fsencode(point)) is None
    assert not point.exists(), "zsofs made the mount point, so it removes it"


@pytest.mark.parametrize("fault", ["bug", "system"])
@pytest.mark.parametrize(
    ("words", "place"),
    [
        *((words, place) for words in ((), AS_NOBODY) for place in PLACES),
        *((AS_NOBODY, place) for place in OF_ROOT),
    ],
)
def test_a_start_in_the_background_that_fails(
    library: Path, tmp_path: Path, words: tuple[str, ...], place: tuple[str, str], fault: str
) -> None:
    point = tmp_path / "mnt"
    try:
        done = faulty(place, fault, "mount", *words, "--log-file", "/dev/null", library, point)
        assert done.returncode in (1, 5)
        assert done.stdout == ""
        if place != ("zsofs.system.daemonize", "leave_terminal"):
            assert done.stderr.startswith("zsofs: ")
        assert "a fault" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        check_nothing_stays(point)
    finally:
        unmount(point)


@pytest.mark.parametrize("words", [("-f",), ()])
def test_no_process_for_the_other_user(
    library: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """fork(2) fails after mount(2), as at the limit of processes of a container."""
    point = tmp_path / "mnt"
    fault = "first" if words else "second"
    words = (*words, *AS_NOBODY, "--log-file", "/dev/null")
    try:
        done = faulty(
            ("os", "fork"), fault.replace("first", "system"), "mount", *words, library, point
        )
        assert done.returncode == 5
        assert done.stderr == (
            f"zsofs: the mount at {point} failed: cannot start a process: a fault; check the"
            " process limit with: ulimit -u\n"
        )
        check_nothing_stays(point)
    finally:
        unmount(point)


def test_no_process_for_the_background(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    done = faulty(("os", "fork"), "system", "mount", library, point)
    assert (done.returncode, "cannot start a process: a fault" in done.stderr) == (5, True)
    check_nothing_stays(point)


@pytest.mark.parametrize("name", ["Server", "ControlSocket"])
@pytest.mark.parametrize("words", [(), AS_NOBODY])
def test_a_daemon_that_is_killed_while_it_starts(
    library: Path, tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    """Before and after it has mounted."""
    point = tmp_path / "mnt"
    words = (*words, "--log-file", "/dev/null")
    try:
        done = faulty(("zsofs.mount.lifecycle", name), "killed", "mount", *words, library, point)
        assert done.returncode == 5
        assert done.stderr == (
            f"zsofs: the mount at {point} failed: the daemon was terminated by SIGKILL during"
            " startup; if nobody sent that signal, check the kernel log with: dmesg\n"
        )
        check_nothing_stays(point)
    finally:
        unmount(point)


@pytest.mark.parametrize("limit", [8, 12, 20, 40, 63, 64])
def test_few_descriptors(library: Path, tmp_path: Path, limit: int) -> None:
    """Each limit is either enough to read a disc, or a reason not to mount."""
    point = tmp_path / "mnt"
    try:
        done = subprocess.run(
            [*ZSOFS, "mount", "--log-file", "/dev/null", str(library), str(point)],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
        )
        if limit < 64:
            assert (done.returncode, done.stderr) == (
                5,
                f"zsofs: the limit of open files is {limit}; a mount needs at least 64; raise"
                " it, for example with: ulimit -Hn 1024\n",
            )
            check_nothing_stays(point)
        else:
            assert done.returncode == 0, done.stderr
            assert (point / "Game.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
    finally:
        unmount(point)
        wait_until(lambda: not processes_of(point), "the end of all processes")


class Machine:
    """A mount namespace in which all users may open /dev/fuse, as on most systems."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def words(self, user: int, *words: object) -> list[str]:
        """A command line that runs *words* there as that user."""
        enter = ("nsenter", "--mount", "--target", self._pid, "--")
        become = ("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--")
        return [str(word) for word in (*enter, *(become if user else ()), *words)]

    def run(
        self, user: int, *words: object, **others: object
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            self.words(user, *words),
            capture_output=True,
            text=True,
            check=False,
            env=uncounted(),
            timeout=60,
            **others,
        )

    def has(self, point: Path) -> bool:
        """Whether anything is mounted there."""
        return f" {point} " in Path(f"/proc/{self._pid}/mountinfo").read_text()

    def unmount(self, point: Path) -> None:
        while self.has(point):
            done = self.run(0, "umount", "--lazy", point)
            assert done.returncode == 0 or not self.has(point), done.stderr

    def is_settled(self, point: Path, user: int) -> bool:
        """Whether there is a mount that works, or nothing at all."""
        if self.has(point):
            return self.run(user, "ls", point).stdout == "Game.iso\n"
        return not processes(point)

    def check_works(self, point: Path, user: int) -> None:
        done = self.run(user, "ls", point)
        assert (done.stdout, done.stderr) == ("Game.iso\n", "")


MACHINE = """
set -e
mount --make-rprivate /
{let_go}
mount -t tmpfs none {memory}
mknod -m 666 {memory}/fuse c 10 229
mount --bind {memory}/fuse /dev/fuse
echo
exec sleep 900
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    memory = tmp_path / "memory"
    memory.mkdir()
    script = MACHINE.format(memory=memory, let_go=LET_GO)
    words = ["unshare", "--mount", "sh", "-c", script]
    with spawned(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n", "no mount namespace, or no device"
            yield Machine(process.pid)
        finally:
            process.kill()


@pytest.mark.parametrize("ignored", [signal.SIGCHLD, signal.SIGPIPE])
@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.usefixtures("another_user", "own_mounts")
def test_a_signal_that_the_caller_ignores(
    library: Path, machine: Machine, tmp_path: Path, user: int, ignored: signal.Signals
) -> None:
    """A program that ignores SIGCHLD hands that on, and the ends of children go unseen."""
    point = mount_point_of(tmp_path, user)
    try:
        done = machine.run(
            user,
            *(*ZSOFS, "mount", "--log-file", "/dev/null", library, point),
            preexec_fn=lambda: signal.signal(ignored, signal.SIG_IGN),
            restore_signals=False,
        )
        assert done.returncode == 0, done.stderr
        machine.check_works(point, user)
        assert machine.run(user, *ZSOFS, "umount", point).returncode == 0
        wait_until(lambda: not processes(point), "the end of all processes")
    finally:
        machine.unmount(point)


def mount_point_of(tmp_path: Path, user: int) -> Path:
    """A mount point in a directory of that user."""
    above = tmp_path / "theirs"
    above.mkdir()
    (above / "mnt").mkdir()
    for path in (above, above / "mnt"):
        os.chown(path, user, user)
    return above / "mnt"


def processes(point: Path) -> list[int]:
    """All processes with the mount point on their command line, fusermount3 as well."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if os.fsencode(point) in words and state != "Z":
                found.append(int(process.name))
    return found


@pytest.mark.usefixtures("another_user", "own_mounts")
@pytest.mark.parametrize(
    ("user", "words"), [(0, ()), (0, AS_NOBODY), (NOBODY, ())], ids=["root", "setuid", "user"]
)
def test_signals_at_random_moments(
    library: Path, machine: Machine, tmp_path: Path, user: int, words: tuple[str, ...]
) -> None:
    """After each round of each kind there is a mount that works, or none and no process.

    The signals are those that have a meaning for a daemon, or are harmless; all processes of the
    start get them, the command, the daemon and the process that mounts, but not fusermount3 itself.
    """
    point = mount_point_of(tmp_path, user)
    command = [*ZSOFS, "mount", "-q", *words, "--log-file", "/dev/null", str(library), str(point)]
    generator = random.Random(7)
    made = 0
    for number in range(SIGNAL_ROUNDS):
        with spawned(
            machine.words(user, *command), stderr=subprocess.PIPE, text=True, env=uncounted()
        ) as starting:
            end = time.monotonic() + generator.uniform(0.1, 0.8)
            while starting.poll() is None and time.monotonic() < end:
                # SIGUSR1 and SIGHUP end a process that has not come to its handlers yet.
                may_end = machine.has(point) and number % 3 != 1  # which of them mount for sure
                send(processes(point), generator.choice(HANDLED if may_end else HARMLESS))
            if number % 3 == 0:
                send(processes(point), signal.SIGTERM)
            _, said = starting.communicate(timeout=60)
        assert "Traceback" not in said
        assert "Interrupted" not in said
        wait_until(
            partial(machine.is_settled, point, NOBODY if words else user), "a mount, or nothing", 60
        )
        made += machine.has(point)
        machine.unmount(point)
        wait_until(lambda: not processes(point), "the end of all processes")
    assert made, "no round has mounted anything"


def send(targets: list[int], number: signal.Signals) -> None:
    for process in targets:
        with suppress(OSError):
            if b"fusermount3" not in Path(f"/proc/{process}/cmdline").read_bytes():
                os.kill(process, number)


# Mounts by the real fusermount3, keeps the descriptor, and is killed before it hands that on.
KILLED = """#!{python}
import os, socket, subprocess, sys
ours, its = socket.socketpair()
os.set_inheritable(its.fileno(), True)
os.environ["_FUSE_COMMFD"] = str(its.fileno())
subprocess.run([{real!r}, *sys.argv[1:]], close_fds=False, check=True)
if "-u" not in sys.argv:
    os.kill(os.getpid(), 9)
"""


@pytest.mark.usefixtures("another_user", "own_mounts")
def test_a_fusermount3_that_is_killed_after_it_has_mounted(
    library: Path, machine: Machine, tmp_path: Path
) -> None:
    point = mount_point_of(tmp_path, NOBODY)
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "fusermount3"
    program.write_text(KILLED.format(python="/usr/bin/python3", real=shutil.which("fusermount3")))
    program.chmod(0o755)
    path = f"PATH={programs}:{os.environ['PATH']}"
    words = ("mount", "--log-file", "/dev/null", library, point)
    done = machine.run(NOBODY, "env", path, *ZSOFS, *words)
    try:
        assert (done.returncode, done.stderr) == (
            5,
            f"zsofs: the mount at {point} failed: fusermount3 failed with exit code -9\n",
        )
        assert not machine.has(point)
    finally:
        machine.unmount(point)
