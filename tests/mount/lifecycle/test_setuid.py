"""Root mounts, another user serves: what it may, what it leaves, and who cleans up."""

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.ends import spawned
from tests.support.mounting import (
    DATA,
    ZSOFS,
    mounted,
    open_files,
    open_to_others,
    unmount,
    wait_until,
)
from tests.support.namespaces import LET_GO
from zsofs.mount.control.protocol import socket_name
from zsofs.system import fuse_mount
from zsofs.system.mountinfo import mounted_at
from zsofs.system.mountpoint import is_dead
from zsofs.system.xdg import folders, service_folder

NOBODY = 65534
pytestmark = pytest.mark.usefixtures("as_root")


def run(*arguments: object, **others: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*ZSOFS, *map(str, arguments)], capture_output=True, text=True, check=False, **others
    )


def uncounted() -> dict[str, str]:
    """An environment for another user, who cannot write where coverage is counted."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "XDG_"))}


@pytest.fixture(autouse=True)
def _counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A source of that user's, which others may not read."""
    source = tmp_path / "source"
    source.mkdir(mode=0o700)
    shutil.copy(DATA / "maxcso-16384.zso", source / "Game.zso")
    (source / "Game.zso").chmod(0o600)
    for path in (source, source / "Game.zso"):
        os.chown(path, NOBODY, NOBODY)
    open_to_others(tmp_path)
    return source


def processes_of(point: Path) -> dict[str, int]:
    """The keeper and the daemon of a mount, by the name of their user."""
    found = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if b"zsofs" in words and os.fsencode(point) in words and state != "Z":
                user = int(status_of(int(process.name), "Uid").split()[0])
                found["keeper" if user == 0 else "daemon"] = int(process.name)
    return found


def status_of(pid: int, field: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{field}:\s*(.*)$", text, re.M)[1]  # type: ignore[index]


@contextmanager
def served(library: Path, point: Path, *words: str) -> Iterator[dict[str, int]]:
    """The processes of a mount in the background; it is unmounted at the end."""
    log = library.parent / "zsofs.log"
    log.touch()
    os.chown(log, NOBODY, NOBODY)
    try:
        done = run("mount", "--setuid", "nobody", "--log-file", log, *words, library, point)
        assert done.returncode == 0, done.stderr
        yield processes_of(point)
    finally:
        unmount(point)
        wait_until(lambda: not processes_of(point), "the end of keeper and daemon")


@pytest.mark.usefixtures("another_user")
def test_the_daemon_has_no_rights_of_roots(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with served(library, point, "--allow-other") as found:
        daemon = found["daemon"]
        for field in ("Uid", "Gid"):
            assert status_of(daemon, field).split() == [str(NOBODY)] * 4
        assert status_of(daemon, "Groups").split() in ([str(NOBODY)], [])
        for field in ("CapInh", "CapPrm", "CapEff"):
            assert int(status_of(daemon, field), 16) == 0
        assert status_of(daemon, "NoNewPrivs") == "1"
        assert set(status_of(found["keeper"], "Uid").split()) == {"0"}
        there = mounted_at(os.fsencode(point))
        assert there is not None
        assert (there.kind, there.user) == ("fuse.zsofs", NOBODY)
        wanted = (DATA / "ps2.iso").read_bytes()
        assert (point / "Game.iso").read_bytes() == wanted
        read_ahead = Path(f"/sys/class/bdi/{there.device}/read_ahead_kb")
        wait_until(lambda: read_ahead.read_text().strip() == "512", "the raised limit")
        assert run("status", point).returncode == 0
        as_nobody = run("status", point, user=NOBODY, group=NOBODY, env=uncounted())
        assert as_nobody.returncode == 0, as_nobody.stderr
    assert not point.exists(), "zsofs made the mount point, so it removes it"


@pytest.mark.usefixtures("own_mounts")
def test_groups_that_are_in_no_list(tmp_path: Path) -> None:
    """As where users come from a directory: it tells whose groups are which, and lists none."""
    (tmp_path / "group").write_text("nogroup:x:65534:\ndiscs:x:4711:nobody\n")
    (tmp_path / "nsswitch.conf").write_text("passwd: files\ngroup: db\ninitgroups: files\n")
    code = (
        "import grp; from zsofs.system.privileges import account\n"
        f"print(len(grp.getgrall()), account({NOBODY}).groups)"
    )
    script = "".join(
        f"mount --bind {tmp_path / name} /etc/{name}\n" for name in ("group", "nsswitch.conf")
    )
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'{LET_GO}\n{script}exec "$0" -c "$1"',
            sys.executable,
            code,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0 (4711, 65534)\n"


def test_a_user_without_a_home(library: Path, tmp_path: Path) -> None:
    """Or with one that is not there yet: the log lies where root has made a folder."""
    point = tmp_path / "mnt"
    name = socket_name(os.fsencode(point)).replace(".sock", ".log")
    log = service_folder(NOBODY) / "zsofs" / name
    try:
        done = run("mount", "--setuid", "nobody", library, point)
        assert done.returncode == 0, done.stderr
        said = f"zsofs: WARNING: the log of this mount is {log}, because "
        assert re.fullmatch(rf"{said}\S+/{name} cannot be written: .*\n", done.stderr)
        daemon = processes_of(point)["daemon"]
        os.kill(daemon, signal.SIGUSR1)
        wait_until(lambda: "all discs: " in log.read_text(), "the report")
        os.kill(processes_of(point)["keeper"], signal.SIGUSR2)  # as systemctl kill does
        wait_until(lambda: "(most recent call first)" in log.read_text(), "the stacks")
        assert log.stat().st_uid == NOBODY
    finally:
        unmount(point)
        wait_until(lambda: not processes_of(point), "the end")
        log.unlink(missing_ok=True)


def test_root_lists_it_with_the_rights_of_that_user(library: Path, tmp_path: Path) -> None:
    """Whatever the daemon says is its source: a user's own process can say anything."""
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    shutil.copy(DATA / "maxcso-16384.zso", secret / "Secret.zso")
    with served(library, tmp_path / "mnt"):
        done = run("list", tmp_path / "mnt")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Game.iso" in done.stdout
        library.rename(tmp_path / "away")
        library.symlink_to(secret)
        assert "Secret.iso" in run("list", library).stdout, "root itself may"
        done = run("list", tmp_path / "mnt")
        assert (done.returncode, done.stdout) == (3, "")
        assert "cannot be read: Permission denied" in done.stderr


def test_the_descriptors_of_the_keeper(library: Path, tmp_path: Path) -> None:
    """It holds no /dev/fuse: the mount dies with its daemon, at once."""
    with served(library, tmp_path / "mnt") as found:
        files = open_files(found["keeper"])
        assert "/dev/fuse" not in files.values()
        assert [files[str(fd)] for fd in range(3)] == ["/dev/null"] * 3


def test_a_dead_mount_that_root_may_not_look_into_is_cleared(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with served(library, point) as found:
        os.kill(found["daemon"], signal.SIGKILL)
        wait_until(lambda: not processes_of(point), "the end")
        assert mounted_at(os.fsencode(point)) is not None
        with served(library, point):
            done = run("mount", "--setuid", "nobody", library, point)
            assert (done.returncode, "already mounted" in done.stderr) == (4, True)


@pytest.mark.parametrize("words", [(), ("--allow-other",)])
def test_a_dead_mount_in_a_folder_that_its_user_may_not_enter_is_cleared(
    library: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Or may as one of a group only."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o750)
    point = closed / "mnt"
    with served(library, point, *words) as found:
        os.kill(found["daemon"], signal.SIGKILL)
        wait_until(lambda: not processes_of(point), "the end")
        assert mounted_at(os.fsencode(point)) is not None
        with served(library, point, *words) as anew:
            assert anew["daemon"] != found["daemon"]
            done = run("mount", "--setuid", "nobody", library, point)
            assert (done.returncode, "already mounted" in done.stderr) == (4, True)


def test_a_mount_that_got_the_numbers_of_another_is_left_alone(
    library: Path, tmp_path: Path
) -> None:
    """The kernel gives the numbers of what was unmounted to the next mount, whose keeper may not
    have ended yet."""
    point = tmp_path / "mnt"
    with served(library, point) as found:
        os.kill(found["daemon"], signal.SIGKILL)
        wait_until(lambda: not processes_of(point), "the end")
        dead = mounted_at(os.fsencode(point))
        assert dead is not None
        earlier = replace(dead, source=b"/elsewhere")
        assert not is_dead(earlier)
        with pytest.raises(OSError):
            fuse_mount.detach(earlier)
        assert mounted_at(os.fsencode(point)) == dead
        assert is_dead(dead)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("who", ["keeper", "daemon"])
def test_a_signal_ends_it_with_an_open_reader(
    library: Path, tmp_path: Path, who: str, number: signal.Signals
) -> None:
    point = tmp_path / "mnt"
    with served(library, point, "--allow-other") as found:
        fd = os.open(point / "Game.iso", os.O_RDONLY)
        try:
            os.pread(fd, 4096, 0)
            os.kill(found[who], number)
            wait_until(lambda: not processes_of(point), "the end")
            assert mounted_at(os.fsencode(point)) is None
            with pytest.raises(OSError) as caught:
                os.pread(fd, 4096, 1 << 19)
            assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
        finally:
            with suppress(OSError):
                os.close(fd)


def test_the_end_of_a_daemon_that_hangs(library: Path, tmp_path: Path) -> None:
    """It does not ask for the mount to be detached; whoever kills both finds it gone already."""
    point = tmp_path / "mnt"
    with served(library, point, "--allow-other") as found:
        os.kill(found["daemon"], signal.SIGSTOP)
        try:
            os.kill(found["keeper"], signal.SIGTERM)
            wait_until(lambda: mounted_at(os.fsencode(point)) is None, "the end of the mount", 60)
            assert set(processes_of(point)) == {"keeper", "daemon"}
        finally:
            os.kill(found["daemon"], signal.SIGCONT)
        wait_until(lambda: not processes_of(point), "the end", 60)


def test_after_a_crash_the_mount_fails_loudly_and_the_next_clears_it(
    library: Path, tmp_path: Path
) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    with served(library, point, "--allow-other") as found:
        os.kill(found["daemon"], signal.SIGKILL)
        wait_until(lambda: not processes_of(point), "the end")
        with pytest.raises(OSError) as caught:
            os.listdir(point)
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        with served(library, point, "--allow-other"):
            assert os.listdir(point) == ["Game.iso"]


def test_a_killed_keeper_leaves_a_mount_that_works(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with served(library, point, "--allow-other") as found:
        os.kill(found["keeper"], signal.SIGKILL)
        wait_until(lambda: "keeper" not in processes_of(point), "the keeper's end")
        assert os.listdir(point) == ["Game.iso"]
        assert run("umount", point).returncode == 0
        wait_until(lambda: not processes_of(point), "the daemon's end")


def states(said: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    """What mounts say of themselves, by mount point."""
    assert said.stderr == ""
    return {one["mount_point"]: one for one in json.loads(said.stdout)}


@pytest.mark.usefixtures("another_user")
def test_root_sees_the_mounts_of_all_users(library: Path, tmp_path: Path) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    with mounted(library, own), served(library, theirs) as found:
        seen = states(run("status", "--json"))
        assert seen[str(theirs)]["pid"] == found["daemon"]
        assert (seen[str(theirs)]["ok"], seen[str(own)]["ok"]) == (True, True)
        assert f"{theirs}\n  source   {library}\n" in run("status").stdout
        done = run("status", "--json", user=NOBODY, group=NOBODY, env=uncounted())
        assert str(theirs) in states(done)
        assert str(own) not in states(done)


# Listens on a socket and says of itself what it was told to say.
LIAR = """
import socket, sys
place, said = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(place)
    listener.listen()
    print(flush=True)
    while True:
        with listener.accept()[0] as peer:
            peer.recv(1000)
            peer.sendall(said.encode() + b"\\n")
"""


@pytest.mark.usefixtures("another_user")
def test_no_user_speaks_for_the_mount_of_another(library: Path, tmp_path: Path) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    with mounted(library, own), served(library, theirs):
        place = service_folder(NOBODY) / "zsofs" / socket_name(os.fsencode(theirs))
        assert place.is_socket()
        place.unlink()
        candidates = [folder / socket_name(os.fsencode(own)) for folder in folders(0)]
        place.symlink_to(next(path for path in candidates if path.is_socket()))
        try:
            seen = states(run("status", "--json"))
            assert seen[str(own)]["ok"] is True
            assert "nothing is listening on its control socket" in seen[str(theirs)]["error"]
            said = run("status", theirs)
            assert (
                said.returncode,
                "nothing is listening on its control socket" in said.stderr,
            ) == (7, True)
            place.unlink()
            lie = json.dumps({"ok": True, "mount_point": str(own), "source": "/lie"})
            words = [sys.executable, "-c", LIAR, str(place), lie]
            with spawned(words, user=NOBODY, stdout=subprocess.PIPE) as liar:
                try:
                    assert liar.stdout is not None
                    assert liar.stdout.readline() == b"\n"
                    seen = states(run("status", "--json"))
                    assert seen[str(own)]["source"] == str(library)
                    assert seen[str(theirs)]["source"] == "/lie"
                    assert run("status", theirs).stdout.startswith(f"{theirs}\n  source   /lie\n")
                finally:
                    liar.kill()
        finally:
            place.unlink(missing_ok=True)


@pytest.mark.usefixtures("another_user")
def test_its_own_user_can_take_it_down(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with served(library, point, "--allow-other"):
        done = run("umount", point, user=NOBODY, group=NOBODY, env=uncounted())
        assert done.returncode == 0, done.stderr
        wait_until(lambda: not processes_of(point), "the end")


def test_what_is_made_belongs_to_that_user(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with served(library, point, "--allow-other", "--writable", "--umask", "000"):
        (point / "new").write_text("by root")
        found = (library / "new").stat()
        assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)


def test_others_are_locked_out_without_allow_other(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with served(library, point):
        with pytest.raises(PermissionError):
            os.listdir(point)
        done = subprocess.run(
            ["ls", point], user=NOBODY, group=NOBODY, capture_output=True, text=True, check=True
        )
        assert done.stdout == "Game.iso\n"


def test_that_user_does_not_choose_where_root_mounts(library: Path, tmp_path: Path) -> None:
    """By a symlink on the way to the mount point, which may be in a folder of that user's."""
    home, secret = tmp_path / "home", tmp_path / "secret"
    for folder in (home, home / "below", secret):
        folder.mkdir()
    os.chown(home, NOBODY, NOBODY)
    (home / "iso").symlink_to(secret)
    (home / "way").symlink_to(tmp_path)
    for link in ("iso", "way"):
        os.chown(home / link, NOBODY, NOBODY, follow_symlinks=False)
    for point, link in (("iso", "iso"), ("way/secret", "way"), ("way/new", "way")):
        done = run("mount", "-f", "--setuid", "nobody", library, home / point)
        assert (done.returncode, done.stderr) == (
            4,
            f"zsofs: the mount point {home}/{point} is reached through the symlink"
            f" {home}/{link}, which is not owned by root; give the path that the symlink leads"
            " to\n",
        )
    assert not (tmp_path / "new").exists()
    (tmp_path / "link").symlink_to(home)
    words = ("mount", "--setuid", "nobody", "--allow-other", "--log-file", "/dev/null")
    done = run(*words, library, tmp_path / "link" / "below")
    try:
        assert done.returncode == 0, done.stderr
        assert os.listdir(home / "below") == ["Game.iso"], "a symlink of root's own leads there"
    finally:
        unmount(home / "below")
        wait_until(lambda: not processes_of(tmp_path / "link" / "below"), "the end")


# Mounts at a path, as the part of root's in a mount of the user nobody's. Tracebacks of Python 3.13
# show lines of this, so the word that tells of success is not there as a whole.
_KEEP = """
import sys
from zsofs.mount.root_helper import keep
from zsofs.system.privileges import account
from zsofs.mount.settings import MountSettings

settings = MountSettings(b"/usr", sys.argv[1].encode(), 0, 1, 0, True)
keep(account(65534), settings, lambda: sys.exit("ser" "ved"), background=False)
"""


def test_a_folder_that_turns_into_a_symlink(tmp_path: Path) -> None:
    """Between the look at the mount point and the mount."""
    (tmp_path / "secret/below").mkdir(parents=True)
    (tmp_path / "iso").symlink_to(tmp_path / "secret")
    for point in (tmp_path / "iso", tmp_path / "iso" / "below"):
        words = [sys.executable, "-c", _KEEP, str(point)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert f"MountError: the mount at {point} failed: " in done.stderr
        assert "served" not in done.stderr
    table = Path("/proc/self/mountinfo").read_text()
    assert f" {tmp_path}/secret" not in table


def test_what_that_user_cannot_read_is_said(library: Path, tmp_path: Path) -> None:
    os.chown(library, 0, 0)
    done = run("mount", "--setuid", "nobody", library, tmp_path / "mnt")
    assert done.returncode == 3
    assert "cannot be read: Permission denied" in done.stderr
    assert not (tmp_path / "mnt").exists()


@pytest.mark.parametrize("right", ["setuid", "setgid"])
def test_a_root_that_may_not_become_others(library: Path, tmp_path: Path, right: str) -> None:
    """As in a container without these rights of root's."""
    words = [*ZSOFS, "mount", "--setuid", "nobody", str(library), str(tmp_path / "mnt")]
    done = subprocess.run(
        ["setpriv", "--bounding-set", f"-{right}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "zsofs: root cannot change to the user nobody: Operation not permitted; to serve as"
        " root, use: --setuid root\n"
    )
    assert not (tmp_path / "mnt").exists()


@pytest.mark.usefixtures("another_user")
def test_what_makes_no_sense(library: Path, tmp_path: Path) -> None:
    done = run("mount", "--setuid", "nobody-here", library, tmp_path / "mnt")
    assert (done.returncode, "unknown user 'nobody-here'" in done.stderr) == (2, True)
    done = run("mount", "--setuid", "nobody", "--demo", tmp_path / "mnt")
    assert (done.returncode, "--setuid needs a SOURCE" in done.stderr) == (2, True)
    words = ("mount", "--setuid", "nobody", library, tmp_path / "mnt")
    done = run(*words, user=NOBODY, group=NOBODY, env=uncounted())
    assert (done.returncode, "only root can mount for another user" in done.stderr) == (2, True)


class Manager:
    """The service manager's end: what a daemon tells it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o777)
        self.socket.settimeout(20)
        self.path = path

    def next(self, word: str) -> str:
        """The next message that begins with *word*."""
        while True:
            said = self.socket.recv(4096).decode()
            if said.startswith(word):
                return said


@pytest.mark.parametrize("words", [(), ("--setuid", "nobody")])
def test_what_the_service_manager_is_told(
    library: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    manager, point = Manager(tmp_path / "notify"), tmp_path / "mnt"
    log = tmp_path / "journal"
    with manager.socket, log.open("wb") as output:
        there = os.fstat(output.fileno())
        environment = os.environ | {
            "NOTIFY_SOCKET": str(manager.path),
            "WATCHDOG_USEC": "400000",
            "JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}",
        }
        daemon = subprocess.Popen(
            [*ZSOFS, "mount", "-v", "-f", "--allow-other", *words, library, point],
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            assert re.fullmatch(
                r"STATUS=1 disc, 0 readers.*|STATUS=0 discs, 1 being copied, 0 readers.*",
                manager.next("STATUS="),
            )
            assert manager.next("READY=1") == "READY=1"
            assert os.listdir(point) == ["Game.iso"]
            for _ in range(3):
                assert manager.next("WATCHDOG=1") == "WATCHDOG=1"
            # In the background: what nobody takes is soon more than the socket holds.
            for ask in (["kill", "-HUP", str(daemon.pid)], [*ZSOFS, "reload", str(point)]):
                before = time.monotonic_ns() // 1000
                asking = subprocess.Popen(ask)
                said = manager.next("RELOADING=1").split("\n")
                assert said[0] == "RELOADING=1"
                stamp = int(said[1].removeprefix("MONOTONIC_USEC="))
                assert before <= stamp <= time.monotonic_ns() // 1000
                manager.next("READY=1")
                assert asking.wait(20) == 0
            daemon.send_signal(signal.SIGTERM)
            assert manager.next("STOPPING=1") == "STOPPING=1"
            assert daemon.wait(10) == 0
        finally:
            daemon.kill()
            daemon.wait(60)
            unmount(point)
    assert "<6>stopping on SIGTERM" in log.read_text().splitlines()


def test_a_loop_that_stands_still_gives_no_sign_of_life(library: Path, tmp_path: Path) -> None:
    manager, point = Manager(tmp_path / "notify"), tmp_path / "mnt"
    with manager.socket:
        environment = os.environ | {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"}
        daemon = subprocess.Popen([*ZSOFS, "mount", "-q", "-f", library, point], env=environment)
        try:
            manager.next("READY=1")
            manager.next("WATCHDOG=1")
            daemon.send_signal(signal.SIGSTOP)
            wait_until(lambda: status_of(daemon.pid, "State").startswith("T"), "the stop")
            manager.socket.setblocking(False)
            with suppress(BlockingIOError):
                while manager.socket.recv(4096):
                    pass
            manager.socket.settimeout(1)  # five times what the watchdog allows
            with pytest.raises(TimeoutError):
                manager.socket.recv(4096)
            manager.socket.settimeout(20)
            daemon.send_signal(signal.SIGCONT)
            manager.next("WATCHDOG=1")
            daemon.terminate()
            assert daemon.wait(10) == 0
        finally:
            daemon.kill()
            daemon.wait(60)
            unmount(point)
