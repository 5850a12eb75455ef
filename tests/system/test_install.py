"""`bootstrap.sh install` as root, where /usr/local and /usr/sbin are folders of the test."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import DATA, open_to_others
from tests.support.namespaces import LET_GO
from tests.system.conftest import ROOT
from tests.system.shared import PIP_CACHE
from zsofs import __version__

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("as_root", "own_mounts")]

LINK = "/usr/local/bin/zsofs"
HELPERS = ("mount.fuse.zsofs", "mount.zsofs")


class Place:
    """What an installation changes, and commands that see it where the system has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local, self.sbin, self.units = folder / "local", folder / "sbin", folder / "units"
        for path in (self.local, self.units, folder / "mnt"):
            path.mkdir()
        subprocess.run(["cp", "-a", "/usr/sbin", self.sbin], check=True)
        for name in HELPERS:
            (self.sbin / name).unlink(missing_ok=True)
        self.before = set(os.listdir(self.sbin))

    def run(self, script: str, code: int = 0) -> str:
        """What a script says, with the exit code *code*; what it mounts goes with it."""
        binds = (
            (self.local, "/usr/local"),
            (self.sbin, "/usr/sbin"),
            (self.units, "/etc/systemd/system"),
        )
        lines = [LET_GO]
        lines += [f"mount --bind {shlex.quote(str(here))} {there}" for here, there in binds]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", "\n".join([*lines, script])],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=os.environ | PIP_CACHE | {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def bootstrap(self, command: str, code: int = 0) -> str:
        """What `bootstrap.sh` says."""
        return self.run(f"umask 077\n{shlex.quote(str(ROOT))}/bootstrap.sh {command}", code)

    def versions(self) -> list[str]:
        """The folders with what was installed."""
        return os.listdir(self.local / "lib/zsofs")


def test_installed_by_root_for_everybody(tmp_path: Path) -> None:
    place = Place(tmp_path)
    open_to_others(tmp_path)
    said = place.bootstrap("install")
    assert said.endswith(f"zsofs: installed: {LINK}\n")
    (first,) = place.versions()
    assert (place.local / "bin/zsofs").readlink() == Path(f"/usr/local/lib/zsofs/{first}/bin/zsofs")
    assert {name: os.readlink(place.sbin / name) for name in HELPERS} == dict.fromkeys(
        HELPERS, LINK
    )
    as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups env -i"
    assert place.run(f"{as_nobody} {LINK} --version") == f"zsofs {__version__}\n"
    library = tmp_path / "library"
    library.mkdir()
    (library / "Game.zso").write_bytes((DATA / "ziso-py.zso").read_bytes())
    use = "cmp mnt/Game.iso {image}\numount mnt"
    mounts = [f"mount -t {kind} library mnt\n{use}" for kind in ("zsofs", "fuse.zsofs")]
    place.run("\n".join(mounts).format(image=DATA / "ps2.iso"))

    # Once more, while a mount of what was there is in use, and with a service.
    (place.units / "zsofs@.service").write_text(f"[Service]\nExecStart={LINK} mount -f %i\n")
    said = place.run(
        f"zsofs mount library mnt\n{ROOT}/bootstrap.sh install\n"
        f"cmp mnt/Game.iso {DATA / 'ps2.iso'}\nls -l mnt\nzsofs umount mnt"
    )
    assert "services still run the previous version" in said
    assert "systemctl restart 'zsofs@*' 'zsofs-*'" in said
    (second,) = place.versions()
    assert second != first

    said = place.bootstrap("uninstall", code=1)
    assert f"zsofs services are still installed; list them with: {LINK} service list;" in said
    assert place.versions() == [second]
    (place.units / "zsofs@.service").unlink()
    (place.sbin / HELPERS[0]).unlink()
    (place.sbin / HELPERS[0]).symlink_to("/usr/bin/zsofs")  # as the package has it
    place.bootstrap("uninstall")
    assert [path for path in place.local.rglob("*") if not path.is_dir()] == []
    assert not (place.local / "lib/zsofs").exists()
    assert set(os.listdir(place.sbin)) == {*place.before, HELPERS[0]}
    assert "nothing is installed" in place.bootstrap("uninstall")


def test_services_of_users_that_need_it(tmp_path: Path) -> None:
    """Made with `zsofs service install --user`; root's own uninstall looks for them, too."""
    place = Place(tmp_path)
    for folder in (place.local / "bin", place.local / "lib/zsofs"):
        folder.mkdir(parents=True)
    (place.local / "bin/zsofs").symlink_to("/usr/local/lib/zsofs/1/bin/zsofs")
    before = Path("/etc/passwd").read_text()
    users = {"first": "a", "second": "b c", "third": "d", "fourth": "e"}
    starts = {
        "first": LINK,
        "second": LINK,
        "third": "/usr/bin/zsofs",  # the package's
        "fourth": "/usr/local/bin/zsofsX",
    }
    for number, (user, name) in enumerate(users.items(), 60_001):
        before += f"{user}:x:{number}:{number}::{tmp_path}/{name}:/bin/sh\n"
        unit_of(tmp_path / name).write_text(f"[Service]\nExecStart={starts[user]} mount -f %i\n")
    before += f"fifth:x:60009:60009::{tmp_path}/f:/bin/sh\n"  # who would have root wait for ever
    os.mkfifo(unit_of(tmp_path / "f"))
    (tmp_path / "passwd").write_text(before)
    command = f"mount --bind passwd /etc/passwd\n{shlex.quote(str(ROOT))}/bootstrap.sh uninstall"
    said = place.run(command, code=1)
    assert said == (
        "zsofs: services of first, second are still installed; as that user, list them with:"
        f" {LINK} service list --user; remove each with: {LINK} service remove --user NAME\n"
    )
    assert (place.local / "bin/zsofs").is_symlink()
    for name in ("a", "b c"):
        unit_of(tmp_path / name).unlink()
    assert "zsofs: removed: /usr/local/lib/zsofs\n" in place.run(command)


def test_uninstalling_names_what_stays(tmp_path: Path) -> None:
    def uninstalled(*options: str) -> str:
        return subprocess.run(
            ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
            + [str(ROOT / "bootstrap.sh"), "uninstall", *options],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        ).stderr

    assert "stay" not in uninstalled()
    (tmp_path / ".config/zsofs").mkdir(parents=True)
    (tmp_path / ".cache/zsofs").mkdir(parents=True)
    open_to_others(tmp_path)
    assert f"rm -r '{tmp_path}/.config/zsofs' '{tmp_path}/.cache/zsofs'" in uninstalled()
    for folder in (".config", ".cache"):
        shutil.chown(tmp_path / folder, 1234)
        shutil.chown(tmp_path / folder / "zsofs", 1234)
    assert "kept" not in uninstalled("--purge")
    assert not (tmp_path / ".config/zsofs").exists()
    assert not (tmp_path / ".cache/zsofs").exists()


@pytest.mark.parametrize("name", ["home", "a b", "100 % [mine]", "a.c"])
def test_services_of_ones_own_that_need_it(tmp_path: Path, name: str) -> None:
    """In homes whose paths units have in quotes, or which would be patterns."""
    home = tmp_path / name
    program = str(home / ".local/bin/zsofs")
    if " " in program:  # as `zsofs service install` writes it
        program = f'"{program}"'.replace("%", "%%")
    unit_of(home).write_text(f"[Service]\nExecStart={program} mount -f %i\n")
    open_to_others(tmp_path)
    script = tmp_path / "bootstrap.sh"
    script.write_bytes((ROOT / "bootstrap.sh").read_bytes())
    script.chmod(0o755)
    command = [
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
        *("env", "-i", f"HOME={home}", f"PATH={os.environ['PATH']}", str(script), "uninstall"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"list them with: {home}/.local/bin/zsofs service list --user;" in done.stderr
    web = unit_of(home).with_name("zsofs-web.service")
    unit_of(home).rename(web)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "the service of the web page is still installed; remove it with: " in done.stderr
    assert done.stderr.endswith("/zsofs service remove --user --web\n")
    web.rename(web.with_name("zsofs-watch-inbox.service"))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    web.with_name("zsofs-watch-inbox.service").unlink()
    another = program.replace("a.c", "abc") if name == "a.c" else f"{program}X"
    unit_of(home).write_text(f"[Service]\nExecStart={another} mount -f %i\n")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def unit_of(home: Path) -> Path:
    """Where the unit of a user's services lies, in a folder that is there."""
    path = home / ".config/systemd/user/zsofs@.service"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_what_others_have_put_there_stays(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.local / "bin").mkdir()
    (place.local / "bin/zsofs").symlink_to("/usr/bin/true")
    assert (f"{LINK} exists and was not created by this program") in place.bootstrap(
        "install", code=1
    )
    place.bootstrap("uninstall")
    assert os.readlink(place.local / "bin/zsofs") == "/usr/bin/true"
    assert set(os.listdir(place.sbin)) == place.before


def clone_to(clone: Path) -> None:
    """Copy what git has of the project, as it is now."""
    said = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    for name in said.stdout.split("\0")[:-1]:
        target = clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target, follow_symlinks=False)


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    """It says so before it begins: what fails on a full disk cannot log why."""
    clone_to(tmp_path / "clone")
    script = (
        f"{LET_GO}\nmkdir small; mount -t tmpfs -o size=100m tmpfs small; cp -R clone/. small\n"
        "small/bootstrap.sh --version 2>&1 || echo code $?; ls -d small/.venv 2>&1 || :"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    begin = f"zsofs: zsofs must be built first, which takes 100 MB in {tmp_path}/small;"
    said, code, venv = done.stdout.splitlines()
    assert re.fullmatch(re.escape(begin) + r" its disk has \d+ MB of free space", said)
    assert code == "code 1"
    assert "No such file" in venv


def test_without_a_network(tmp_path: Path) -> None:
    clone_to(tmp_path / "clone")
    done = subprocess.run(
        ["unshare", "--net", "./bootstrap.sh", "--version"],
        cwd=tmp_path / "clone",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PIP_NO_CACHE_DIR": "1", "PIP_CONFIG_FILE": "/dev/null"},
    )
    assert done.returncode == 1
    assert "zsofs: no network connection" in done.stderr.splitlines()[-1]


def test_a_system_without_apt(tmp_path: Path) -> None:
    """It names what is missing, how to install it, and the build that needs none of it."""
    clone_to(tmp_path / "clone")
    programs = tmp_path / "bin"
    programs.mkdir()
    for path in Path("/usr/bin").iterdir():
        if not path.name.startswith(("apt", "gcc", "cc", "pkg", "x86_64")):
            (programs / path.name).symlink_to(path)
    done = subprocess.run(
        ["./bootstrap.sh", "mount", "--demo"],
        cwd=tmp_path / "clone",
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(programs), "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("zsofs: missing: a C compiler, pkg-config; install as root, then run")
    assert said.endswith("needs no Python and no compiler: see docs/install.md")


def test_with_sudo_in_front_of_a_clone_of_a_user(tmp_path: Path) -> None:
    user, group = "games", 60  # whom every Debian has
    clone = tmp_path / "clone"
    clone_to(clone)
    subprocess.run(["chown", "-R", f"{user}:{group}", clone], check=True)
    open_to_others(tmp_path)

    def sudo(script: str, code: int = 0) -> str:
        """What the script says, run as root with what sudo sets; everybody may open /dev/fuse."""
        for_all = f"mknod -m 666 {tmp_path}/fuse c 10 229\nmount --bind {tmp_path}/fuse /dev/fuse"
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "sh",
                "-ec",
                f"{LET_GO}\n{for_all}\nrm {tmp_path}/fuse\n{script}",
            ],
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"SUDO_USER": user, "SUDO_UID": "5", "SUDO_GID": str(group)},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert f"running as {user}" in sudo("./bootstrap.sh --version")
    assert (clone / ".venv").owner() == user
    assert {path.owner() for path in (clone / "zsofs").rglob("*.so")} == {user}
    point = tmp_path / "mnt"
    point.mkdir()
    os.chown(point, 5, group)
    said_mounted = sudo(
        f"./bootstrap.sh mount --demo {point}; grep {point} /proc/self/mountinfo\n"
        f"./bootstrap.sh umount {point}"
    )
    assert f"user_id=5,group_id={group}" in said_mounted
    shutil.chown(clone / ".venv", 0, 0)
    (clone / ".venv/zsofs-built").unlink()
    assert "sudo rm -rf" in sudo("./bootstrap.sh --version", code=1)
