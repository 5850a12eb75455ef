"""Nothing half-finished under a final name, and no source lost: killed, interrupted, disk full."""

import hashlib
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.ends import join
from tests.support.mounting import ZSOFS, drop_pages, names, wait_for, wait_until
from tests.support.packed import image_of, left_in, reports, zsofs
from tests.support.rounds import rounds
from zsofs.cli import main
from zsofs.errors import InputError
from zsofs.formats.file_names import MAX_NAME, is_unfinished, unfinished_name
from zsofs.images.input_image import original
from zsofs.pack.atomic_file import new_file
from zsofs.pack.outputs import one_file
from zsofs.pack.packer import PackOptions, pack
from zsofs.pack.presets import PURPOSES
from zsofs.pack.read_back import Watcher
from zsofs.pack.unpacker import unpack

IMAGE = writers.disc(5 << 20, ["text", "noise", "mixed"], 2)
SHA1 = hashlib.sha1(IMAGE).hexdigest()
SOURCES = {"pack": "Game.iso", "unpack": "Game.zso"}
TARGETS = {"pack": "Game.zso", "unpack": "Game.iso"}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@contextmanager
def disk(folder: Path, size: int, backing: Path | None = None) -> Iterator[Path]:
    """A small ext4 of its own: a new one, or *backing*."""
    if backing is None:
        backing = folder / "disk.img"
        with backing.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(backing)], check=True)
    point = backing.with_suffix(".mnt")
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(backing), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def start(words: list[str]) -> int:
    """Run zsofs in a fork of this process, so that nearly all of its time is the work itself."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main.main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:  # before the program could have handled it
        code = 130
    finally:
        os._exit(code)


def check_discs(folder: Path) -> set[str]:
    """Whatever has a final name is whole; returns those names."""
    found = {name for name in names(folder) if not is_unfinished(os.fsencode(name))}
    found -= {"lost+found"}
    for name in found:
        image = image_of(folder / name, as_it_is=name.endswith(".iso"))
        assert hashlib.sha1(image).hexdigest() == SHA1, f"{name} is not whole"
    return found


def kill_again_and_again(folder: Path, rounds: int, seed: int) -> None:
    """Pack and unpack on a small disk, killed at random moments, with a copy of the disk then.

    The moments are spread over as long as a run takes here, which is learnt on the way, so that
    most of them come before its end. There are more rounds until half of *rounds* have.
    """
    rng = random.Random(seed)
    hits = half_finished = 0
    number = -1
    longest = {True: 0.2, False: 0.2}
    with disk(folder, 24 << 20) as point:
        while (number := number + 1) < rounds or (hits < rounds // 2 and number < 10 * rounds):
            packing, deleting = bool(number & 1), bool(number & 2)
            before = {True: "Game.iso", False: "Game.zso"}[packing]
            for name in names(point):
                if name != "lost+found" and not name.startswith("."):
                    (point / name).unlink()
            source = point / before
            source.write_bytes(IMAGE if packing else PACKED[0])
            fd = os.open(source, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            os.sync()
            command = ["pack", "--level", "3"] if packing else ["unpack"]
            command += ["--delete-source"] * deleting + ["-q", str(source)]
            killed = rng.choice(SIGNALS)
            pid = start(command)
            time.sleep(rng.uniform(0, longest[packing]))
            copy = folder / "copy.img"
            was_half_finished = bool(left_in(point))
            os.kill(pid, killed)
            copy_of_a_moment(folder / "disk.img", copy)
            _, status = os.waitpid(pid, 0)
            is_hit = os.WIFSIGNALED(status) or os.WEXITSTATUS(status) != 0
            longest[packing] *= 1.1 if is_hit else 0.7
            hits += is_hit
            half_finished += is_hit and was_half_finished
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) in (0, 130, 143)
                assert left_in(point) == []
            for there in (check_discs(point), _check_copy(folder, copy)):
                assert there, "the disc is still there"
                assert deleting or before in there, "the source was not to be deleted"
            for name in check_discs(point):  # the next run carries on
                done = start([*command[:-1], str(point / name)] if name == before else ["--help"])
                assert os.WEXITSTATUS(os.waitpid(done, 0)[1]) == 0
            after = "Game.zso" if packing else "Game.iso"
            assert after in check_discs(point)
            assert left_in(point) == []
    assert hits >= rounds // 2
    assert half_finished >= rounds // 20


def copy_of_a_moment(image: Path, copy: Path) -> None:
    """Copy a disk that is in use as it is at one moment, and as a power cut would leave it.

    The copy is a new file each time: while anybody has its loop device open, mount(8) takes that
    again for the same file, and the kernel has the blocks of the last copy in memory.
    """
    content = b""
    while content != (content := image.read_bytes()):
        pass
    copy.unlink(missing_ok=True)
    copy.write_bytes(content)


def _check_copy(folder: Path, copy: Path) -> set[str]:
    with disk(folder, 0, copy) as point:
        return check_discs(point)


PACKED: list[bytes] = []


@pytest.fixture(autouse=True, scope="module")
def _packed(module_path: Path) -> None:
    (module_path / "Game.iso").write_bytes(IMAGE)
    zsofs("pack", "--level", "3", module_path / "Game.iso")
    PACKED.append((module_path / "Game.zso").read_bytes())


def test_killed_at_random_moments(as_root: None, tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, rounds(6, 20), 1)


@pytest.mark.system
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_at_a_hundred_random_moments(as_root: None, tmp_path: Path, seed: int) -> None:
    kill_again_and_again(tmp_path, 100, seed)


def test_a_full_disk(as_root: None, tmp_path: Path) -> None:
    (tmp_path / "Large.iso").write_bytes(writers.described(os.urandom(24 << 20)))
    (tmp_path / "Small.iso").write_bytes(IMAGE)
    zsofs("pack", tmp_path / "Large.iso", "-o", tmp_path / "Large.zso")
    with disk(tmp_path, 16 << 20) as point:
        out = f"{point}/"
        for command in (("pack", "Large.iso", "Small.iso"), ("unpack", "Large.zso")):
            inputs = [tmp_path / name for name in command[1:]]
            done = zsofs(command[0], *inputs, "-o", out, code=8)
            assert "No space left on device" in done.stderr
            assert "Large.iso" in done.stdout or command[0] == "unpack"
            assert names(point) == ["Small.zso", "lost+found"], "the batch went on"
        assert image_of(point / "Small.zso") == IMAGE
    assert (tmp_path / "Large.iso").stat().st_size == 24 << 20


def test_an_input_whose_disk_fails(as_root: None, tmp_path: Path) -> None:
    with disk(tmp_path, 48 << 20) as point:
        (point / "Game.iso").write_bytes(writers.described(os.urandom(24 << 20)))
        fd = os.open(point / "Game.iso", os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        drop_pages(point / "Game.iso")
        os.truncate(tmp_path / "disk.img", 12 << 20)
        done = zsofs("pack", point / "Game.iso", "-o", tmp_path / "out" / "Game.zso", code=8)
        assert "it cannot be read at" in done.stderr
        assert names(tmp_path / "out") == []
        os.truncate(tmp_path / "disk.img", 48 << 20)


def convert(command: str, folder: Path, watcher: Watcher) -> None:
    """Pack `Game.iso` in a folder, or unpack `Game.zso` there."""
    source, target = folder / SOURCES[command], str(folder / TARGETS[command])
    with original(str(source)) as image:
        if command == "pack":
            pack(image, target, PURPOSES["mount"], PackOptions(), watcher)
        else:
            unpack(one_file(target, image), PackOptions(), watcher)


def source_of(command: str, folder: Path) -> Path:
    """Make what :func:`convert` takes."""
    source = folder / SOURCES[command]
    source.write_bytes(IMAGE if command == "pack" else PACKED[0])
    return source


@pytest.mark.parametrize("command", SOURCES)
def test_an_input_that_changes_while_it_is_read(tmp_path: Path, command: str) -> None:
    source = source_of(command, tmp_path)

    class Meddler(Quiet):
        def advance(self, plain: int, stored: int) -> None:
            with source.open("r+b") as file:
                file.write(b"another")

    with pytest.raises(InputError, match=r"modified"):
        convert(command, tmp_path, Meddler())
    assert names(tmp_path) == [source.name]


@pytest.mark.parametrize("command", SOURCES)
def test_an_input_that_was_changed_and_given_its_old_date(tmp_path: Path, command: str) -> None:
    source = source_of(command, tmp_path)
    before = source.stat()

    class Meddler(Quiet):
        def check(self) -> None:
            with source.open("r+b") as file:
                file.write(b"another")
            os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(InputError, match="changed while it was being read"):
        convert(command, tmp_path, Meddler())
    assert names(tmp_path) == [source.name]


class Quiet:
    """A watcher that may do something when the reading back begins."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def advance(self, plain: int, stored: int) -> None:
        pass

    def check(self) -> None:
        if self.path is not None:
            (unfinished,) = self.path.glob(".*.part")
            with unfinished.open("r+b") as file:
                file.seek(2 << 20)
                byte = file.read(1)
                file.seek(2 << 20)
                file.write(bytes([byte[0] ^ 1]))


def test_a_disk_that_gives_back_other_bytes(tmp_path: Path) -> None:
    source = tmp_path / "Game.iso"
    source.write_bytes(IMAGE)
    for purpose in ("mount", "fast"):
        target, how = str(tmp_path / "Game.zso"), PURPOSES[purpose]
        with original(str(source)) as image, pytest.raises(InputError, match="may be failing"):
            pack(image, target, how, PackOptions(), Quiet(tmp_path))
        assert names(tmp_path) == ["Game.iso"]
    source.unlink()
    source_of("unpack", tmp_path)
    with pytest.raises(InputError, match="may be failing: its SHA-1 is"):
        convert("unpack", tmp_path, Quiet(tmp_path))
    assert names(tmp_path) == ["Game.zso"]


@pytest.mark.parametrize("key", ["zsofs", "header", "index_crc32", "crc32", "md5", "sha1"])
def test_a_disk_that_gives_back_another_seal(tmp_path: Path, key: str) -> None:
    """Each value of it is what `zsofs verify` will go by."""
    source = tmp_path / "Game.iso"
    source.write_bytes(IMAGE)

    class Meddler(Quiet):
        def check(self) -> None:
            (unfinished,) = tmp_path.glob(".*.part")
            content = unfinished.read_bytes()
            at = content.rindex(b'"%s":"' % key.encode()) + len(key) + 4
            other = b"1" if content[at : at + 1] == b"0" else b"0"
            unfinished.write_bytes(content[:at] + other + content[at + 1 :])

    with original(str(source)) as image, pytest.raises(InputError, match="may be failing"):
        pack(image, str(tmp_path / "Game.zso"), PURPOSES["mount"], PackOptions(), Meddler())
    assert names(tmp_path) == ["Game.iso"]


def test_what_is_read_back_comes_from_the_disk(on_disk: Path) -> None:
    """The kernel has nothing of the file in memory when the reading back begins."""
    source = on_disk / "Game.iso"
    source.write_bytes(IMAGE)
    seen: list[str] = []

    class Looker(Quiet):
        def check(self) -> None:
            (unfinished,) = on_disk.glob(".*.part")
            done = subprocess.run(
                ["fincore", "-nbo", "pages", str(unfinished)],
                capture_output=True,
                text=True,
                check=True,
            )
            seen.append(done.stdout.strip())

    with original(str(source)) as image:
        pack(image, str(on_disk / "Game.zso"), PURPOSES["mount"], PackOptions(), Looker())
    assert seen == ["0"]


def test_a_name_that_is_taken_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "Game.zso"
    with new_file(str(target)) as file:
        file.write(b"ours", 0)
        target.write_bytes(b"theirs")
        with pytest.raises(InputError, match="was created during the run"):
            file.take_name(replace=False)
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["Game.zso"]


def test_leftovers_go_when_nobody_uses_them(tmp_path: Path) -> None:
    with new_file(str(tmp_path / "Other.zso")) as used:
        used.write(b"half", 0)
        in_use = os.path.basename(used.path)
        left = unfinished_name(b"Dead.zso", "0123abcd").decode()
        (tmp_path / left).write_bytes(b"half")
        (tmp_path / ".mine.part").write_bytes(b"not ours")
        (tmp_path / "Game.iso").write_bytes(IMAGE)
        zsofs("pack", tmp_path / "Game.iso")
        assert names(tmp_path) == sorted([".mine.part", in_use, "Game.iso", "Game.zso"])


def test_two_runs_at_once(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.iso").write_bytes(IMAGE)
    command = [*ZSOFS, "pack", "-q", str(tmp_path)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for one in runs:
        _, said = one.communicate(timeout=60)
        # Who came second either found the file whole or saw it appear.
        assert one.returncode == 0 or b"was created during the run" in said, said
    assert names(tmp_path) == sorted(f"{n}.{e}" for n in range(6) for e in ("iso", "zso"))
    for number in range(6):
        assert image_of(tmp_path / f"{number}.zso") == IMAGE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_orderly_end(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "Game.iso").write_bytes(writers.described(os.urandom(64 << 20)))
    daemon = subprocess.Popen(
        [*ZSOFS, "pack", "--level", "19", str(tmp_path / "Game.iso")],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: left_in(tmp_path) or daemon.poll() is not None, "the packing")
    daemon.send_signal(number)
    _, said = daemon.communicate(timeout=30)
    assert daemon.returncode == 128 + number
    assert "interrupted; no incomplete files remain" in said
    assert "Traceback" not in said
    assert names(tmp_path) == ["Game.iso"]


def test_an_end_at_the_moment_when_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal may come before anybody holds the new file's descriptor."""
    real, made = os.open, []

    def interrupted(path: str, flags: int, mode: int = 0o777) -> int:
        fd = real(path, flags, mode)
        if flags & os.O_CREAT:
            made.append(fd)
            raise KeyboardInterrupt
        return fd

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt), new_file(str(tmp_path / "Game.zso")):
        pytest.fail("it was made")
    monkeypatch.undo()
    assert len(made) == 1
    os.close(made[0])
    assert names(tmp_path) == []


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """The largest blocks and the dearest level; a small image would not fill the buffers."""
    with (tmp_path / "Game.iso").open("wb") as file:
        file.write(writers.disc(rounds(6 << 20, 24 << 20), ["text", "noise"], 1))
        file.truncate(rounds(220 << 20, 600 << 20))  # more than it may hold
    command = [*ZSOFS, "pack", "--block-size", "1M", "--level", "19", str(tmp_path / "Game.iso")]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while daemon.poll() is None:
        text = Path(f"/proc/{daemon.pid}/status").read_text()
        peak = max([peak, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", text))])
        time.sleep(0.01)
    assert daemon.returncode == 0
    assert 20 << 10 < peak < 200 << 10


def test_a_mount_never_shows_what_is_half_written(
    tmp_path: Path, source: Path, mount: MountMaker
) -> None:
    made = mount(source)
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.update(os.listdir(made.path))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for name in ("A", "B"):
            zsofs("pack", "--level", "12", tmp_path / "Game.iso", "-o", source / f"{name}.zso")
    finally:
        stop.set()
        join(looker)
    wait_for(made.path, "A.iso", "B.iso")
    assert seen <= {"A.iso", "B.iso"}
    assert (made.path / "B.iso").read_bytes() == IMAGE


def test_a_delete_that_must_not_be(tmp_path: Path) -> None:
    (tmp_path / "Real.iso").write_bytes(IMAGE)
    (tmp_path / "Link.iso").symlink_to("Real.iso")
    (tmp_path / "Other.iso").write_bytes(IMAGE)
    inputs = tmp_path / "Link.iso", tmp_path / "Other.iso"
    done = zsofs("pack", "--delete-source", *inputs, code=8)
    assert "but the input was not deleted: it is a symlink" in done.stderr
    assert names(tmp_path) == ["Link.iso", "Link.zso", "Other.zso", "Real.iso"]
    assert f"{tmp_path}/Link.iso -> {tmp_path}/Link.zso: 5.24 MB to " in done.stdout
    summary = done.stdout.splitlines()[-2:]
    assert summary[0].startswith("2 files packed, 10.5 MB plain")
    assert summary[1] == f"  kept: {tmp_path}/Link.iso"
    (report,) = reports("pack", "--force", "--delete-source", tmp_path / "Link.iso", code=8)
    assert report["state"] == "packed"
    assert report["stored_bytes"] == (tmp_path / "Link.zso").stat().st_size
    assert "it is a symlink" in report["error"]
    with original(str(tmp_path / "Real.iso")) as image:
        with suppress(FileNotFoundError):
            (tmp_path / "Real.iso").rename(tmp_path / "moved.iso")
        (tmp_path / "Real.iso").write_bytes(b"another disc")
        with pytest.raises(InputError, match="another file now has its name"):
            image.remove()


def test_hidden_names_are_known_again() -> None:
    for name in (b"Game.zso", b"x" * MAX_NAME, "ü".encode() * 127, b"\xff\xfe.zso"):
        hidden = unfinished_name(name, "00ff00ff")
        assert is_unfinished(hidden)
        assert len(hidden) <= MAX_NAME
    for name in (
        b"Game.part",
        b".Game.part",
        b"Game.zsofs-00ff00ff.part",
        b".a.zsofs-00FF00ff.part",
    ):
        assert not is_unfinished(name)


@pytest.mark.parametrize("options", [(), ("--writable",), ("--writable", "--new-discs")])
def test_an_output_in_a_mount(
    tmp_path: Path, source: Path, mount: MountMaker, options: tuple[str, ...]
) -> None:
    """The message names the file to use instead; nothing is created, not even a directory."""
    (source / "Game.iso").write_bytes(IMAGE)
    made = mount(source, *options)
    there = made.path / "Game.iso"
    for words in ((), ("-o", f"{made.path}/new/")):
        [report] = reports("pack", there, *words, code=8)
        assert "is a mount of zsofs, which shows no unfinished files" in report["error"]
        assert f"use the file in {source} instead" in report["error"]
    assert names(source) == ["Game.iso"]
    zsofs("pack", there, "-o", tmp_path / "Game.zso", code=0)
    assert image_of(tmp_path / "Game.zso") == IMAGE
