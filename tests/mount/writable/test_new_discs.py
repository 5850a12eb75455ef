"""New discs through a mount (``--new-discs``): the client's until they are whole, then protected.

The mounts have short timings: half a second of rest instead of a minute, and ten minutes of grace
(``LONG``) or none (``SHORT``).
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.disks import MIB, disk_mounted, make_ext4, take_down
from tests.support.mounting import (
    DATA,
    Mount,
    all_the_time,
    mounted,
    names,
    opened,
    status_of,
    timed,
    unmount,
    wait_for,
    wait_until,
)
from tests.support.packed import zsofs
from tests.support.rounds import rounds
from tests.unit.discs.test_identify import made as image_of
from zsofs.source.new_disc_mark import set_mark

ISO = (DATA / "ps2.iso").read_bytes()
ZSO = (DATA / "ziso-py.zso").read_bytes()
TIMES = {"new_disc_quiet": 0.5, "quiet_file": 0.3, "trust_unwatched": 0.3}
LONG = timed(**TIMES)
SHORT = timed(new_disc_grace=0.0, **TIMES)
MARK = "user.zsofs.new-disc"
OPTIONS = ("--writable", "--new-discs")


@contextmanager
def shared(
    source: Path, *options: str, command: tuple[str, ...] = LONG, name: str = "mnt"
) -> Iterator[Mount]:
    with mounted(source, source.with_name(name), *OPTIONS, *options, command=command) as mount:
        yield mount
        assert not mount.log_lines("internal error"), mount.log.read_text()


@pytest.fixture
def share(source: Path) -> Iterator[Mount]:
    with shared(source) as mount:
        yield mount


def wait_until_protected(*paths: Path) -> None:
    def are() -> bool:
        return not any(path.stat().st_mode & 0o222 for path in paths)

    wait_until(are, f"the protection of {paths}")


def wait_until_quiet(share: Mount) -> None:
    """Wait until nothing counts as being copied: each new disc is whole or incomplete."""
    wait_until(lambda: status_of(share)["copying"] == 0, "the end of all copies")


def refused(share: Mount) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in status_of(share)["refused"]}


def wait_until_refused(share: Mount, *paths: str) -> None:
    """Wait until `zsofs status` names just these files as incomplete."""
    wait_until(lambda: sorted(refused(share)) == sorted(paths), f"reasons for {paths}")


def changes(path: Path) -> dict[str, Callable[[], object]]:
    return {
        "write": lambda: os.close(os.open(path, os.O_WRONLY)),
        "cut": lambda: os.truncate(path, 5),
        "touch": lambda: os.utime(path, (1, 1)),
        "rename": lambda: os.rename(path, path.with_name("else.iso")),
        "delete": path.unlink,
    }


def check_protected(path: Path) -> None:
    content = path.read_bytes()
    for act in changes(path).values():
        with pytest.raises(PermissionError):
            act()
    with pytest.raises(PermissionError):
        path.write_bytes(b"")
    assert path.read_bytes() == content


def test_cp(source: Path, tmp_path: Path) -> None:
    """A copy is the client's own, and soon a disc like all others; older discs always are."""
    (source / "Old.iso").write_bytes(ISO)
    (source / "Packed.zso").write_bytes(ZSO)
    (tmp_path / "Game.iso").write_bytes(ISO)
    with shared(source, command=SHORT) as share:
        subprocess.run(["cp", "-p", tmp_path / "Game.iso", share.path], check=True)
        game = share.path / "Game.iso"
        number = game.stat().st_ino
        assert game.read_bytes() == (source / "Game.iso").read_bytes() == ISO
        assert game.stat().st_mtime_ns == (tmp_path / "Game.iso").stat().st_mtime_ns
        wait_until_protected(game)
        assert game.stat().st_ino != number  # the kernel may cache its bytes now
        for name in ("Game.iso", "Old.iso", "Packed.iso"):
            check_protected(share.path / name)
        wait_until(lambda: status_of(share)["plain_discs"] == 2, "the count")
    assert not os.listxattr(source / "Game.iso")
    assert names(source) == ["Game.iso", "Old.iso", "Packed.zso"]


def test_without_the_option_nothing_is_new(source: Path) -> None:
    with mounted(source, source.with_name("mnt"), "--writable", command=LONG) as share:
        with pytest.raises(PermissionError):
            (share.path / "Game.iso").write_bytes(ISO)
        (share.path / "x.part").write_bytes(ISO)
        with pytest.raises(PermissionError):
            (share.path / "x.part").rename(share.path / "Game.iso")


@pytest.mark.parametrize("what", [*changes(Path()), "copy again", "replace"])
def test_a_whole_disc_is_the_clients_for_a_while(share: Mount, what: str) -> None:
    game = share.path / "Game.iso"
    game.write_bytes(ISO)
    wait_until(lambda: status_of(share)["plain_discs"] == 1, "the disc to be whole")
    if what == "copy again":
        game.write_bytes(ISO[::-1])
        assert (share.source / "Game.iso").read_bytes() == ISO[::-1]
    elif what == "replace":
        (share.path / "x.part").write_bytes(ISO[::-1])
        (share.path / "x.part").rename(game)
        assert game.read_bytes() == ISO[::-1]
    else:
        changes(game)[what]()
    expected = {"delete": [], "rename": ["else.iso"]}.get(what, ["Game.iso"])
    assert names(share.source) == names(share.path) == expected
    if what == "cut":
        assert game.read_bytes() == ISO[:5]


def test_a_disc_that_is_read_when_its_protection_begins(source: Path) -> None:
    with shared(source, command=SHORT) as share:
        game = share.path / "Game.iso"
        game.write_bytes(ISO)
        with opened(game) as fd:
            assert os.pread(fd, 5000, 0) == ISO[:5000]
            wait_until_protected(game)
            assert os.pread(fd, len(ISO), 0) == ISO
        assert game.read_bytes() == ISO


def test_what_a_client_holds_open_is_not_protected(source: Path) -> None:
    with shared(source, command=SHORT) as share:
        game = share.path / "Game.iso"
        with game.open("wb", buffering=0) as file:
            file.write(ISO[:100_000])
            for _ in range(4):
                look_until_seen(share)
            file.write(ISO[100_000:])
        wait_until_protected(game)
        assert game.read_bytes() == ISO


def look_until_seen(share: Mount) -> None:
    """Have the mount list a new file, for which it needs a scan."""
    (share.source / "seen").touch()
    wait_until(lambda: "seen" in names(share.path), "the scan")
    (share.source / "seen").unlink()


def test_the_last_of_two_handles_decides(source: Path) -> None:
    """A file is whole only when all of its writers have closed it, in whatever order."""
    with shared(source, command=SHORT) as share:
        game = share.path / "Game.iso"
        with game.open("wb", buffering=0) as one, game.open("r+b", buffering=0) as other:
            one.write(ISO[:700_000])
            one.close()
            look_until_seen(share)
            other.seek(700_000)
            other.write(ISO[700_000:])
        wait_until_protected(game)
        assert game.read_bytes() == ISO


def test_a_copy_while_all_is_scanned(source: Path) -> None:
    """Scans see each state of a file that is being written: none takes it from the client."""
    (source / "beside").mkdir()

    def change() -> None:
        os.utime(source / "beside")
        time.sleep(0.002)  # a flood of events would take all the time of the loop

    with (
        shared(source, command=LONG) as share,
        all_the_time(change),
        all_the_time(lambda: os.listdir(share.path)),
    ):
        for number in range(rounds(5, 50)):
            game = share.path / f"Game {number}.iso"
            with game.open("wb", buffering=0) as file:
                for at in range(0, len(ISO), 1 << 16):
                    file.write(ISO[at : at + (1 << 16)])
                    os.utime(file.fileno(), (at, at))
            os.utime(game, (1, 1))
            game.chmod(0o600)
            game.rename(share.path / "moved.iso")
            os.utime(share.path / "moved.iso", (2, 2))
            (share.path / "moved.iso").rename(game)
        for number in range(rounds(5, 50)):
            (share.path / f"Game {number}.iso").unlink()
        assert names(source) == ["beside"]


@pytest.mark.parametrize("final", ["Game.iso", "Game.zso"])
def test_under_another_name_first(source: Path, final: str) -> None:
    """Browsers, rsync and file managers rename a file when they have written it."""
    content = ISO if final == "Game.iso" else ZSO
    with shared(source, command=SHORT) as share:
        (share.path / "x.part").write_bytes(content)
        (share.path / "x.part").rename(share.path / final)
        assert final in names(share.path)
        assert (share.path / final).read_bytes() == content  # its client still finds it
        wait_until_protected(share.path / final) if final == "Game.iso" else None
        wait_for(share.path, "Game.iso")
        assert (share.path / "Game.iso").read_bytes() == ISO
        wait_until_protected(share.path / "Game.iso")
        check_protected(share.path / "Game.iso")
        assert (source / final).read_bytes() == content


def test_rsync(source: Path, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "Game.iso").write_bytes(ISO)
    with shared(source, command=SHORT) as share:
        subprocess.run(["rsync", "-a", f"{tmp_path}/from/", f"{share.path}/"], check=True)
        assert (share.path / "Game.iso").read_bytes() == ISO
        wait_until_protected(share.path / "Game.iso")
        assert names(source) == ["Game.iso"]


def test_a_packed_disc_can_be_deleted_but_not_written_to(share: Mount) -> None:
    """What it is shown as is not what its file holds."""
    (share.path / "Game.zso").write_bytes(ZSO)
    wait_for(share.path, "Game.iso")
    game = share.path / "Game.iso"
    assert game.read_bytes() == ISO
    acts = changes(game)
    for name in ("write", "cut", "rename"):
        with pytest.raises(PermissionError):
            acts[name]()
    (share.path / "x.part").write_bytes(ISO)
    with pytest.raises(PermissionError):
        (share.path / "x.part").rename(game)
    acts["touch"]()
    assert (share.source / "Game.zso").stat().st_mtime == 1
    assert game.read_bytes() == ISO
    acts["delete"]()
    assert names(share.source) == ["x.part"]


INCOMPLETE: dict[str, Callable[[Path], object]] = {
    "its first bytes": lambda path: path.write_bytes(ISO[:16_000]),
    "a part of a descriptor": lambda path: path.write_bytes(ISO[:34_815]),
    "a part of an image": lambda path: path.write_bytes(ISO[: len(ISO) // 2]),
    "the size first, then a part": lambda path: write_at(path, ISO, (0, 300_000)),
    "a gap": lambda path: write_at(path, ISO, (0, 100_000), (100_001, len(ISO))),
    "nothing": Path.touch,
    "a size": lambda path: write_at(path, ISO),
    "a text": lambda path: path.write_text("no disc, but a text\n" * 5000),
}


def write_at(path: Path, content: bytes, *parts: tuple[int, int]) -> None:
    """Write parts of a file, which has its full size from the start on, as Windows does."""
    with path.open("wb", buffering=0) as file:
        os.truncate(path, len(content))
        for begin, end in parts:
            os.pwrite(file.fileno(), content[begin:end], begin)


@pytest.mark.parametrize("how", INCOMPLETE)
def test_an_incomplete_copy_stays_the_clients(source: Path, how: str) -> None:
    """It is shown as it is, with the reason in `zsofs status`; copied again, it is a disc."""
    with shared(source, command=SHORT) as share:
        game = share.path / "Game.iso"
        INCOMPLETE[how](game)
        wait_until_refused(share, "Game.iso")
        assert game.read_bytes() == (source / "Game.iso").read_bytes()
        game.rename(share.path / "Other.iso")
        (share.path / "Other.iso").rename(game)
        game.write_bytes(ISO)
        wait_until_protected(game)
        assert refused(share) == {}


def test_pack_does_not_delete_an_incomplete_copy(source: Path, tmp_path: Path) -> None:
    """Its size is right, so that only the mount knows."""
    with shared(source, command=SHORT) as share:
        game = share.path / "Game.iso"
        INCOMPLETE["a gap"](game)
        wait_until_refused(share, "Game.iso")
        words = "pack", "--delete-source", source / "Game.iso", "-o"
        done = zsofs(*words, tmp_path / "a.zso", code=8)
        assert "Game.iso: packed, but the input was not deleted: a client of a mount" in done.stderr
        game.write_bytes(ISO)
        wait_until_protected(game)
        zsofs(*words, tmp_path / "b.zso")
    assert names(source) == []


def test_pack_does_not_replace_an_incomplete_copy(source: Path) -> None:
    (source / "Game.zso").write_bytes(ZSO)
    set_mark(str(source / "Game.zso"), is_open=False)
    done = zsofs("pack", "--force", source / "Game.zso", code=8)
    assert "would replace the input, but a client of a mount has not copied it" in done.stderr
    assert (source / "Game.zso").read_bytes() == ZSO


def test_an_incomplete_packed_copy(source: Path) -> None:
    with shared(source, command=SHORT) as share:
        game = share.path / "Game.zso"
        game.write_bytes(ZSO[:-1000])
        wait_until_refused(share, "Game.zso")
        assert names(share.path) == ["Game.zso"]
        game.unlink()
        assert names(source) == []


def test_a_copy_that_is_killed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "Game.iso").write_bytes(ISO)
    with shared(source, command=SHORT) as share:
        script = 'head -c 400000 "$1"; exec sleep 100'
        with (share.path / "Game.iso").open("wb") as file:
            copy = subprocess.Popen(["sh", "-c", script, "sh", tmp_path / "Game.iso"], stdout=file)
        wait_until(lambda: (source / "Game.iso").stat().st_size == 400_000, "half of the copy")
        os.kill(copy.pid, signal.SIGKILL)
        copy.wait(20)
        wait_until_refused(share, "Game.iso")
        (share.path / "Game.iso").unlink()
        assert names(source) == []


def test_written_in_random_order(source: Path) -> None:
    """Many clients send pieces in any order; only the whole file counts."""
    pieces = [(at, at + 4096) for at in range(0, len(ISO), 4096)]
    random.Random(1).shuffle(pieces)
    with shared(source, command=SHORT) as share:
        write_at(share.path / "Game.iso", ISO, *pieces)
        wait_until_protected(share.path / "Game.iso")
        assert (share.path / "Game.iso").read_bytes() == ISO


def test_what_is_changed_in_the_source_is_protected(share: Mount) -> None:
    """Touching an incomplete copy there declares it complete; so does any other change."""
    for name in ("touched.iso", "written.iso", "replaced.iso"):
        (share.path / name).write_bytes(ISO[:-500_000])
    wait_until_refused(share, "replaced.iso", "touched.iso", "written.iso")
    os.utime(share.source / "touched.iso")
    (share.source / "written.iso").write_bytes(ISO)
    (share.source / "new").write_bytes(ISO)
    (share.source / "new").rename(share.source / "replaced.iso")
    paths = [share.path / name for name in ("touched.iso", "written.iso", "replaced.iso")]
    wait_until_protected(*paths)
    for path in paths:
        check_protected(path)


def test_a_directory_of_new_discs_can_be_renamed_and_deleted(share: Mount) -> None:
    folder = share.path / "PS2"
    folder.mkdir()
    (folder / "Game.iso").write_bytes(ISO)
    wait_until_quiet(share)
    folder.rename(share.path / "Sony")
    assert (share.path / "Sony" / "Game.iso").read_bytes() == ISO
    shutil.rmtree(share.path / "Sony")
    assert names(share.source) == []


def test_a_directory_with_an_older_disc_as_well_stays(share: Mount) -> None:
    folder = share.source / "PS2"
    folder.mkdir()
    (folder / "Old.iso").write_bytes(ISO)
    (share.path / "PS2" / "Game.iso").write_bytes(ISO)
    with pytest.raises(PermissionError):
        (share.path / "PS2").rename(share.path / "Sony")


def test_no_name_of_an_older_disc_can_be_taken(source: Path) -> None:
    (source / "Old.iso").write_bytes(ISO)
    (source / "Packed.zso").write_bytes(ZSO)
    with shared(source) as share:
        (share.path / "new.iso").write_bytes(ISO[::-1])
        for name in ("Old.iso", "Packed.iso"):
            with pytest.raises(PermissionError):
                (share.path / "new.iso").rename(share.path / name)
            with pytest.raises(PermissionError):
                (share.path / name).write_bytes(b"")
        for act in (
            lambda: (share.path / "new.iso").rename(share.path / "Packed.zso"),
            lambda: (share.path / "Packed.zso").write_bytes(ZSO),
        ):
            with pytest.raises(FileExistsError):
                act()
        assert (share.path / "Old.iso").read_bytes() == ISO
        assert (share.path / "Packed.iso").read_bytes() == ISO
    assert (source / "Old.iso").read_bytes() == ISO
    assert (source / "Packed.zso").read_bytes() == ZSO


def test_what_no_client_wrote_gets_no_name_of_a_disc(source: Path) -> None:
    """It may be a disc under another name, which a new name would give to the client."""
    (source / "backup").write_bytes(ISO)
    (source / "Game.iso.old").write_bytes(ISO)
    (source / "Old.iso").write_bytes(b"not recognized" * 9999)
    os.link(source / "Old.iso", source / "alias.cfg")
    with shared(source) as share:
        for name in ("Game.iso.old", "alias.cfg"):
            with pytest.raises(PermissionError):
                (share.path / name).rename(share.path / "mine.iso")
        with (share.path / "alias.cfg").open("r+b") as file:  # one inode with Old.iso
            file.write(b"x")
        with pytest.raises(PermissionError):
            (share.path / "alias.cfg").rename(share.path / "mine.iso")
        check_protected(share.path / "Old.iso")
        with pytest.raises(PermissionError):
            (share.path / "mine.iso").mkdir()
    assert names(source) == ["Game.iso.old", "Old.iso", "alias.cfg", "backup"]


# A daemon that ends in between


@pytest.mark.parametrize("ending", ["killed", "unmounted"])
def test_the_next_mount_knows_incomplete_copies_only(source: Path, ending: str) -> None:
    with shared(source) as share:
        (share.path / "whole.iso").write_bytes(ISO)
        (share.path / "half.iso").write_bytes(ISO[:300_000])
        fd = os.open(share.path / "open.iso", os.O_WRONLY | os.O_CREAT)
        os.write(fd, ISO[:200_000])
        for name in ("touched.iso", "completed.iso"):
            (share.path / name).write_bytes(ISO[:300_000])
        wait_until_refused(share, "completed.iso", "half.iso", "touched.iso")
        if ending == "killed":
            share.may_end = True
            share.daemon.kill()
            share.daemon.wait(20)
            share.daemon.returncode = 0
            unmount(share.path)
        os_close(fd)
    with shared(source, name="again") as share:
        wait_until_refused(share, "completed.iso", "half.iso", "open.iso", "touched.iso")
        check_protected(share.path / "whole.iso")
        assert (share.path / "half.iso").read_bytes() == ISO[:300_000]
        (share.path / "half.iso").unlink()
        with (share.path / "open.iso").open("ab") as file:  # what is missing is not known any more
            file.write(ISO[200_000:])
        os.utime(source / "touched.iso")
        (share.path / "completed.iso").write_bytes(ISO)
        wait_until_protected(share.path / "touched.iso")
        wait_until_refused(share, "open.iso")
        assert "touch it in the source directory" in refused(share)["open.iso"]
        (share.path / "open.iso").unlink()
    assert names(source) == ["completed.iso", "touched.iso", "whole.iso"]


def os_close(fd: int) -> None:
    """Close a descriptor of a mount that may be gone."""
    with suppress(OSError):
        os.close(fd)


def test_changes_while_nothing_is_mounted(source: Path) -> None:
    """What another program has changed since is protected, whatever its mark says."""
    with shared(source) as share:
        for name in ("kept.iso", "changed.iso", "replaced.iso", "long.iso"):
            (share.path / name).write_bytes(ISO[:300_000])
    time.sleep(1.1)  # what changes earlier cannot be told from the end of the copy
    (source / "changed.iso").chmod(0o640)
    (source / "replaced.iso").unlink()
    (source / "replaced.iso").write_bytes(ISO)
    while_open = f"open {time.time_ns() - 40 * 10**9}".encode()
    os.setxattr(source / "long.iso", MARK, while_open)
    with shared(source, name="again") as share:
        wait_until_refused(share, "kept.iso")
        for name in ("changed.iso", "replaced.iso", "long.iso"):
            check_protected(share.path / name)


def test_a_mark_is_set_again_during_a_copy(source: Path) -> None:
    """A daemon that is killed then leaves a mark that is not much older than the last write."""
    with shared(source, command=timed(new_disc_mark=0.0, **TIMES)) as share:
        with (share.path / "Game.iso").open("wb", buffering=0) as file:
            for at in range(0, 300_000, 100_000):
                os.setxattr(source / "Game.iso", MARK, b"open 1")
                file.write(ISO[at : at + 100_000])
                (state, set_at) = os.getxattr(source / "Game.iso", MARK).split()
                assert state == b"open"
                assert int(set_at) > 10**18
        wait_until_refused(share, "Game.iso")
        assert os.getxattr(source / "Game.iso", MARK).startswith(b"closed ")
        (share.path / "Game.iso").write_bytes(ISO)
        wait_until_quiet(share)
        assert os.listxattr(source / "Game.iso") == []


@pytest.mark.usefixtures("as_root")
def test_a_disk_without_extended_attributes(tmp_path: Path) -> None:
    """Nothing marks an incomplete copy there: only this mount knows that it is the client's."""
    source = tmp_path / "ramfs"
    source.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "none", source], check=True)
    try:
        with shared(source, command=SHORT) as share:
            (share.path / "half.iso").write_bytes(ISO[:300_000])
            (share.path / "Game.iso").write_bytes(ISO)
            wait_until_protected(share.path / "Game.iso")
            (share.path / "half.iso").write_bytes(ISO[:200_000])
            wait_until_refused(share, "half.iso")
        with shared(source, command=SHORT, name="again") as share:
            check_protected(share.path / "half.iso")
            check_protected(share.path / "Game.iso")
    finally:
        take_down(source)


@pytest.mark.usefixtures("as_root")
def test_a_full_disk(tmp_path: Path) -> None:
    make_ext4(tmp_path / "image", 16 * MIB)
    with (
        disk_mounted(tmp_path / "image", tmp_path / "disk") as source,
        shared(source, command=SHORT) as share,
    ):
        copy = subprocess.run(
            ["dd", "if=/dev/urandom", f"of={share.path}/Game.iso", "bs=1M", "count=40"],
            capture_output=True,
            check=False,
        )
        assert copy.returncode == 1
        (share.path / "Game.iso").unlink()
        (share.path / "Game.iso").write_bytes(ISO)
        wait_until_protected(share.path / "Game.iso")


@pytest.mark.usefixtures("as_root")
def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    """As the kernel makes one with errors. The log names the files, not descriptors."""
    make_ext4(tmp_path / "image", 16 * MIB)
    with (
        disk_mounted(tmp_path / "image", tmp_path / "disk") as source,
        shared(source) as share,
    ):
        game = share.path / "Game.iso"
        game.write_bytes(ISO)
        remount = ["mount", "-o", "remount,ro", str(source)]
        wait_until(lambda: not subprocess.run(remount, check=False).returncode, "the remount")
        acts: dict[str, Callable[[], object]] = {
            "open": lambda: os.close(os.open(game, os.O_RDWR)),
            "setattr": lambda: os.utime(game, (1, 1)),
            "unlink": game.unlink,
            "create": (share.path / "Other.iso").touch,
        }
        for request, act in acts.items():
            with pytest.raises(OSError, match="Read-only file system"):
                act()
            name = "Other.iso" if request == "create" else "Game.iso"
            said = f"WARNING: {name}: a program's {request} failed: Read-only file system"
            wait_until(partial(share.log_lines, said), said)
        assert game.read_bytes() == ISO


# The layout for Open PS2 Loader


def test_in_the_opl_layout(source: Path) -> None:
    """A client finds what it writes under its own name, and later under that for OPL."""
    game = image_of({"/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_200.99;1\r\n"}, udf=True)
    with shared(source, "--layout", "opl") as share:
        mine = share.path / "DVD" / "My Game.iso"
        mine.write_bytes(game)
        assert names(share.path / "DVD") == ["My Game.iso"]
        assert mine.read_bytes() == game
        assert (source / "DVD" / "My Game.iso").read_bytes() == game
        wait_for(share.path / "DVD", "SLUS_200.99.My Game.iso")
        shown = share.path / "DVD" / "SLUS_200.99.My Game.iso"
        assert shown.read_bytes() == game
        assert names(source / "DVD") == ["My Game.iso"]
        shown.write_bytes(game[:-2048])  # it is still the client's
        wait_for(share.path / "DVD", "My Game.iso")
        mine.write_bytes(game)
        wait_for(share.path / "DVD", "SLUS_200.99.My Game.iso")
        shown.unlink()
        assert names(share.path / "DVD") == []
        assert names(source / "DVD") == []


def test_older_discs_in_the_opl_layout(source: Path) -> None:
    (source / "DVD").mkdir()
    (source / "DVD" / "Old.iso").write_bytes(ISO)
    with shared(source, "--layout", "opl", command=SHORT) as share:
        wait_until(lambda: len(names(share.path / "DVD")) == 1, "the disc")
        (old,) = (share.path / "DVD").iterdir()
        check_protected(old)
        with pytest.raises(FileExistsError):
            (share.path / "DVD" / "Old.iso").write_bytes(b"")
        (share.path / "CD" / "New.iso").write_bytes(ISO)
        wait_until(lambda: names(share.path / "CD") not in ([], ["New.iso"]), "its name for OPL")
        (new,) = (share.path / "CD").iterdir()
        wait_until_protected(new)
        check_protected(new)
        check_protected(old)
    assert (source / "CD" / "New.iso").read_bytes() == ISO
