"""The Debian package, on a Debian that was not there a minute ago."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.system.conftest import PACKAGE, ROOT
from tests.system.discs import files, fill, sums
from tests.system.machine import Machine
from zsofs import __version__

pytestmark = pytest.mark.system

DEMO_DISCS = ("Sample (LZ4).iso", "Sample (Zstandard).iso", "Sample (deflate).iso")


def test_it_installs_without_a_network(installed: Machine) -> None:
    assert installed.run("zsofs", "--version") == f"zsofs {__version__}\n"
    assert installed.run("dpkg-query", "-W", "-f", "${Status}", "zsofs") == "install ok installed"
    assert installed.run("dpkg", "--verify", "zsofs") == ""
    assert installed.run("zsofs", "--version", user="me") == f"zsofs {__version__}\n"


def test_it_uses_nothing_but_its_own_packages(installed: Machine) -> None:
    code = "import json, sys, trio, pyfuse3, zsofs._blocks, zsofs.mount, zsofs.demo;"
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
    assert not (installed.root / "mnt/demo").exists()


def test_discs_of_a_user(installed: Machine) -> None:
    wanted = fill(installed, "/home/me/zso", "me")
    installed.run("zsofs", "mount", "/home/me/zso", "/home/me/iso", user="me")
    assert sums(installed, "/home/me/iso", user="me") == wanted
    (one,) = json.loads(installed.run("zsofs", "status", "--json", user="me"))
    assert one["mount_point"] == "/home/me/iso"
    installed.run("zsofs", "umount", "/home/me/iso", user="me")


def test_an_upgrade_leaves_a_mount_that_was_made_by_hand_alone(
    installed: Machine, deb: Path, tmp_path: Path
) -> None:
    wanted = fill(installed, "/srv/zso")
    installed.run("zsofs", "mount", "/srv/zso", "/srv/iso")
    subprocess.run(["dpkg-deb", "-R", deb, tmp_path / "newer"], check=True)
    control = tmp_path / "newer/DEBIAN/control"
    newer = f"{__version__}+newer"
    control.write_text(control.read_text().replace(f": {__version__}\n", f": {newer}\n"))
    target = installed.root / "root/newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tmp_path / "newer", target], check=True)
    installed.run("apt-get", "install", "-y", "/root/newer.deb")
    assert installed.run("dpkg-query", "-W", "-f", "${Version}", "zsofs") == newer
    assert sums(installed, "/srv/iso") == wanted
    assert json.loads(installed.run("zsofs", "status", "--json", "/srv/iso"))["ok"]
    installed.run("zsofs", "umount", "/srv/iso")


def test_purge_leaves_nothing(fresh: Machine) -> None:
    fresh.run("apt-get", "purge", "-y", "zsofs")
    installed_at_first = fresh.run("dpkg-query", "-W", "-f", "${Package}\n").split()
    before = files(fresh)
    said = fresh.run("apt-get", "install", "-y", "--no-install-recommends", PACKAGE)
    assert "1 newly installed" in said
    fresh.run("zsofs", "mount", "--demo", "/mnt/demo")
    fresh.run("zsofs", "list", "/srv/zso")
    fresh.run("zsofs", "mount", "/srv/zso", "/srv/iso")
    assert len(files(fresh) - before) > 300
    for point in ("/mnt/demo", "/srv/iso"):
        fresh.run("zsofs", "umount", point)
    fresh.run("apt-get", "purge", "-y", "zsofs")
    assert files(fresh) - before == set()
    assert before - files(fresh) == set()
    assert fresh.run("dpkg-query", "-W", "-f", "${Package}\n").split() == installed_at_first


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
