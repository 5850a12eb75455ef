"""A PC copies new discs to the share of a console, over SMB3 by Debian's smbd."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.mount.opl.test_samba import OWNED, USER
from tests.support import writers
from tests.support.mounting import Mount, all_the_time, mounted, names, timed, wait_for, wait_until
from tests.support.samba import SHARE, Samba, documented, serving
from tests.support.smb1 import READ_SIZE, Console, Refused
from tests.support.watching import watching
from tests.unit.discs.test_identify import made

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("samba")]

BOOT = b"BOOT2 = cdrom0:\\SLUS_200.99;1\r\n"
SHOWN = "SLUS_200.99.Game.iso"
WRITABLE = ("--writable", "--new-discs", "--allow-other", *OWNED)


def game(size: int) -> bytes:
    noise = writers.content(size, ["text", "noise", "zeros"], 9)
    return made({"/SYSTEM.CNF": BOOT, "/DATA.BIN": noise}, udf=True)


IMAGE = game(24_000_000)

_ACCESS_DENIED = 0xC0000022  # what Samba says of ESTALE
_RENAMES = 2  # of a packed disc: to the name of its image, and to its own


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that other users can reach; it has the image that is copied."""
    with tempfile.TemporaryDirectory(prefix="zsofs-new-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        (path / "Game.iso").write_bytes(IMAGE)
        yield path


@contextmanager
def shared(
    common: Path, *options: str, source: str = "source", grace: float = 600.0
) -> Iterator[tuple[Mount, Samba]]:
    command = timed(new_disc_quiet=1.0, new_disc_grace=grace, quiet_file=0.3)
    (common / source).mkdir(exist_ok=True)
    with mounted(common / source, common / "mnt", *WRITABLE, *options, command=command) as mount:
        with serving(common / "samba", documented(mount.path, USER)) as samba:
            yield mount, samba
        assert not mount.log_lines("internal error"), mount.log.read_text()


def done(samba: Samba, commands: str) -> str:
    found = samba.run_client(SHARE, commands)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def fails(samba: Samba, commands: str, status: str) -> None:
    found = samba.run_client(SHARE, commands)
    assert status in found.stdout + found.stderr


def test_a_disc_is_copied_to_the_share_and_back(common: Path) -> None:
    """As new discs are, it is the client's until it is whole; then nobody changes it any more."""
    with shared(common, grace=0.0) as (mount, samba):
        done(samba, f"put {common}/Game.iso Game.iso; ls Game.iso")
        done(samba, f"get Game.iso {common}/back")
        assert (common / "back").read_bytes() == IMAGE
        game = mount.path / "Game.iso"
        wait_until(lambda: not game.stat().st_mode & 0o222, "the protection")
        for commands in ("del Game.iso", f"put {common}/Game.iso Game.iso", "rename Game.iso a"):
            fails(samba, commands, "NT_STATUS_ACCESS_DENIED")
        done(samba, f"get Game.iso {common}/again")
        assert (common / "again").read_bytes() == IMAGE
        assert (common / "source" / "Game.iso").read_bytes() == IMAGE


def test_under_another_name_first(common: Path) -> None:
    with shared(common) as (_, samba):
        done(samba, f"put {common}/Game.iso x.part; rename x.part Game.iso; ls Game.iso")
        done(samba, f"get Game.iso {common}/back; rename Game.iso Other.iso; del Other.iso")
        assert (common / "back").read_bytes() == IMAGE
        assert names(common / "source") == []


def test_in_the_opl_layout(common: Path) -> None:
    """The client finds what it has just written under its own name, then under that for OPL."""
    with shared(common, "--layout", "opl") as (mount, samba):
        done(samba, f"put {common}/Game.iso DVD\\Game.iso; ls DVD\\Game.iso")
        done(samba, f"get DVD\\Game.iso {common}/back")
        assert (common / "back").read_bytes() == IMAGE
        assert names(common / "source" / "DVD") == ["Game.iso"]
        wait_for(mount.path / "DVD", SHOWN)
        done(samba, f"get DVD\\{SHOWN} {common}/again")
        assert (common / "again").read_bytes() == IMAGE
        done(samba, f"del DVD\\{SHOWN}")
        assert names(common / "source" / "DVD") == []


def test_a_new_disc_is_packed_in_place(common: Path) -> None:
    """A client that reads it meanwhile gets its bytes, and one that opens it finds it.

    smbd looks a name up first, and opens what it has found. If one of the two renames lies between,
    and the first client still has open what was there before, the open is stale, and Samba says
    that access is denied; the next one finds the disc.
    """
    refused = 0
    parts = range(0, len(IMAGE), READ_SIZE)
    with shared(common, source="library", grace=0.0) as (mount, samba), ExitStack() as stack:
        watch = stack.enter_context(watching(common, "--in-place"))
        watch.hold(is_held=True)
        done(samba, f"put {common}/Game.iso Game.iso")
        console = stack.enter_context(Console(samba.port))
        console.connect(SHARE)
        handle, size = console.open("\\Game.iso")
        begun = [console.read(handle, at) for at in parts[: len(parts) // 2]]
        other = stack.enter_context(Console(samba.port))
        other.connect(SHARE)

        def open_and_read() -> None:
            nonlocal refused
            try:
                handle, size = other.open("\\Game.iso")
            except Refused as error:
                if error.status != _ACCESS_DENIED:
                    raise
                refused += 1
                return
            assert (size, other.read(handle, 0)) == (len(IMAGE), IMAGE[:READ_SIZE])
            other.close_file(handle)

        watch.hold(is_held=False)
        with all_the_time((mount.path / "Game.iso").stat), all_the_time(open_and_read):
            watch.wait_for_results("Game.iso", seconds=120)
        at_renames = refused
        open_and_read()
        assert refused == at_renames <= _RENAMES
        rest = [console.read(handle, at) for at in parts[len(parts) // 2 :]]
        assert (size, b"".join(begun + rest)) == (len(IMAGE), IMAGE)
        assert names(common / "library") == ["Game.zso"]
        assert console.names("") == ["Game.iso"]
        done(samba, f"get Game.iso {common}/back")
        assert (common / "back").read_bytes() == IMAGE


def test_a_connection_that_breaks(common: Path) -> None:
    """What has arrived stays a file that the client can delete, or copy again."""
    with (common / "Game.iso").open("ab") as file:
        file.truncate(2 << 30)  # it takes a while
    with shared(common, grace=0.0) as (mount, samba):
        command = ["smbclient", "-s", str(samba.configuration), "-N", "-m", "SMB3"]
        command += ["-p", str(samba.port), f"//127.0.0.1/{SHARE}"]
        commands = f"put {common}/Game.iso Game.iso"
        client = subprocess.Popen([*command, "-c", commands], stdout=subprocess.DEVNULL)
        copied = common / "source" / "Game.iso"
        wait_until(lambda: copied.exists() and copied.stat().st_size > 8 << 20, "a part of it")
        os.kill(client.pid, signal.SIGKILL)
        client.wait(60)
        assert copied.stat().st_size < 2 << 30
        with (common / "Game.iso").open("ab") as file:
            file.truncate(len(IMAGE))
        wait_until(lambda: mount.log_lines("Game.iso: shown as a plain file"), "the end of it")
        done(samba, "ls Game.iso; del Game.iso")
        assert names(common / "source") == []
        done(samba, f"put {common}/Game.iso Game.iso")
        game = mount.path / "Game.iso"
        wait_until(lambda: not game.stat().st_mode & 0o222, "the protection")
        assert game.read_bytes() == IMAGE
