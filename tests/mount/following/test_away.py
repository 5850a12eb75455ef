"""A source that goes and comes back: an unmounted disk, a directory that is created again."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.mounting import (
    DATA,
    ZSOFS,
    Mount,
    mounted,
    names,
    open_to_others,
    status_of,
    timed,
    unmount,
    wait_for,
    wait_until,
)
from zsofs.system.mountinfo import mounted_at

PS2, PSP = DATA / "ps2.iso", DATA / "psp.iso"
PS2_PACKED, PSP_PACKED = DATA / "ziso-py.zso", DATA / "zstd-2048.zso"


class Disk:
    """A file system of its own, in a file."""

    def __init__(self, image: Path, content: Path) -> None:
        """Make it, holding what is in *content*."""
        self._image = image
        with image.open("wb") as file:
            file.truncate(24 << 20)
        options = ("-q", "-F", "-O", "^has_journal", "-d", content)
        subprocess.run(["mkfs.ext4", *options, image], check=True, capture_output=True)

    def mount(self, path: Path) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, path], check=True)

    @contextmanager
    def elsewhere(self, path: Path) -> Iterator[Path]:
        """Mounted where the daemon does not look, to be changed."""
        path.mkdir(exist_ok=True)
        self.mount(path)
        try:
            yield path
        finally:
            subprocess.run(["umount", path], check=True)


@pytest.fixture
def disk(as_root: None, tmp_path: Path) -> Iterator[Disk]:
    """Game.zso, and folder/Other.zso; at the end it is mounted nowhere."""
    content = tmp_path / "content"
    (content / "folder").mkdir(parents=True)
    shutil.copy(PS2_PACKED, content / "Game.zso")
    shutil.copy(PSP_PACKED, content / "folder" / "Other.zso")
    with ExitStack() as stack:
        for path in (tmp_path / "source" / "inner", tmp_path / "source"):
            stack.callback(detach, path)
        yield Disk(tmp_path / "disk", content)


def detach(path: Path) -> None:
    while is_mounted(path):
        subprocess.run(["umount", "-l", path], check=True)


def is_mounted(path: Path) -> bool:
    return mounted_at(os.fsencode(path)) is not None


def take_away(path: Path) -> None:
    """Unmount what nobody uses: a look that is under way just now may keep it for a moment."""
    wait_until(
        lambda: subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0,
        f"{path} to be free",
        10,
    )
    assert not is_mounted(path)


def check_whole(made: Mount) -> None:
    """The mount shows the disk as it was made."""
    wait_for(made.path, "Game.iso", "folder", "lost+found")
    wait_for(made.path / "folder", "Other.iso")
    check_bytes(made.path / "Game.iso", PS2)
    check_bytes(made.path / "folder" / "Other.iso", PSP)


def check_bytes(path: Path, image: Path) -> None:
    """Soon the file can be read, and has these bytes."""

    def is_there() -> bool:
        try:
            return path.read_bytes() == image.read_bytes()
        except OSError:  # what was known of it is just being replaced
            return False

    wait_until(is_there, f"{path}")


def check_away(made: Mount) -> None:
    """What the mount of a disk does while that is not there."""
    wait_until(lambda: status_of(made)["source_state"] == "away", "the status")
    assert status_of(made)["source_note"]
    assert names(made.path) == ["Game.iso", "folder", "lost+found"]
    assert names(made.path / "folder") == ["Other.iso"]
    assert (made.path / "Game.iso").stat().st_size == PS2.stat().st_size
    for path in (made.path / "Game.iso", made.path / "folder" / "Other.iso"):
        check_refused(path)
    os.statvfs(made.path)
    assert len(made.log_lines("the source directory is not available")) == 1


def check_refused(path: Path) -> None:
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    assert caught.value.errno in (errno.ENOENT, errno.EIO, errno.ENOTCONN)


# A disk


def test_a_disk_that_nobody_reads_can_be_unmounted_and_comes_back(
    source: Path, disk: Disk, mount: MountMaker
) -> None:
    disk.mount(source)
    made = mount(source)
    check_whole(made)
    assert status_of(made)["source_state"] == "there"
    for _ in range(2):
        take_away(source)
        check_away(made)
        disk.mount(source)
        check_whole(made)
        wait_until(lambda: status_of(made)["source_state"] == "there", "the status")
        assert status_of(made)["source_note"] == ""
    assert made.log_lines("the source directory is available again")
    shutil.copy(PSP_PACKED, source / "folder" / "New.zso")
    wait_for(made.path / "folder", "New.iso", "Other.iso")


def test_a_disk_that_comes_back_with_other_contents(
    source: Path, tmp_path: Path, disk: Disk, mount: MountMaker
) -> None:
    disk.mount(source)
    made = mount(source)
    check_whole(made)
    take_away(source)
    check_away(made)
    with disk.elsewhere(tmp_path / "elsewhere") as there:
        shutil.copy(PSP_PACKED, there / "Game.zso")
        shutil.copy(PS2_PACKED, there / "New.zso")
        shutil.rmtree(there / "folder")
        (there / "other folder").mkdir()
        shutil.copy(PSP_PACKED, there / "other folder" / "Last.zso")
    assert names(made.path) == ["Game.iso", "folder", "lost+found"]
    disk.mount(source)
    wait_for(made.path, "Game.iso", "New.iso", "lost+found", "other folder")
    wait_for(made.path / "other folder", "Last.iso")
    check_bytes(made.path / "Game.iso", PSP)
    check_bytes(made.path / "New.iso", PS2)
    check_bytes(made.path / "other folder" / "Last.iso", PSP)


def test_a_disk_with_a_disc_open_is_busy_until_that_is_closed(
    source: Path, disk: Disk, mount: MountMaker
) -> None:
    disk.mount(source)
    made = mount(source)
    with (made.path / "Game.iso").open("rb", buffering=0) as reader:
        assert reader.read(4096) == PS2.read_bytes()[:4096]
        for _ in range(20):
            assert subprocess.run(["umount", source], capture_output=True, check=False).returncode
        assert is_mounted(source)
    take_away(source)


def test_a_reader_keeps_a_disk_that_is_detached(
    source: Path, disk: Disk, mount: MountMaker
) -> None:
    disk.mount(source)
    made = mount(source)
    check_whole(made)
    with (made.path / "Game.iso").open("rb", buffering=0) as reader:
        assert reader.read(4096) == PS2.read_bytes()[:4096]
        subprocess.run(["umount", "--lazy", source], check=True)
        wait_until(lambda: status_of(made)["source_state"] == "away", "the status")
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        reader.seek(0)
        assert reader.readall() == PS2.read_bytes()
        assert names(made.path / "folder") == ["Other.iso"]
        check_refused(made.path / "folder" / "Other.iso")
    disk.mount(source)
    check_whole(made)


def test_a_disk_mounted_over_an_empty_source(source: Path, disk: Disk, mount: MountMaker) -> None:
    made = mount(source)
    assert names(made.path) == []
    disk.mount(source)
    check_whole(made)
    take_away(source)
    check_away(made)
    disk.mount(source)
    check_whole(made)


def test_a_disk_mounted_over_a_source_that_has_files(
    source: Path, disk: Disk, mount: MountMaker
) -> None:
    """Both have something to show, so what is there is shown."""
    shutil.copy(PSP_PACKED, source / "Game.zso")
    (source / "folder").mkdir()
    shutil.copy(PS2_PACKED, source / "folder" / "Below.zso")
    made = mount(source)
    wait_for(made.path, "Game.iso", "folder")
    wait_for(made.path / "folder", "Below.iso")
    disk.mount(source)
    check_whole(made)
    take_away(source)
    wait_for(made.path, "Game.iso", "folder")
    wait_for(made.path / "folder", "Below.iso")
    check_bytes(made.path / "Game.iso", PSP)
    check_bytes(made.path / "folder" / "Below.iso", PS2)
    assert status_of(made)["source_state"] == "there"


def test_a_disk_mounted_on_a_folder_of_the_source(
    source: Path, tmp_path: Path, disk: Disk, mount: MountMaker
) -> None:
    inner = source / "inner"
    inner.mkdir()
    shutil.copy(PS2_PACKED, source / "Own.zso")
    disk.mount(inner)
    made = mount(source)
    wait_for(made.path, "Own.iso", "inner")
    wait_for(made.path / "inner", "Game.iso", "folder", "lost+found")
    wait_for(made.path / "inner" / "folder", "Other.iso")
    take_away(inner)
    for _ in range(3):
        assert names(made.path) == ["Own.iso", "inner"]
        assert names(made.path / "inner") == ["Game.iso", "folder", "lost+found"]
        check_refused(made.path / "inner" / "Game.iso")
        check_bytes(made.path / "Own.iso", PS2)
    assert status_of(made)["source_state"] == "there"
    with disk.elsewhere(tmp_path / "elsewhere") as there:
        shutil.copy(PSP_PACKED, there / "New.zso")
    disk.mount(inner)
    wait_for(made.path / "inner", "Game.iso", "New.iso", "folder", "lost+found")
    wait_for(made.path / "inner" / "folder", "Other.iso")
    check_bytes(made.path / "inner" / "New.iso", PSP)
    check_bytes(made.path / "inner" / "Game.iso", PS2)
    check_bytes(made.path / "inner" / "folder" / "Other.iso", PSP)
    shutil.copy(PS2_PACKED, inner / "folder" / "Last.zso")
    wait_for(made.path / "inner" / "folder", "Last.iso", "Other.iso")


def check_cannot_change(made: Mount, folder: str, *more: Callable[[Path], object]) -> None:
    """Nothing can be changed in a folder whose disk is away, and nothing is in the one below it."""
    path, below = made.path / folder, made.source / folder
    rights = below.stat().st_mode
    changes: tuple[Callable[[Path], object], ...] = (
        lambda path: (path / "new").touch(),
        lambda path: (path / "new folder").mkdir(),
        lambda path: os.mknod(path / "node", stat.S_IFREG | 0o600),
        lambda path: path.chmod(0o711),
        lambda path: os.utime(path, (1, 1)),
        *more,
    )
    for change in changes:
        with pytest.raises(OSError) as caught:
            change(path)
        assert caught.value.errno == errno.ENOMEDIUM
    assert names(below) == []
    assert below.stat().st_mode == rights
    assert below.stat().st_mtime != 1


def put(path: Path) -> None:
    path.write_text("text")


@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_nothing_is_written_below_a_disk_that_is_away(
    source: Path, disk: Disk, mount: MountMaker, layout: str
) -> None:
    """What was would show instead of the disk, and not be on it later."""
    source.chmod(0o700)
    disk.mount(source)
    source.chmod(0o750)
    made = mount(source, "--writable", "--layout", layout)
    more: tuple[Callable[[Path], object], ...] = (
        lambda path: (path / "save.cfg").write_text("new"),
        lambda path: (path / "save.cfg").chmod(0o600),
        lambda path: (path / "save.cfg").rename(path / "other.cfg"),
        lambda path: (path / "save.cfg").unlink(),
        lambda path: put(path / ("folder" if layout == "plain" else "DVD") / "new"),
    )
    put(made.path / "save.cfg")
    if layout == "plain":  # else it shows in DVD and CD
        assert names(made.path / "folder") == ["Other.iso"]
    shown = names(made.path)
    assert "save.cfg" in shown
    for _ in range(2):
        take_away(source)
        check_cannot_change(made, ".", *more)
        wait_until(lambda: status_of(made)["source_state"] == "away", "the status")
        check_cannot_change(made, ".", *more)
        assert names(made.path) == shown
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o750
        assert status_of(made)["source_state"] == "away"
        disk.mount(source)
        wait_until(lambda: status_of(made)["source_state"] == "there", "the status")
        assert names(made.path) == shown
        assert (made.path / "save.cfg").read_text() == "text"
        (made.path / "new").touch()
        (made.path / "new").unlink()
        assert names(source) == ["Game.zso", "folder", "lost+found", "save.cfg"]
    assert len(made.log_lines("WARNING: the source directory: unmounted")) == 1
    assert made.log_lines("internal error") == []


def test_nothing_is_written_below_an_inner_disk_that_is_away(
    source: Path, disk: Disk, mount: MountMaker
) -> None:
    inner = source / "inner"
    inner.mkdir(mode=0o755)
    disk.mount(inner)
    made = mount(source, "--writable")
    wait_for(made.path / "inner", "Game.iso", "folder", "lost+found")
    take_away(inner)
    for _ in range(2):
        check_cannot_change(made, "inner", Path.rmdir, lambda path: path.rename(made.path / "new"))
        assert names(made.path / "inner") == ["Game.iso", "folder", "lost+found"]
    put(made.path / "new")  # on a disk that is there
    disk.mount(inner)
    put(made.path / "inner" / "new")
    assert names(inner) == ["Game.zso", "folder", "lost+found", "new"]
    assert names(source) == ["inner", "new"]
    assert made.log_lines("internal error") == []


def check_stays(act: Callable[[], object]) -> None:
    """The change is refused because a disk is away."""
    with pytest.raises(OSError) as caught:
        act()
    assert caught.value.errno == errno.ENOMEDIUM


def test_nothing_replaces_the_mount_point_of_a_disk_that_is_away(
    source: Path, disk: Disk, mount: MountMaker
) -> None:
    """Nor is a directory that contains it renamed: the disk could not be mounted there again."""
    inner = source / "above" / "inner"
    inner.mkdir(parents=True)
    (source / "empty").mkdir()
    disk.mount(inner)
    try:
        made = mount(source, "--writable")
        shown = made.path / "above" / "inner"
        wait_for(shown, "Game.iso", "folder", "lost+found")
        wait_until(lambda: not status_of(made)["counting"], "the count, which opens directories")
        subprocess.run(["umount", inner], check=True)
        for _ in range(2):
            check_stays(lambda: (made.path / "empty").rename(shown))
            check_stays(lambda: shown.rename(made.path / "new"))
            check_stays(lambda: (made.path / "above").rename(made.path / "new"))
            check_stays(lambda: shown.rename(made.path / "empty"))
        assert names(source) == ["above", "empty"]
        assert names(source / "above") == ["inner"]
        disk.mount(inner)
        wait_for(shown, "Game.iso", "folder", "lost+found")
        (made.path / "empty").rename(made.path / "other")
        (made.path / "other").rmdir()
        assert names(source) == ["above"]
        assert made.log_lines("internal error") == []
    finally:
        detach(inner)


# A source that is not there yet


def run_as(user: int, script: str, folder: Path) -> str:
    """What a script says that another user runs in a folder, its errors too."""
    return subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        user=user,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    ).stdout


def check_absent(made: Mount, user: int | None = None) -> None:
    """A mount that has never seen its source: an empty one could make a mirror job delete."""
    if user is None:
        for ask in (os.listdir, lambda path: os.stat(path / "Game.iso")):
            with pytest.raises(OSError) as caught:
                ask(made.path)
            assert caught.value.errno == errno.ENOMEDIUM
    else:
        assert "No medium found" in run_as(user, "LC_ALL=C ls 2>&1", made.path)
    assert stat.S_ISDIR(made.path.stat().st_mode)
    os.statvfs(made.path)
    status = status_of(made)
    assert status["source_state"] == "not there yet"
    assert "No such file" in status["source_note"]


@pytest.mark.usefixtures("as_root")
def test_a_disk_that_comes_after_the_mount(
    tmp_path: Path, source: Path, disk: Disk, mount: MountMaker
) -> None:
    late = source / "folder"
    made = mount(late, "--nofail", "--writable")
    check_absent(made)
    with pytest.raises(OSError) as caught:
        (made.path / "new").touch()
    assert caught.value.errno == errno.ENOMEDIUM
    disk.mount(source)
    wait_for(made.path, "Other.iso")
    check_bytes(made.path / "Other.iso", PSP)
    assert status_of(made)["source_state"] == "there"
    (made.path / "new").touch()
    assert (late / "new").exists()
    assert len(made.log_lines("its discs appear when it becomes available")) == 1
    take_away(source)
    wait_until(lambda: status_of(made)["source_state"] == "away", "the status")
    assert names(made.path) == ["Other.iso", "new"]


def test_a_source_for_open_ps2_loader_that_is_made_after_the_mount(
    tmp_path: Path, mount: MountMaker
) -> None:
    late = tmp_path / "late"
    made = mount(late, "--nofail", "--layout", "opl")
    check_absent(made)
    (tmp_path / "new").mkdir()
    shutil.copy(PS2_PACKED, tmp_path / "new" / "Game.zso")
    (tmp_path / "new").rename(late)
    wait_until(lambda: len(os.listdir(made.path / "CD")) == 1, "the disc")


PATIENT = timed(look_for_source=1e9)
"""A zsofs that looks for its source when it begins, and after that only when it is told to."""


def test_a_reload_looks_for_a_source_that_was_not_there(tmp_path: Path, source: Path) -> None:
    """And nothing else does at once: the first look is over when the status has its end."""
    late = tmp_path / "late"
    shutil.copy(PS2_PACKED, source / "Game.zso")
    with mounted(late, tmp_path / "mnt", "--nofail", command=PATIENT) as made:
        wait_until(lambda: status_of(made)["source_state"] == "not there yet", "the first look")
        source.rename(late)
        time.sleep(0.5)
        assert status_of(made)["source_state"] == "not there yet"
        subprocess.run([*ZSOFS, "reload", made.path], check=True)
        assert status_of(made)["source_state"] == "there"
        assert made.log_lines("the source directory is available now")
        wait_for(made.path, "Game.iso")


@pytest.mark.usefixtures("as_root")
def test_a_source_that_comes_later_below_a_folder_that_the_user_cannot_read(
    tmp_path: Path,
) -> None:
    """As in the folders of removable disks; what is above a source does not matter."""
    above = tmp_path / "above"
    above.mkdir(mode=0o711)
    open_to_others(tmp_path)
    late = above / "disk" / "zso"
    words = ("--nofail", "--allow-other", "--setuid", "nobody")
    with mounted(late, tmp_path / "mnt", *words) as made:
        check_absent(made, user=65534)
        late.mkdir(parents=True)
        shutil.copy(PS2_PACKED, late / "Game.zso")
        done = run_as(
            65534, "for _ in $(seq 100); do ls Game.iso && exit; sleep 0.1; done", made.path
        )
        assert done == "Game.iso\n"


def test_a_source_that_comes_later_by_a_symlink(tmp_path: Path, source: Path) -> None:
    (tmp_path / "folder").mkdir()
    late = tmp_path / "folder" / "zso"
    shutil.copy(PS2_PACKED, source / "Game.zso")
    (source / "Same.zso").symlink_to(source / "Game.zso")
    with mounted(late, tmp_path / "mnt", "--nofail") as made:
        check_absent(made)
        late.symlink_to(source)
        wait_for(made.path, "Game.iso", "Same.iso")
        check_bytes(made.path / "Same.iso", PS2)


def test_what_nofail_is_not_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [*ZSOFS, "mount", "--nofail", tmp_path / "file", tmp_path / "point"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "is not a directory" in done.stderr) == (3, True)


# A folder


@pytest.mark.parametrize("way", ["removed", "renamed"])
def test_a_source_folder_that_goes_and_is_made_again(
    source: Path, tmp_path: Path, mount: MountMaker, way: str
) -> None:
    (source / "folder").mkdir()
    (source / "lost+found").mkdir()  # as on a disk
    shutil.copy(PS2_PACKED, source / "Game.zso")
    shutil.copy(PSP_PACKED, source / "folder" / "Other.zso")
    made = mount(source)
    check_whole(made)
    if way == "removed":
        # All at once: a folder that is emptied file by file is shown so.
        source.rename(tmp_path / "kept")
        shutil.rmtree(tmp_path / "kept")
    else:
        source.rename(tmp_path / "kept")
    check_away(made)
    (tmp_path / "new").mkdir()
    shutil.copy(PSP_PACKED, tmp_path / "new" / "Game.zso")
    (tmp_path / "new").rename(source)
    wait_for(made.path, "Game.iso")
    check_bytes(made.path / "Game.iso", PSP)
    assert status_of(made)["source_state"] == "there"
    if way == "renamed":  # what happens there is no business of ours any more
        shutil.copy(PS2_PACKED, tmp_path / "kept" / "Strange.zso")
    shutil.copy(PS2_PACKED, source / "New.zso")
    wait_for(made.path, "Game.iso", "New.iso")


# Another daemon


@contextmanager
def other_daemon(base: Path, point: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A mount of the folder «origin» at *point*; its daemon may be killed."""
    daemon = subprocess.Popen(
        [*ZSOFS, "mount", "-f", "-q", base / "origin", point], stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: daemon.poll() is not None or is_mounted(point), "the mount")
        assert names(point) == names(base / "origin")
        yield daemon
    finally:
        unmount(point)
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(10)
        daemon.kill()
        daemon.wait(60)


def kill(daemon: "subprocess.Popen[bytes]", point: Path) -> None:
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(60)
    with pytest.raises(OSError) as caught:
        os.listdir(point)
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    wait_until(lambda: not os.path.isdir(point), "the kernel to forget what it was told")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """What the other daemon shows."""
    folder = tmp_path / "origin"
    folder.mkdir()
    (folder / "Picture.jpg").write_bytes(b"picture")
    return folder


def test_a_source_behind_a_daemon_that_dies(
    source: Path, tmp_path: Path, origin: Path, mount: MountMaker
) -> None:
    with other_daemon(tmp_path, source) as daemon:
        made = mount(source)
        assert names(made.path) == ["Picture.jpg"]
        assert (made.path / "Picture.jpg").read_bytes() == b"picture"
        kill(daemon, source)
        # The kernel tells nothing of that.
        subprocess.run([*ZSOFS, "reload", made.path], check=True)
        wait_until(lambda: status_of(made)["source_state"] == "away", "the status")
        assert names(made.path) == ["Picture.jpg"]
        check_refused(made.path / "Picture.jpg")
        os.statvfs(made.path)
    (origin / "New.jpg").write_bytes(b"new")
    assert names(made.path) == ["Picture.jpg"]
    with other_daemon(tmp_path, source):
        wait_for(made.path, "New.jpg", "Picture.jpg")
        assert (made.path / "New.jpg").read_bytes() == b"new"
        assert (made.path / "Picture.jpg").read_bytes() == b"picture"
        wait_until(lambda: status_of(made)["source_state"] == "there", "the status")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.usefixtures("origin")
def test_a_dead_mount_in_the_source_costs_its_own_folder_alone(
    source: Path, tmp_path: Path, mount: MountMaker, when: str
) -> None:
    """Whether it died before the mount began, or after."""
    shutil.copy(PS2_PACKED, source / "Game.zso")
    point = source / "point"
    point.mkdir()
    with other_daemon(tmp_path, point) as daemon:
        if when == "before":
            kill(daemon, point)
        made = mount(source)
        if when == "after":
            assert names(made.path / "point") == ["Picture.jpg"]
            kill(daemon, point)
            subprocess.run([*ZSOFS, "reload", made.path], check=True)
            assert names(made.path) == ["Game.iso", "point"]
            assert names(made.path / "point") == ["Picture.jpg"]
        else:
            assert names(made.path) == ["Game.iso"]
        assert (made.path / "Game.iso").read_bytes() == PS2.read_bytes()
        shutil.copy(PSP_PACKED, source / "New.zso")
        wait_until(lambda: {"Game.iso", "New.iso"} <= set(names(made.path)), "the new disc")
        assert status_of(made)["source_state"] == "there"
    wait_for(made.path, "Game.iso", "New.iso", "point")
    with other_daemon(tmp_path, point):
        wait_for(made.path / "point", "Picture.jpg")
        assert (made.path / "point" / "Picture.jpg").read_bytes() == b"picture"
