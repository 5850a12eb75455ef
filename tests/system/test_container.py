"""The container image and its document, with podman in a booted Debian 12; only with --thorough.

No base image can be pulled where this runs: the base is a small Debian that debootstrap has made.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import Document
from tests.support.mounting import wait_until
from tests.support.rounds import rounds
from tests.system import image
from tests.system.conftest import ROOT
from tests.system.discs import fill, sums
from tests.system.machine import Machine, debian
from tests.system.minimal import APT, changed, inside, minimal
from zsofs import __version__

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("container"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(rounds(0, 1) == 0, reason="takes minutes; run with --thorough"),
]

# From PyPI: that of Debian 12 (1.0.3) adds a network to `network_mode: none`, and fails.
_COMPOSE = "/opt/compose"
_CONF = '[containers]\ncgroups = "disabled"\nnetns = "none"\n'
# What a base image of Debian does not have either.
_LEFT_OUT = ("./proc", "./sys", "./dev", "./var/cache", "./usr/share/doc", "./usr/share/locale")
DOCUMENT = Document("container.md")


@pytest.fixture(scope="module")
def engine(portable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with podman and the image; /srv/games is shared, as a host has it."""
    place = tmp_path_factory.mktemp("engine")
    containers = place / "containers"  # on an overlay, podman makes no other
    containers.mkdir()
    devices = {"/var/lib/containers": containers}
    with changed(place / "installed", image.system()) as root:
        inside(root, f"{APT} update; {APT} install podman crun python3-venv")
        inside(
            root, f"python3 -m venv {_COMPOSE}; {_COMPOSE}/bin/pip install podman-compose==1.6.*"
        )
    layers = (place / "installed/changes", image.system())
    with debian(place / "machine", *layers, devices=devices) as machine:
        machine.run(
            "sh", "-c", 'cat >"$0"', "/etc/containers/containers.conf", given=_CONF.encode()
        )
        sources = machine.root / "root/zsofs"
        (sources / "dist").mkdir(parents=True)
        for name in ("Containerfile", ".containerignore", "compose.yaml"):
            shutil.copy(ROOT / name, sources)
        shutil.copy(next(portable.glob("*.tar.xz")), sources / "dist")
        base = machine.root / "root/base.tar"
        words = [f"--exclude={name}" for name in _LEFT_OUT]
        subprocess.run(["tar", "-C", minimal("bookworm"), *words, "-cf", base, "."], check=True)
        machine.run("podman", "import", "/root/base.tar", "debian:12")
        base.unlink()
        build = "podman build --isolation chroot --format docker --build-arg BASE=debian:12"
        build += f" --build-arg VERSION={__version__}"
        machine.run("sh", "-ec", f"cd /root/zsofs; {build} --tag zsofs .")
        machine.run("mkdir", "-p", "/srv/games")
        machine.run(
            "sh", "-ec", "mount --bind /srv/games /srv/games; mount --make-shared /srv/games"
        )
        yield machine


@pytest.fixture(scope="module")
def wanted(engine: Machine) -> dict[str, str]:
    """The discs of the document, with the checksum of each name in the mount."""
    return fill(engine, "/srv/disk/zso")


def test_its_size(engine: Machine) -> None:
    """Above a base, it adds the portable build and nothing else."""
    engine.run("sh", "-c", "podman save zsofs | gzip -1 >/root/image.tar.gz")
    assert os.path.getsize(engine.root / "root/image.tar.gz") < 120e6
    engine.run("rm", "/root/image.tar.gz")


def do(machine: Machine, command: str) -> str:
    """Run a command of the document."""
    return machine.run("sh", "-ec", f"cd /\n{command}")


def test_the_host_reads_it_and_the_next_one_takes_over(
    engine: Machine, wanted: dict[str, str]
) -> None:
    """After a container that was killed, the next one removes the dead mount."""
    ready = ("sh", "-c", "cd /; ls /srv/games/iso/*.iso && podman healthcheck run zsofs")
    run, look = DOCUMENT.commands("The host reads")
    for end in ("kill", "stop"):
        do(engine, run)
        wait_until(lambda: engine.try_run(*ready).returncode == 0, "the discs", 60)
        wait_until(lambda: set(do(engine, look).splitlines()) == set(wanted), "whole discs", 30)
        assert sums(engine, "/srv/games/iso") == wanted
        # Who serves is not root; its parent only mounts and unmounts.
        said = engine.run("podman", "exec", "zsofs", "sh", "-c", "cat /proc/[0-9]*/status")
        assert "\nUid:\t1000\t1000\t1000\t1000\n" in said
        engine.run("podman", end, "zsofs")
        assert engine.run("podman", "logs", "zsofs").count("Traceback") == 0
        if end == "kill":
            assert engine.try_run("ls", "/srv/games/iso").returncode
        engine.run("podman", "rm", "--force", "zsofs")
    assert " /srv/games/iso " not in engine.run("cat", "/proc/self/mountinfo")


@pytest.mark.usefixtures("wanted")
def test_from_container_to_container(engine: Machine) -> None:
    do(engine, DOCUMENT.commands("The host reads")[0])
    (read,) = DOCUMENT.commands("Another container reads")
    wait_until(lambda: do(engine, read).count(".iso\n") == 2, "the discs", 60)
    engine.run("podman", "stop", "zsofs")
    engine.run("podman", "rm", "zsofs")
    assert DOCUMENT.not_run() == []


def test_compose(engine: Machine, wanted: dict[str, str]) -> None:
    """What compose.yaml describes, read by the host."""
    compose = f"cd /root/zsofs; {_COMPOSE}/bin/podman-compose --verbose"
    said = do(engine, f"{compose} up --detach 2>&1")
    ready = ("sh", "-c", "cd /; ls /srv/games/iso/*.iso && podman healthcheck run zsofs_zsofs_1")
    wait_until(lambda: engine.try_run(*ready).returncode == 0, f"the discs of {said}", 60)
    wait_until(lambda: set(sums(engine, "/srv/games/iso")) == set(wanted), "whole discs", 30)
    assert sums(engine, "/srv/games/iso") == wanted
    do(engine, f"{compose} down")
    assert " /srv/games/iso " not in engine.run("cat", "/proc/self/mountinfo")
