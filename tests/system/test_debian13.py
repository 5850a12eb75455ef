"""The Debian package on Debian 13, and on a Debian 12 that becomes a 13; only with --thorough.

Both need what the registries of Debian and Python have, and several minutes.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import wait_until
from tests.support.rounds import rounds
from tests.system.discs import files, fill, sums
from tests.system.machine import Machine, debian
from tests.system.minimal import APT, changed, inside, minimal, system
from tests.system.shared import made_once
from tests.system.test_install import clone_to
from zsofs import __version__

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("debian13"),
    pytest.mark.timeout(3600),  # the first test has the package built, twice
    pytest.mark.skipif(rounds(0, 1) == 0, reason="takes minutes; run with --thorough"),
]

# What ./bootstrap.sh installs where it is missing; in the cache, so that it is fetched once.
TO_BUILD = (
    "git", "python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "pkg-config", "fuse3",
    "libfuse3-dev", "liblz4-dev", "libzstd-dev", "libdeflate-dev", "dpkg-dev",
    "binutils", "xz-utils", "ca-certificates",
)  # fmt: skip


@pytest.fixture(scope="module")
def deb13(run_path: Path) -> Path:
    """The package, built on Debian 13 as its document says."""

    def build(folder: Path) -> None:
        with changed(folder / "build", system("trixie", TO_BUILD)) as root:
            clone_to(root / "root/zsofs")
            said = inside(root, "cd zsofs; git init -q; ./bootstrap.sh deb")
            assert "Install it with: sudo apt install " in said
            (path,) = (root / "root/zsofs/dist").glob("*.deb")
            shutil.copy(path, folder)
        subprocess.run(["rm", "-rf", folder / "build"], check=True)

    return next(made_once(run_path / "package13", build).glob("*.deb"))


def version_of(deb: Path) -> str:
    """The version in a package."""
    words = ["dpkg-deb", "-f", str(deb), "Version"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def on_13(deb13: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted Debian 13 with zsofs, which apt has installed with all that it needs."""
    place = tmp_path_factory.mktemp("trixie")
    with changed(place / "installed", minimal("trixie")) as root:
        shutil.copy(deb13, root / "root")
        said = inside(root, f"{APT} update; {APT} install ./*.deb; apt-get clean")
        assert "warning" not in said.lower().replace("can't open /dev/pts", "")
    with debian(place / "machine", place / "installed/changes", minimal("trixie")) as machine:
        yield machine


def test_versions_tell_the_releases_apart(deb: Path, deb13: Path) -> None:
    assert version_of(deb).endswith("~deb12")
    assert version_of(deb13).endswith("~deb13")
    words = ["dpkg", "--compare-versions", version_of(deb13), "gt", version_of(deb)]
    assert deb13.name != deb.name
    if version_of(deb13).partition("~")[0] == version_of(deb).partition("~")[0]:
        assert subprocess.run(words, check=False).returncode == 0


def test_used_and_purged_on_debian_13(on_13: Machine) -> None:
    assert on_13.run("zsofs", "--version", user="me") == f"zsofs {__version__}\n"
    on_13.run("zsofs", "mount", "--demo", "/mnt/demo")
    assert len(set(sums(on_13, "/mnt/demo").values())) == 1  # three discs alike
    on_13.run("zsofs", "umount", "/mnt/demo")
    wanted = fill(on_13, "/srv/zso")
    on_13.run("zsofs", "service", "install", "games", "/srv/zso", "/srv/iso", "--allow-other")
    wait_until(lambda: set(sums(on_13, "/srv/iso")) == set(wanted), "discs that are whole", 30)
    assert sums(on_13, "/srv/iso", user="me") == wanted
    (one,) = json.loads(on_13.run("zsofs", "status", "--json"))
    assert one["mount_point"] == "/srv/iso"
    assert "WARNING" not in on_13.run("journalctl", "-u", "zsofs@games", "-o", "cat")
    said = on_13.run("apt-get", "purge", "-y", "zsofs")
    assert "warning" not in said.lower()
    assert "fuse.zsofs" not in on_13.run("cat", "/proc/self/mountinfo")
    left = [name for name in files(on_13) if "zsofs" in name and not name.startswith("/root/")]
    assert left == []


def test_a_debian_12_that_becomes_a_13(deb: Path, deb13: Path, tmp_path: Path) -> None:
    """With both packages, a service is there again after the upgrade, with its discs."""
    with changed(tmp_path / "old", minimal("bookworm")) as root:
        shutil.copy(deb, root / "root")
        inside(root, f"{APT} update; {APT} install ./*.deb; rm *.deb")
    old = (tmp_path / "old/changes", minimal("bookworm"))
    with debian(tmp_path / "before", *old) as machine:
        wanted = fill(machine, "/srv/zso")
        machine.run("zsofs", "service", "install", "games", "/srv/zso", "/srv/iso")
        wait_until(lambda: set(sums(machine, "/srv/iso")) == set(wanted), "whole discs", 30)
        machine.shut_down()
        kept = tmp_path / "kept"
        subprocess.run(["cp", "-a", tmp_path / "before/changes", kept], check=True)
    with changed(tmp_path / "new", kept, *old) as root:
        shutil.copy(deb13, root / "root")
        said = inside(
            root,
            "sed -i s/bookworm/trixie/ /etc/apt/sources.list; apt-get -q update;"
            f" {APT} -o Dpkg::Options::=--force-confdef full-upgrade ./*.deb; apt-get clean",
        )
        assert f"Unpacking zsofs ({version_of(deb13)}) over ({version_of(deb)})" in said
        assert "dpkg: warning: zsofs" not in said
    with debian(tmp_path / "after", tmp_path / "new/changes", kept, *old) as machine:
        assert machine.run("cat", "/etc/debian_version").startswith("13")
        wait_until(lambda: sums(machine, "/srv/iso") == wanted, "the service", 30)
        assert machine.run("systemctl", "is-active", "zsofs@games") == "active\n"
        machine.run("zsofs", "service", "remove", "games")
        machine.run("apt-get", "purge", "-y", "zsofs")
