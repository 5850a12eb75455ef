"""Nothing done in a writable mount can change a disc, or take its name, or its folder away."""

import errno
import hashlib
import os
import random
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import DATA, Mount, change_owner, mounted, wait_for, wait_until

ISO = (DATA / "ps2.iso").read_bytes()
RAW_CD = (b"\x00" + b"\xff" * 10 + b"\x00" + bytes(4) + b"cd" * 1168) * 20


def fill(source: Path) -> None:
    """Discs of every kind and in every place where one may be, and what is no disc."""
    for folder in ("deep/er", "only", "VMC", "DVD", "empty"):
        (source / folder).mkdir(parents=True)
    for name in ("ziso-py.zso", "maxcso.dax", "ciso-py.cso"):
        shutil.copy(DATA / name, source / name)
    shutil.copy(DATA / "ziso-py.zso", source / "deep" / "er" / "Deep.ZSO")
    shutil.copy(DATA / "ziso-py.zso", source / "only" / "noending")
    (source / "DVD" / "Plain.iso").write_bytes(ISO)
    (source / "plain.img").write_bytes(ISO)
    (source / "packed.bin").write_bytes((DATA / "zstd-2048.zso").read_bytes())
    (source / "track.bin").write_bytes(RAW_CD)
    (source / "cut.zso").write_bytes((DATA / "ziso-py.zso").read_bytes()[:5000])
    (source / "card.cfg").symlink_to("ziso-py.zso")  # called like no disc, but one
    os.link(source / "maxcso.dax", source / "alias.cfg")
    (source / "VMC" / "card.bin").write_bytes(b"Sony PS2 Memory Card Format 1.2.0.0" + bytes(9000))
    (source / "notes.txt").write_text("notes")


DISCS = (
    "ziso-py.zso",
    "maxcso.dax",
    "ciso-py.cso",
    "deep/er/Deep.ZSO",
    "only/noending",
    "DVD/Plain.iso",
    "plain.img",
    "packed.bin",
    "track.bin",
    "cut.zso",
)


def discs(source: Path) -> dict[str, tuple[object, ...]]:
    """Bytes, inode and all that chmod, chown and utime set, of each disc in the source."""
    found: dict[str, tuple[object, ...]] = {}
    for name in DISCS:
        status = (source / name).stat()
        found[name] = (
            hashlib.sha1((source / name).read_bytes()).hexdigest(),
            status.st_ino,
            status.st_mode,
            status.st_uid,
            status.st_mtime_ns,
        )
    return found


@pytest.fixture(params=["plain", "opl", "new-discs"])
def share(tmp_path: Path, source: Path, request: pytest.FixtureRequest) -> Iterator[Mount]:
    fill(source)
    options = ("--new-discs",) if request.param == "new-discs" else ("--layout", request.param)
    with mounted(source, tmp_path / "mnt", "--writable", *options) as mount:
        yield mount
        assert not mount.log_lines("internal error"), mount.log.read_text()


def open_for(flags: int) -> Callable[[Path], object]:
    return lambda path: os.close(os.open(path, flags, 0o644))


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": open_for(os.O_WRONLY),
    "write and read": open_for(os.O_RDWR),
    "append": open_for(os.O_WRONLY | os.O_APPEND),
    "cut": open_for(os.O_RDONLY | os.O_TRUNC),
    "create anyway": open_for(os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    "truncate": lambda path: os.truncate(path, 5),
    "delete": os.unlink,
    "rename": lambda path: os.rename(path, path.with_name("new")),
    "rename to a disc's name": lambda path: os.rename(path, path.with_name("new.iso")),
    "chmod": lambda path: os.chmod(path, 0o777),
    "chown": change_owner,
    "touch": os.utime,
    "replace": lambda path: os.rename(path.parent / "mine.txt", path),
}


def shown_discs(mount: Mount) -> list[Path]:
    """Everything in the mount that stands for a disc, under whatever name."""
    found = []
    for above, _, names in os.walk(mount.path):
        for name in names:
            path = Path(above) / name
            with path.open("rb") as file:
                head = file.read(len(ISO) + 1)
            if head == ISO or head.startswith((RAW_CD[:2352], b"ZISO", b"DAX")):
                found.append(path)
    return found


@pytest.mark.parametrize("what", CHANGES)
def test_no_change_of_a_disc(share: Mount, what: str) -> None:
    before = discs(share.source)
    shown = shown_discs(share)
    assert len(shown) >= 5
    aliases = ("card.cfg", "alias.cfg")
    for path in shown:
        if path.name in aliases and what in ("delete", "rename", "replace"):
            continue  # the alias goes, not the disc
        (path.parent / "mine.txt").write_text("mine")
        with pytest.raises(PermissionError) as caught:
            CHANGES[what](path)
        assert caught.value.errno == errno.EACCES, path
        (path.parent / "mine.txt").unlink()
    assert discs(share.source) == before
    assert sorted(shown_discs(share)) == sorted(shown)
    assert share.log_lines("refused")


def test_no_change_of_a_disc_that_somebody_reads(share: Mount) -> None:
    before = discs(share.source)
    shown = shown_discs(share)
    for path in shown:
        with path.open("rb") as file:
            with pytest.raises(PermissionError):
                os.fchmod(file.fileno(), 0o777)
            with pytest.raises(PermissionError):
                os.utime(file.fileno(), (1, 1))
            with pytest.raises(PermissionError):
                os.truncate(path, 0)
    assert discs(share.source) == before


@pytest.mark.parametrize("share", ["plain", "opl"], indirect=True)
def test_names_of_discs_cannot_be_taken(share: Mount) -> None:
    before = discs(share.source)
    listed = sorted(os.listdir(share.path))
    (share.path / "mine").write_text("mine")
    (share.path / "mydir").mkdir()
    for name in ("x.iso", "x.ISO", "x.zso", "x.cso", "x.ciso", "x.dax", "ziso-py.zso"):
        for act in (
            open_for(os.O_WRONLY | os.O_CREAT),
            open_for(os.O_WRONLY | os.O_CREAT | os.O_EXCL),
            os.mkdir,
            lambda path: os.mknod(path, stat.S_IFREG | 0o644),
            lambda path: os.rename(share.path / "mine", path),
            lambda path: os.rename(share.path / "mydir", path),
        ):
            with pytest.raises(OSError) as caught:
                act(share.path / name)
            assert caught.value.errno in (errno.EACCES, errno.EEXIST), name
    assert sorted(os.listdir(share.path)) == sorted([*listed, "mine", "mydir"])
    assert discs(share.source) == before


def test_a_packed_file_that_is_shown_under_another_name_is_not_replaced(share: Mount) -> None:
    """`packed.bin` and `only/noending` are shown as `.iso`: their own names look free."""
    before = discs(share.source)
    (share.path / "mine").write_text("mine")
    assert "packed.bin" not in os.listdir(share.path)
    for act in (
        open_for(os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        os.mkdir,
        lambda path: os.rename(share.path / "mine", path),
    ):
        with pytest.raises(FileExistsError):
            act(share.path / "packed.bin")
    assert discs(share.source) == before


def test_folders_that_hold_discs_stay(source: Path, mount: MountMaker) -> None:
    fill(source)
    share = mount(source, "--writable").path
    before = discs(source)
    for folder in ("deep", "deep/er", "only", "DVD"):
        with pytest.raises(PermissionError):
            os.rename(share / folder, share / "moved")
        with pytest.raises(OSError) as caught:
            os.rmdir(share / folder)
        assert caught.value.errno == errno.ENOTEMPTY
        subprocess.run(["rm", "-rf", share / folder], capture_output=True, check=False)
        subprocess.run(["mv", share / folder, share / "moved"], capture_output=True, check=False)
    with pytest.raises(OSError) as caught:
        os.rename(share / "empty", share / "only")
    assert caught.value.errno == errno.ENOTEMPTY
    assert discs(source) == before
    os.rename(share / "empty", share / "moved")
    assert (source / "moved").is_dir()


def test_what_is_hidden_is_not_replaced(source: Path, mount: MountMaker) -> None:
    (source / "secret.txt").write_text("secret")
    share = mount(source, "--writable", "--exclude", "secret*").path
    (share / "mine").write_text("mine")
    for act in (
        open_for(os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        os.mkdir,
        lambda path: os.rename(share / "mine", path),
    ):
        with pytest.raises(PermissionError):
            act(share / "secret.txt")
        with pytest.raises(PermissionError):
            act(share / "secret-too.txt")  # it would not show
    assert (source / "secret.txt").read_text() == "secret"


def test_an_alias_of_a_disc_can_go_and_the_disc_stays(source: Path, mount: MountMaker) -> None:
    fill(source)
    share = mount(source, "--writable").path
    before = discs(source)
    os.unlink(share / "card.cfg")
    os.rename(share / "alias.cfg", share / "renamed.cfg")
    os.unlink(share / "renamed.cfg")
    assert discs(source) == before
    assert not (source / "card.cfg").is_symlink()
    wait_until(lambda: not (share / "card.cfg").exists(), "the alias to go")


def test_links_and_devices_are_not_made(source: Path, mount: MountMaker) -> None:
    fill(source)
    share = mount(source, "--writable").path
    acts: tuple[Callable[[], None], ...] = (
        lambda: os.symlink("ziso-py.zso", share / "link"),
        lambda: os.link(share / "notes.txt", share / "link"),
        lambda: os.mkfifo(share / "link"),
        lambda: os.mknod(share / "link", stat.S_IFBLK | 0o600, os.makedev(7, 0)),
    )
    for act in acts:
        with pytest.raises(PermissionError) as caught:
            act()
        assert caught.value.errno == errno.EPERM
    assert not (source / "link").exists()


def test_a_disc_that_is_put_in_turns_into_a_disc(source: Path, mount: MountMaker) -> None:
    """A `.bin` may be anything: what is written to it shows only when it is whole."""
    share = mount(source, "--writable").path
    data = (DATA / "ziso-py.zso").read_bytes()
    with (share / "new.bin").open("wb") as file:
        for at in range(0, len(data), 100_000):
            file.write(data[at : at + 100_000])
    wait_for(share, "new.iso")
    assert (share / "new.iso").read_bytes() == ISO
    with pytest.raises(PermissionError):
        os.unlink(share / "new.iso")
    # Renamed in one go, with nothing changed.
    (share / "other.txt").write_bytes(data)
    os.rename(share / "other.txt", share / "other.bin")
    wait_for(share, "new.iso", "other.iso")


def random_client(root: Path, seed: int, seconds: float) -> int:
    """Do whatever a client may try, anywhere; gives how many of its calls went through."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0
    names = [
        "a",
        "b.cfg",
        "c.bin",
        "x.iso",
        "y.zso",
        "ziso-py.zso",
        "packed.bin",
        "DVD",
        "noending",
    ]
    handles: list[int] = []

    def any_path() -> Path:
        folder = root
        with suppress(OSError):
            for _ in range(rng.randrange(3)):
                below = [path for path in folder.iterdir() if path.is_dir()]
                folder = rng.choice(below) if below else folder
            inside = list(folder.iterdir())
            if inside and rng.random() < 0.6:
                return rng.choice(inside)
        return folder / rng.choice(names)

    def write(path: Path) -> None:
        flags = rng.choice([os.O_WRONLY, os.O_RDWR]) | rng.choice(
            [0, os.O_CREAT, os.O_TRUNC, os.O_CREAT | os.O_EXCL, os.O_APPEND]
        )
        fd = os.open(path, flags, 0o644)
        handles.append(fd)
        os.pwrite(fd, rng.randbytes(rng.randrange(1, 9000)), rng.randrange(20_000))
        if len(handles) > 6:
            os.close(handles.pop(0))

    acts: list[Callable[[Path], object]] = [
        write,
        write,
        lambda path: os.truncate(path, rng.randrange(10_000)),
        os.unlink,
        os.rmdir,
        os.mkdir,
        lambda path: os.rename(path, any_path()),
        lambda path: os.rename(path, any_path()),
        lambda path: os.chmod(path, rng.choice([0o700, 0o744, 0o777])),
        lambda path: os.utime(path, (rng.random() * 1e9, 5)),
        lambda path: os.chown(path, 0, 0),
        lambda path: os.symlink(any_path(), path),
        lambda path: os.link(any_path(), path),
        lambda path: shutil.rmtree(path, ignore_errors=True),
        lambda path: os.listdir(path.parent),
    ]
    while time.monotonic() < end:
        with suppress(OSError):
            rng.choice(acts)(any_path())
            done += 1
    for fd in handles:
        os.close(fd)
    return done


def attack(share: Mount, seed: int, seconds: float) -> None:
    before = discs(share.source)
    assert random_client(share.path, seed, seconds)
    assert share.is_alive()
    assert discs(share.source) == before
    content = [path.read_bytes() for path in share.path.rglob("*.iso")]
    assert content.count(ISO) >= 5


@pytest.mark.parametrize("seed", range(2))
def test_a_random_client_changes_no_disc(share: Mount, seed: int) -> None:
    attack(share, seed, 2.0)


@pytest.mark.system
@pytest.mark.parametrize("seed", range(100, 103))
def test_a_random_client_changes_no_disc_for_long(share: Mount, seed: int) -> None:
    attack(share, seed, 8.0)


def test_a_packer_may_go_on_beside_the_client(source: Path, mount: MountMaker) -> None:
    """Discs come and go in the source while a client writes: neither harms the other."""
    fill(source)
    share = mount(source, "--writable")
    packed = writers.zsoz(ISO)
    expected = hashlib.sha1(packed).hexdigest()
    for number in range(5):
        (source / f"{number}.zso.part").write_bytes(packed)
        os.rename(source / f"{number}.zso.part", source / f"{number}.zso")
        random_client(share.path, number, 0.4)
        assert (share.path / f"{number}.iso").read_bytes() == ISO
        assert hashlib.sha1((source / f"{number}.zso").read_bytes()).hexdigest() == expected
