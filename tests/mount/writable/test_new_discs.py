"""New discs through a mount (``--new-discs``): the client's until they are whole, then protected."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import DATA, Mount, mounted, names, timed, wait_until

ISO = (DATA / "ps2.iso").read_bytes()
QUIET = {"new_disc_quiet": 0.5, "quiet_file": 0.3}
LONG = timed(new_disc_grace=600.0, **QUIET)
SHORT = timed(new_disc_grace=0.5, **QUIET)


@pytest.fixture
def share(source: Path, tmp_path: Path) -> Iterator[Mount]:
    with mounted(source, tmp_path / "mnt", "--writable", "--new-discs", command=LONG) as mount:
        yield mount
        assert not mount.log_lines("internal error"), mount.log.read_text()


def test_cp(source: Path, tmp_path: Path) -> None:
    (source / "Old.iso").write_bytes(ISO)
    (tmp_path / "Game.iso").write_bytes(ISO)
    with mounted(source, tmp_path / "mnt", "--writable", "--new-discs", command=SHORT) as share:
        subprocess.run(["cp", "-p", tmp_path / "Game.iso", share.path], check=True)
        game = share.path / "Game.iso"
        assert game.read_bytes() == ISO
        assert (source / "Game.iso").read_bytes() == ISO
        wait_until(lambda: not game.stat().st_mode & 0o222, "the protection")
        with pytest.raises(PermissionError):
            game.unlink()
        with pytest.raises(PermissionError):
            game.write_bytes(b"")
        assert game.read_bytes() == ISO
        assert not share.log_lines("internal error"), share.log.read_text()
