"""How a tree of files is shown: everything passes through, discs under their new names."""

import errno
import os
import shutil
import socket
import stat
import time
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import DATA, mounted, status_of, wait_until

PS2 = DATA / "ps2.iso"


def test_everything_else_passes_through(source: Path, mount: MountMaker) -> None:
    folder = source / "DVD" / "Extras [1]"
    folder.mkdir(parents=True)
    (folder / "cover.jpg").write_bytes(os.urandom(70_000))
    (folder / "empty.txt").touch()
    (folder / "Plain.iso").write_bytes(PS2.read_bytes())
    (folder / "Plain.bin").write_bytes(b"\0" * 5000)
    (folder / "Plain.cue").write_text('FILE "Plain.bin" BINARY\n')
    (folder / "noextension").write_text("text")
    os.utime(folder / "cover.jpg", ns=(5, 1_000_000_007))
    made = mount(source)
    shown = made.path / "DVD" / "Extras [1]"
    assert sorted(os.listdir(shown)) == sorted(os.listdir(folder))
    for path in folder.iterdir():
        assert (shown / path.name).read_bytes() == path.read_bytes()
        assert (shown / path.name).stat().st_mtime_ns == path.stat().st_mtime_ns
    assert stat.S_IMODE(shown.stat().st_mode) & 0o222 == 0
    assert os.statvfs(made.path).f_blocks == os.statvfs(source).f_blocks


def test_names(source: Path, mount: MountMaker) -> None:
    disc = (DATA / "ziso-py.zso").read_bytes()
    odd = [b"caf\xe9\xff.zso", b"[x] {y} 'z'.ZSO", b"new\nline.zso", b"x" * 251 + b".zso", b"none"]
    for name in odd:
        Path(os.fsdecode(os.path.join(os.fsencode(source), name))).write_bytes(disc)
    (source / "Game.zso").write_bytes(disc)
    (source / "Game.cso").write_bytes((DATA / "ciso-py.cso").read_bytes())
    (source / "Real.iso").write_text("a real one")
    (source / "Real.zso").write_bytes(disc)
    (source / "Named.iso").write_bytes(disc)
    (source / ("y" * 253)).write_bytes(disc)
    made = mount(source)
    assert sorted(os.listdir(os.fsencode(made.path))) == sorted(
        [b"caf\xe9\xff.iso", b"[x] {y} 'z'.iso", b"new\nline.iso", b"x" * 251 + b".iso"]
        + [b"none.iso", b"Game.zso.iso", b"Game.cso.iso", b"Real.iso", b"Real.zso.iso"]
        + [b"Named.iso", b"y" * 253]
    )
    assert (made.path / "Real.iso").read_text() == "a real one"
    for shown in ("Named.iso", "Real.zso.iso", "Game.cso.iso", "none.iso"):
        assert (made.path / shown).read_bytes() == PS2.read_bytes()
    assert (made.path / ("y" * 253)).read_bytes() == disc
    assert len(made.log_lines("longer than 255 bytes")) == 1


def test_raw_cd_image_is_shown_as_bin(source: Path, mount: MountMaker) -> None:
    sector = b"\x00" + b"\xff" * 10 + b"\x00" + bytes(4) + b"cd" * 1168
    assert len(sector) == 2352
    image = sector * 40
    (source / "Track.zso").write_bytes(writers.danixu(image, block_size=2352))
    (source / "Other.cso").write_bytes(writers.maxcso_cso1(image, block_size=2048))
    made = mount(source)
    assert sorted(os.listdir(made.path)) == ["Other.bin", "Track.bin"]
    assert (made.path / "Track.bin").read_bytes() == image
    assert (made.path / "Other.bin").read_bytes() == image


def test_symlinks(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not for the mount")
    (source / "all").mkdir()
    shutil.copy(DATA / "ziso-py.zso", source / "all" / "Game.zso")
    (source / "Relative.zso").symlink_to("all/Game.zso")
    (source / "Absolute.zso").symlink_to(source / "all" / "Game.zso")
    (source / "favourites").symlink_to("all")
    (source / "loop").symlink_to("loop")
    (source / "all" / "up").symlink_to("..")
    (source / "out").symlink_to(outside)
    (source / "secret").symlink_to(outside / "secret")
    (source / "dangling").symlink_to("nowhere")
    (source / "one").mkdir()
    (source / "two").mkdir()
    (source / "one" / "two").symlink_to("../two")
    (source / "two" / "one").symlink_to("../one")
    made = mount(source)
    for name in ("Relative.iso", "Absolute.iso", "favourites/Game.iso", "all/Game.iso"):
        assert not (made.path / name).is_symlink()
        assert (made.path / name).read_bytes() == PS2.read_bytes()
    assert (made.path / "favourites").is_dir()
    for name in ("loop", "out", "secret", "dangling", "all/up"):
        assert os.readlink(made.path / name) == os.readlink(source / name)
    assert (made.path / "one" / "two").is_dir()
    assert os.readlink(made.path / "one" / "two" / "one") == "../one"
    count = sum(len(files) + len(folders) for _, folders, files in os.walk(made.path))
    assert count == 18
    assert "outside" in os.readlink(made.path / "secret")


def test_a_symlink_swapped_for_one_that_leads_out_is_not_followed(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"secret" * 1000)
    inside = source / "File.bin"
    inside.write_bytes(b"public" * 1000)
    made = mount(source)
    assert (made.path / "File.bin").read_bytes() == b"public" * 1000
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(OSError) as caught:
        os.open(made.path / "File.bin", os.O_RDONLY | os.O_NOFOLLOW)
    assert caught.value.errno in (errno.ESTALE, errno.ELOOP)
    wait_until((made.path / "File.bin").is_symlink, "the new listing")


def test_fifos_sockets_and_devices_are_listed_and_never_opened(
    source: Path, mount: MountMaker
) -> None:
    os.mkfifo(source / "fifo.zso")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "s.zso"))
        if os.geteuid() == 0:
            os.mknod(source / "device.iso", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        made = mount(source)
        assert sorted(os.listdir(made.path)) == sorted(os.listdir(source))
        for name in os.listdir(source):
            shown, real = (made.path / name).lstat(), (source / name).lstat()
            assert stat.S_IFMT(shown.st_mode) == stat.S_IFMT(real.st_mode)


def test_changes_in_the_source_show_within_a_second_or_so(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    assert os.listdir(made.path) == []
    shutil.copy(DATA / "ziso-py.zso", source / "New.zso")
    wait_until(lambda: os.listdir(made.path) == ["New.iso"], "the new disc")
    assert (made.path / "New.iso").read_bytes() == PS2.read_bytes()
    (source / "New.zso").rename(source / "Renamed.zso")
    wait_until(lambda: os.listdir(made.path) == ["Renamed.iso"], "the new name")
    wait_until(lambda: not (made.path / "New.iso").exists(), "the old name's end")
    (source / "Renamed.zso").unlink()
    wait_until(lambda: os.listdir(made.path) == [], "an empty folder")


def test_a_replaced_disc_keeps_its_old_bytes_for_who_has_it_open(
    source: Path, mount: MountMaker
) -> None:
    shutil.copy(DATA / "zstd-2048.zso", source / "Game.zso")
    made = mount(source)
    before = (made.path / "Game.iso").stat().st_ino
    with (made.path / "Game.iso").open("rb", buffering=0) as old:
        assert old.read(4096) == (DATA / "psp.iso").read_bytes()[:4096]
        shutil.copy(DATA / "ziso-py.zso", source / "new")
        (source / "new").rename(source / "Game.zso")
        wait_until(lambda: (made.path / "Game.iso").stat().st_size == 1468416, "the new disc")
        assert (made.path / "Game.iso").stat().st_ino != before
        assert (made.path / "Game.iso").read_bytes() == PS2.read_bytes()
        old.seek(0)
        assert old.read() == (DATA / "psp.iso").read_bytes()


def test_a_folder_that_may_not_be_read(source: Path, mount: MountMaker) -> None:
    """As root nothing is closed to us, so a folder that is gone has to serve."""
    (source / "folder").mkdir()
    made = mount(source)
    assert os.listdir(made.path) == ["folder"]
    wait_until(lambda: not status_of(made)["counting"], "the count, which lists it as well")
    (source / "folder").rmdir()
    with pytest.raises(FileNotFoundError):
        os.listdir(made.path / "folder")
    wait_until(lambda: os.listdir(made.path) == [], "the new listing")


@pytest.mark.xdist_group("serial")
def test_numbers_are_forgotten(tmp_path: Path, source: Path) -> None:
    """After all names are dropped the kernel may use them again: nothing breaks."""
    for number in range(300):
        (source / f"{number}.txt").write_text(str(number))
    with mounted(source, tmp_path / "mnt") as made:
        for _ in range(3):
            for number in range(300):
                assert (made.path / f"{number}.txt").read_text() == str(number)
            if os.geteuid() == 0:
                Path("/proc/sys/vm/drop_caches").write_text("2")
            time.sleep(0.1)


def test_one_daemon_serves_many_folders(source: Path, mount: MountMaker) -> None:
    for number in range(20):
        folder = source / str(number) / "a" / "b"
        folder.mkdir(parents=True)
        shutil.copy(DATA / "zstd-2048.zso", folder / f"{number}.zso")
    made = mount(source, "--cache-size", "1M", "--threads", "2", "-o", "nofail,ro,x-any")
    found = sorted(path.name for path in made.path.rglob("*.iso"))
    assert found == sorted(f"{number}.iso" for number in range(20))
    psp = (DATA / "psp.iso").read_bytes()
    assert all(path.read_bytes() == psp for path in made.path.rglob("*.iso"))


def test_verbose_says_how_it_ended(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path / "mnt", "-v") as made:
        pass
    assert made.log_lines("unmounted")


def two_discs_of_one_size_and_date(folder: Path) -> list[bytes]:
    """Two packed discs, alike but for their bytes, as `1.zso` and `2.zso`; returns the images."""
    folder.mkdir()
    images = [letter * 200_000 for letter in (b"A", b"B")]
    for number, image in enumerate(images, 1):
        path = folder / f"{number}.zso"
        path.write_bytes(writers.maxcso_zso(image, block_size=16384))
        os.utime(path, ns=(1_000_000_000, 1_000_000_000))
    assert (folder / "1.zso").stat().st_size == (folder / "2.zso").stat().st_size
    return images


def test_a_disc_put_back_with_the_old_date_is_not_mixed_with_the_old_one(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """What was cached of a disc is not served for another that gets its inode number."""
    old, new = two_discs_of_one_size_and_date(tmp_path / "discs")
    shutil.copy2(tmp_path / "discs" / "1.zso", source / "Game.zso")
    made = mount(source)
    fd = os.open(made.path / "Game.iso", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    assert os.pread(fd, 4096, 4096) == old[:4096]
    os.close(fd)
    (source / "Game.zso").unlink()
    wait_until(lambda: os.listdir(made.path) == [], "an empty folder")
    wait_until(lambda: not (made.path / "Game.iso").exists(), "the old disc's end")
    shutil.copy2(tmp_path / "discs" / "2.zso", source / "Game.zso")
    wait_until(lambda: os.listdir(made.path) == ["Game.iso"], "the new disc")
    assert (made.path / "Game.iso").read_bytes() == new


def test_a_disc_renamed_over_one_of_the_same_size_and_date(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """Neither a mix, nor an error: the name is looked up again at once."""
    old, new = two_discs_of_one_size_and_date(tmp_path / "discs")
    shutil.copy2(tmp_path / "discs" / "1.zso", source / "Game.zso")
    made = mount(source)
    with (made.path / "Game.iso").open("rb", buffering=0) as file:
        assert file.read(4096) == old[:4096]
    shutil.copy2(tmp_path / "discs" / "2.zso", source / "next")
    (source / "next").rename(source / "Game.zso")
    assert (made.path / "Game.iso").read_bytes() == new


def test_symlinks_into_the_mount_itself(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    """They are shown as links and not touched: a look would wait for its own end."""
    (source / "own.iso").symlink_to(tmp_path / "mnt1" / "Game.iso")
    (source / "far.iso").symlink_to("../mnt1/Game.iso")
    made = mount(source)
    assert sorted(os.listdir(made.path)) == ["far.iso", "own.iso"]
    assert os.readlink(made.path / "own.iso") == str(tmp_path / "mnt1" / "Game.iso")


def test_chains_of_symlinks(source: Path, mount: MountMaker) -> None:
    (source / "a" / "b").mkdir(parents=True)
    shutil.copy(DATA / "ziso-py.zso", source / "a" / "b" / "Game.zso")
    (source / "one").symlink_to("a/./b")
    (source / "two").symlink_to(source / "one")
    (source / "a" / "Game.zso").symlink_to("../two/../b/Game.zso")
    (source / "too many").symlink_to("00")
    for number in range(60):
        (source / f"{number:02}").symlink_to(f"{number + 1:02}")
    (source / "60").symlink_to("a")
    made = mount(source)
    assert (made.path / "a" / "Game.iso").read_bytes() == PS2.read_bytes()
    assert (made.path / "two" / "Game.iso").read_bytes() == PS2.read_bytes()
    assert (made.path / "too many").is_symlink()
    assert not (made.path / "50").is_symlink()


def test_the_mount_itself_shows_the_source_folder_as_it_is_now(
    source: Path, mount: MountMaker
) -> None:
    source.chmod(0o755)
    made = mount(source)
    os.utime(source, ns=(7, 7_000_000_000))
    source.chmod(0o700)

    def shown() -> tuple[int, int]:
        os.listdir(made.path)
        status = made.path.stat()
        return status.st_mtime_ns, stat.S_IMODE(status.st_mode)

    wait_until(lambda: shown() == (7_000_000_000, 0o500), "the new date and rights")


def test_files_with_odd_dates(source: Path, mount: MountMaker) -> None:
    """Dates that 64 bits of nanoseconds do not hold, nor a database its integers."""
    for number, seconds in enumerate((-10_000_000_000, -1, 10_000_000_000, 12_000_000_000)):
        shutil.copy(DATA / "ziso-py.zso", source / f"{number}.zso")
        (source / f"{number}.txt").write_text("text")
        for name in (f"{number}.zso", f"{number}.txt"):
            os.utime(source / name, (seconds, seconds))
    made = mount(source)
    for number in range(4):
        assert (made.path / f"{number}.iso").read_bytes() == PS2.read_bytes()
        assert (made.path / f"{number}.txt").read_text() == "text"
        shown, real = (made.path / f"{number}.iso").stat(), (source / f"{number}.zso").stat()
        assert shown.st_mtime_ns == real.st_mtime_ns
    assert not made.log_lines("internal error")
