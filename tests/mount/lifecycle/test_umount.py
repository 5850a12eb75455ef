"""`zsofs umount`: it returns when the daemon has ended, names what holds a mount, never hangs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.mount.lifecycle.test_lifecycle import daemons_of
from tests.support.mounting import DATA, names, open_to_others, unmount, wait_until
from tests.support.namespaces import run_in_namespace
from tests.support.rounds import rounds
from tests.unit.cli.test_messages import run
from zsofs.system.mountinfo import mounted_at

LIMIT = 60.0
"""Seconds that the command may take on a busy machine; by itself it waits for 10 at most."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A source with a disc and a file."""
    folder = tmp_path / "library"
    folder.mkdir()
    shutil.copy(DATA / "ziso-py.zso", folder / "Game.zso")
    (folder / "image").write_bytes(bytes(1 << 20))
    return folder


@contextmanager
def in_background(library: Path, point: Path, *words: str) -> Iterator[int]:
    """The daemon of a mount in the background."""
    done = run("mount", "-q", *words, library, point)
    assert done.returncode == 0, done.stderr
    (daemon,) = daemons_of(point)
    try:
        yield daemon
    finally:
        with suppress(ProcessLookupError):
            os.kill(daemon, signal.SIGKILL)
        unmount(point)
        wait_until(lambda: not daemons_of(point), "the daemon's end")


def test_it_returns_when_the_daemon_has_ended(library: Path, tmp_path: Path) -> None:
    """And when the directory that was made is gone; ten times."""
    point = tmp_path / "mnt"
    for _ in range(10):
        assert run("mount", "-q", library, point).returncode == 0
        assert names(point) == ["Game.iso", "image"]
        done = run("umount", point)
        assert (done.returncode, done.stderr) == (0, "")
        assert not point.exists()
        assert daemons_of(point) == []


@pytest.mark.usefixtures("as_root", "another_user")
def test_it_waits_for_the_root_helper_as_well(library: Path, tmp_path: Path) -> None:
    open_to_others(tmp_path, library)
    point = tmp_path / "mnt"
    for _ in range(3):
        words = ("--setuid", "nobody", "--log-file", "/dev/null")
        assert run("mount", "-q", *words, library, point).returncode == 0
        done = run("umount", point)
        assert (done.returncode, done.stderr) == (0, "")
        assert not point.exists()
        assert daemons_of(point) == []


def test_several_mounts_and_the_name_of_a_config(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [tmp_path / f"mnt{number}" for number in range(3)]
    home = tmp_path / "home"
    (home / "zsofs").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    config = f'source = "{library}"\nmountpoint = "{points[2]}"\n'
    (home / "zsofs" / "games-of-a-test.toml").write_text(config)
    is_root = os.geteuid() == 0
    for point in points:
        assert run("mount", "-q", library, point).returncode == 0
    try:
        third = points[2] if is_root else "games-of-a-test"  # root has configs in /etc alone
        assert run("status", third).stdout.startswith(f"{points[2]}\n  source   {library}\n")
        assert run("reload", third).returncode == 0
        done = run("umount", points[0], tmp_path / "none", third, points[1])
        assert done.returncode == 6
        (line,) = done.stderr.splitlines()
        assert f"nothing is mounted at {tmp_path / 'none'}" in line
        assert not any(point.exists() for point in points)
    finally:
        for point in points:
            unmount(point)


@pytest.mark.xdist_group("serial")
@pytest.mark.usefixtures("as_root", "own_mounts")
def test_the_name_of_a_config_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    done = run_in_namespace(
        """
mkdir -p $D/etc; mount --bind $D/etc /etc/zsofs 2> /dev/null || { mkdir -p /etc/zsofs &&
    mount --bind $D/etc /etc/zsofs; }
printf 'source = "%s"\\nmountpoint = "%s"\\n' $D/s $D/m > $D/etc/games.toml
$Z mount -q games; mkdir $D/games; cd $D; $Z reload games; echo "reload $?"
$Z status games > $D/status; echo "status $?"; $Z umount games; echo "exit $?"; ls -d m
""",
        tmp_path,
        allowed=2,
    )
    assert done == "reload 0\nstatus 0\nexit 0\n"
    assert (tmp_path / "status").read_text().startswith(f"{tmp_path}/m\n  source   {tmp_path}/s\n")


HOLDERS = {
    "an open file": "with open('image', 'rb') as file: os.chdir('/'); wait()",
    "a working directory": "wait()",
    "a mapped file": """
import mmap
file = open('image', 'rb'); held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
file.close(); os.chdir('/'); wait()""",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_busy_mount_stays_and_names_what_holds_it(
    library: Path, tmp_path: Path, holder: str
) -> None:
    point = tmp_path / "mnt"
    code = f"import os\ndef wait(): print(flush=True); input()\n{HOLDERS[holder]}"
    with in_background(library, point):
        program = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=point,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with program:
            assert program.stdout is not None
            program.stdout.readline()
            done = run("umount", point)
            assert done.returncode == 6
            file = point if holder == "a working directory" else point / "image"
            assert f"(process {program.pid}, {file})" in done.stderr
            assert names(point) == ["Game.iso", "image"]
            assert run("umount", "--lazy", point).returncode == 0
            assert mounted_at(os.fsencode(point)) is None
            program.communicate(b"\n")
        wait_until(lambda: not daemons_of(point), "the daemon's end")


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_loop_devices_and_other_mounts_hold_it(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "namespace"
    folder.mkdir()
    said = run_in_namespace(
        f"""
$Z mount -q {library} $D/m
L=$(losetup --find --show --read-only $D/m/image)
mkdir $D/outer; $Z umount $D/m 2>&1; echo "exit $?"; losetup --detach $L
mount -t tmpfs none $D/m/folder 2> /dev/null || mount --bind $D/outer $D/m/Game.iso 2> /dev/null
for i in $(seq 100); do losetup -l | grep -q $D/m || break; sleep 0.1; done
touch $D/file; mount --bind $D/file $D/m/image; $Z umount $D/m 2>&1; echo "exit $?"
umount $D/m/image; $Z umount $D/m; echo "exit $? $L"
""",
        folder,
    )
    lines = said.splitlines()
    loop = lines[-1].split()[-1]
    assert f"is in use by loop device {loop} ({folder}/m/image)" in lines[0]
    assert f"mount at {folder}/m/image" in lines[2]
    assert lines[1] == lines[3] == "exit 6"
    assert lines[4].startswith("exit 0")


@pytest.mark.parametrize("words", [(), ("--lazy",)])
def test_a_daemon_that_does_not_answer(
    library: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Its mount is detached although a program hangs in it; the output reports that it runs on."""
    point = tmp_path / "mnt"
    with in_background(library, point) as daemon:
        # Nothing in the mount is open here: each child that is started would have to close it.
        reader = subprocess.Popen(
            ["sh", "-c", "exec < image; echo; sleep 1; cat Game.iso"],
            cwd=point,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert reader.stdout is not None
        reader.stdout.readline()
        os.kill(daemon, signal.SIGSTOP)
        begun = time.monotonic()
        done = run("umount", *words, point)
        assert time.monotonic() - begun < LIMIT
        assert mounted_at(os.fsencode(point)) is None
        reader.communicate(timeout=LIMIT)
        assert reader.returncode != 0
        aborted, ending = done.stderr.splitlines()
        assert "the daemon does not answer; its FUSE connection was aborted" in aborted
        assert f"its daemon (process {daemon}) is still shutting down" in ending
        assert done.returncode == 6
        os.kill(daemon, signal.SIGCONT)
        wait_until(lambda: not daemons_of(point), "the daemon's end")
        assert not point.exists()


def has_ended(process: int) -> bool:
    """Whether it has closed its files: it loses its command line before."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_dead_mount_that_is_in_use(library: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    with in_background(library, point) as daemon:
        fd = os.open(point / "image", os.O_RDONLY)
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: has_ended(daemon), "the daemon's end")
        done = run("umount", point)
        assert (done.returncode, done.stderr) == (0, "")
        assert mounted_at(os.fsencode(point)) is None
        with suppress(OSError):  # nobody is there to be told
            os.close(fd)


def test_a_dead_mount_whose_daemon_is_still_ending(library: Path, tmp_path: Path) -> None:
    """It may still accept a connection, and hang up: that is no daemon that does not answer."""
    point = tmp_path / "mnt"
    for _ in range(rounds(15, 60)):
        with in_background(library, point) as daemon:
            fd = os.open(point / "image", os.O_RDONLY)
            os.kill(daemon, signal.SIGKILL)
            done = run("umount", point)
            assert (done.returncode, done.stderr) == (0, "")
            assert mounted_at(os.fsencode(point)) is None
            with suppress(OSError):
                os.close(fd)


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_a_mount_that_another_namespace_still_has(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "namespace"
    folder.mkdir()
    said = run_in_namespace(
        f"""
$Z mount -q {library} $D/m
unshare -m sleep 300 & sleep 1
$Z umount $D/m 2>&1; echo "exit $?"; kill %2; wait %2 2> /dev/null
for i in $(seq 200); do [ -e $D/m ] || break; sleep 0.1; done; ls -d $D/m
""",
        folder,
        allowed=2,
    )
    assert "is unmounted, but its daemon" in said
    assert "still present in the mount namespace of sleep (process " in said
    assert said.endswith("exit 6\n")
