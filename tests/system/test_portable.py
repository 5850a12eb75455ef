"""The portable build, on systems without Python and compiler, for a user who is not root."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from release import man_pages
from release.completion import SCRIPTS
from release.portable import binaries, needed_glibc
from tests.support.archives import MAKERS
from tests.support.documents import Document
from tests.support.mounting import DATA, wait_until
from tests.support.namespaces import LET_GO
from tests.support.rounds import rounds
from tests.system.discs import MANIFEST
from tests.system.machine import Machine, debian
from tests.system.minimal import add_devices, changed, inside, minimal, system
from zsofs import __version__

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("portable")]  # one of them builds it

# The oldest glibc is that of Debian 12, on which it is built: a newer system shows more.
SUITES = ("trixie", "bookworm", "sid")[: rounds(1, 3)]
UPDATED = SUITES[-2] if len(SUITES) > 1 else SUITES[0]  # that of sid does not boot here
ME = 1000
BIN = "/home/me/.local/bin"
OPT = "/home/me/.local/opt/zsofs"
DISCS = {"ziso-py.zso": "ziso-py.iso", "maxcso.dax": "maxcso.iso", "zstd-2048.zso": "zstd-2048.iso"}


class User:
    """Somebody with a home of their own, on a file system of its own, on one machine or another.

    Attributes:
        home: directory of this system that is the home.
        machine: where the user works.
    """

    def __init__(self, home: Path, machine: Machine) -> None:
        self.home = home
        self.machine = machine

    def try_run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a script as the user, with the PATH of a login."""
        login = f"export PATH={BIN}:/usr/local/bin:/usr/bin:/bin"
        words = ("env", "--chdir=/home/me", "sh", "-c", f"{login}\n{script}")
        return self.machine.try_run(*words, user="me")

    def type(self, script: str) -> str:
        """What a script prints that must succeed, in an interactive shell of SteamOS.

        Its PATH has nothing of the user's but what ``~/.bashrc`` adds.
        """
        words = ("env", "--chdir=/home/me", "PATH=/usr/local/bin:/usr/bin:/bin")
        done = self.machine.try_run(*words, "bash", "-eic", script, user="me")
        assert done.returncode == 0, f"{script}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def run(self, script: str) -> str:
        """What a script prints that must succeed."""
        done = self.try_run(script)
        assert done.returncode == 0, f"{script}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def fill(self, folder: str) -> dict[str, str]:
        """Put discs into a new directory; return the SHA-1 that each name in a mount is to have."""
        (self.home / folder).mkdir(mode=0o755)
        for name in DISCS:
            shutil.copy(DATA / name, self.home / folder / name)
        return {shown: MANIFEST[name]["sha1"] for name, shown in DISCS.items()}

    def sums(self, folder: str) -> dict[str, str]:
        """The SHA-1 of each disc in a mount, once none counts as being copied."""
        ready = f"ls {folder}/*.iso && ! ls {folder} | grep -v iso$"
        wait_until(lambda: self.try_run(ready).returncode == 0, "discs that are whole", 30)
        said = self.run(f"cd {folder} && sha1sum -- *.iso")
        return {line[42:]: line[:40] for line in said.splitlines()}

    def files(self) -> set[str]:
        """The files in the home."""
        return {
            str(path.relative_to(self.home))
            for path in self.home.rglob("*")
            if not path.name.startswith(".bash")
        }


def unpacked(portable: Path, place: Path) -> Path:
    """Unpack the archive; return the directory in it."""
    (archive,) = portable.glob("*.tar.xz")
    subprocess.run(["tar", "-xf", archive, "-C", place], check=True)
    return place / archive.name.removesuffix(".tar.xz")


def make_home(place: Path, portable: Path) -> Path:
    """Make the file system of all homes, with what the user has downloaded; return the one."""
    home = place / "home" / "me"
    home.mkdir(parents=True)
    for path in portable.iterdir():
        shutil.copy(path, home)
    subprocess.run(["chown", "-R", f"{ME}:{ME}", home], check=True)
    return home


@contextmanager
def working(place: Path, home: Path, suite: str) -> Iterator[User]:
    """Provide the user on a booted machine of a release."""
    boots = suite != "sid"
    with debian(place, minimal(suite), devices={"/home": home.parent}, boots=boots) as machine:
        if boots:
            # loginctl of systemd 257 wants a caller in a session, which nsenter is not.
            machine.run("touch", "/var/lib/systemd/linger/me")
            machine.run("systemctl", "start", f"user@{ME}")
        else:
            machine.run("install", "-d", "-o", "me", "-m", "700", f"/run/user/{ME}")
        for program in ("python3", "cc", "gcc"):
            assert machine.try_run("sh", "-c", f"command -v {program}").returncode
        yield User(home, machine)


def test_what_is_in_it(portable: Path, tmp_path: Path) -> None:
    """Every library has its license; none needs a newer glibc than that of Debian 12."""
    tree = unpacked(portable, tmp_path)
    assert tree.name.startswith(f"zsofs-{__version__}-")
    assert needed_glibc(tree) <= (2, 36)
    libraries = {path.name.partition(".so")[0] for path in binaries(tree)}
    assert {"libarchive", "libfuse3", "liblz4", "libzstd", "libdeflate", "liblzma"} <= libraries
    assert not libraries & {"libicudata", "libicuuc", "libxml2", "libc", "libpthread"}
    licenses = {path.name for path in (tree / "licenses").iterdir()}
    for name in ("libarchive13", "libfuse3-3", "libssl3", "python3.11", "zlib1g"):
        assert f"debian-{name}.txt" in licenses
    for name in ("pyfuse3", "pyinstaller", "trio", "tqdm"):
        assert any(license.startswith(f"{name}-") for license in licenses)
    assert "common-LGPL-2.1.txt" in licenses
    for path in tree.rglob("*"):
        if path.is_file():
            assert b"zsofs-portable-" not in path.read_bytes(), path
    assert sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file()) < 80e6
    assert all(path.stat().st_size < 25e6 for path in portable.iterdir())


def test_the_name_that_it_is_started_by(portable: Path, tmp_path: Path) -> None:
    """It knows the links that lead to it, and starts from a directory with a space in its name."""
    place = tmp_path / "a place"
    place.mkdir()
    program = unpacked(portable, place) / "zsofs"
    helper, link = tmp_path / "mount.zsofs", place / "zsofs"
    link.symlink_to(program)
    helper.symlink_to(link)

    def run(*words: str | Path) -> "tuple[int, str]":
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    version = (0, f"zsofs {__version__}\n")
    assert run(link, "--version") == run("sh", "zsofs", "--version") == version
    code, said = run(helper)  # a mount helper has codes and messages of its own
    assert (code, "mount.zsofs SOURCE MOUNTPOINT" in said) == (1, True)


@pytest.mark.parametrize("suite", SUITES)
def test_installed_used_and_removed(suite: str, portable: Path, tmp_path: Path) -> None:
    home = make_home(tmp_path, portable)
    # A 7z archive is decoded by a process of its own, with a library that is loaded by name.
    (tmp_path / "Packed.iso").write_bytes((DATA / "ps2.iso").read_bytes())
    MAKERS["7z"](home / "Packed.7z", tmp_path, ["Packed.iso"])
    with working(tmp_path / "machine", home, suite) as user:
        before = user.files()
        said = user.run("sh ./zsofs-*.run 2>&1")
        assert f"zsofs: installed: {BIN}/zsofs" in said
        assert "missing" not in said
        assert user.run("zsofs --version") == f"zsofs {__version__}\n"
        share = home / ".local/share"
        for _, name, _, _, section in man_pages.MAN_PAGES:
            assert (home / f".local/share/man/man{section}/{name}.{section}.gz").is_symlink()
        assert len([path for path in share.rglob("*zsofs") if path.is_symlink()]) == 2
        assert len(SCRIPTS) == 3
        use(user)
        archive(user)
        watch(user)
        page(user)
        said = user.run("zsofs mount --demo && zsofs status && ls zsofs-demo")
        assert "Sample (LZ4).iso" in said
        assert "WARNING" not in user.run("cat .local/state/zsofs/*")
        assert "remove a portable installation" in user.run("zsofs --help")
        refused = user.try_run("zsofs uninstall")
        assert (refused.returncode, "mounts are still running" in refused.stderr) == (1, True)
        upgrade(user)
        user.run("zsofs umount ~/zsofs-demo")
        if user.machine.boots:
            service(user)
        assert user.run("zsofs uninstall --purge").count("removed: ") >= 2
        wait_until(lambda: not (home / "zsofs-demo").exists(), "the end of the demo")
        left = {name for name in user.files() - before if not name.startswith(("zso", "Packed"))}
        assert {name for name in left if not (home / name).is_dir()} == set()


def use(user: User) -> None:
    """Mount discs, read them, ask for the state, and unmount."""
    wanted = user.fill("zso")
    user.run("zsofs mount zso iso")
    assert user.sums("iso") == wanted
    (one,) = json.loads(user.run("zsofs status --json"))
    assert one["mount_point"] == "/home/me/iso"
    assert '"slow_reads"' in user.run("zsofs top --json")
    user.run("zsofs umount iso && zsofs list zso && zsofs info zso/*.zso && zsofs verify zso")
    # What zsofs starts must get the libraries of the system.
    assert "LD_LIBRARY_PATH" not in user.run("zsofs mount zso iso && zsofs umount iso; env")


def archive(user: User) -> None:
    """Pack a disc out of an archive, and unpack it again."""
    user.run("zsofs pack Packed.7z && zsofs unpack Packed.zso -o Unpacked.iso")
    assert (user.home / "Unpacked.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
    user.run("rm Packed.zso Unpacked.iso")


def watch(user: User) -> None:
    """Pack what arrives in a directory, in a process of its own."""
    user.run("mkdir inbox packed")
    user.run("(zsofs watch inbox -o packed >watch.log 2>&1 & echo $! >pid)")
    wait_until(lambda: "inbox" in user.run("zsofs status --json"), "the watch")
    (user.home / "New.iso").write_bytes((DATA / "ps2.iso").read_bytes())
    user.run("cp New.iso inbox && rm -f New.iso")  # the user's own: others need a minute of quiet
    wait_until((user.home / "packed/New.zso").exists, "the packed disc", 40)
    user.run("kill $(cat pid) && rm -r inbox packed watch.log pid")


def page(user: User) -> None:
    """Serve the web page."""
    user.run("(zsofs web >web.log 2>&1 & echo $! >pid)")
    wait_until(lambda: "the page is at" in user.run("cat web.log"), "the page")
    for path, text in (("/", "<title>zsofs"), ("/app.js", "import ")):
        asked = f"GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n"
        script = f'exec 3<>/dev/tcp/127.0.0.1/8467; printf "{asked}" >&3; cat <&3'
        assert text in user.run(f"bash -c {shlex.quote(script)}")
    user.run("kill $(cat pid) && rm web.log pid")


def upgrade(user: User) -> None:
    """Install the build again while a mount of it is in use; the mount continues."""
    said = user.run("sh ./zsofs-*.run 2>&1")
    assert "mounts still run the previous version" in said
    assert len(list((user.home / ".local/opt/zsofs").iterdir())) == 3  # with the link `current`
    user.run("zsofs status && cat zsofs-demo/*.iso >/dev/null")


def service(user: User) -> None:
    """Install a service, which starts the program by the name that stays the same."""
    user.run("zsofs service install --user games zso zso-iso")
    unit = user.home / ".config/systemd/user/zsofs@.service"
    assert f"\nExecStart={BIN}/zsofs mount " in unit.read_text()
    assert set(user.sums("zso-iso")) == set(DISCS.values())
    refused = user.try_run("zsofs uninstall")
    assert (refused.returncode, "services are still installed" in refused.stderr) == (1, True)
    user.run("systemctl --user restart zsofs@games")
    assert set(user.sums("zso-iso")) == set(DISCS.values())
    user.run("zsofs service remove --user games && zsofs service install --user --web")
    refused = user.try_run("zsofs uninstall --purge")
    assert "remove it with: zsofs service remove --user --web\n" in refused.stderr
    user.run("zsofs service remove --user --web")


# The directories that an immutable system does not let anybody change.
_IMMUTABLE = """
for path in /usr /etc; do mount --bind $path $path; mount -o remount,bind,ro $path; done
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs /tmp
"""


def test_a_system_that_cannot_be_changed(portable: Path, tmp_path: Path) -> None:
    """As on SteamOS: /usr and /etc are read-only, /tmp is noexec, an update replaces them all.

    The commands are those of the install page.
    """
    home = make_home(tmp_path, portable)
    install, use, remove = Document("install.md").commands("Steam Deck")
    with working(tmp_path / "first", home, SUITES[0]) as user:
        user.machine.run("sh", "-ec", _IMMUTABLE)
        assert user.try_run("touch /usr/x /etc/x").returncode
        user.run("mkdir Downloads && mv zsofs-* Downloads")
        wanted = user.fill("zso")
        assert "is not on your PATH; run this" in user.type(install)
        assert "/home/me/iso" in user.type(use)
        assert user.sums("iso") == wanted
        user.machine.shut_down()
    with working(tmp_path / "second", home, UPDATED) as user:
        user.machine.run("sh", "-ec", _IMMUTABLE)
        assert user.sums("iso") == wanted
        assert f"zsofs: removed: {BIN}/zsofs and {OPT}\n" in user.type(remove)
        assert not (home / ".local/opt").exists()
        assert {path.name for path in (home / "zso").iterdir()} == set(DISCS)


def test_refused_in_one_sentence(portable: Path, tmp_path: Path) -> None:
    """An old glibc, another C library, another machine, a home that is noexec; no fusermount3."""
    tree = unpacked(portable, tmp_path)
    fake = tmp_path / "bin"
    fake.mkdir()
    home = tmp_path / "home"
    home.mkdir()

    def run(command: list[str | Path], program: str, script: str) -> "tuple[int, str]":
        """Exit code and message where a program of the system prints something else."""
        for path in fake.iterdir():
            path.unlink()
        (fake / program).write_text(f"#!/bin/sh\n{script}\n")
        (fake / program).chmod(0o755)
        done = subprocess.run(
            command,
            env={"PATH": f"{fake}:{os.environ['PATH']}", "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    def install(program: str, script: str) -> str:
        """What the installer says."""
        code, said = run(["sh", tree / "install.sh"], program, script)
        assert code == 1
        return said

    def start(answer: str) -> "tuple[int, str]":
        """What the program does if getconf does this."""
        return run([tree / "zsofs", "--version"], "getconf", answer)

    old = "zsofs: this build needs glibc 2.36 or newer, and this system has 2.31\n"
    other = old.replace("2.31", "another C library")
    assert install("getconf", "echo glibc 2.31") == old
    assert install("getconf", "exit 1") == other
    assert start("echo glibc 2.31") == (5, old)
    assert start("exit 1") == (5, other)
    for answer in ("echo glibc 2.36", "echo glibc 2.100", "echo glibc 3.0", "exit 127"):
        assert start(answer) == (0, "")
    assert "this system is Linux on riscv64\n" in install(
        "uname", "[ $1 = -s ] && echo Linux || echo riscv64"
    )
    assert list(home.iterdir()) == []
    script = (
        f"{LET_GO}; mount -t tmpfs -o noexec tmpfs {shlex.quote(str(home))};"
        f" HOME={shlex.quote(str(home))} sh {shlex.quote(str(tree / 'install.sh'))}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "mounted with noexec" in done.stderr.splitlines()[-1]
    hidden = shlex.quote(str(shutil.which("fusermount3")))
    script = (
        f"{LET_GO}; mount --bind /dev/null {hidden}; sh {shlex.quote(str(tree / 'install.sh'))}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "fusermount3 is missing, without which nothing can be mounted" in done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [("ro", "Read-only file system"), ("size=8m", "No space left on device")],
)
def test_a_home_that_cannot_be_written(
    portable: Path, tmp_path: Path, options: str, reason: str
) -> None:
    """Each installer says in one sentence why, and leaves nothing behind."""
    tree = unpacked(portable, tmp_path)
    (run,) = portable.glob("*.run")
    home = tmp_path / "home"
    home.mkdir()
    mount = shlex.join(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)])
    for installer in (tree / "install.sh", run):
        words = shlex.join(["sh", str(installer)])
        script = f"{LET_GO}; exec 2>&1; {mount}; {words} || echo code $?; find ~ ! -type d"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            env=os.environ | {"HOME": str(home), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
        )
        begun, said, code = done.stdout.splitlines()[-3:]
        assert begun.startswith("zsofs: installing zsofs ")
        assert said.startswith(f"zsofs: {home}/.local/opt/zsofs cannot be written: ")
        assert said.endswith(f": {reason}")
        assert code == "code 1"


def as_me(root: Path, script: str) -> str:
    """What a script prints for the user in a system that is not booted, and its exit code."""
    return inside(root, f"su me -c 'cd; {script}' 2>&1 || echo exit code $?")


@pytest.mark.skipif(rounds(0, 1) == 0, reason="makes a system; run with --thorough")
def test_a_system_with_an_old_glibc(portable: Path, tmp_path: Path) -> None:
    """Debian 11: neither file installs anything, and the program says why it does not start."""
    with changed(tmp_path, system("bullseye", ())) as root:
        shutil.copytree(portable, root / "home/me", dirs_exist_ok=True)
        refused = "zsofs: this build needs glibc 2.36 or newer, and this system has 2.31\n"
        refused += "exit code 1\n"
        said = as_me(root, "sh ./zsofs-*.run").splitlines(keepends=True)
        assert "".join(said[-2:]) == refused
        unpacked(portable, root / "home/me")
        assert as_me(root, "sh zsofs-*/install.sh") == refused
        assert as_me(root, "zsofs-*/zsofs --version") == refused.replace("code 1", "code 5")
        assert not (root / "home/me/.local").exists()


@pytest.mark.skipif(rounds(0, 1) == 0, reason="makes a system; run with --thorough")
def test_a_system_without_fusermount3(portable: Path, tmp_path: Path) -> None:
    """The program is installed, and does what needs no mount."""
    with changed(tmp_path, system("bookworm", ())) as root:
        add_devices(root)
        shutil.copytree(portable, root / "home/me", dirs_exist_ok=True)
        shutil.copytree(DATA, root / "home/me/zso")
        assert (
            "zsofs: fusermount3 is missing, without which nothing can be mounted; install the"
            " package fuse3\n"
        ) in as_me(root, "sh ./zsofs-*.run")
        assert as_me(root, ".local/bin/zsofs mount zso iso") == (
            "zsofs: fusermount3, which users need to mount, is not installed; install it with:"
            " sudo apt install fuse3\nexit code 5\n"
        )
        said = as_me(root, ".local/bin/zsofs unpack zso/maxcso.dax -o out.iso; sha1sum out.iso")
        assert said.splitlines()[-1].startswith(MANIFEST["maxcso.dax"]["sha1"])
