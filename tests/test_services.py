"""What `zsofs service` does to a system, in a table of mounts of its own with a copy of /etc.

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

from tests.mounting import DATA, ZSOFS

pytestmark = pytest.mark.usefixtures("as_root", "own_mounts")
NOBODY = 65534

SYSTEMCTL = """\
#!/bin/sh
# The words that systemd_units.py uses.
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


class System:
    """A system with a service manager of a sort.

    Attributes:
        folder: where everything lies: its ``etc``, root's ``home``, a ``disk``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree("/etc", folder / "etc", symlinks=True, ignore=lambda *_: ["zsofs"])
        for name in ("home", "run", "bin", "disk", "srv"):
            (folder / name).mkdir()
        passwd = folder / "etc/passwd"
        lines = passwd.read_text().splitlines()
        lines[0] = f"root:x:0:0:root:{folder}/home:/bin/sh"
        passwd.write_text("\n".join(lines) + "\n")
        (folder / "run/systemd/system").mkdir(parents=True)
        systemctl = folder / "bin/systemctl"
        systemctl.write_text(SYSTEMCTL.format(zsofs=shlex.join(ZSOFS)))
        systemctl.chmod(0o755)

    def run(self, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """What a script says there, in which `zsofs` is this zsofs; its mounts go with it."""
        begin = f"""
zsofs() {{ {shlex.join(ZSOFS)} "$@"; }}
mount --bind etc /etc
mount --bind run /run
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
            timeout=60,
        )

    def left(self) -> set[str]:
        """What there is of zsofs in its /etc and in root's home."""
        places = (self.folder / "etc", self.folder / "home")
        return {str(path) for place in places for path in place.rglob("*zsofs*")}


@pytest.fixture
def system(tmp_path: Path) -> System:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return System(tmp_path)


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
    assert done.stdout.endswith("\nthere is no service of zsofs\n"), done.stderr
    assert (system.left(), done.stderr) == (set(), "")


DISK = """
mount -t tmpfs games disk && cp -a zso disk/ || exit 99
"""


def test_a_mount_point_that_the_disk_of_the_source_would_hide(system: System, zso: Path) -> None:
    disk = system.folder / "disk"
    for point in ("disk/iso", "disk/a/b"):
        done = system.run(f"{DISK}{INSTALL} disk/zso {point}")
        assert done.returncode == 2
        assert done.stderr == (
            f"zsofs: the mount point {system.folder}/{point} lies on the disk of the source,"
            f" {disk}, which would hide it where the disk is mounted later than the service is"
            f" started; give one outside of {disk}\n"
        )
        assert system.left() == set()


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
