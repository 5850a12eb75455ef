"""What a user may not reach in the source is not reached through the mount."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.opl.test_opl_mount import game, game_id, put
from tests.mount.writable.test_writable_owners import ADMIN, ALICE, BOB, EVE, User
from tests.support import writers
from tests.support.mounting import Mount, mounted, opened, wait_for, wait_until
from zsofs.source.traversal import DirectoryPermissions, directories_above

OPL = ("--layout", "opl")


@contextmanager
def shared(source: Path, *options: str) -> Iterator[Mount]:
    """Mount *source* for all users, in a directory that every user can walk into."""
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        with mounted(source, Path(above) / "mnt", "--allow-other", *options) as made:
            yield made


@pytest.fixture
def source(as_root: None) -> Iterator[Path]:
    """A source that every user can walk into, with a disc in a directory of ALICE's."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        os.chmod(path, 0o755)
        disc = put(path / "private" / "Secret.zso", writers.zsoz(game(1)))
        put(path / "public" / "Game.zso", writers.zsoz(game(2)))
        for one in (disc.parent, disc):
            os.chown(one, ALICE.uid, ALICE.groups[0])
        os.chmod(disc.parent, 0o700)
        yield path


def may_read(user: User, path: Path) -> bool:
    return user.run(path.parent, f"head -c 1 '{path.name}' >/dev/null").returncode == 0


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def opl(number: int, title: str) -> str:
    return f"CD/{game_id(number)}.{title}.iso"


def test_the_opl_layout_keeps_private_discs_private(source: Path) -> None:
    with shared(source, *OPL) as made:
        secret, game_2 = made.path / opl(1, "Secret"), made.path / opl(2, "Game")
        wait_until(secret.exists, "the disc in DVD or CD")
        assert (mode_of(secret), mode_of(game_2)) == (0o400, 0o444)
        assert [may_read(user, secret) for user in (ALICE, BOB, EVE)] == [True, False, False]
        assert all(may_read(user, game_2) for user in (ALICE, BOB, EVE))


def test_a_disc_follows_the_mode_of_its_directory(source: Path) -> None:
    with shared(source, *OPL) as made:
        secret = made.path / opl(1, "Secret")
        wait_until(secret.exists, "the disc in DVD or CD")
        os.chmod(source / "private", 0o711)
        wait_until(lambda: may_read(EVE, secret), "the disc of the opened directory")
        os.chmod(source / "private", 0o700)
        wait_until(lambda: not may_read(EVE, secret), "the disc of the closed directory to close")


@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_a_link_leads_into_no_private_directory(source: Path, layout: str) -> None:
    put(source / "private" / "sub" / "notes.txt", b"notes")
    for name, target in {
        "file.txt": "../private/sub/notes.txt",
        "folder": "../private/sub",
        "Linked.zso": "../private/Secret.zso",
        "absolute.txt": str(source / "private/sub/notes.txt"),
    }.items():
        (source / "CFG").mkdir(exist_ok=True)
        (source / "CFG" / name).symlink_to(target)
    with shared(source, "--layout", layout) as made:
        linked = made.path / ("CFG/Linked.iso" if layout == "plain" else opl(1, "Linked"))
        wait_until(linked.exists, "the linked disc")
        if layout == "opl":  # a directory with discs is not shown there
            assert not may_read(EVE, linked)
            return
        within = made.path / "CFG"
        for user, may in ((ADMIN, True), (EVE, False)):
            assert may_read(user, within / "file.txt") is may
            assert may_read(user, within / "absolute.txt") is may
            assert may_read(user, within / "folder" / "notes.txt") is may
            assert may_read(user, linked) is may
        os.chmod(source / "private", 0o755)
        wait_until(lambda: may_read(EVE, within / "file.txt"), "what the link leads to")


@pytest.mark.parametrize("options", [("--umask", "022"), ("--uid", str(EVE.uid))])
def test_a_mode_that_was_asked_for_is_kept(source: Path, options: tuple[str, ...]) -> None:
    with shared(source, *OPL, *options) as made:
        secret = made.path / opl(1, "Secret")
        wait_until(secret.exists, "the disc in DVD or CD")
        assert may_read(EVE, secret)


def test_the_directory_above_the_source_does_not_count(source: Path) -> None:
    inner = source / "private" / "library"
    put(inner / "Game.zso", writers.zsoz(game(3)))
    with shared(inner, *OPL) as made:
        disc = made.path / opl(3, "Game")
        wait_until(disc.exists, "the disc in DVD or CD")
        assert may_read(EVE, disc)


def status(mode: int, uid: int = 1, gid: int = 1) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("directory", "uid", "gid", "left"),
    [
        (0o755, 2, 2, 0o777),
        (0o711, 2, 2, 0o777),
        (0o700, 2, 2, 0o000),
        (0o700, 1, 2, 0o700),
        (0o700, 1, 1, 0o700),
        (0o750, 1, 1, 0o770),
        (0o750, 1, 2, 0o700),
        (0o750, 2, 1, 0o070),
        (0o740, 1, 1, 0o700),
        (0o705, 1, 1, 0o707),
        (0o705, 1, 2, 0o777),
        (0o077, 1, 1, 0o077),
        (0o644, 1, 1, 0o000),
    ],
)
def test_each_class_of_users_by_its_own_bit(directory: int, uid: int, gid: int, left: int) -> None:
    permissions = DirectoryPermissions()
    permissions.record(b"above", status(stat.S_IFDIR | directory, uid, gid))
    mode = permissions.limited(status(stat.S_IFREG | 0o777), [b"above"])
    assert stat.S_IMODE(mode) == left
    assert stat.S_ISREG(mode)


def test_every_directory_counts_and_an_unknown_one_closes() -> None:
    permissions = DirectoryPermissions()
    file = status(stat.S_IFREG | 0o644)
    permissions.record(b"a", status(stat.S_IFDIR | 0o755, 2, 2))
    permissions.record(b"a/b", status(stat.S_IFDIR | 0o710, 2, 1))
    assert list(directories_above(b"a/b/c")) == [b"a/b", b"a"]
    assert stat.S_IMODE(permissions.limited(file, directories_above(b"a/b/c"))) == 0o040
    assert stat.S_IMODE(permissions.limited(file, directories_above(b"a/b/c/d"))) == 0
    permissions.forget(b"a/b")
    assert stat.S_IMODE(permissions.limited(file, directories_above(b"a/b/c"))) == 0


def test_directories_have_the_links_of_the_source(tmp_path: Path) -> None:
    for name in ("one", "two", "two/three"):
        (tmp_path / "src" / name).mkdir(parents=True)
    put(tmp_path / "src" / "two" / "Game.iso", game(1))
    with mounted(tmp_path / "src", tmp_path / "mnt") as made:
        for name in (".", "one", "two", "two/three"):
            there, here = (made.source / name).stat(), (made.path / name).stat()
            assert here.st_nlink == there.st_nlink
        (made.source / "one" / "four").mkdir()
        wait_for(made.path / "one", "four")
        wait_until(lambda: (made.path / "one").stat().st_nlink == 3, "the new directory's link")
        assert (made.path / "two" / "Game.iso").stat().st_nlink == 1


@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_a_name_over_255_bytes_is_too_long(tmp_path: Path, layout: str) -> None:
    put(tmp_path / "src" / "CFG" / "x.cfg", b"x")
    with mounted(tmp_path / "src", tmp_path / "mnt", "--writable", "--layout", layout) as made:
        for length, code in ((255, errno.ENOENT), (256, errno.ENAMETOOLONG), (1024, None)):
            path = made.path / "CFG" / ("n" * length)
            with pytest.raises(OSError) as raised:
                path.stat()
            assert raised.value.errno == (code or errno.ENAMETOOLONG)
        with (
            pytest.raises(OSError) as raised,
            opened(made.path / "CFG" / ("n" * 256), os.O_CREAT | os.O_WRONLY),
        ):
            pass
        assert raised.value.errno == errno.ENAMETOOLONG
        for act in (os.mkdir, os.unlink, os.rmdir):
            with pytest.raises(OSError) as raised:
                act(made.path / "CFG" / ("n" * 256))
            assert raised.value.errno == errno.ENAMETOOLONG
        with pytest.raises(OSError) as raised:
            os.rename(made.path / "CFG/x.cfg", made.path / "CFG" / ("n" * 256))
        assert raised.value.errno == errno.ENAMETOOLONG
