"""A mount as a share of Debian's Samba: what a console with OPL, and a PC, get of it."""

import functools
import hashlib
import os
import random
import re
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.mount.reading.test_faults import stopped
from tests.mount.reading.test_large import GIB, Huge, around, block_data
from tests.support import writers
from tests.support.mounting import Mount, mounted, wait_until
from tests.support.ntlm import ntlm_proof
from tests.support.samba import SHARE, Samba, documented, serving
from tests.support.smb1 import (
    ACCESS_DENIED,
    FOLDER_NOT_EMPTY,
    LOGON_FAILURE,
    NAME_COLLISION,
    NAME_NOT_FOUND,
    PATH_NOT_FOUND,
    READ_SIZE,
    Console,
    Refused,
)
from tests.unit.discs.test_disc import made

pytestmark = pytest.mark.system

USER, USER_ID, GROUP_ID = "games", 5, 60
"""A user that every Debian has; the share belongs to it."""

OPL = ("--layout", "opl", "--writable", "--allow-other")
OWNED = ("--uid", USER, "--gid", USER, "--umask", "022")
FOLDERS = ("CFG", "THM", "LNG", "ART", "VMC", "CHT", "APPS", "CD", "DVD")
"""In the order in which OPL makes them when it first connects."""

SECTOR = 2048
ALPHA, BETA = "SLUS_200.01.Alpha.iso", "SLES_500.02.Beta.iso"
HUGE, SLOW = "SLUS_200.03.Huge.iso", "SLUS_200.04.Slow.iso"


@dataclass
class Share:
    """A mount that is served.

    Attributes:
        source: the folder with the packed discs.
        mount: of it.
        samba: the server.
    """

    source: Path
    mount: Mount
    samba: Samba

    @contextmanager
    def console(self, user: str = "GUEST") -> Iterator[Console]:
        """A console that has connected to the share, as a guest."""
        with Console(self.samba.port, user) as console:
            console.connect(SHARE)
            yield console


def game(name: str, size: int, seed: int, *, udf: bool) -> bytes:
    """An image of a game with *size* bytes of data."""
    boot = f"BOOT2 = cdrom0:\\{name};1\r\n".encode()
    data = writers.content(size, ["text", "noise", "zeros"], seed)
    return made({"/SYSTEM.CNF": boot, "/DATA.BIN": data}, udf=udf)


@functools.cache  # an image has the second in it at which it was made
def huge() -> Huge:
    """A disc of more than 4 GiB, with something at both ends and around the 4 GiB."""
    size = 4 * GIB + 5000 * SECTOR
    image = game("SLUS_200.03", 20_000, 3, udf=True)
    sectors = [image[at : at + SECTOR] for at in range(0, len(image), SECTOR)]
    blocks = {number: sector for number, sector in enumerate(sectors) if any(sector)}
    count = size // SECTOR
    for number in (*around(4 * GIB // SECTOR, count, 40), *around(count - 1, count)):
        blocks[number] = block_data(number, SECTOR)
    return Huge(size, SECTOR, blocks)


IMAGES = {
    f"DVD/{ALPHA}": game("SLUS_200.01", 3_000_000, 1, udf=True),
    f"CD/{BETA}": game("SLES_500.02", 500_000, 2, udf=False),
}


def fill(source: Path) -> None:
    """Two games in a folder that is not theirs on the share, as a collection lies on a disk."""
    (source / "RPG").mkdir(parents=True)
    (source / "RPG" / "Alpha.zso").write_bytes(writers.ziso_py(IMAGES[f"DVD/{ALPHA}"]))
    (source / "RPG" / "Beta.cso").write_bytes(writers.maxcso_cso1(IMAGES[f"CD/{BETA}"]))


def hashes(folder: Path) -> dict[str, str]:
    """What lies in a folder, at any depth, by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def shared(base: Path, source: Path, name: str, *arguments: str) -> Iterator[Share]:
    """A mount of *source*, served as the document says."""
    with ExitStack() as stack:
        mount = stack.enter_context(mounted(source, base / name, *OPL, *OWNED, *arguments))
        discs = [mount.path / path for path in IMAGES]
        wait_until(lambda: all(disc.exists() for disc in discs), "the discs to be taken for whole")
        configuration = documented(mount.path, USER)
        samba = stack.enter_context(serving(base / f"{name}-samba", configuration))
        yield Share(source, mount, samba)


@pytest.fixture(scope="module")
def common() -> Iterator[Path]:
    """A folder that other users can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="zsofs-samba-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def library(common: Path) -> Iterator[Share]:
    """A share that nobody changes; with a disc of more than 4 GiB."""
    source = common / "library"
    fill(source)
    plan = huge()
    writers.sparse_ziso(source / "Huge.zso", plan.size, blocks=plan.blocks)
    (source / "CFG").mkdir()
    (source / "CFG" / "SLUS_200.01.cfg").write_bytes(b"Title=Alpha\r\n")
    with shared(common, source, "library-mount") as share:
        yield share


@pytest.fixture
def share(common: Path) -> Iterator[Share]:
    """A share to write to; its source belongs to root."""
    folder = Path(tempfile.mkdtemp(dir=common))
    folder.chmod(0o755)
    fill(folder / "source")
    with shared(folder, folder / "source", "mount") as made_share:
        yield made_share
    shutil.rmtree(folder)


# Reading


def test_a_console_lists_the_games(library: Share) -> None:
    with library.console() as console:
        assert console.echo() == b"PS2 KEEPALIVE ECHO"
        assert {"CD", "CFG", "DVD"} <= set(console.names(""))
        found = {entry.name: entry for entry in console.entries("\\DVD") if not entry.is_folder}
        assert {name: entry.size for name, entry in found.items()} == {
            ALPHA: len(IMAGES[f"DVD/{ALPHA}"]),
            HUGE: huge().size,
        }
        assert console.names("\\CD") == [BETA]
        total, free = console.disk()
        assert 0 < free <= total
        console.disconnect()


def test_a_console_reads_a_whole_disc(library: Share) -> None:
    image = IMAGES[f"DVD/{ALPHA}"]
    with library.console() as console:
        handle = console.open_in_game(f"\\DVD\\{ALPHA}")
        offsets = range(0, len(image) + READ_SIZE, READ_SIZE)
        assert b"".join(console.read(handle, offset) for offset in offsets) == image


def test_a_console_reads_sectors_anywhere(library: Share) -> None:
    image = IMAGES[f"CD/{BETA}"]
    generator = random.Random(2)
    with library.console() as console:
        handle, size = console.open(f"\\CD\\{BETA}")
        assert size == len(image)
        for _ in range(300):
            offset = generator.randrange(len(image) // SECTOR) * SECTOR
            length = generator.choice((1, 2, 3, 4)) * SECTOR
            assert console.read(handle, offset, length) == image[offset : offset + length], offset
        console.close_file(handle)


def test_a_console_reads_beyond_4_gib(library: Share) -> None:
    plan = huge()
    generator = random.Random(4)
    with library.console() as console:
        handle = console.open_in_game(f"\\DVD\\{HUGE}")
        places = [number * SECTOR for number in plan.blocks]
        places += [generator.randrange(plan.size // SECTOR) * SECTOR for _ in range(50)]
        places += [4 * GIB - SECTOR, 4 * GIB, plan.size - SECTOR, plan.size]
        for offset in places:
            assert console.read(handle, offset) == plan.expected(offset, READ_SIZE), offset
        assert any(plan.expected(4 * GIB, READ_SIZE))
        assert console.details(f"\\DVD\\{HUGE}").size == plan.size


@pytest.mark.parametrize("path", [f"DVD\\{ALPHA}", f"DVD\\{HUGE}", "CFG\\SLUS_200.01.cfg"])
def test_a_file_is_the_same_when_asked_and_when_open(library: Share, path: str) -> None:
    here = (library.mount.path / path.replace("\\", "/")).stat()
    with library.console() as console:
        asked = console.details(f"\\{path}")
        handle, size = console.open(f"\\{path}")
        console.read(handle, 0)
        found = [asked, console.details_of_open(handle), console.details(f"\\{path}")]
        console.close_file(handle)
        found.append(console.details(f"\\{path}"))
        # But for when it was read, which Samba also takes for when it was made if that is older.
        assert len({replace(one, times=(0, 0, *one.times[2:])) for one in found}) == 1
        assert asked.size == size == here.st_size
        assert asked.number == here.st_ino
        assert asked.times[2] // 10 == here.st_mtime_ns // 1000 + 11_644_473_600_000_000


def test_what_is_not_there(library: Share) -> None:
    with library.console() as console, pytest.raises(Refused) as refused:
        console.open("\\ART\\SLUS_200.01_COV.png")
    assert refused.value.status in (NAME_NOT_FOUND, PATH_NOT_FOUND)


def test_twenty_thousand_opens(library: Share) -> None:
    descriptors = Path(f"/proc/{library.mount.daemon.pid}/fd")
    with library.console() as console:
        before = len(list(descriptors.iterdir()))
        for _ in range(19):
            handles = [console.open_in_game(f"\\DVD\\{ALPHA}") for _ in range(1000)]
            assert console.read(handles[-1], 0, SECTOR) == IMAGES[f"DVD/{ALPHA}"][:SECTOR]
            for handle in handles:
                console.close_file(handle)
        for _ in range(1000):
            console.close_file(console.open_in_game("\\CFG\\SLUS_200.01.cfg"))
        wait_until(lambda: len(list(descriptors.iterdir())) <= before, "files to be closed")
    assert not library.mount.log_lines("Too many open files")


def test_a_user_with_a_password(library: Share, common: Path) -> None:
    configuration = documented(library.mount.path, USER).replace("guest ok = yes", "guest ok = no")
    with serving(common / "passwords", configuration, {USER: "Secret 1"}) as samba:
        proof = lambda challenge: ntlm_proof("Secret 1", challenge)  # noqa: E731
        with Console(samba.port, USER, proof) as console:
            console.connect(SHARE)
            assert console.names("\\CD") == [BETA]
        with pytest.raises(Refused) as refused:
            Console(samba.port, USER, lambda challenge: ntlm_proof("secret 1", challenge))
        assert refused.value.status == LOGON_FAILURE
        with Console(samba.port) as console, pytest.raises(Refused) as refused:
            console.connect(SHARE)
        assert refused.value.status == ACCESS_DENIED


def test_another_client_reads_on_while_one_hangs(common: Path) -> None:
    base = common / "hanging"
    inner, outer = base / "inner", base / "outer"
    fill(outer)
    inner.mkdir()
    slow = game("SLUS_200.04", 8_000_000, 4, udf=True)
    (inner / "Slow.zso").write_bytes(writers.maxcso_zso(slow))
    offset = 7_000_000 // SECTOR * SECTOR
    found: list[bytes] = []
    with ExitStack() as stack:
        slow_mount = stack.enter_context(mounted(inner, outer / "slow"))
        share = stack.enter_context(shared(base, outer, "mount"))
        hung = stack.enter_context(Console(share.samba.port, timeout=60))
        hung.connect(SHARE)
        wait_until(lambda: SLOW in hung.names("\\DVD"), "the disc, which is taken for whole late")
        handle = hung.open_in_game(f"\\DVD\\{SLOW}")
        reader = threading.Thread(target=lambda: found.append(hung.read(handle, offset)))
        with stopped(slow_mount.daemon):
            reader.start()
            for number in range(3):
                with share.console() as console:
                    other = console.open_in_game(f"\\CD\\{BETA}")
                    image = IMAGES[f"CD/{BETA}"]
                    at = number * 100 * SECTOR
                    assert console.read(other, at) == image[at : at + READ_SIZE]
                    assert {SLOW, ALPHA} <= set(console.names("\\DVD"))
                    path = f"\\CFG{number}"
                    console.make_folder(path)
                    console.remove_folder(path)
            assert reader.is_alive(), "it was to hang"
        reader.join(30)
        assert found == [slow[offset : offset + READ_SIZE]]
    shutil.rmtree(base)


# Writing


def assert_owned(path: Path, mode: int) -> None:
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (USER_ID, GROUP_ID), path
    assert stat.S_IMODE(status.st_mode) == mode, path


def test_the_first_connection(share: Share) -> None:
    """OPL looks for themes and languages, and makes the folders that it misses."""
    with share.console() as console:
        console.echo(b"ALIVE ECHO TEST")
        for name in FOLDERS:
            if name in ("CD", "DVD"):
                with pytest.raises(Refused) as refused:
                    console.make_folder(f"\\{name}")
                assert refused.value.status == NAME_COLLISION
            else:
                console.make_folder(f"\\{name}")
        assert set(console.names("")) == set(FOLDERS)
        assert console.names("\\DVD") == [ALPHA]
    for name in set(FOLDERS) - {"CD", "DVD"}:
        assert_owned(share.source / name, 0o755)
        assert_owned(share.mount.path / name, 0o755)


def test_settings_of_a_game(share: Share) -> None:
    path = "\\CFG\\SLUS_200.01.cfg"
    with share.console() as console:
        console.make_folder("\\CFG")
    kept = share.source / "CFG" / "SLUS_200.01.cfg"
    for text in (b"Title=Alpha\r\n" * 700, b"$Compatibility=3\r\n"):
        with share.console() as console:  # another time, perhaps another user
            handle, _ = console.open(path, write=True, create=True)
            for at in range(0, len(text), 4096):
                console.write(handle, at, text[at : at + 4096])
            console.close_file(handle)
            handle, size = console.open(path)
            assert size == len(text)
            assert console.read(handle, 0) == text[:READ_SIZE]
            assert console.read(handle, READ_SIZE) == text[READ_SIZE:]
            console.close_file(handle)
        assert kept.read_bytes() == text
        assert_owned(kept, 0o644)
    with share.console() as console:
        console.rename(path, "\\CFG\\old.cfg")
        assert console.names("\\CFG") == ["old.cfg"]
        console.delete("\\CFG\\old.cfg")
        assert console.names("\\CFG") == []
        console.remove_folder("\\CFG")
    assert not (share.source / "CFG").exists()


def test_what_others_put_into_the_source_can_be_written_too(share: Share) -> None:
    (share.source / "CFG").mkdir(mode=0o700)
    theirs = share.source / "CFG" / "conf_opl.cfg"
    theirs.write_bytes(b"theirs")
    theirs.chmod(0o600)
    wait_until((share.mount.path / "CFG/conf_opl.cfg").exists, "the file")
    with share.console() as console:
        handle, _ = console.open("\\CFG\\conf_opl.cfg", write=True)
        assert console.read(handle, 0) == b"theirs"
        console.write(handle, 6, b" and ours")
        console.close_file(handle)
    assert theirs.read_bytes() == b"theirs and ours"
    assert theirs.stat().st_uid == 0


def test_a_memory_card(share: Share) -> None:
    """8 MB, made by OPL and then written by a game, 512 bytes at a time."""
    size = 8 << 20
    card = bytearray(b"\xff" * size)
    generator = random.Random(8)
    path = "\\VMC\\SLUS_200.01_0.bin"
    with share.console() as console:
        console.make_folder("\\VMC")
        handle, _ = console.open(path, write=True, create=True)
        for at in range(0, size, READ_SIZE):
            console.write(handle, at, bytes(card[at : at + READ_SIZE]))
        console.close_file(handle)
    with share.console() as console:
        handle = console.open_in_game(path, write=True)
        for _ in range(1000):
            at = generator.randrange(size // 512) * 512
            card[at : at + 512] = data = generator.randbytes(512)
            console.write(handle, at, data)
            at = generator.randrange(size // 512) * 512
            assert console.read(handle, at, 512) == card[at : at + 512]
        console.close_file(handle)
        handle = console.open_in_game(path)
        assert b"".join(console.read(handle, at) for at in range(0, size, READ_SIZE)) == card
    assert (share.source / "VMC" / "SLUS_200.01_0.bin").read_bytes() == card
    assert_owned(share.source / "VMC" / "SLUS_200.01_0.bin", 0o644)


@contextmanager
def syncs(daemon: int, log: Path) -> Iterator[Callable[[str], int]]:
    """How often a daemon has synced a file of this name; known when the block has ended."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", log, "-p", str(daemon)],
        stderr=subprocess.DEVNULL,
    )
    tasks = Path(f"/proc/{daemon}/task")
    try:
        wait_until(
            lambda: all(
                f"TracerPid:\t{tracer.pid}\n" in (task / "status").read_text()
                for task in tasks.iterdir()
            ),
            "strace to follow all threads",
        )
        yield lambda name: len(re.findall(rf"sync\(\d+<.*{re.escape(name)}>", log.read_text()))
    finally:
        tracer.terminate()
        tracer.wait(60)


@pytest.mark.parametrize(
    ("line", "are_synced"),
    [("strict sync = no", False), ("strict sync = yes", True), ("", True)],
    ids=["as documented", "with the other value", "without the line"],
)
def test_whether_each_write_to_a_memory_card_is_synced(
    share: Share, line: str, *, are_synced: bool
) -> None:
    documents = documented(share.mount.path, USER)
    assert documents.count("    strict sync = no\n") == 1
    configuration = documents.replace("strict sync = no", line)
    writes = 50
    base = share.source.parent
    with serving(base / "syncs", configuration) as samba, Console(samba.port) as console:
        console.connect(SHARE)
        console.make_folder("\\VMC")
        handle, _ = console.open("\\VMC\\card.bin", write=True, create=True)
        with syncs(share.mount.daemon.pid, base / "strace.log") as count:
            for number in range(writes):
                console.write(handle, 512 * number, random.Random(number).randbytes(512))
            console.close_file(handle)
        assert count("VMC/card.bin") >= writes if are_synced else count("VMC/card.bin") == 0
    card = b"".join(random.Random(number).randbytes(512) for number in range(writes))
    assert (share.source / "VMC" / "card.bin").read_bytes() == card


def test_the_list_of_games(share: Share) -> None:
    """OPL keeps one in each of the two directories; that of DVD is not in the source yet."""
    (share.source / "CD").mkdir()
    for folder in ("DVD", "CD"):
        data = random.Random(folder).randbytes(20_000)
        with share.console() as console:
            handle, _ = console.open(f"\\{folder}\\games.bin", write=True, create=True)
            for at in range(0, len(data), READ_SIZE):
                console.write(handle, at, data[at : at + READ_SIZE])
            console.close_file(handle)
        with share.console() as console:
            handle, size = console.open(f"\\{folder}\\games.bin")
            assert size == len(data)
            assert b"".join(console.read(handle, at) for at in range(0, size, READ_SIZE)) == data
            assert "games.bin" in console.names(f"\\{folder}")
        assert (share.source / folder / "games.bin").read_bytes() == data


def test_a_new_game_appears_while_a_console_is_there(share: Share) -> None:
    """OPL lists DVD and CD again only when they were changed at another time than before."""
    image = game("SLUS_200.05", 10_000, 5, udf=True)
    with share.console() as console:
        assert console.names("\\DVD") == [ALPHA]
        before = {name: console.details(f"\\{name}").times[3] for name in ("DVD", "CD")}
        (share.source / "RPG" / "Gamma.zso").write_bytes(writers.maxcso_zso(image))
        new = "SLUS_200.05.Gamma.iso"
        wait_until(lambda: console.details("\\DVD").times[3] != before["DVD"], "another date")
        assert console.names("\\DVD") == [ALPHA, new]
        handle = console.open_in_game(f"\\DVD\\{new}")
        assert console.read(handle, 0) == image[:READ_SIZE]
        console.close_file(handle)
        added = console.details("\\DVD").times[3]
        assert console.details("\\CD").times[3] == before["CD"]
        (share.source / "RPG" / "Gamma.zso").unlink()
        wait_until(lambda: console.details("\\DVD").times[3] != added, "another date")
        assert console.names("\\DVD") == [ALPHA]


def test_discs_are_refused(share: Share) -> None:
    before = hashes(share.source)
    disc = f"\\DVD\\{ALPHA}"
    with share.console() as console:
        console.make_folder("\\APPS")
        handle, _ = console.open("\\APPS\\a.elf", write=True, create=True)
        console.close_file(handle)
        attempts: dict[str, Callable[[], object]] = {
            "delete": lambda: console.delete(disc),
            "rename": lambda: console.rename(disc, "\\DVD\\SLUS_200.01.Other.iso"),
            "move": lambda: console.rename(disc, "\\APPS\\Alpha.iso"),
            "replace": lambda: console.rename("\\APPS\\a.elf", disc),
            "write": lambda: console.open(disc, write=True),
            "overwrite": lambda: console.open(disc, write=True, create=True),
            "write in game": lambda: console.open_in_game(disc, write=True),
            "make": lambda: console.open("\\DVD\\New.iso", write=True, create=True),
            "make packed": lambda: console.open("\\APPS\\New.zso", write=True, create=True),
            "rename to one": lambda: console.rename("\\APPS\\a.elf", "\\APPS\\a.iso"),
            "remove its folder": lambda: console.remove_folder("\\DVD"),
            "rename its folder": lambda: console.rename("\\DVD", "\\DVD2"),
        }
        said = {}
        for name, attempt in attempts.items():
            with pytest.raises(Refused) as refused:
                attempt()
            said[name] = refused.value.status
        assert said.pop("replace") in (ACCESS_DENIED, NAME_COLLISION)
        assert said.pop("remove its folder") in (ACCESS_DENIED, FOLDER_NOT_EMPTY)
        assert set(said.values()) == {ACCESS_DENIED}, {k: hex(v) for k, v in said.items()}
        assert console.names("\\DVD") == [ALPHA]
        assert console.names("\\APPS") == ["a.elf"]
    (share.source / "APPS" / "a.elf").unlink()
    assert hashes(share.source) == before


# What the document says of its lines


@contextmanager
def served_without(share: Share, line: str) -> Iterator[Samba]:
    """The same share by another server, whose definition lacks a line."""
    text = documented(share.mount.path, USER)
    assert text.count(f"    {line}\n") == 1
    folder = share.mount.path.with_name("without")
    with serving(folder, text.replace(f"    {line}\n", ""), {USER: "Secret 1"}) as samba:
        yield samba


def test_without_the_old_protocol_nobody_connects(share: Share) -> None:
    with served_without(share, "server min protocol = NT1") as samba, pytest.raises(OSError):
        Console(samba.port)


def test_without_the_old_proof_no_password_is_right(share: Share) -> None:
    with served_without(share, "ntlm auth = ntlmv1-permitted") as samba:
        with pytest.raises(Refused) as refused:
            Console(samba.port, USER, lambda challenge: ntlm_proof("Secret 1", challenge))
        assert refused.value.status == LOGON_FAILURE
        with Console(samba.port) as console:  # a guest needs none
            console.connect(SHARE)


def test_without_guests_that_are_nobody_they_cannot_log_on(share: Share) -> None:
    with served_without(share, "map to guest = Bad User") as samba:
        with pytest.raises(Refused) as refused:
            Console(samba.port)
        assert refused.value.status == LOGON_FAILURE


def test_without_its_user_a_guest_writes_nothing(share: Share) -> None:
    with served_without(share, f"force user = {USER}") as samba, Console(samba.port) as console:
        console.connect(SHARE)
        assert console.names("\\DVD") == [ALPHA]
        with pytest.raises(Refused) as refused:
            console.make_folder("\\CFG")
        assert refused.value.status == ACCESS_DENIED


def test_without_a_word_on_archives_files_become_executable(share: Share) -> None:
    with served_without(share, "map archive = no") as samba, Console(samba.port) as console:
        console.connect(SHARE)
        handle, _ = console.open("\\a.cfg", write=True, create=True)
        console.close_file(handle)
    assert_owned(share.source / "a.cfg", 0o744)


# A PC


def test_a_pc_copies_everything(share: Share, tmp_path: Path) -> None:
    put = share.source / "CFG" / "sub" / "SLUS_200.01.cfg"
    put.parent.mkdir(parents=True)
    put.write_bytes(b"Title=Alpha\r\n")
    wait_until((share.mount.path / "CFG/sub/SLUS_200.01.cfg").exists, "the file")
    done = share.samba.run_client(SHARE, f'lcd "{tmp_path}"; recurse; prompt; mget *')
    assert done.returncode == 0, (done.stdout, done.stderr)
    expected = {path: hashlib.sha256(image).hexdigest() for path, image in IMAGES.items()}
    expected["CFG/sub/SLUS_200.01.cfg"] = hashlib.sha256(b"Title=Alpha\r\n").hexdigest()
    assert hashes(tmp_path) == expected == hashes(share.mount.path)


def test_a_pc_writes(share: Share, tmp_path: Path) -> None:
    data = random.Random(9).randbytes(3_000_001)
    (tmp_path / "cover.png").write_bytes(data)
    commands = f'mkdir ART; cd ART; lcd "{tmp_path}"; put cover.png; put cover.png; ls'
    done = share.samba.run_client(SHARE, commands)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert (share.source / "ART" / "cover.png").read_bytes() == data
    assert_owned(share.source / "ART" / "cover.png", 0o644)
    done = share.samba.run_client(SHARE, "cd ART; rename cover.png b.png; get b.png /dev/null")
    assert done.returncode == 0, (done.stdout, done.stderr)
    done = share.samba.run_client(SHARE, "cd ART; rm b.png; cd ..; rmdir ART; ls")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert not (share.source / "ART").exists()
    for command in (f'rm "DVD/{ALPHA}"', f'rename "DVD/{ALPHA}" "DVD/b.iso"'):
        done = share.samba.run_client(SHARE, command)
        assert "NT_STATUS_ACCESS_DENIED" in done.stdout + done.stderr, (done.stdout, done.stderr)
    assert (share.mount.path / "DVD" / ALPHA).read_bytes() == IMAGES[f"DVD/{ALPHA}"]
