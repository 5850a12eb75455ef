"""Birth and death of a mount: readiness, signals, killed daemons, many rounds."""

import errno
import hashlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.mounting import DATA, ZSOFS, open_to_others, timed, unmount, wait_until
from tests.support.namespaces import LET_GO
from tests.support.rounds import rounds
from zsofs.cli import demo
from zsofs.system.mountinfo import mounted_at

DISC = "maxcso-16384.zso"


@pytest.fixture
def disc_source(source: Path) -> Path:
    shutil.copy(DATA / DISC, source / "Game.zso")
    return source


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*ZSOFS, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def daemons_of(point: Path) -> list[int]:
    """Processes that were started with this mount point and are not yet dead."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"zsofs" in words and os.fsencode(point) in words and state != "Z":
            found.append(int(process.name))
    return found


def test_mount_returns_when_the_disc_can_be_read(disc_source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    try:
        done = run("mount", disc_source, point)
        assert done.returncode == 0, done.stderr
        assert (point / "Game.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
        assert f"zsofs umount {point}" in done.stdout
        assert run("umount", point).returncode == 0
    finally:
        unmount(point)
    wait_until(lambda: not daemons_of(point), "the daemon's end")
    assert not point.exists(), "zsofs made the mount point, so it removes it"


def test_a_mount_point_that_was_there_stays(disc_source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    assert run("mount", "-q", disc_source, point).returncode == 0
    unmount(point)
    wait_until(lambda: not daemons_of(point), "the daemon's end")
    assert point.is_dir()


def test_fifty_rounds_leave_nothing(disc_source: Path, tmp_path: Path) -> None:
    """Fifty with --thorough, else ten."""
    point = tmp_path / "mnt"
    for number in range(rounds(10, 50)):
        assert run("mount", "-q", disc_source, point).returncode == 0
        assert os.listdir(point) == ["Game.iso"]
        if number % 2:
            assert run("umount", point).returncode == 0
        else:
            subprocess.run(["fusermount3", "-u", str(point)], check=True)
        wait_until(lambda: not daemons_of(point), "the daemon's end")
        assert mounted_at(os.fsencode(point)) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_reader_at_work(
    disc_source: Path, mount: MountMaker, number: signal.Signals
) -> None:
    made = mount(disc_source)
    made.may_end = True
    fd = os.open(made.path / "Game.iso", os.O_RDONLY)
    try:
        os.pread(fd, 4096, 0)
        made.daemon.send_signal(number)
        assert made.daemon.wait(20) == 0
        assert mounted_at(os.fsencode(made.path)) is None
        with pytest.raises(OSError) as caught:
            os.pread(fd, 4096, 1 << 20)
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
    finally:
        with suppress(OSError):  # its flush finds nobody
            os.close(fd)


@pytest.mark.parametrize("words", [(), ("--setuid", "nobody")])
def test_signals_that_come_while_it_ends_change_nothing(
    disc_source: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """As those of a terminal that is closed, which come twice."""
    if words and os.geteuid() != 0:
        pytest.skip("needs root")
    open_to_others(tmp_path, disc_source)
    point = tmp_path / "mnt"
    for first, later in itertools.product(
        (signal.SIGTERM, signal.SIGINT), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    ):
        daemon = subprocess.Popen([*ZSOFS, "mount", "-q", "-f", *words, disc_source, point])
        try:
            wait_until(lambda: mounted_at(os.fsencode(point)) is not None, "the mount")
            daemon.send_signal(first)
            while daemon.poll() is None:
                daemon.send_signal(later)
                time.sleep(0.002)
            assert daemon.returncode == 0, (first, later)
            assert not point.exists()
        finally:
            daemon.kill()
            daemon.wait(60)
            unmount(point)


def test_a_killed_daemon_fails_loudly_and_the_next_mount_cleans_up(
    disc_source: Path, tmp_path: Path
) -> None:
    point = tmp_path / "mnt"
    try:
        assert run("mount", "-q", disc_source, point).returncode == 0
        (daemon,) = daemons_of(point)
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: not daemons_of(point), "the daemon's end")
        with pytest.raises(OSError) as caught:
            os.listdir(point)
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        done = run("mount", "-q", disc_source, point)
        assert done.returncode == 0, done.stderr
        assert os.listdir(point) == ["Game.iso"]
        assert len(daemons_of(point)) == 1
    finally:
        unmount(point)


def test_a_busy_mount_names_who_uses_it_and_lazy_detaches(
    disc_source: Path, tmp_path: Path
) -> None:
    point = tmp_path / "mnt"
    assert run("mount", "-q", disc_source, point).returncode == 0
    fd = os.open(point / "Game.iso", os.O_RDONLY)
    try:
        in_time = timed(unmount=60.0, unmount_users=20.0, find_users=20.0)  # on a busy machine
        words = [*in_time, "umount", str(point)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 6
        assert f"process {os.getpid()}" in done.stderr
        assert "--lazy" in done.stderr
        assert run("umount", "--lazy", point).returncode == 0
        assert mounted_at(os.fsencode(point)) is None
    finally:
        os.close(fd)
        unmount(point)
    wait_until(lambda: not daemons_of(point), "the daemon's end")


def test_inode_numbers_survive_a_remount_and_agree(disc_source: Path, tmp_path: Path) -> None:
    (disc_source / "folder").mkdir()
    shutil.copy(DATA / DISC, disc_source / "folder" / "Other.zso")
    point = tmp_path / "mnt"
    seen = []
    for _ in range(2):
        assert run("mount", "-q", disc_source, point).returncode == 0
        listed = {entry.name: entry.inode() for entry in os.scandir(point)}
        listed |= {entry.name: entry.inode() for entry in os.scandir(point / "folder")}
        stated = {name: (point / name).stat().st_ino for name in ("Game.iso", "folder")}
        with (point / "Game.iso").open("rb") as file:
            stated["open"] = os.fstat(file.fileno()).st_ino
        assert stated["open"] == stated["Game.iso"] == listed["Game.iso"]
        assert stated["folder"] == listed["folder"]
        seen.append(listed)
        unmount(point)
        wait_until(lambda: not daemons_of(point), "the daemon's end")
    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == 3


def test_the_log_file_is_written_in_the_background(disc_source: Path, tmp_path: Path) -> None:
    (disc_source / "Bad.zso").write_bytes(b"ZISO" + b"\xff" * 60)
    point, log = tmp_path / "mnt", tmp_path / "logs" / "zsofs.console.logging_setup"
    try:
        assert run("mount", "-q", "--log-file", log, disc_source, point).returncode == 0
        os.listdir(point)
        assert log.read_text() == "", "--quiet leaves errors only"
        unmount(point)
        wait_until(lambda: not daemons_of(point), "the daemon's end")
        assert run("mount", "--log-file", log, disc_source, point).returncode == 0
        for _ in range(3):
            assert sorted(os.listdir(point)) == ["Bad.zso", "Game.iso"]
            time.sleep(1.1)
    finally:
        unmount(point)
    assert log.read_text().count("Bad.zso: shown as a plain file, not as a disc") == 1


# Makes everything read-only but a folder in memory, then does what follows.
READ_ONLY = """\
set -e
mount --make-rprivate /
{let_go}
for folder in /tmp /var/tmp; do
    mount --bind $folder $folder
    mount -o remount,bind,ro $folder
done
mount -t tmpfs none {memory}
mount -o remount,bind,ro /
cd /
if touch /tmp/new 2>/dev/null || touch /new 2>/dev/null; then exit 1; fi
"""


def on_read_only_disks(memory: Path, *lines: str) -> "subprocess.CompletedProcess[str]":
    """Run *lines* where nothing can be written but what goes to *memory*."""
    memory.mkdir()
    script = READ_ONLY.format(memory=memory, let_go=LET_GO) + "\n".join(lines)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "XDG_"))},
        timeout=60,
    )


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_a_mount_where_every_disk_is_read_only(disc_source: Path, tmp_path: Path) -> None:
    """As on a root disk that is full, or was mounted read-only after an error."""
    point, memory = tmp_path / "mnt", tmp_path / "memory"
    point.mkdir()
    words = shlex.join([*ZSOFS, "mount", "--log-file", f"{memory}/log", str(disc_source)])
    done = on_read_only_disks(
        memory, f"{words} {point}", f"sha1sum < {point}/Game.iso", f"umount {point}"
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha1((DATA / "ps2.iso").read_bytes()).hexdigest()
    assert f"\n{digest} " in done.stdout
    wait_until(lambda: not daemons_of(point), "the daemon's end")


@pytest.mark.usefixtures("as_root", "own_mounts")
@pytest.mark.parametrize("words", [(), ("--setuid", "root")])
def test_a_mount_with_no_place_for_its_log(
    disc_source: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    command = shlex.join([*ZSOFS, "mount", *words, str(disc_source), str(point)])
    done = on_read_only_disks(
        tmp_path / "memory",
        "mount --bind /run /run",
        "mount -o remount,bind,ro /run",
        command,
        f"umount {point}",
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"zsofs: WARNING: this mount has no log, because \S+/mnt-\w{8}\.log cannot be written: .*;"
        r" give a path for it with --log-file",
        done.stderr.splitlines()[0],
    )
    wait_until(lambda: not daemons_of(point), "the daemon's end")


@pytest.mark.usefixtures("as_root")
def test_the_reason_why_libfuse_cannot_mount(disc_source: Path, tmp_path: Path) -> None:
    words = [*ZSOFS, "mount", str(disc_source), str(tmp_path / "mnt")]
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-sys_admin", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr.startswith(f"zsofs: the mount at {tmp_path}/mnt failed: ")
    assert "Operation not permitted" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_demo_disc(tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    try:
        done = run("mount", "--demo", point)
        assert done.returncode == 0, done.stderr
        assert f"sha1sum {point}/*.iso" in done.stdout
        images = {(point / name).read_bytes() for name in os.listdir(point)}
        assert len(os.listdir(point)) == 3
        assert len(images) == 1, "three ways to pack one disc"
        (image,) = images
        assert image[0x8001:0x8006] == b"CD001"
        said = subprocess.run(
            ["isoinfo", "-i", str(next(point.iterdir())), "-x", "/SYSTEM.CNF;1"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.startswith("BOOT2 = cdrom0:\\SLUS_000.00;1")
    finally:
        unmount(point)


def test_a_demo_disc_without_a_mount_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    point = tmp_path / "zsofs-demo"
    try:
        done = run("mount", "--demo")
        assert done.returncode == 0, done.stderr
        assert f"mounted at {point}" in done.stdout
        assert len(os.listdir(point)) == 3
        commands = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
        assert commands[:2] == ["ls", "sha1sum"]
        assert all(map(shutil.which, commands))
    finally:
        unmount(point)
    wait_until(lambda: not point.exists(), "the directory to be removed")


def test_the_demo_names_no_program_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "7z" not in demo.what_to_try("/mnt")
    assert "isoinfo" not in demo.what_to_try("/mnt")


def test_nothing_stays_when_the_start_fails(disc_source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    done = run("mount", "--log-file", "/proc/none/log", disc_source, point)
    assert done.returncode == 3
    assert not point.exists()


def test_standard_output_that_takes_nothing(disc_source: Path, tmp_path: Path) -> None:
    """A full disk behind standard output is no reason not to serve."""
    with open("/dev/full", "wb") as full:
        daemon = subprocess.Popen(
            [*ZSOFS, "mount", "-f", str(disc_source), str(tmp_path / "mnt")], stdout=full
        )
    try:
        wait_until(lambda: mounted_at(os.fsencode(tmp_path / "mnt")), "the mount")
        assert os.listdir(tmp_path / "mnt") == ["Game.iso"]
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0
    assert mounted_at(os.fsencode(tmp_path / "mnt")) is None


def test_closed_standard_streams(disc_source: Path, tmp_path: Path) -> None:
    """As init systems and cron may start it."""
    point = tmp_path / "mnt"
    words = shlex.join([*ZSOFS, "mount", str(disc_source), str(point)])
    try:
        done = subprocess.run(["sh", "-c", f"{words} 0<&- 1>&- 2>&-"], timeout=30, check=False)
        assert done.returncode == 0
        assert os.listdir(point) == ["Game.iso"]
        assert (point / "Game.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
    finally:
        unmount(point)


def test_a_start_whose_command_was_killed(disc_source: Path, tmp_path: Path) -> None:
    """The daemon serves all the same, or leaves nothing: never a dead mount."""
    point = tmp_path / "mnt"
    for pause in (0.05, 0.1, 0.2, 0.3, 0.5):
        command = subprocess.Popen([*ZSOFS, "mount", "-q", str(disc_source), str(point)])
        time.sleep(pause)
        command.kill()
        command.wait(60)
        wait_until(
            lambda: not daemons_of(point) or mounted_at(os.fsencode(point)), "a mount, or no daemon"
        )
        if mounted_at(os.fsencode(point)):
            assert os.listdir(point) == ["Game.iso"]
        unmount(point)
        wait_until(lambda: not daemons_of(point), "the daemon's end")
