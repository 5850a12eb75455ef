"""Programs that people use on .iso files, on the mounted ones: each must see the plain image."""

import errno
import hashlib
import json
import mmap
import os
import pwd
import random
import re
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.ends import join
from tests.support.mounting import DATA, Mount, drop_pages, mounted

pytestmark = pytest.mark.xdist_group("clients")  # they share what takes long to make

MANIFEST: dict[str, dict[str, str]] = {
    name: about
    for name, about in json.loads((DATA / "manifest.json").read_text()).items()
    if name != "_"
}

# What the ISO image is packed with; the key is the name of the packed file.
PACKED: dict[str, writers.Writer] = {
    "ziso_py.zso": writers.ziso_py,
    "ziso_py-shifted.zso": partial(writers.ziso_py, shift=3),
    "maxcso-16384.zso": partial(writers.maxcso_zso, block_size=16384, shift=1),
    "danixu.zso": partial(writers.danixu, shift=2, hdl_fix=True),
    "zstd.zso": writers.zstd_ziso,
    "zstd-16384.zso": partial(writers.zstd_ziso, block_size=16384),
    "zstd-131072.zso": partial(writers.zstd_ziso, block_size=131072),
    "zsoz.zso": writers.zsoz,
    "ciso_py.cso": writers.ciso_py,
    "maxcso-v1.cso": partial(writers.maxcso_cso1, shift=1),
    "maxcso-v2-16384.cso": partial(writers.maxcso_cso2, block_size=16384),
    "maxcso.dax": writers.dax,
}

# One for each codec and another block size, for what is slow.
SOME = ("ziso_py-shifted.zso", "zstd-16384.zso", "maxcso-v1.cso", "maxcso.dax")


@dataclass
class Discs:
    """One ISO image in many containers, mounted.

    Attributes:
        mount: of the folder with the containers.
        files: what was put into the image.
        plain: the image itself.
        image: its bytes.
    """

    mount: Mount
    files: Path
    plain: Path
    image: bytes

    def shown(self, name: str) -> Path:
        return self.mount.path / (Path(name).stem + ".iso")


def run(*command: str | Path) -> str:
    """What *command* says; an error is one."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        check=False,
        text=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def digests(folder: Path) -> dict[str, str]:
    """SHA-1 of every file below *folder*."""
    return {
        str(path.relative_to(folder)): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def discs(module_path: Path) -> Iterator[Discs]:
    base = module_path / "discs"
    files, source, plain = base / "files", base / "source", base / "plain.iso"
    (files / "movies" / "deep").mkdir(parents=True)
    source.mkdir()
    (files / "read me, it has a long name.txt").write_bytes(writers.content(40_001, ["text"], 1))
    (files / "empty").touch()
    (files / "movies" / "noise.pss").write_bytes(writers.content(900_001, ["noise"], 2))
    (files / "movies" / "zeros.dat").write_bytes(bytes(300_000))
    mixed = writers.content(1_400_000, ["text", "mixed", "tight", "noise", "zeros"], 3)
    (files / "movies" / "deep" / "mixed.bin").write_bytes(mixed)
    for number in range(60):
        small = writers.content(number * 199, ["text", "noise"], number)
        (files / f"file{number:02}.dat").write_bytes(small)
    run("xorriso", "-as", "mkisofs", "--md5", "-quiet", "-R", "-J", "-o", plain, files)
    image = plain.read_bytes()
    for name, write in PACKED.items():
        (source / name).write_bytes(write(image))
        (source / name).chmod(0o644)
    with mounted(source, base / "mnt") as mount:
        yield Discs(mount, files, plain, image)


def test_cmp_on_every_real_file(mount: MountMaker) -> None:
    for name, about in MANIFEST.items():
        assert (DATA / name).is_file()
        assert (DATA / f"{about['image']}.iso").is_file()
    tree = mount(DATA)
    shown = set(os.listdir(tree.path))
    for name, about in MANIFEST.items():
        path = tree.path / (Path(name).stem + ".iso")
        if path.name not in shown:  # another disc wants the same name
            path = tree.path / (name + ".iso")
        run("cmp", path, DATA / f"{about['image']}.iso")


@pytest.mark.parametrize("name", PACKED)
def test_cmp(discs: Discs, name: str) -> None:
    drop_pages(discs.shown(name))
    run("cmp", discs.shown(name), discs.plain)
    run("cmp", "-i", "1234567", discs.shown(name), discs.plain)


@pytest.mark.parametrize("name", PACKED)
def test_isoinfo_lists_and_extracts(discs: Discs, name: str) -> None:
    shown = discs.shown(name)
    for option in ("-l", "-lR", "-lJ", "-d", "-p"):
        expected = run("isoinfo", option, "-i", discs.plain)
        assert run("isoinfo", option, "-i", shown) == expected
    assert "mixed.bin" in run("isoinfo", "-lR", "-i", shown)
    drop_pages(shown)
    taken = subprocess.run(
        ["isoinfo", "-R", "-i", shown, "-x", "/movies/deep/mixed.bin"],
        capture_output=True,
        check=True,
    )
    assert taken.stdout == (discs.files / "movies" / "deep" / "mixed.bin").read_bytes()


@pytest.mark.parametrize("name", PACKED)
def test_7z_tests_and_extracts(discs: Discs, tmp_path: Path, name: str) -> None:
    drop_pages(discs.shown(name))
    assert "Everything is Ok" in run("7z", "t", discs.shown(name))
    drop_pages(discs.shown(name))
    run("7z", "x", f"-o{tmp_path / 'out'}", discs.shown(name))
    assert digests(tmp_path / "out") == digests(discs.files)


@pytest.mark.parametrize("name", PACKED)
def test_xorriso_checks_and_extracts(discs: Discs, tmp_path: Path, name: str) -> None:
    shown = discs.shown(name)
    drop_pages(shown)
    said = run("xorriso", "-md5", "on", "-indev", shown, "-check_media", "--")
    assert re.search(r"MD5 tag range:.*\+ md5_match", said)
    qualities = re.findall(r"^Media region :.* , (.*)", said, re.MULTILINE)
    assert qualities == ["+ good"]
    said = run("xorriso", "-md5", "on", "-indev", shown, "-check_md5_r", "sorry", "/", "--")
    assert "File contents and their MD5 checksums match." in said
    drop_pages(shown)
    run("xorriso", "-osirrox", "on", "-indev", shown, "-extract", "/", tmp_path / "out")
    assert digests(tmp_path / "out") == digests(discs.files)


@pytest.mark.parametrize("name", PACKED)
def test_mmap(discs: Discs, name: str) -> None:
    generator = random.Random(name)
    drop_pages(discs.shown(name))
    with (
        discs.shown(name).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert len(mapped) == len(discs.image)
        for _ in range(500):
            begin = generator.randrange(len(discs.image))
            end = begin + int(2 ** generator.uniform(0, 17))
            assert mapped[begin:end] == discs.image[begin:end], (begin, end)
        assert mapped[-1] == discs.image[-1]
        assert mapped.find(b"CD001") == discs.image.find(b"CD001")


def test_sendfile_to_a_file(discs: Discs, tmp_path: Path) -> None:
    for name in PACKED:
        drop_pages(discs.shown(name))
        target = tmp_path / name
        with discs.shown(name).open("rb") as file, target.open("wb") as out:
            while os.sendfile(out.fileno(), file.fileno(), None, 1 << 30):
                pass
        assert target.read_bytes() == discs.image, name


def test_sendfile_to_a_socket(discs: Discs) -> None:
    size = len(discs.image)
    for name in PACKED:
        drop_pages(discs.shown(name))
        sender, receiver = socket.socketpair()
        received = bytearray()

        def receive(receiver: socket.socket = receiver, into: bytearray = received) -> None:
            while piece := receiver.recv(1 << 16):
                into += piece

        thread = threading.Thread(target=receive)
        thread.start()
        offset = 777
        with sender, discs.shown(name).open("rb") as file:
            while sent := os.sendfile(sender.fileno(), file.fileno(), offset, 300_001):
                offset += sent
        join(thread)
        receiver.close()
        assert offset == size
        assert received == discs.image[777:], name


@pytest.mark.parametrize("name", SOME)
def test_splice_to_a_pipe(discs: Discs, name: str) -> None:
    drop_pages(discs.shown(name))
    out, into = os.pipe()
    received = bytearray()
    with discs.shown(name).open("rb") as file:
        while moved := os.splice(file.fileno(), into, 50_001):
            while moved:
                piece = os.read(out, moved)
                received += piece
                moved -= len(piece)
    os.close(out)
    os.close(into)
    assert received == discs.image


COPIES = [
    ["cp", "--sparse=auto"],
    ["cp", "--sparse=always"],
    ["cp", "--sparse=never"],
    ["cp", "--reflink=auto"],
    ["cp", "-a"],
    ["install", "-m", "644"],
]


@pytest.mark.parametrize("command", COPIES, ids=" ".join)
def test_copying(discs: Discs, tmp_path: Path, command: list[str]) -> None:
    for name in SOME:
        drop_pages(discs.shown(name))
        run(*command, discs.shown(name), tmp_path / name)
        assert (tmp_path / name).read_bytes() == discs.image, name


def test_copying_the_whole_folder(discs: Discs, tmp_path: Path) -> None:
    run("cp", "-a", discs.mount.path, tmp_path / "copy")
    expected = {Path(name).stem + ".iso" for name in PACKED}
    assert set(os.listdir(tmp_path / "copy")) == expected
    for name in PACKED:
        copy, packed = tmp_path / "copy" / (Path(name).stem + ".iso"), discs.mount.source / name
        assert copy.read_bytes() == discs.image
        assert copy.stat().st_mtime_ns == packed.stat().st_mtime_ns


def test_python_copies(discs: Discs, tmp_path: Path) -> None:
    for name in SOME:
        drop_pages(discs.shown(name))
        shutil.copyfile(discs.shown(name), tmp_path / name)
        assert (tmp_path / name).read_bytes() == discs.image


def test_copy_file_range(discs: Discs, tmp_path: Path) -> None:
    """Kernels since 5.19 refuse it between two file systems; then nothing may have been copied."""
    for name in SOME:
        drop_pages(discs.shown(name))
        expected = discs.image
        with discs.shown(name).open("rb") as file, (tmp_path / name).open("wb") as out:
            try:
                while os.copy_file_range(file.fileno(), out.fileno(), 1 << 30):
                    pass
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                expected = b""
        assert (tmp_path / name).read_bytes() == expected


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("size", [512, 2047, 3333, 4096, 65537, 1_000_003, 4 << 20])
@pytest.mark.parametrize("how", [[], ["iflag=direct"]], ids=["cached", "direct"])
def test_dd(discs: Discs, tmp_path: Path, name: str, size: int, how: list[str]) -> None:
    drop_pages(discs.shown(name))
    skip = 3 if size < 1 << 20 else 0
    out = tmp_path / "out"
    run("dd", f"if={discs.shown(name)}", f"of={out}", f"bs={size}", f"skip={skip}", *how)
    assert out.read_bytes() == discs.image[skip * size :]


@pytest.mark.parametrize("name", SOME)
def test_direct_reads_anywhere(discs: Discs, name: str) -> None:
    generator = random.Random(name)
    fd = os.open(discs.shown(name), os.O_RDONLY | os.O_DIRECT)
    try:
        for _ in range(200):
            offset = generator.randrange(len(discs.image) + 3000)
            size = int(2 ** generator.uniform(0, 21))
            assert os.pread(fd, size, offset) == discs.image[offset : offset + size], (offset, size)
    finally:
        os.close(fd)


def test_tar(discs: Discs, tmp_path: Path) -> None:
    for option in ("-cf", "-Scf"):
        archive = tmp_path / f"{option}.tar"
        said = subprocess.run(
            ["tar", option, archive, "-C", discs.mount.path, "."], capture_output=True, check=True
        )
        assert said.stderr == b""
        with tarfile.open(archive) as tar:
            for name in PACKED:
                member = tar.extractfile(f"./{Path(name).stem}.iso")
                assert member is not None
                assert member.read() == discs.image, name


def test_grep_finds_binary_text(discs: Discs) -> None:
    expected = run("grep", "-c", "-a", "CD001", discs.plain)
    for name in PACKED:
        assert run("grep", "-c", "-a", "CD001", discs.shown(name)) == expected


def test_find_ls(discs: Discs) -> None:
    size = len(discs.image)
    kilobytes = -(-size // 1024)
    found = {}
    for line in run("find", discs.mount.path, "-type", "f", "-ls").splitlines():
        words = line.split()
        found[Path(words[-1]).name] = (int(words[1]), words[2], words[3], int(words[6]))
    assert found == {
        Path(name).stem + ".iso": (kilobytes, "-r--r--r--", "1", size) for name in PACKED
    }


def test_find_does_not_skip_folders(source: Path, mount: MountMaker) -> None:
    """Tools take a folder of link count 2 to have no folder inside; 1 says nothing at all."""
    for folder in ("a/b/c", "a/d", "e"):
        (source / folder).mkdir(parents=True)
        shutil.copy(DATA / "ziso-py.zso", source / folder / "disc.zso")
    tree = mount(source)
    found = run("find", tree.path, "-name", "disc.iso", "-printf", "%P %y %s\n").splitlines()
    size = (DATA / "ps2.iso").stat().st_size
    assert sorted(found) == [f"{where}/disc.iso f {size}" for where in ("a/b/c", "a/d", "e")]
    folders = run("find", tree.path, "-type", "d", "-printf", "%P\n").split()
    assert sorted(folders) == ["a", "a/b", "a/b/c", "a/d", "e"]


def test_du(discs: Discs) -> None:
    size = len(discs.image)
    on_disk = -(-size // 512) * 512
    for name in PACKED:
        assert run("du", "-B1", discs.shown(name)).split()[0] == str(on_disk)
        assert run("du", "-b", discs.shown(name)).split()[0] == str(size)


def test_du_of_an_odd_size(mount: MountMaker, source: Path) -> None:
    shutil.copy(DATA / "ziso-compressor-odd-size.zso", source / "disc.zso")
    shown = mount(source).path / "disc.iso"
    size = (DATA / "odd.iso").stat().st_size
    assert size % 512 != 0
    assert run("du", "-B1", shown).split()[0] == str(-(-size // 512) * 512)
    assert run("du", "-b", shown).split()[0] == str(size)


def test_stat(discs: Discs) -> None:
    for name in PACKED:
        packed = discs.mount.source / name
        times = run("stat", "-c", "%y %U %G", packed)
        assert run("stat", "-c", "%y %U %G", discs.shown(name)) == times
        assert run("stat", "-c", "%s %A %h %F", discs.shown(name)) == (
            f"{len(discs.image)} -r--r--r-- 1 regular file\n"
        )


def test_stat_of_the_file_system(discs: Discs) -> None:
    unchanging = "%S %s %b %c %l"  # sizes and totals; what is free changes at any time
    expected = run("stat", "-f", "-c", unchanging, discs.mount.source)
    assert run("stat", "-f", "-c", unchanging, discs.mount.path) == expected
    assert run("stat", "-f", "-c", "%T", discs.mount.path).startswith("fuse")
    assert run("df", "--output=target", discs.mount.path).splitlines()[1] == str(discs.mount.path)
    assert run("df", "-B1", "--output=size", discs.mount.path) == run(
        "df", "-B1", "--output=size", discs.mount.source
    )


READER = """
import os, random, sys
shown, plain, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
image = open(plain, "rb").read()
generator = random.Random(seed)
names = sorted(os.listdir(shown))
for _ in range(count):
    name = generator.choice(names)
    fd = os.open(os.path.join(shown, name), os.O_RDONLY)
    for _ in range(40):
        offset = generator.randrange(len(image))
        size = int(2 ** generator.uniform(0, 19))
        if generator.random() < 0.2:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(fd, size, offset) != image[offset:offset + size]:
            sys.exit(f"wrong bytes in {name} at {offset}, {size}")
    os.close(fd)
"""


def test_eight_processes_at_once(discs: Discs) -> None:
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, discs.mount.path, discs.plain, str(seed), "12"],
            stderr=subprocess.PIPE,
        )
        for seed in range(8)
    ]
    said = [reader.communicate(timeout=60)[1] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 8, said


def test_eight_programs_on_one_disc(discs: Discs) -> None:
    for name in SOME:
        drop_pages(discs.shown(name))
        commands = [
            ["sha1sum", "-"] if number % 2 else ["sha1sum", str(discs.shown(name))]
            for number in range(8)
        ]
        programs = []
        for command in commands:
            with discs.shown(name).open("rb") as file:
                programs.append(subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE))
        expected = hashlib.sha1(discs.image).hexdigest().encode()
        for program in programs:
            said, _ = program.communicate(timeout=60)
            assert said.split()[0] == expected


def test_a_loop_device(discs: Discs, as_root: None) -> None:
    """What `mount -o loop` reads through, whichever file system is inside."""
    for name in SOME:
        for direct in ("off", "on"):
            device = run(
                "losetup", "--find", "--show", "--read-only", f"--direct-io={direct}",
                discs.shown(name),
            ).strip()  # fmt: skip
            try:
                assert run("blockdev", "--getsize64", device).strip() == str(len(discs.image))
                run("cmp", device, discs.plain)
            finally:
                run("losetup", "--detach", device)


# Writes


def call_open(*flags: int) -> Callable[[Path], object]:
    """Opening the disc with these flags; a descriptor that should not exist is closed again."""

    def attempt(disc: Path) -> None:
        for flag in flags:
            os.close(os.open(disc, flag))

    return attempt


WRITES: dict[str, Callable[[Path], object]] = {
    "open for writing": call_open(os.O_WRONLY),
    "open for both": call_open(os.O_RDWR),
    "open to append": call_open(os.O_WRONLY | os.O_APPEND),
    "open and cut": call_open(os.O_RDONLY | os.O_TRUNC),
    "create": lambda disc: os.close(os.open(disc.with_name("new"), os.O_CREAT | os.O_WRONLY)),
    "create exclusively": lambda disc: os.close(
        os.open(disc.with_name("new"), os.O_CREAT | os.O_EXCL | os.O_RDONLY)
    ),
    "create nameless": lambda disc: os.close(os.open(disc.parent, os.O_TMPFILE | os.O_RDWR)),
    "truncate": lambda disc: os.truncate(disc, 5),
    "rm": os.unlink,
    "rmdir": lambda disc: os.rmdir(disc.with_name("folder")),
    "mkdir": lambda disc: os.mkdir(disc.with_name("new")),
    "mv": lambda disc: os.rename(disc, disc.with_name("new")),
    "mv onto another": lambda disc: os.rename(disc, disc.with_name("other.iso")),
    "mv into a folder": lambda disc: os.rename(disc, disc.with_name("folder") / disc.name),
    "mv a folder": lambda disc: os.rename(disc.with_name("folder"), disc.with_name("new")),
    "ln": lambda disc: os.link(disc, disc.with_name("new")),
    "ln -s": lambda disc: os.symlink("disc.iso", disc.with_name("new")),
    "mkfifo": lambda disc: os.mkfifo(disc.with_name("new")),
    "mknod": lambda disc: os.mknod(disc.with_name("new"), stat.S_IFREG | 0o644),
    "chmod": lambda disc: os.chmod(disc, 0o777),
    "chmod of a folder": lambda disc: os.chmod(disc.parent, 0o777),
    "chown": lambda disc: os.chown(disc, 1, 1),
    "touch": os.utime,
    "touch with a date": lambda disc: os.utime(disc, (0, 0)),
    "touch a folder": lambda disc: os.utime(disc.parent),
    "setxattr": lambda disc: os.setxattr(disc, "user.zsofs", b"x"),
    "removexattr": lambda disc: os.removexattr(disc, "user.zsofs"),
    "truncate a plain file": lambda disc: os.truncate(disc.with_name("readme.txt"), 0),
    "write to a plain file": lambda disc: disc.with_name("readme.txt").write_text("x"),
    "rm of a plain file": lambda disc: os.unlink(disc.with_name("readme.txt")),
}


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, int, bytes]]:
    """All that a write could change below *folder*."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_mtime_ns,
            status.st_ctime_ns,
            content,
        )
    return found


@pytest.fixture(scope="module")
def writable(module_path: Path) -> Iterator[Mount]:
    """A mount whose source could be written to."""
    base = module_path / "writes"
    source = base / "source"
    (source / "folder").mkdir(parents=True)
    shutil.copy(DATA / "ziso-py.zso", source / "disc.zso")
    shutil.copy(DATA / "maxcso.dax", source / "other.dax")
    (source / "readme.txt").write_text("plain")
    with mounted(source, base / "mnt") as mount:
        yield mount


@pytest.mark.parametrize("what", WRITES)
def test_no_write_gets_through(writable: Mount, what: str) -> None:
    before, shown = snapshot(writable.source), snapshot(writable.path)
    with pytest.raises(OSError, match=r"^\[Errno 30\] Read-only file system"):
        WRITES[what](writable.path / "disc.iso")
    assert snapshot(writable.source) == before
    assert snapshot(writable.path) == shown


def test_programs_say_that_it_is_read_only(writable: Mount) -> None:
    disc = str(writable.path / "disc.iso")
    for command in (
        ["touch", disc],
        ["rm", "-f", disc],
        ["mkdir", str(writable.path / "new")],
        ["mv", disc, str(writable.path / "new")],
        ["cp", str(DATA / "ziso-py.zso"), str(writable.path)],
        ["truncate", "-s", "0", disc],
    ):
        done = subprocess.run(
            command, capture_output=True, check=False, text=True, env=os.environ | {"LC_ALL": "C"}
        )
        assert done.returncode != 0
        assert "Read-only file system" in done.stderr, (command, done.stderr)


def test_mapping_for_writing_is_refused(writable: Mount) -> None:
    with (writable.path / "disc.iso").open("rb") as file:
        with pytest.raises(PermissionError):
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as private:
            private[:4] = b"mine"
            assert private[:4] == b"mine"
    assert (writable.path / "disc.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()


def test_write_access_is_denied_beforehand(writable: Mount) -> None:
    assert os.access(writable.path / "disc.iso", os.R_OK)
    assert not os.access(writable.path / "disc.iso", os.W_OK)
    assert not os.access(writable.path, os.W_OK)


# Another user


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can walk into, which pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def as_nobody(*command: str | Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [str(word) for word in command],
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )


def fill_for_others(base: Path) -> Path:
    """A source with a disc for all, one for its owner only, and a plain file."""
    source = base / "source"
    source.mkdir()
    source.chmod(0o755)
    for name, mode in (("disc.zso", 0o644), ("secret.zso", 0o600)):
        shutil.copy(DATA / "ziso-py.zso", source / name)
        (source / name).chmod(mode)
    (source / "readme.txt").write_text("plain")
    (source / "readme.txt").chmod(0o644)
    return source


def test_another_user_sees_nothing(open_folder: Path, as_root: None) -> None:
    source = fill_for_others(open_folder)
    with mounted(source, open_folder / "mnt") as tree:
        assert as_nobody("cat", source / "disc.zso").returncode == 0  # it can come so far
        for program, path in (
            ("cat", tree.path / "disc.iso"),
            ("cat", tree.path / "readme.txt"),
            ("ls", tree.path),
            ("stat", tree.path / "disc.iso"),
        ):
            done = as_nobody(program, path)
            assert done.returncode != 0
            assert done.stdout == b""
            assert b"Permission denied" in done.stderr


def test_another_user_reads_what_is_allowed(open_folder: Path, as_root: None) -> None:
    source = fill_for_others(open_folder)
    with mounted(source, open_folder / "mnt", "--allow-other") as tree:
        assert as_nobody("cat", tree.path / "disc.iso").stdout == (DATA / "ps2.iso").read_bytes()
        assert as_nobody("cat", tree.path / "readme.txt").stdout == b"plain"
        assert as_nobody("ls", tree.path).stdout.split() == [
            b"disc.iso",
            b"readme.txt",
            b"secret.iso",
        ]
        denied = as_nobody("cat", tree.path / "secret.iso")
        assert denied.returncode != 0
        assert b"Permission denied" in denied.stderr
        for program in (["touch"], ["rm", "-f"], ["truncate", "-s", "0"]):
            denied = as_nobody(*program, tree.path / "disc.iso")
            assert denied.returncode != 0
            assert b"Read-only file system" in denied.stderr


def test_a_folder_closed_to_others_stays_so(open_folder: Path, as_root: None) -> None:
    source = fill_for_others(open_folder)
    (source / "private").mkdir(mode=0o700)
    shutil.copy(DATA / "ziso-py.zso", source / "private" / "disc.zso")
    with mounted(source, open_folder / "mnt", "--allow-other") as tree:
        done = as_nobody("cat", tree.path / "private" / "disc.iso")
        assert done.returncode != 0
        assert b"Permission denied" in done.stderr
        assert (tree.path / "private" / "disc.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()


def test_the_source_may_be_closed_to_others(open_folder: Path, as_root: None) -> None:
    """Rights on the way to the source do not count: the daemon has them, and shows the folder."""
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    source = fill_for_others(closed)
    with mounted(source, open_folder / "mnt", "--allow-other") as tree:
        assert as_nobody("cat", source / "disc.zso").returncode != 0
        assert as_nobody("cat", tree.path / "disc.iso").stdout == (DATA / "ps2.iso").read_bytes()
