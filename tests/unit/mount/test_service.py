"""What `zsofs service` does to a system, in a table of mounts of its own with an /etc of its own.

Units are enabled and disabled by systemd's own systemctl, which needs no running systemd for that,
and mounts are real ones; only their starting and stopping is a script's. tests/system has a real
systemd.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fork_server import in_scripts
from tests.support.mounting import DATA
from tests.support.namespaces import LET_GO
from zsofs.source.scan_cache import catalog_name

pytestmark = pytest.mark.usefixtures("as_root", "own_mounts")
NOBODY = 65534

SYSTEMCTL = """\
#!/bin/sh
# The words that mount/systemd_units.py uses.
for unit; do :; done
name=${{unit#zsofs@}}
name=${{name%.service}}
case "$*" in
*RequiredBy*) echo "$REQUIRED_BY" ;;
*UnitFileState*)
    echo ActiveState=inactive
    echo "UnitFileState=$(/usr/bin/systemctl --root=/ is-enabled "$unit" 2>/dev/null)" ;;
enable*) exec /usr/bin/systemctl --root=/ enable "$unit" ;;
disable*)
    /usr/bin/systemctl --root=/ disable "$unit" || exit
    grep -q " fuse.zsofs " /proc/mounts && umount -at fuse.zsofs || : ;;
start*) exec env -i PATH="$PATH" {zsofs} mount --log-file /dev/null "$name" ;;
esac
"""


def _not_needed(place: str, names: list[str]) -> list[str]:
    """Of a directory that is copied, what no command of a test reads: most of /etc."""
    if place != "/etc":
        return []
    return [name for name in names if name != "systemd" and Path(place, name).is_dir()]


class System:
    """A system with a service manager of a sort.

    Attributes:
        folder: where everything lies: its ``etc``, root's ``home``, what is kept in ``cache``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree("/etc", folder / "etc", symlinks=True, ignore=_not_needed)
        for name in ("home", "run", "bin", "cache", "disk", "srv"):
            (folder / name).mkdir()
        passwd = folder / "etc/passwd"
        lines = passwd.read_text().splitlines()
        lines[0] = f"root:x:0:0:root:{folder}/home:/bin/sh"
        passwd.write_text("\n".join(lines) + "\n")
        (folder / "run/systemd/system").mkdir(parents=True)
        systemctl = folder / "bin/systemctl"
        systemctl.write_text(SYSTEMCTL.format(zsofs=shlex.join(in_scripts())))
        systemctl.chmod(0o755)

    def run(self, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """What a script says there, in which `zsofs` is this zsofs; its mounts go with it."""
        begin = f"""
{LET_GO}
zsofs() {{ {shlex.join(in_scripts())} "$@"; }}
mount --bind etc /etc
mount --bind run /run
mount --bind cache /var/cache
trap 'umount -at fuse.zsofs' EXIT
"""
        path = f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "COVERAGE"))}
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", begin + script],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=kept | {"PATH": path, "REQUIRED_BY": ""} | environment,
            timeout=180,
        )

    def check_refused(self, script: str, said: str) -> None:
        """Check that a command is refused for what it was told, and leaves nothing."""
        done = self.run(script)
        assert (done.returncode, done.stderr) == (2, said)
        assert self.left() == set()

    def left(self) -> set[str]:
        """What there is of zsofs in its /etc, in root's home, and in /var/cache."""
        places = (self.folder / name for name in ("etc", "home", "cache"))
        return {str(path) for place in places for path in place.rglob("*zsofs*")}


@pytest.fixture
def system(on_disk: Path) -> System:
    """Not in a /tmp in memory: a mount point on the disk of the source is refused."""
    on_disk.chmod(0o755)
    return System(on_disk)


@pytest.fixture
def zso(system: System) -> Path:
    """A source of the user nobody's."""
    folder = system.folder / "zso"
    folder.mkdir()
    shutil.copy(DATA / "maxcso-16384.zso", folder / "Game.zso")
    for path in (folder, folder / "Game.zso"):
        os.chown(path, NOBODY, NOBODY)
    return folder


INSTALL = "zsofs service install games"


def test_installed_and_removed(system: System, zso: Path) -> None:
    done = system.run(f"{INSTALL} {zso} srv/iso --allow-other && ls srv/iso; ls etc/zsofs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nGame.iso\ngames.toml\n")
    assert len(system.left()) >= 3
    done = system.run("zsofs service list; zsofs service remove games; zsofs service list")
    assert "games  inactive  enabled" in done.stdout
    assert done.stdout.endswith("\nno zsofs services are installed\n"), done.stderr
    assert (system.left(), done.stderr) == (set(), "")


DISK = """
mount -t tmpfs games disk && cp -a zso disk/ || exit 99
"""


def test_a_mount_point_that_the_disk_of_the_source_would_hide(system: System, zso: Path) -> None:
    disk = system.folder / "disk"
    for point in ("disk/iso", "disk/a/b"):
        system.check_refused(
            f"{DISK}{INSTALL} disk/zso {point}",
            f"zsofs: the mount point {system.folder}/{point} is on the file system of the source,"
            f" {disk}, which would cover it if that is mounted after the service starts; give a"
            f" mount point outside of {disk}\n",
        )


def test_a_mount_point_on_a_disk_that_is_always_there(system: System, zso: Path) -> None:
    install = f"{INSTALL} disk/zso disk/iso --allow-other && ls disk/iso"
    done = system.run(f"{DISK}{install}", REQUIRED_BY="-.mount local-fs.target")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Game.iso"), done.stderr


def test_a_service_is_started_after_both_of_its_disks(system: System, zso: Path) -> None:
    other = "mount -t tmpfs other srv || exit 99\n"
    show = "cat etc/systemd/system/zsofs@games.service.d/zsofs.conf"
    done = system.run(f"{DISK}{other}{INSTALL} disk/zso srv/iso && {show}")
    assert done.returncode == 0, done.stderr
    escape = ["systemd-escape", "--path", "--suffix=mount"]
    places = [str(system.folder / name) for name in ("disk", "srv")]
    escaped = subprocess.run([*escape, *places], capture_output=True, text=True, check=True)
    units = " ".join(escaped.stdout.split())
    assert done.stdout.endswith(f"\n[Unit]\nWants={units}\nAfter={units}\n")


def test_a_mount_point_that_the_user_cannot_get_to(system: System, zso: Path) -> None:
    """The service would never be ready: the mount is listed by its user."""
    (system.folder / "srv/a").mkdir()
    (system.folder / "srv/a").chmod(0o700)
    for point in ("srv/a/iso", "srv/a/b/iso"):
        system.check_refused(
            f"{INSTALL} {zso} {point}",
            f"zsofs: nobody cannot enter {system.folder}/srv/a, a parent directory of the mount"
            " point"
            f" {system.folder}/{point}; allow it with: chmod o+x"
            f" {system.folder}/srv/a, or give another mount point\n",
        )
    done = system.run(f"{INSTALL} {zso} srv/a/iso --setuid root && ls srv/a/iso")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Game.iso"), done.stderr


def test_a_source_that_only_its_user_can_get_to(system: System, zso: Path) -> None:
    """Root may not, as on a NAS that takes its rights away: here by its own rights being less."""
    closed = system.folder / "closed"
    closed.mkdir(mode=0o700)
    zso.rename(closed / "zso")
    os.chown(closed, NOBODY, NOBODY)
    less = "setpriv --bounding-set -dac_override,-dac_read_search"
    zsofs = shlex.join(in_scripts())
    done = system.run(f"{less} {zsofs} service install games closed/zso srv/iso --setuid nobody")
    assert "the service games is installed and runs" in done.stdout, done.stderr


@pytest.mark.parametrize("place", ["/etc", "/etc/systemd"])
def test_a_system_that_cannot_be_written_to(system: System, zso: Path, place: str) -> None:
    closed = f"mount --bind {place} {place} && mount -o remount,bind,ro {place} || exit 99\n"
    done = system.run(f"{closed}{INSTALL} {zso} srv/iso")
    assert done.returncode == 11
    assert done.stderr.startswith(f"zsofs: the service file {place}/")
    assert done.stderr.endswith(" cannot be written: Read-only file system\n")
    assert len(done.stderr.splitlines()) == 1
    if place == "/etc/systemd":
        assert system.run("zsofs service remove games").returncode == 0
    assert system.left() == set()


def test_configs_can_be_read_by_everybody(system: System, zso: Path) -> None:
    """Whatever root's umask."""
    done = system.run(f"umask 077\n{INSTALL} {zso} srv/iso\nstat -c '%a %n' etc/zsofs etc/zsofs/*")
    assert done.stdout.endswith("\n755 etc/zsofs\n644 etc/zsofs/games.toml\n"), done.stderr


@pytest.mark.usefixtures("another_user")
def test_a_config_in_a_folder_that_is_closed(system: System) -> None:
    (system.folder / "etc/zsofs").mkdir(mode=0o700)
    as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/nonexistent"
    done = system.run(f"{as_nobody} {shlex.join(in_scripts())} mount games")
    assert (done.returncode, done.stderr) == (
        2,
        "zsofs: the config /etc/zsofs/games.toml cannot be read: Permission denied\n",
    )


def test_a_service_that_has_no_unit(system: System) -> None:
    """Its config was written by hand, or its unit was removed."""
    (system.folder / "etc/zsofs").mkdir()
    text = 'source = "/none"\nmountpoint = "/none/iso"\n'
    (system.folder / "etc/zsofs/games.toml").write_text(text)
    done = system.run("zsofs service remove games")
    assert (done.returncode, done.stdout) == (0, "the service games is removed\n"), done.stderr
    assert system.left() == set()


def test_a_service_whose_files_went(system: System, zso: Path) -> None:
    """What is left is found and removed."""
    other = "mount -t tmpfs other srv || exit 99\n"
    for lost in ("etc/zsofs/games.toml", "etc/systemd/system/zsofs@.service"):
        assert system.run(f"{other}{INSTALL} {zso} srv/iso").returncode == 0
        (system.folder / lost).unlink()
        done = system.run("zsofs service remove games")
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("the service games is removed\n")
        assert {path for path in system.left() if "/etc/" in path} == set()
    done = system.run("zsofs service remove games")
    assert (done.returncode, "no such service: games" in done.stderr) == (11, True)


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_what_was_kept_of_the_discs_goes(system: System, zso: Path, who: str) -> None:
    """That of this source alone."""
    shutil.copytree(zso, system.folder / "others")
    sources = {"games": zso, "others": system.folder / "others"}
    script = "".join(
        f"zsofs service install {name} {source} srv/{name} --setuid {who} --allow-other || exit\n"
        f"ls srv/{name}\n"
        for name, source in sources.items()
    )
    done = system.run(script)
    assert done.returncode == 0, done.stderr
    places = system.folder / "home", system.folder / "cache"
    kept = [{path.name for place in places for path in place.rglob("*.sqlite")}]
    for name in sources:
        assert system.run(f"zsofs service remove {name}").returncode == 0
        kept.append({path.name for place in places for path in place.rglob("*.sqlite")})
    assert kept == [
        {catalog_name(bytes(source)) for source in list(sources.values())[n:]} for n in range(3)
    ]
    assert system.left() == set()


@pytest.mark.usefixtures("another_user")
def test_a_user_without_a_session(system: System, zso: Path) -> None:
    """As after su: nothing is there that systemctl --user could ask."""
    real = subprocess.run(["which", "systemctl"], capture_output=True, text=True, check=True)
    (system.folder / "bin" / "systemctl").unlink()
    (system.folder / "bin" / "systemctl").symlink_to(real.stdout.strip())
    as_user = "setpriv --reuid=1234 --regid=1234 --clear-groups env -u XDG_RUNTIME_DIR"
    command = f"mkdir -p run/systemd/system; {as_user} {shlex.join(in_scripts())}"
    for action in ("list", "remove games"):
        done = system.run(f"{command} service {action} --user")
        assert (done.returncode, done.stdout) == (11, ""), done.stderr
        assert "no user session is running" in done.stderr
        assert len(done.stderr.splitlines()) == 1
