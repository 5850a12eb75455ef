"""mount(8) and fstab, for real: in a mount namespace of its own, with a private fstab."""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.ends import spawned
from tests.support.fork_server import in_scripts
from tests.support.mounting import DATA, opened, unmount, wait_until
from tests.support.namespaces import LET_GO
from zsofs.cli import parser
from zsofs.errors import UsageError
from zsofs.system.mountinfo import mounted_at

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("as_root", "own_mounts")


class Machine:
    """A mount namespace in which mount(8) finds our helpers.

    Attributes:
        folder: where everything lies.
        helpers: what is bound over /usr/sbin.
        fstab: the table.
    """

    def __init__(self, folder: Path, *, is_forked: bool = True) -> None:
        """Create it; the helpers are the program itself, or forks of another process."""
        self.folder = folder
        self.helpers = folder / "sbin"
        self.fstab = folder / "fstab"
        self.helpers.mkdir()
        program = shutil.which("zsofs", path=str(ROOT / ".venv" / "bin")) or shutil.which("zsofs")
        assert program is not None
        for name in ("mount.zsofs", "mount.fuse.zsofs"):
            helper = self.helpers / name
            if not is_forked:
                helper.symlink_to(program)
                continue
            (folder / name).symlink_to(program)
            words = shlex.join(in_scripts(folder / name))
            helper.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            helper.chmod(0o755)

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a script there; what it mounts goes with the namespace."""
        begin = (
            f"{LET_GO}\nmount --bind {self.helpers} /usr/sbin\ncd {shlex.quote(str(self.folder))}\n"
        )
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", begin + script],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def mount_all(self, *lines: str, then: str = "") -> "subprocess.CompletedProcess[str]":
        self.fstab.write_bytes(os.fsencode("\n".join(lines) + "\n"))
        return self.run(f"mount -a -T {self.fstab} || exit\n{then}")

    def count(self, point: Path) -> str:
        """A command that prints how many mounts there are at *point*."""
        return f"grep -c ' {point} ' /proc/self/mountinfo"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def real_machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, is_forked=False)


@pytest.fixture
def library(source: Path) -> Path:
    shutil.copy(DATA / "maxcso-16384.zso", source / "Game.zso")
    return source


@pytest.fixture
def point(tmp_path: Path) -> Path:
    folder = tmp_path / "iso"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", ["zsofs", "fuse.zsofs"])
def test_all_of_fstab_twice_mounts_once(
    real_machine: Machine, library: Path, point: Path, kind: str
) -> None:
    words = "nofail,_netdev,dev,suid,exec,noatime,x-systemd.automount,allow_other,cache-size=8M"
    done = real_machine.mount_all(
        f"{library} {point} {kind} {words} 0 0",
        then=f"""
mount -a -T {real_machine.fstab} || exit
{real_machine.count(point)}
findmnt -no FSTYPE,SOURCE {point}
sha1sum < {point}/Game.iso
umount {point} || exit
{real_machine.count(point)}
""",
    )
    count, what, digest, after = done.stdout.splitlines()
    assert (count, after) == ("1", "0"), done.stderr
    assert what.split() == ["fuse.zsofs", str(library)]
    assert digest.split()[0] == hashlib.sha1((DATA / "ps2.iso").read_bytes()).hexdigest()
    wait_until(lambda: mounted_at(os.fsencode(point)) is None, "the end of the mount")


@pytest.mark.parametrize("words", ["ro", "ro,setuid=root"])
@pytest.mark.parametrize("name", ["my games", "Spiele f\xfcr #2", "a,b", "a\\b", "a\tb", "\udcff"])
def test_all_of_fstab_twice_with_a_source_called(
    machine: Machine, library: Path, point: Path, name: str, words: str
) -> None:
    """mount(8) tells by the source in the table of mounts that a line is mounted already."""
    source = library.rename(machine.folder / name)
    field = re.sub(r"[\s\\#]", lambda found: f"\\{ord(found[0]):03o}", str(source))
    done = machine.mount_all(
        f"{field} {point} zsofs {words} 0 0",
        then=f"""
mount -a -T {machine.fstab} || exit
{machine.count(point)}
ls {point}
umount {point}
""",
    )
    assert (done.stdout, done.stderr) == ("1\nGame.iso\n", "")


def test_options_reach_the_mount(real_machine: Machine, library: Path, point: Path) -> None:
    done = real_machine.mount_all(
        f"{library} {point} zsofs rw,writable,show_raw,umask=027,setuid=root 0 0",
        then=f"echo text > {point}/new; ls {point}; stat -c %a {point}/new; umount {point}",
    )
    assert done.stdout.split() == ["Game.iso", "Game.zso", "new", "640"], done.stderr
    assert (library / "new").read_text() == "text\n"


def test_all_words_of_mount_itself(machine: Machine, library: Path, point: Path) -> None:
    """Those that mount(8) has for every kind of file system, and those of libmount's table."""
    words = """defaults auto nofail _netdev comment=games nouser owner noowner group nogroup dev
        nodev suid nosuid exec noexec async sync dirsync atime noatime diratime nodiratime relatime
        norelatime strictatime nostrictatime lazytime nolazytime iversion noiversion mand nomand
        symfollow nosymfollow silent loud x-what X-ever rw ro"""
    options = ",".join(words.split())
    done = machine.mount_all(
        f"{library} {point} zsofs {options} 0 0", then=f"ls {point}; umount {point}"
    )
    assert (done.stdout, done.stderr) == ("Game.iso\n", "")


def test_an_option_that_is_unknown_is_named(machine: Machine, library: Path, point: Path) -> None:
    done = machine.mount_all(f"{library} {point} zsofs ro,chache-size=8M 0 0")
    assert done.returncode != 0
    assert "unknown mount option 'chache-size=8M'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    words = f"-t zsofs -o ro,chache-size=8M {library} {point}"
    assert machine.run(f"mount {words}").returncode == 1
    sloppy = machine.run(f"mount -s {words} && ls {point} && umount {point}")
    assert sloppy.stdout == "Game.iso\n", sloppy.stderr


def test_a_remount_is_refused_and_changes_nothing(
    machine: Machine, library: Path, point: Path
) -> None:
    done = machine.run(
        f"mount -t zsofs -o writable {library} {point}; mount -o remount,ro {point}; echo $?\n"
        f"touch {point}/still-writable && umount {point} && ls {library}"
    )
    assert done.stdout.split() == ["1", "Game.zso", "still-writable"], done.stderr
    assert "cannot be changed while it is mounted" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_remount_is_refused_before_other_options() -> None:
    """Debian 13 hands the options of the table on as well."""
    with pytest.raises(UsageError, match="cannot be changed while it is mounted"):
        parser.parse(["mount", "-o", "rw,user_id=0,group_id=0,remount,ro", "source", "point"])


def test_paths_are_those_of_the_folder_it_is_called_in(
    machine: Machine, library: Path, point: Path
) -> None:
    """Even a source called as an option, or as a config, would be."""
    library.rename(machine.folder / "games")
    script = "/usr/sbin/mount.zsofs games iso -o ro && cd / && ls {0} && umount {0}"
    done = machine.run(script.format(point))
    assert done.stdout == "Game.iso\n", done.stderr


def test_with_an_empty_environment(real_machine: Machine, library: Path, point: Path) -> None:
    done = real_machine.run(
        f"env -i /bin/sh -c 'unset PATH HOME PWD; exec /usr/bin/env -i"
        f" /usr/sbin/mount.zsofs {library} {point} -n -o rw,allow_other,log-file=/dev/null'"
        f" && ls {point} && umount {point}"
    )
    assert done.stdout == "Game.iso\n", done.stderr
    assert done.stderr == ""


def test_only_for_show_and_with_words(machine: Machine, library: Path, point: Path) -> None:
    done = machine.run(
        f"mount -f -t zsofs {library} {point}; {machine.count(point)}\n"
        f"/usr/sbin/mount.zsofs -v {library} {point}; umount {point}"
    )
    count, said = done.stdout.splitlines()
    assert count == "0"
    assert said.startswith(f"{library} is mounted at {point}")


def test_what_cannot_be_mounted(real_machine: Machine, library: Path, point: Path) -> None:
    """Exit codes are those of mount(8), and one sentence says why."""
    (point / "something").touch()
    done = real_machine.run(f"mount -t zsofs {library} {point}")
    assert (done.returncode, "is not empty" in done.stderr) == (32, True), done.stderr
    (point / "something").unlink()
    gone = real_machine.folder / "gone"
    done = real_machine.run(f"/usr/sbin/mount.zsofs {gone} {point} -o ro")
    assert (done.returncode, "does not exist" in done.stderr) == (32, True), done.stderr
    for words in ("", str(library), f"{library} {point} more", f"-x {library} {point}"):
        done = real_machine.run(f"/usr/sbin/mount.zsofs {words}")
        assert (done.returncode, "SOURCE MOUNTPOINT" in done.stderr) == (1, True), done.stderr
    unmount(point)


def test_an_end_by_ctrl_c(machine: Machine, library: Path, tmp_path: Path) -> None:
    """While it waits for another process to release the catalogs; it leaves and says nothing."""
    point, catalogs = tmp_path / "made", Path(os.environ["XDG_CACHE_HOME"]) / "zsofs"
    catalogs.mkdir(exist_ok=True)
    words = [f"{machine.helpers}/mount.zsofs", str(library), str(point)]
    with opened(catalogs) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with spawned(words, stderr=subprocess.PIPE) as helper:
            wait_until(lambda: point.exists() or helper.poll() is not None, "the mount point")
            helper.send_signal(signal.SIGINT)
            _, said = helper.communicate(timeout=60)
    assert (helper.returncode, said, point.exists()) == (8, b"", False)


@pytest.mark.parametrize(
    "line",
    [
        "# {source} {point} zsofs nofail 0 0",
        "#{source} {point} zsofs nofail 0 0",
        "{source}s {point} zsofs nofail 0 0",
        "{source} {point}s zsofs nofail 0 0",
        "{source} {point} ext4 nofail 0 0",
        "{source} {point} zsofs ro,x-nofail 0 0",
        "{source} {point} zsofs",
        "",
    ],
)
def test_what_fstab_does_not_say(machine: Machine, point: Path, line: str) -> None:
    source = machine.folder / "late"
    machine.fstab.write_text(line.format(source=source, point=point) + "\n")
    done = machine.run(
        f"mount --bind {machine.fstab} /etc/fstab\n/usr/sbin/mount.zsofs {source} {point} -o ro"
    )
    assert (done.returncode, "does not exist" in done.stderr) == (32, True), done.stderr


@pytest.mark.parametrize("given", ["ro,nofail", "ro"])
def test_a_source_that_comes_later(
    machine: Machine, library: Path, point: Path, given: str
) -> None:
    """With `nofail`, said to the helper or, as systemd keeps the word for itself, in fstab only."""
    late = machine.folder / "late games"
    machine.fstab.write_text(
        f"# late\n{str(late).replace(' ', chr(92) + '040')} {point} zsofs ro,nofail 0 0\n"
        if given == "ro"
        else ""
    )
    done = machine.run(
        f"""
mount --bind {machine.fstab} /etc/fstab
/usr/sbin/mount.zsofs '{late}' {point} -o {given} || exit
ls {point}
mv {library} '{late}'
for _ in $(seq 200); do ls {point} 2>/dev/null && break; sleep 0.1; done
umount {point}
"""
    )
    assert done.stdout == "Game.iso\n", done.stderr
    assert "No medium found" in done.stderr
    unmount(point)
