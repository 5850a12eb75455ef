"""What pipx installs: the source distribution and the wheel."""

import glob
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from release import man_pages
from tests.support.mounting import DATA, mounted, unmount
from tests.system.conftest import ROOT
from tests.system.shared import PIP_CACHE
from zsofs import __version__

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("sdist")]  # they share what is built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    clean = tmp_path_factory.mktemp("clean") / "zsofs"
    said = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    for name in filter(lambda name: os.path.lexists(ROOT / name), said.stdout.split("\0")[:-1]):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clean / name, follow_symlinks=False)
    run(sys.executable, "-m", "release.sdist", folder=clean)
    (sdist,) = (clean / "dist").iterdir()
    shutil.copy(sdist, folder)
    # The wheel is built from the sdist, by tools that know no Sphinx.
    (clean.parent / "sdist").mkdir()
    run("tar", "-xf", sdist, "-C", clean.parent / "sdist")
    (unpacked,) = (clean.parent / "sdist").iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, unpacked)
    return folder


def run(*command: str | Path, home: Path | None = None, folder: Path | None = None) -> str:
    """What a command says that must succeed, if need be with another home and little else."""
    environment = {**os.environ, **PIP_CACHE}
    if home:
        environment |= {"HOME": str(home), "PATH": os.defpath}
    for name in [name for name in environment if name.startswith(("XDG_", "PIPX_"))]:
        del environment[name]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module", params=["tar.gz", "whl"])
def installed(
    built: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The command, installed by pipx, from the sdist and from the wheel, in an empty home."""
    home = tmp_path_factory.mktemp("home")
    (package,) = built.glob(f"*.{request.param}")
    run("pipx", "install", package, home=home)
    command = home / ".local/bin/zsofs"
    assert command.resolve().is_relative_to(home / ".local/pipx/venvs/zsofs")
    return command


def wanted(*endings: str) -> set[str]:
    """The files of the project with one of these endings, from its root."""
    return {
        name
        for ending in endings
        for name in glob.glob(f"zsofs/**/*{ending}", root_dir=ROOT, recursive=True)
    }


def test_the_sdist_has_what_it_is_built_from(built: Path) -> None:
    with tarfile.open(built / f"zsofs-{__version__}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    sources = wanted(".py", ".pyx", ".pxd", ".h", ".pyi", ".service", ".zso", ".cso")
    assert len(sources) > 70
    assert sources <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    documents = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert len(documents) >= 6
    assert documents <= names
    # With the man pages built, and what makes a Debian package.
    assert {f"man/{name}.{section}" for _, name, _, _, section in man_pages.MAN_PAGES} <= names
    assert {"bootstrap.sh", "release/deb.py", "release/debian/postinst"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]
    assert not [name for name in names if name.endswith((".c", ".so", ".pyc"))]
    assert not [name for name in names if "_build/" in name]


def test_the_wheel_has_all_that_is_used(built: Path) -> None:
    (path,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(path).namelist())
    assert wanted(".py", ".pyx", ".pxd", ".h", ".pyi") <= names
    for endings in ((".service",), (".zso", ".cso")):
        data = wanted(*endings)
        assert len(data) >= 2
        assert data <= names
    assert "zsofs/py.typed" in names
    for _, name, _, _, section in man_pages.MAN_PAGES:
        place = f"zsofs-{__version__}.data/data/share/man/man{section}/{name}.{section}"
        assert place in names
    for name in ("native/block_reader", "native/codecs", "fuse/_receive"):
        assert [found for found in names if found.startswith(f"zsofs/{name}.cpython-")]


def test_what_was_installed_runs(installed: Path) -> None:
    assert run(installed, "--version") == f"zsofs {__version__}\n"
    assert "zsofs mount" in run(installed, "mount", "--help")


def test_what_was_installed_has_the_sample_disc(installed: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    try:
        assert "mounted at" in run(installed, "mount", "--demo", point)
        assert len(list(point.iterdir())) == 3
    finally:
        unmount(point)


def test_what_was_installed_mounts(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/disc.zso").write_bytes((DATA / "ziso-py.zso").read_bytes())
    with mounted(tmp_path / "source", tmp_path / "mnt", command=(str(installed),)) as mount:
        assert (mount.path / "disc.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
