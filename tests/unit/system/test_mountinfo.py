"""The kernel's table of mounts, as other users' file systems may make it look."""

from pathlib import Path

import pytest

from zsofs.system import mountinfo
from zsofs.system.mountinfo import mount_table, mounted_at, mounts_around

TABLE = (
    rb"""22 1 0:20 / /proc rw - proc proc rw
30 22 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 30 0:52 / /home/me/a\040b rw master:1 - fuse.zsofs /zso ro,user_id=1000,group_id=1000
32 30 0:53 / /evil rw - fuse. """
    + b"""\xff\xfe name rw,user_id=x
33 30 0:54 / /evil2 rw - fuse.\xff\xfe name rw,user_id=12

not a line at all
34 30 0:55 / /nfs rw - nfs4 server:/export rw
35 31 0:56 / /home/me/a\\040b/c rw - fuseblk /dev/sdb1 rw,user_id=0
"""
)


@pytest.fixture(autouse=True)
def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_bytes(TABLE)
    monkeypatch.setattr(mountinfo, "_TABLE", tmp_path / "mountinfo")


def test_odd_lines_hide_no_other() -> None:
    assert [mounted.number for mounted in mount_table()] == [22, 30, 31, 32, 33, 34, 35]
    found = mounted_at(b"/home/me/a b")
    assert found is not None
    assert (found.kind, found.user, found.device) == ("fuse.zsofs", 1000, "0:52")


def test_which_file_systems_change_elsewhere() -> None:
    kinds = {mounted.kind: mounted.changes_elsewhere for mounted in mount_table()}
    assert kinds["nfs4"]
    assert kinds["fuse.zsofs"]
    assert not kinds["fuseblk"]
    assert not kinds["ext4"]


def test_mounts_on_the_way_and_inside() -> None:
    assert [mounted.number for mounted in mounts_around(b"/home/me/a b")] == [30, 31, 35]
