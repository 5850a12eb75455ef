"""Shares of Debian's Samba: a mount, and beside it a plain folder with the same discs as ISOs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import Discs, remove
from bench.mounting import served
from bench.payload import stream
from bench.servers import LZ4_2K, Contender, Served
from bench.system import BenchError, Unavailable
from tests.support.samba import SHARE, Samba, documented, serving

GAMES = 2000
DISC = "Disc 1.iso"

_READ_AHEAD_KB = 512
"""What zsofs sets by itself."""

_SMALL = 65536
_FOLDER = "DVD"


@dataclass(frozen=True)
class Shared(Served):
    """Discs that can be read over SMB now, and as files.

    Attributes:
        top: the share as a folder.
        samba: its server.
    """

    top: Path = Path()
    samba: Samba | None = None

    @property
    def server(self) -> Samba:
        """The server, which every share has."""
        if self.samba is None:
            raise BenchError("nothing is shared")
        return self.samba


@dataclass(frozen=True)
class Setting:
    """A share definition that differs from the document's.

    Attributes:
        name: short, for ``--only``.
        lines: what it says besides; they come last, so they count.
    """

    name: str
    lines: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For people."""
        return ", ".join(self.lines) or "as documented"


AS_DOCUMENTED = Setting("as-documented")


def _game(number: int) -> str:
    return f"SLUS_{200 + number // 100}.{number % 100:02}.Game {number:04}"


def packed_share(discs: Discs) -> Path:
    """A folder with the disc and 2,000 small games, packed."""
    disc = discs.packed(LZ4_2K) / f"Disc 1{LZ4_2K.suffix}"
    small = discs.library() / "Shelf 0" / "Game 00000.zso"
    return discs.made("share-packed", lambda target: _fill(target, disc, small, ".zso"))


def plain_share(discs: Discs) -> Path:
    """The same as plain images."""
    disc = discs.image()
    small = discs.made("small.iso", lambda target: _write(target, stream("small", _SMALL)))
    return discs.made("share-plain", lambda target: _fill(target, disc, small, ".iso"))


def _write(target: Path, data: bytes) -> None:
    target.write_bytes(data)


def _fill(target: Path, disc: Path, small: Path, suffix: str) -> None:
    folder = target / _FOLDER
    folder.mkdir(parents=True)
    os.link(disc, folder / f"Disc 1{suffix}")
    for number in range(GAMES):
        os.link(small, folder / f"{_game(number)}{suffix}")


@contextmanager
def _samba(top: Path, point: Path, setting: Setting, link: str) -> Iterator[Samba]:
    if os.geteuid() != 0:
        raise Unavailable("only root can run smbd")
    for program in ("smbd", "smbclient"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed")
    folder = point.with_name(point.name + "-samba")
    remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    definition = documented(top, "root") + "".join(f"    {line}\n" for line in setting.lines)
    try:
        with serving(folder, definition, link=link) as samba:
            yield samba
    except RuntimeError as error:
        raise BenchError(str(error)) from error
    finally:
        remove(folder)


@contextmanager
def _zsofs(setting: Setting, link: str, discs: Discs, point: Path) -> Iterator[Served]:
    source = packed_share(discs)
    catalogs = point.with_name(point.name + "-catalogs")
    remove(catalogs)
    command = ["env", f"XDG_CACHE_HOME={catalogs}", sys.executable, "-m", "zsofs", "mount"]
    command += ["-f", "-q", "--layout", "opl", "--writable", "--allow-other"]
    try:
        with ExitStack() as stack:
            pid = stack.enter_context(served([*command, str(source), str(point)], point))
            os.listdir(point / _FOLDER)  # the first time, it looks into all of them
            samba = stack.enter_context(_samba(point, point, setting, link))
            packed = source / _FOLDER / f"Disc 1{LZ4_2K.suffix}"
            yield Shared([point / _FOLDER / DISC], [packed], [pid], point, samba)
    finally:
        remove(catalogs)


@contextmanager
def _plain(setting: Setting, link: str, discs: Discs, point: Path) -> Iterator[Served]:
    top = plain_share(discs)
    disc = top / _FOLDER / DISC
    with _samba(top, point, setting, link) as samba:
        yield Shared([], [disc], samba.processes(), top, samba)


def shares(suffix: str = "", link: str = "") -> tuple[Contender, Contender]:
    """A mount and a plain folder, served as documented, over a link that may be held."""
    return (
        Contender(
            f"zsofs-share{suffix}",
            "zsofs LZ4 2 KiB, shared",
            "zsofs",
            packed_share,
            partial(_zsofs, AS_DOCUMENTED, link),
            _READ_AHEAD_KB,
        ),
        Contender(
            f"plain-share{suffix}",
            "a plain folder, shared",
            "peer",
            plain_share,
            partial(_plain, AS_DOCUMENTED, link),
            None,
        ),
    )


def mounts_shared_with(settings: tuple[Setting, ...]) -> tuple[Contender, ...]:
    """The mount, shared in many ways."""
    return tuple(
        Contender(
            f"share-{setting.name}",
            setting.title,
            "zsofs",
            packed_share,
            partial(_zsofs, setting, ""),
            _READ_AHEAD_KB,
        )
        for setting in settings
    )


def copy_by_smb3(share: Shared) -> None:
    """Have smbclient read the disc from end to end."""
    done = share.server.run_client(SHARE, f'get "{_FOLDER}/{DISC}" /dev/null')
    _ensure(done)


def list_by_smb3(share: Shared) -> None:
    """Have smbclient list the games."""
    done = share.server.run_client(SHARE, f"ls {_FOLDER}/*")
    _ensure(done)
    if done.stdout.count(".iso") != GAMES + 1:
        raise BenchError(f"smbclient lists {done.stdout.count('.iso')} discs")


def _ensure(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        raise BenchError(f"smbclient failed: {done.stdout} {done.stderr}")
