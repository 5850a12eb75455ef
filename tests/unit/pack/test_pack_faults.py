"""What is so when a system call fails late or lies: after the rename, in a deletion, in a write."""

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.disks import disk_mounted, make_ext4
from tests.support.ends import join
from tests.support.injected import preload
from tests.support.mounting import ZSOFS, mounted, names
from tests.support.packed import image_of, left_in, reports, zsofs
from tests.support.rounds import rounds
from zsofs.errors import InputError, ServiceError, SourceChangedError
from zsofs.formats.file_names import MAX_NAME, deletion_name, is_unfinished, name_before_deletion
from zsofs.images.input_image import Original, original
from zsofs.mount.systemd_units import MARK, write
from zsofs.system import renames

IMAGE = writers.disc(3 << 20, ["text", "noise"], 2)
RACES = rounds(100, 300)

NO_DIRECTORY_SYNC = """
int fsync(int fd)
{
    struct stat status;
    if (!fstat(fd, &status) && S_ISDIR(status.st_mode)) { errno = EIO; return -1; }
    return (int)syscall(SYS_fsync, fd);
}
"""

NOTHING_WRITTEN = """
static int is_hit(int fd)
{
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) path[length] = 0;
    return strstr(path, ".part") || strstr(path, ".new") || !strncmp(path, "pipe:", 5);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return is_hit(fd) ? 0 : syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite64(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return fd != 2 && is_hit(fd) ? 0 : syscall(SYS_write, fd, data, size);
}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A plain image in a directory of its own."""
    (tmp_path / "games").mkdir()
    path = tmp_path / "games" / "Game.iso"
    path.write_bytes(IMAGE)
    return path


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_a_directory_that_cannot_be_synced(tmp_path: Path, source: Path, command: str) -> None:
    """The file is complete under its name, and said to be; its source is kept."""
    target = source.with_suffix(".zso")
    if command == "unpack":
        zsofs("pack", "--delete-source", source)
        source, target = target, source
    environment = preload(tmp_path, NO_DIRECTORY_SYNC)
    done = zsofs(command, "--delete-source", source, code=8, env=environment)
    assert done.stderr.splitlines() == [
        f"zsofs: {source}: {target} is complete, but may be lost in a power failure: its"
        " directory cannot be synced: Input/output error; the source was kept"
    ]
    assert f"{source} -> {target}: " in done.stdout
    assert names(source.parent) == ["Game.iso", "Game.zso"]
    assert image_of(target, as_it_is=command == "unpack") == IMAGE
    (report,) = reports(command, source)
    assert report["state"] == "skipped"


def test_a_deletion_that_cannot_be_synced(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()
    second = NO_DIRECTORY_SYNC.replace("S_ISDIR(status.st_mode)", "is_second(&status)")
    environment = preload(
        tmp_path,
        """
        static int is_second(struct stat *status)
        {
            static int count;
            return S_ISDIR(status->st_mode) && ++count == 2;
        }
        """
        + second,
    )
    words = ("pack", "--delete-source", source, "-o", tmp_path / "out" / "Game.zso")
    done = zsofs(*words, env=environment)
    assert "it was deleted, but may reappear after a power failure: its directory" in done.stderr
    assert "; source deleted" in done.stdout
    assert names(source.parent) == []


def test_whether_the_source_was_deleted_is_said(source: Path) -> None:
    assert "deleted" not in zsofs("pack", source).stdout
    (report,) = reports("pack", "--force", source)
    assert report["source_deleted"] is False
    (report,) = reports("pack", "--force", "--delete-source", source)
    assert report["source_deleted"] is True
    packed = source.with_suffix(".zso")
    assert zsofs("unpack", "--delete-source", packed).stdout.endswith("; source deleted\n")
    (report,) = reports("pack", "--delete-source", source)
    assert report["source_deleted"] is True


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_a_write_that_takes_nothing(tmp_path: Path, source: Path, command: str) -> None:
    if command == "unpack":
        zsofs("pack", "--delete-source", source)
        source = source.with_suffix(".zso")
    environment = preload(tmp_path, NOTHING_WRITTEN)
    done = subprocess.run(
        [*ZSOFS, command, source],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 8
    assert "cannot be written: " in done.stderr
    assert names(source.parent) == [source.name]


def test_a_pipe_that_takes_nothing(tmp_path: Path, source: Path) -> None:
    zsofs("pack", source)
    environment = preload(tmp_path, NOTHING_WRITTEN)
    done = subprocess.run(
        [*ZSOFS, "unpack", source.with_suffix(".zso"), "-o", "-"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 8
    assert "the write returned 0 bytes without an error" in done.stderr


def steal_name(monkeypatch: pytest.MonkeyPatch, path: Path) -> Path:
    """Let another disc take the name of a source between its last check and its deletion."""
    other = path.with_name("other")
    other.write_bytes(b"another disc")
    real = Original.check_unchanged

    def check(image: Original) -> None:
        real(image)
        if other.exists():
            other.replace(path)

    monkeypatch.setattr(Original, "check_unchanged", check)
    return other


@pytest.mark.parametrize("has_noreplace", [True, False])
def test_a_file_that_takes_the_name_of_a_source_is_not_deleted(
    source: Path, monkeypatch: pytest.MonkeyPatch, has_noreplace: bool
) -> None:
    if not has_noreplace:
        monkeypatch.setattr(renames, "rename_new", _not_supported)
    with original(str(source)) as image:
        steal_name(monkeypatch, source)
        with pytest.raises(InputError, match="another file now has its name"):
            image.remove()
    assert source.read_bytes() == b"another disc"
    assert names(source.parent) == ["Game.iso"]


def _not_supported(*_: object) -> None:
    raise OSError(22, "Invalid argument")


def test_a_file_that_is_written_to_just_before_it_is_deleted(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Original.check_unchanged

    def check(image: Original) -> None:
        real(image)
        with source.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(Original, "check_unchanged", check)
    changed = pytest.raises(InputError, match="it was modified while it was being read")
    with original(str(source)) as image, changed:
        image.remove()
    assert source.read_bytes() == IMAGE + b"more"


def test_files_that_take_the_name_at_any_moment(tmp_path: Path) -> None:
    """A race in RACES rounds: whatever has the name at the end, no other file is lost."""
    path, other = tmp_path / "Game.iso", tmp_path / "other"
    path_text = str(path)
    for number in range(RACES):
        path.write_bytes(b"x" * 4096)
        other.write_bytes(b"another disc")
        begin = threading.Barrier(2)

        def replace(begin: threading.Barrier = begin, pause: int = number) -> None:
            begin.wait(60)
            for _ in range(pause % 100):
                os.getpid()
            os.rename(other, path)

        thread = threading.Thread(target=replace)
        with original(path_text) as image:
            thread.start()
            begin.wait(60)
            with suppress(InputError, SourceChangedError, OSError):
                image.remove()
            join(thread)
        assert path.read_bytes() == b"another disc"
        assert names(tmp_path) == ["Game.iso"], "nothing is left under a hidden name"


def kill_while_deleting(path: Path) -> Path:
    """Be killed between the two steps of a deletion; returns the hidden name."""
    pid = os.fork()
    if not pid:
        os.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        with original(str(path)) as image:
            image.remove()
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    (hidden,) = [name for name in names(path.parent) if name.endswith(".deleting")]
    assert not path.exists()
    return path.with_name(hidden)


@pytest.mark.parametrize("way", ["file", "directory", "tree"])
def test_a_deletion_that_was_interrupted_is_undone(source: Path, way: str) -> None:
    zsofs("pack", source)
    kill_while_deleting(source)
    words = {
        "file": (source,),
        "directory": (source.parent,),
        "tree": ("--recursive", source.parents[1]),
    }[way]
    done = zsofs("pack", *words)
    assert f"{source}: restored; an interrupted run was deleting this file" in done.stderr
    assert source.read_bytes() == IMAGE
    assert f"{source}: skipped, " in done.stdout
    assert names(source.parent) == ["Game.iso", "Game.zso"]
    kill_while_deleting(source)
    done = zsofs("pack", "--delete-source", *words)  # restored, compared, and deleted
    assert f"{source}: restored; an interrupted run was deleting this file" in done.stderr
    assert "already exists and has this image; source deleted" in done.stdout
    assert names(source.parent) == ["Game.zso"]
    assert image_of(source.with_suffix(".zso")) == IMAGE


def test_an_interrupted_deletion_whose_name_is_taken(source: Path) -> None:
    hidden = kill_while_deleting(source)
    another = writers.disc(98304, ["noise", "text"], 3)
    source.write_bytes(another)
    done = zsofs("pack", source.parent)
    assert f"{hidden}: an interrupted run was deleting this file, and its name" in done.stderr
    assert hidden.read_bytes() == IMAGE
    assert source.read_bytes() == another
    assert "an interrupted run" not in zsofs("pack", "--measure", source.parent).stderr


def test_hidden_names_of_deletions() -> None:
    for name in (b"Game.iso", "ü".encode() * 100, b"\xff\n.iso", b"x" * MAX_NAME):
        hidden = deletion_name(name, "00ff00ff")
        assert len(hidden) <= MAX_NAME
        assert not is_unfinished(hidden), "what is not finished is removed by the next run"
        found = name_before_deletion(hidden)
        assert found is not None
        assert name.startswith(found)
        assert (found == name) is (len(name) <= 230)
    assert name_before_deletion(b".Game.iso.zsofs-00ff00ff.part") is None


def test_a_file_that_cannot_have_its_name_back(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two others take the name, one after the other: the first is not lost, and is named."""
    steal_name(monkeypatch, source)
    real = os.stat

    def stat(path: str, **others: object) -> os.stat_result:
        if str(path).endswith(".deleting"):
            source.write_bytes(b"a third one")
        return real(path, **others)  # type: ignore[arg-type]

    with original(str(source)) as image, monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        with pytest.raises(InputError, match=r"is now called .*deleting and cannot be renamed"):
            image.remove()
    (hidden,) = source.parent.glob(".*.deleting")
    assert hidden.read_bytes() == b"another disc"
    assert source.read_bytes() == b"a third one"


@pytest.mark.usefixtures("as_root")
def test_a_source_on_a_disk_that_is_read_only(tmp_path: Path) -> None:
    backing = make_ext4(tmp_path / "disk.img", 16 << 20)
    with disk_mounted(backing, tmp_path / "disk") as point:
        (point / "Game.iso").write_bytes(IMAGE)
    out = tmp_path / "Game.zso"
    with disk_mounted(backing, tmp_path / "disk", "ro") as point:
        words = ("pack", "--delete-source", point / "Game.iso", "-o", out)
        done = zsofs(*words, code=8)
        assert done.stderr == (
            f"zsofs: {point}/Game.iso: the output is complete, but the input was not deleted:"
            " Read-only file system\n"
        )
    assert image_of(out) == IMAGE


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("link", "one of its hard links was created or deleted while it was being read"),
        ("unlink link", "one of its hard links was created or deleted while it was being read"),
        ("unlink", "it was deleted or replaced while it was being read"),
        ("rename", "its change time (ctime) changed while it was being read: it was renamed,"),
        ("chmod", "its change time (ctime) changed while it was being read: it was renamed,"),
        ("write", "it was modified while it was being read"),
    ],
)
def test_what_happened_to_an_input_while_it_was_read(source: Path, act: str, said: str) -> None:
    link = source.with_name("Link.iso")
    if act == "unlink link":
        link.hardlink_to(source)
    with original(str(source)) as image:
        if act == "link":
            link.hardlink_to(source)
        elif act == "unlink link":
            link.unlink()
        elif act == "unlink":
            source.unlink()
        elif act == "rename":
            source.rename(link)
        elif act == "chmod":
            source.chmod(0o600)
        else:
            with source.open("ab") as file:
                file.write(b"more")
        with pytest.raises(SourceChangedError) as caught:
            image.check_unchanged()
    assert str(caught.value).startswith(said)


def test_hard_links_that_are_packed_and_deleted_by_two_runs(source: Path) -> None:
    """One of them may fail, and says why; nothing is lost, and nothing is left unfinished."""
    links = [source, source.with_name("Link.iso")]
    links[1].hardlink_to(source)
    runs = [
        subprocess.Popen(
            [*ZSOFS, "pack", "--delete-source", "-q", path], stderr=subprocess.PIPE, text=True
        )
        for path in links
    ]
    for path, run in zip(links, runs, strict=True):
        _, said = run.communicate(timeout=120)
        assert run.returncode in (0, 8)
        packed = path.with_suffix(".zso")
        assert run.returncode == 0 or "one of its hard links was created or deleted" in said, said
        assert path.exists() or image_of(packed) == IMAGE
    assert left_in(source.parent) == []


def test_a_write_through_the_mount_that_takes_nothing(tmp_path: Path, source: Path) -> None:
    """It is an error for the writer; the daemon does not try for ever."""
    environment = preload(
        tmp_path,
        """
        struct iovec;
        ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { return 0; }
        ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t o) { return 0; }
        ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t o, int f) { return 0; }
        ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off_t o, int f) { return 0; }
        """,
    )
    card = source.with_name("card.bin")
    card.write_bytes(bytes(8192))
    command = ("env", f"LD_PRELOAD={environment['LD_PRELOAD']}", *ZSOFS)
    with mounted(source.parent, tmp_path / "mnt", "--writable", command=command) as made:
        done = subprocess.run(
            ["dd", "if=/dev/urandom", f"of={made.path}/card.bin", "bs=4096", "count=1"]
            + ["conv=notrunc,fsync"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Input/output error" in done.stderr
    assert card.read_bytes() == bytes(8192)


def test_the_files_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what zsofs has written is replaced, and a write that takes nothing is an error."""
    file = tmp_path / "zsofs@.service"
    write(file, f"{MARK}one")
    write(file, f"{MARK}two")
    assert file.read_text() == f"{MARK}two"
    file.write_text("[Unit]\n")
    beside = tmp_path / "zsofs@.service.new"
    beside.write_text("mine")
    with pytest.raises(ServiceError, match="the existing file was not created by zsofs"):
        write(file, f"{MARK}three")
    assert file.read_text() == "[Unit]\n"
    monkeypatch.setattr(os, "write", lambda fd, data: 0)
    with pytest.raises(ServiceError, match="the write returned 0 bytes"):
        write(tmp_path / "other.service", "text")
    assert names(tmp_path) == [file.name, beside.name]
    assert beside.read_text() == "mine"
