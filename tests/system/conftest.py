"""Fixtures of the tests that install zsofs on a Debian 12."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import Machine, debian

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "/root/zsofs.deb"


@pytest.fixture(scope="session")
def deb() -> Path:
    """The package, made anew."""
    done = subprocess.run(
        [sys.executable, "-m", "release.deb"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, deb: Path) -> Iterator[Machine]:
    """A booted machine that has the package as a file, no more."""
    with debian(tmp_path_factory.mktemp("machine")) as machine:
        (machine.root / PACKAGE[1:]).write_bytes(deb.read_bytes())
        machine.run("useradd", "--create-home", "--shell", "/bin/bash", "me")
        yield machine


@pytest.fixture(scope="module")
def installed(fresh: Machine) -> Machine:
    """A booted machine with zsofs, installed as everybody does it."""
    fresh.run("apt-get", "install", "-y", "--no-install-recommends", PACKAGE)
    return fresh
