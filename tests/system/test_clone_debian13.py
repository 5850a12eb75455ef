"""A clone on Debian 13 (Python 3.13): built by an ordinary user, and a part of its tests.

What was compiled is kept from run to run, until a native module or a dependency changes; the
modules in Python are always those of the clone.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.conftest import ROOT
from tests.system.minimal import changed, inside, layer, system
from tests.system.test_debian13 import TO_BUILD
from tests.system.test_install import clone_to

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("clone13"),
    pytest.mark.timeout(1800),  # the first run makes the system and builds
]

# What the tests below import; `./bootstrap.sh test` would also install what checks the sources.
_TOOLS = "pytest==9.1.* pytest-timeout pytest-xdist hypothesis lz4 pycdlib"
# The rooms that decode and parse, and need no program or device that this system lacks.
_ROOMS = (
    "tests/unit/formats tests/unit/native --deselect"
    " tests/unit/native/test_block_reader.py::test_nowait_where_the_file_system_cannot"
)
_AS_ME = "setpriv --reuid me --regid me --init-groups env HOME=/home/me"


def as_me(root: Path, script: str) -> str:
    """Run a script as the ordinary user, in the clone."""
    return inside(root, f"cd /home/me/zsofs; exec {_AS_ME} sh -ec '{script}' 2>&1")


def sources() -> bytes:
    """What the native modules and the environment are made from."""
    found = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for path in sorted(ROOT.glob("zsofs/*/*.p[yx][xd]")) + sorted(ROOT.glob("zsofs/*/*.h")):
        found.update(path.name.encode() + path.read_bytes())
    return found.digest() + " ".join((*TO_BUILD, _TOOLS)).encode()


@contextmanager
def with_clone(place: Path, *layers: Path) -> Iterator[Path]:
    """Provide the root of a Debian 13 with a clone of the sources as they are now."""
    with changed(place, *layers) as root:
        clone_to(root / "home/me/zsofs")
        inside(root, "chown -R me:me /home/me")
        yield root


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = system("trixie", TO_BUILD)

    def build(folder: Path) -> None:
        with with_clone(folder, base) as root:
            as_me(root, f"./bootstrap.sh --version; .venv/bin/python -m pip install {_TOOLS}")
        shutil.rmtree(folder / "system")

    built = layer("clone13", sources(), build) / "changes"
    with with_clone(tmp_path_factory.mktemp("clone13") / "place", built, base) as root:
        yield root


def test_it_is_built_for_its_python(clone: Path) -> None:
    said = as_me(clone, "./bootstrap.sh --version; .venv/bin/python -V; ls zsofs/native")
    assert "Python 3.13." in said
    assert "block_reader.cpython-313-x86_64-linux-gnu.so" in said
    assert "building" not in said


def test_its_tests_pass_as_an_ordinary_user(clone: Path) -> None:
    said = as_me(clone, f".venv/bin/python -m pytest -q -p no:cacheprovider -n 2 {_ROOMS}")
    assert " passed" in said.splitlines()[-1]
