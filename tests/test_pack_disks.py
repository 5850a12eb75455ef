"""Packing onto disks, and from disks, that cannot do all that is asked of them."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import writers
from tests.disks import exfat_mounted
from tests.mounting import ZSOFS, names
from tests.packed import image_of

IMAGE = writers.content(5 << 20, ["text", "noise", "mixed"], 2)


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_a_disk_on_which_another_user_sets_the_dates(
    as_root: None, another_user: None, tmp_path: Path, command: str
) -> None:
    """As a share of SMB is, or a stick with FAT, that root has mounted for everybody."""
    before, after = ("Game.iso", "Game.zso") if command == "pack" else ("Game.zso", "Game.iso")
    content = IMAGE if command == "pack" else writers.zsoz(IMAGE)
    with exfat_mounted(tmp_path, tmp_path / "disk") as point:
        (point / before).write_bytes(content)
        os.utime(point / before, (10**9, 10**9))
        done = subprocess.run(
            [*ZSOFS, command, before],
            cwd=point,
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(f"zsofs: {before}: its copy has the date of now")
        assert names(point) == sorted([before, after])
        assert image_of(point / after) == IMAGE
        assert (point / after).stat().st_mtime > 10**9
