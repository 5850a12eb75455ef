"""All that is released, as `./bootstrap.sh release` makes it; all at once with --thorough."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from release import portable
from tests.support.rounds import rounds
from tests.system.conftest import ROOT
from tests.system.shared import PIP_CACHE
from tests.system.test_install import clone_to
from zsofs import __version__

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("release")]

DATE = 1796000000  # of the sources, in seconds
NAME = f"zsofs-{__version__}"


def release(clone: Path, *words: str) -> str:
    """Release a copy of the project; return what is said meanwhile."""
    clone_to(clone)
    (clone / "zsofs/native").mkdir(exist_ok=True)
    for path in ROOT.glob("zsofs/*/*.so"):  # the programs that make them import zsofs
        (clone / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "release.everything", *words],
        cwd=clone,
        env={**os.environ, **PIP_CACHE, "SOURCE_DATE_EPOCH": str(DATE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def checked(dist: Path) -> set[str]:
    """The names of the files with a checksum, each of which fits; there are no others."""
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    names = {line.split("  ")[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert {path.name for path in dist.iterdir()} == {*names, "SHA256SUMS"}
    return names


def check_changes(dist: Path) -> None:
    """The newest section of the changelog, and nothing else of it."""
    changes = (dist / f"{NAME}-changes.md").read_text()
    newest = re.split(r"^(?=## )", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1]
    assert changes == newest.strip() + "\n"
    assert changes.startswith(f"## {__version__} (")


def test_source_and_wheel_are_the_same_when_they_are_built_again(tmp_path: Path) -> None:
    """Each is built in a directory of its own, and has the version and the date of the sources."""
    said = release(tmp_path / "zsofs", "--twice", "sdist", "wheel", "changes")
    assert "3 of 3 files are the same when they are built again\n" in said, said
    dist = tmp_path / "zsofs/dist"
    (wheel,) = dist.glob("*.whl")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert re.fullmatch(rf"{re.escape(NAME)}-{python}-{python}-linux_\w+\.whl", wheel.name)
    assert checked(dist) == {f"{NAME}.tar.gz", wheel.name, f"{NAME}-changes.md"}
    check_changes(dist)
    version = f"\nVersion: {__version__}\n"
    with zipfile.ZipFile(wheel) as archive:
        assert version in archive.read(f"{NAME}.dist-info/METADATA").decode()
        for name in archive.namelist():
            assert os.fsencode(tmp_path) not in archive.read(name), name
            assert b"zsofs-wheel-" not in archive.read(name), name
    with tarfile.open(dist / f"{NAME}.tar.gz") as sdist:
        assert {(item.mtime, item.uid, item.uname) for item in sdist} == {(DATE, 0, "")}
        information = sdist.extractfile(f"{NAME}/PKG-INFO")
        assert information is not None
        assert version in information.read().decode()


def test_what_cannot_be_built() -> None:
    words = [sys.executable, "-m", "release.everything", "wheel", "rpm"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    names = "sdist, wheel, deb, portable, docs, changes, container"
    assert done.stderr.endswith(f": 'rpm' is none of {names}\n")


@pytest.mark.timeout(3600)
@pytest.mark.skipif(rounds(0, 1) == 0, reason="takes minutes; run with --thorough")
def test_everything_is_made_and_is_the_same_again(tmp_path: Path) -> None:
    said = release(tmp_path / "zsofs", "--twice")
    dist = tmp_path / "zsofs/dist"
    names = checked(dist)
    for ending in (".tar.gz", ".deb", ".whl", "-x86_64.run", "-x86_64.tar.xz", "-docs.tar.xz"):
        assert [name for name in names if name.endswith(ending)], ending
    assert f"zsofs: {len(names)} of {len(names)} files are the same" in said, said
    check_changes(dist)


def test_the_program_that_unpacks_is_the_same_in_other_directories(tmp_path: Path) -> None:
    """It has no time of its building, and no directory of it."""
    made = []
    for place in (tmp_path / "first", tmp_path / "second"):
        tree = place / NAME
        tree.mkdir(parents=True)
        (tree / "install.sh").write_text("echo installed\n")
        os.utime(tree, (DATE, DATE))
        target = place / "zsofs.run"
        portable.self_extracting(tree, target, DATE)
        said = subprocess.run(["sh", target], capture_output=True, text=True, check=True)
        assert said.stdout.endswith("installed\n")
        assert {path.name for path in place.iterdir()} == {NAME, "zsofs.run"}
        made.append(target.read_bytes())
    assert os.fsencode(tmp_path) not in made[0]
    assert made[0][made[0].index(b"\x1f\x8b\x08") + 4 :][:4] == bytes(
        4
    )  # the time in gzip's header
    assert made[0] == made[1]
