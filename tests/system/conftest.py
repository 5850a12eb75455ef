"""Fixtures of the tests that install zsofs on a Debian 12."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import image
from tests.system.machine import Machine, booted, debian
from tests.system.shared import PIP_CACHE, made_once

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "/root/zsofs.deb"
INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", PACKAGE)
USER = ("useradd", "--create-home", "--shell", "/bin/bash", "me")

# What takes longest comes first, so that no process of pytest-xdist has it left when others end.
_FIRST = (
    "test_nas_document.py",
    "test_portable.py",
    "test_clone_debian13.py",
    "test_debian13.py",
    "test_service.py",
    "test_web_service.py",
    "test_package.py",
    "test_media_box_document.py",
    "test_inbox_document.py",
    "test_install.py",
    "test_sdist.py",
    "test_pcsx2_document.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest; their order within a module stays."""
    items.sort(key=lambda item: _place(item.path))


def _place(path: Path) -> int:
    return _FIRST.index(path.name) if path.name in _FIRST else len(_FIRST)


@pytest.fixture(scope="session")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of all processes of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def deb(run_path: Path) -> Path:
    """The package, built once per run."""
    (path,) = made_once(run_path / "package", _make_deb).iterdir()
    return path


def _make_deb(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "release.deb"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    shutil.copy(done.stdout.strip(), folder)


@pytest.fixture(scope="session")
def portable(run_path: Path) -> Path:
    """The directory with both forms of the portable build, made once per run."""
    if os.confstr("CS_GNU_LIBC_VERSION") != "glibc 2.36":
        pytest.skip("the portable build is made on Debian 12")
    return made_once(run_path / "portable", _make_portable)


def _make_portable(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "release.portable"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env=os.environ | PIP_CACHE,
    )
    assert done.returncode == 0, done.stderr
    for path in done.stdout.splitlines():
        shutil.copy(path, folder)


@pytest.fixture(scope="session")
def with_zsofs(run_path: Path, deb: Path) -> tuple[Path, ...]:
    """The layers of a system with a user, in which zsofs was installed as everybody does it."""

    def install(folder: Path) -> None:
        with booted(folder, image.system()) as machine:
            shutil.copy(deb, machine.root / PACKAGE[1:])
            machine.run(*USER)
            machine.run(*INSTALL)
            machine.shut_down()

    return made_once(run_path / "installed", install) / "changes", image.system()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, deb: Path) -> Iterator[Machine]:
    """A booted machine that has the package as a file, no more."""
    with debian(tmp_path_factory.mktemp("machine"), image.system()) as machine:
        shutil.copy(deb, machine.root / PACKAGE[1:])
        machine.run(*USER)
        yield machine


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, with_zsofs: tuple[Path, ...]
) -> Iterator[Machine]:
    """A booted machine with zsofs."""
    with debian(tmp_path_factory.mktemp("machine"), *with_zsofs) as machine:
        yield machine
