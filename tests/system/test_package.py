"""The Debian package, on a Debian that was not there a minute ago."""

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from release import man_pages
from release.deb import guide
from tests.support.mounting import wait_until
from tests.system.conftest import INSTALL, PACKAGE, ROOT
from tests.system.discs import files, fill, sums
from tests.system.machine import Machine
from tests.system.packages import repacked
from zsofs import __version__

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("package")]  # they share a machine

STATUS = ("zsofs", "status", "--json")
OTHERS = ("/home/", "/root/zsofs.deb")  # files of users
USERS = ("another", "me")  # whose services an upgrade restarts, and a removal ends
UNITS = ("zsofs-watch-inbox.service", "zsofs-web.service")
DEMO_DISCS = ("Sample (LZ4).iso", "Sample (Zstandard).iso", "Sample (deflate).iso")


@pytest.fixture(scope="module")
def installed(fresh: Machine) -> Machine:
    """The machine of these tests, on which zsofs is installed now, as everybody does it."""
    fresh.run(*INSTALL)
    return fresh


def test_it_installs_without_a_network(installed: Machine) -> None:
    assert installed.run("zsofs", "--version") == f"zsofs {__version__}\n"
    assert installed.run("dpkg-query", "-W", "-f", "${Status}", "zsofs") == "install ok installed"
    assert installed.run("dpkg", "--verify", "zsofs") == ""
    assert installed.run("zsofs", "--version", user="me") == f"zsofs {__version__}\n"


def test_its_documents(installed: Machine) -> None:
    assert {"README.md", "mount.md", "troubleshooting.md", "media-box.md", "zsoz.md"} <= {
        path.name for path in guide()
    }
    for path in guide():
        packed = f"/usr/share/doc/zsofs/{path.name}.gz"
        assert installed.run("zcat", packed) == path.read_text()


def test_its_man_pages(installed: Machine) -> None:
    """Debian's containers leave man pages out; the package has them all the same."""
    listed = installed.run("dpkg", "-L", "zsofs").split()
    for _, name, _, _, section in man_pages.MAN_PAGES:
        assert f"/usr/share/man/man{section}/{name}.{section}.gz" in listed
    assert "/usr/share/man/man8/mount.fuse.zsofs.8.gz" in listed


def test_it_uses_nothing_but_its_own_packages(installed: Machine) -> None:
    code = "import json, sys, trio, pyfuse3, zsofs.mount.server, zsofs.cli.demo;"
    code += "print(json.dumps([getattr(m, '__file__', None) for m in sys.modules.values()]))"
    said = installed.run("/usr/lib/zsofs/bin/python3", "-I", "-c", code)
    paths = {path for path in json.loads(said) if path}
    own = {path for path in paths if path.startswith("/usr/lib/zsofs/")}
    assert {path for path in paths if "-packages/" in path} == own
    assert any("/pyfuse3/" in path for path in own)


def test_the_demo_disc(installed: Machine) -> None:
    assert "/mnt/demo" in installed.run("zsofs", "mount", "--demo", "/mnt/demo")
    shown = {name: sums(installed, "/mnt/demo")[name] for name in DEMO_DISCS}
    assert len(set(shown.values())) == 1
    head = installed.run("sh", "-c", f"tail -c +32770 '/mnt/demo/{DEMO_DISCS[0]}' | head -c 5")
    assert head == "CD001"
    installed.run("zsofs", "umount", "/mnt/demo")
    wait_until(lambda: not (installed.root / "mnt/demo").exists(), "the folder to be removed")


def test_discs_of_a_user(installed: Machine) -> None:
    wanted = fill(installed, "/home/me/zso", "me")
    installed.run("zsofs", "mount", "/home/me/zso", "/home/me/iso", user="me")
    assert sums(installed, "/home/me/iso", user="me") == wanted
    (one,) = json.loads(installed.run("zsofs", "status", "--json", user="me"))
    assert one["mount_point"] == "/home/me/iso"
    installed.run("zsofs", "umount", "/home/me/iso", user="me")


def test_after_a_removal_what_is_enabled_starts_again(installed: Machine) -> None:
    """What was stopped by hand does not, by an upgrade."""
    machine = installed
    wanted = fill(machine, "/srv/enabled")
    for name in ("games", "off"):
        machine.run("zsofs", "service", "install", name, "/srv/enabled", f"/srv/{name}")
    machine.run("systemctl", "disable", "--now", "zsofs@off")
    page_and_watch(machine)
    machine.run("apt-get", "remove", "-y", "zsofs")
    assert " /srv/games " not in machine.run("cat", "/proc/self/mountinfo")
    for unit in UNITS:
        assert machine.try_run("systemctl", "is-active", unit).stdout == "inactive\n"
    machine.run(*INSTALL)
    for unit in UNITS:
        wait_until(partial(runs, machine, unit), f"{unit} to be back")
    assert sums(machine, "/srv/games") == wanted
    assert machine.try_run("systemctl", "is-active", "zsofs@off").stdout == "inactive\n"
    machine.run("systemctl", "stop", "zsofs@games")
    machine.run("apt-get", "install", "-y", "--reinstall", PACKAGE)
    assert machine.try_run("systemctl", "is-active", "zsofs@games").stdout == "inactive\n"
    for name in ("games", "off"):
        machine.run("zsofs", "service", "remove", name)
    assert "comes-back" not in machine.run("ls", "/run")


def test_an_upgrade_restarts_services_and_leaves_other_mounts_alone(
    installed: Machine, deb: Path, tmp_path: Path
) -> None:
    wanted = fill(installed, "/srv/zso")
    installed.run("zsofs", "mount", "/srv/zso", "/srv/by-hand")
    installed.run("zsofs", "service", "install", "games", "/srv/zso", "/srv/iso")
    installed.run("useradd", "--create-home", "another")
    for user in USERS:
        service_of(installed, user)
    broken = service_of(installed, "me", "broken")
    (installed.root / broken).write_text("no config")
    fails = "systemctl --user restart zsofs@broken"
    assert "failed because" in installed.try_run("sh", "-c", fails, user="me").stderr
    before = daemons(installed)
    others = {unit: main_pid(installed, unit) for unit in UNITS}
    target = installed.root / "root/newer.deb"
    newer = repacked(deb, tmp_path / "newer", target)
    installed.run("apt-get", "install", "-y", "/root/newer.deb")
    assert installed.run("dpkg-query", "-W", "-f", "${Version}", "zsofs") == newer
    for point in ("/srv/by-hand", "/srv/iso"):
        assert sums(installed, point) == wanted
    after = daemons(installed)
    assert after["/srv/by-hand"] == before["/srv/by-hand"]
    assert after["/srv/iso"] != before["/srv/iso"]
    for unit, pid in others.items():
        assert main_pid(installed, unit) not in {"0", pid}
    for user in USERS:
        assert after[f"/home/{user}/mine"] != before[f"/home/{user}/mine"]
        assert sums(installed, f"/home/{user}/mine", user=user) == wanted
    installed.run("zsofs", "service", "remove", "--user", "broken", user="me")
    installed.run("zsofs", "umount", "/srv/by-hand")
    installed.run("zsofs", "service", "remove", "games")


def page_and_watch(machine: Machine) -> None:
    """Install what has a unit file of its own."""
    machine.run("mkdir", "-p", "/srv/inbox", "/srv/packed")
    words = ("--watch", "inbox", "/srv/inbox", "/srv/packed")
    machine.run("zsofs", "service", "install", *words)
    machine.run("zsofs", "service", "install", "--web", "--setuid", "me")


def main_pid(machine: Machine, unit: str) -> str:
    """The number of the process of a unit; 0 if it does not run."""
    return machine.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()


def runs(machine: Machine, unit: str) -> bool:
    """Whether a unit has a process."""
    return main_pid(machine, unit) != "0"


def service_of(machine: Machine, user: str, name: str = "mine") -> str:
    """Make a service of a user's own; returns the path of its config in the machine's folder."""
    machine.linger(user)
    home = f"/home/{user}"
    if not (machine.root / home[1:] / "discs").exists():
        fill(machine, f"{home}/discs", user)
    words = ("install", "--user", name, f"{home}/discs", f"{home}/{name}")
    machine.run("zsofs", "service", *words, user=user)
    return f"{home}/.config/zsofs/{name}.toml"[1:]


def daemons(machine: Machine) -> dict[str, int]:
    """The number of the process that serves each mount."""
    found = json.loads(machine.run(*STATUS))  # with watches
    return {one["mount_point"]: one["pid"] for one in found if "mount_point" in one}


def test_purge_leaves_nothing(installed: Machine) -> None:
    machine = installed
    mounts = machine.run("cat", "/proc/self/mountinfo")
    for user in USERS:
        assert f" /home/{user}/mine " in mounts
    # The first of all (user 10) has a service manager that hangs; the others' must still end.
    machine.linger("uucp")
    signal = 'kill -{} "$(systemctl show -P MainPID user@10)"'
    machine.run("sh", "-c", signal.format("STOP"))
    machine.run("apt-get", "purge", "-y", "zsofs")
    machine.run("sh", "-c", signal.format("CONT"))
    assert "fuse.zsofs" not in machine.run("cat", "/proc/self/mountinfo")
    for user in USERS:  # a package does not touch what is theirs
        assert "mine.toml" in machine.run("ls", f"/home/{user}/.config/zsofs")
    packages = machine.run("dpkg-query", "-W", "-f", "${Package}\n")
    before = files(machine)
    assert not [line for line in before if "zsofs" in line and not line.startswith(OTHERS)]
    said = machine.run(*INSTALL)
    assert "1 newly installed" in said
    machine.run("zsofs", "mount", "--demo", "/mnt/demo")
    machine.run("zsofs", "umount", "/mnt/demo")
    machine.run("zsofs", "list", "/srv/zso")
    page_and_watch(machine)
    # One service that runs, served by root, and one that is not root's.
    machine.run("zsofs", "service", "install", "games", "/srv/zso", "/srv/iso")
    machine.run("chmod", "a+rx", "/home/me")
    machine.run("zsofs", "service", "install", "mine", "/home/me/zso", "/srv/mine")
    assert len(files(machine) - before) > 300
    machine.run("apt-get", "purge", "-y", "zsofs")
    left = files(machine) - before
    assert {line for line in left if not line.startswith("/home/me\t")} == set()
    assert {line for line in before - files(machine) if not line.startswith("/home/me\t")} == set()
    assert "fuse.zsofs" not in machine.run("cat", "/proc/self/mountinfo")
    assert machine.run("systemctl", "list-units", "--all", "--plain", "-q", "zsofs@*") == ""
    assert machine.run("dpkg-query", "-W", "-f", "${Package}\n") == packages


def test_nothing_of_the_building_machine_is_in_it(deb: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", deb, tmp_path / "all"], check=True)
    paths = [path for path in (tmp_path / "all").rglob("*") if path.is_file()]
    assert len(paths) > 300
    for path in paths:
        data = path.read_bytes()
        assert str(ROOT).encode() + b"/" not in data, path
        assert b"zsofs-deb-" not in data, path
        assert b"pip-install-" not in data, path


def test_lintian_has_nothing_to_say(deb: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", deb],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 0)
