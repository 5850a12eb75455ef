"""All that is released, as `./bootstrap.sh release` makes it; only with --thorough."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rounds import rounds
from tests.system.conftest import ROOT
from tests.system.test_install import clone_to
from zsofs import __version__

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(rounds(0, 1) == 0, reason="takes minutes; run with --thorough"),
]


def test_everything_is_made_and_has_its_checksum(tmp_path: Path) -> None:
    clone = tmp_path / "zsofs"
    clone_to(clone)
    (clone / "zsofs/native").mkdir(exist_ok=True)
    for path in ROOT.glob("zsofs/*/*.so"):  # the programs that make them import zsofs
        (clone / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "release.everything"],
        cwd=clone,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1796000000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dist = clone / "dist"
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    names = (dist / "SHA256SUMS").read_text()
    for ending in (".tar.gz", ".deb", ".whl", "-x86_64.run", "-x86_64.tar.xz", "-docs.tar.xz"):
        assert re.search(re.escape(ending) + "$", names, re.MULTILINE), ending
    changes = (dist / f"zsofs-{__version__}-changes.md").read_text()
    assert changes.startswith(f"## {__version__}")
