"""Opening what another user owns: nothing there can make who opens it wait."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.mount.control.test_control import mounted
from tests.mount.control.test_control import runtime as runtime
from zsofs.mount.control.protocol import connect_to
from zsofs.system.mountinfo import mount_table
from zsofs.system.nofollow import OthersLinkError, answering_kinds, reached, roots_path


def reach(path: Path) -> tuple[int, int]:
    """Device and inode of what lies there."""
    with reached(path, answering_kinds(mount_table())) as fd:
        status = os.fstat(fd)
    return status.st_dev, status.st_ino


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a socket."""
    path = tmp_path.resolve() / "folder"
    path.mkdir()
    return path


def test_what_is_there(folder: Path) -> None:
    (folder / "file").touch()
    for path in (folder, folder / "file", Path("/")):
        assert reach(path) == (path.stat().st_dev, path.stat().st_ino)
    with pytest.raises(FileNotFoundError):
        reach(folder / "none")
    with pytest.raises(NotADirectoryError):
        reach(folder / "file" / "below")


def test_a_connection_to_a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        with reached(folder / "socket", answering_kinds(mount_table())) as fd:
            connect_to(f"/proc/self/fd/{fd}", time.monotonic() + 20).close()
        listener.accept()[0].close()


def test_symlinks_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        (tmp_path / "to-folder").symlink_to(folder)
        (tmp_path / "to-socket").symlink_to(folder / "socket")
        with pytest.raises(NotADirectoryError):
            reach(tmp_path.resolve() / "to-folder" / "socket")
        path = tmp_path.resolve() / "to-socket"
        with reached(path, answering_kinds(mount_table())) as fd, pytest.raises(OSError):
            connect_to(f"/proc/self/fd/{fd}", time.monotonic() + 20)


def test_a_file_system_that_never_answers(folder: Path) -> None:
    """Neither what lies in it nor its top is asked for; nor is one that came after the table."""
    before = answering_kinds(mount_table())
    with mounted(folder / "mnt") as point:
        now = answering_kinds(mount_table())
        # Another test may have had a mount that has ended, whose number this one got.
        before = {number: kind for number, kind in before.items() if number in now}
        for path in (Path(os.fsdecode(point)), folder / "mnt" / "below"):
            for kinds in (before, now):
                with (
                    pytest.raises(OSError, match="Invalid cross-device link"),
                    reached(path, kinds),
                ):
                    pass
    assert reach(folder) == (folder.stat().st_dev, folder.stat().st_ino)


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_a_mount_on_the_way_that_answers(folder: Path) -> None:
    """As /run/user/UID is one."""
    (folder / "mnt").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", folder / "mnt"], check=True)
    try:
        (folder / "mnt" / "file").touch()
        status = (folder / "mnt" / "file").stat()
        assert reach(folder / "mnt" / "file") == (status.st_dev, status.st_ino)
    finally:
        subprocess.run(["umount", folder / "mnt"], check=True)


@pytest.mark.usefixtures("as_root")
def test_the_real_path_of_what_root_leads_to(folder: Path) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / "short").symlink_to("a/../a/b/")
    (folder / "long").symlink_to(folder / "short")
    (folder / "a/b/out").symlink_to("../../none")
    missing = "none", "none/below", "none/../a", "long/none", "long/out"
    for path in ("", "a/b", "short", "long", "long/../a", *missing):
        there = os.fsencode(folder / path)
        assert roots_path(there) == os.path.realpath(there)
    (folder / "round").symlink_to("round")
    with pytest.raises(OSError, match="Too many levels"):
        roots_path(bytes(folder / "round"))
    (folder / "file").touch()
    with pytest.raises(NotADirectoryError):
        roots_path(bytes(folder / "file/below"))


@pytest.mark.usefixtures("as_root")
def test_nobody_else_leads_root(folder: Path) -> None:
    (folder / "a").mkdir()
    link = folder / "link"
    link.symlink_to("a")
    (folder / "own").symlink_to("link")
    assert roots_path(bytes(folder / "own")) == bytes(folder / "a")
    os.chown(link, 65534, 65534, follow_symlinks=False)
    for path in (link, link / "none", folder / "own"):
        with pytest.raises(OthersLinkError) as caught:
            roots_path(bytes(path))
        assert caught.value.filename == bytes(link)
