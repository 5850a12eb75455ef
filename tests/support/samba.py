"""Debian's smbd on a port of this machine, with everything that it keeps in a folder of its own."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_HELD_LINK = """\
ip link set lo mtu 1500 up && tc qdisc add dev lo root tbf rate "$1" burst 64kb latency 100ms
shift
exec "$@"
"""

_READY_SECONDS = 20.0
_END_SECONDS = 10.0

DOCUMENT = Path(__file__).parents[2] / "docs" / "opl-samba.md"
SHARE = "PS2SMB"
"""The name of the share that the document defines."""

_OWN_FOLDERS = ("lock", "state", "cache", "pid", "private", "ncalrpc")


@dataclass(frozen=True)
class Samba:
    """A server that runs.

    Attributes:
        port: where it listens, on 127.0.0.1.
        configuration: its smb.conf.
        pid: of its first process; it forks one for each client, in the same session.
        log: file with what it said.
        inside: what to say before a command that is to reach it.
    """

    port: int
    configuration: Path
    pid: int
    log: Path
    inside: tuple[str, ...] = ()

    def processes(self) -> list[int]:
        """All of its processes."""
        return _session(self.pid)

    def run_client(
        self, share: str, commands: str, *arguments: str
    ) -> "subprocess.CompletedProcess[str]":
        """Have smbclient do something on a share, as a guest that speaks SMB3."""
        command = [*self.inside, "smbclient", "-s", str(self.configuration), "-N", "-m", "SMB3"]
        command += ["-p", str(self.port), *arguments, f"//127.0.0.1/{share}", "-c", commands]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def documented(path: Path, user: str) -> str:
    """The smb.conf of the document, for another folder and another user that it belongs to."""
    found = re.search(r"^```ini\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    if found is None:
        raise RuntimeError(f"{DOCUMENT} has no smb.conf")
    text = found[1]
    for old, new in (("path = /srv/ps2\n", path), ("force user = ps2\n", user)):
        if text.count(old) != 1:
            raise RuntimeError(f"the smb.conf of {DOCUMENT} does not say {old!r} once")
        text = text.replace(old, f"{old.partition('=')[0]}= {new}\n")
    return text


@contextmanager
def serving(
    folder: Path, definition: str, passwords: dict[str, str] | None = None, link: str = ""
) -> Iterator[Samba]:
    """Run smbd until the block ends; then it is gone, with all that it forked.

    Args:
        folder: for its configuration, locks and logs; made here.
        definition: its smb.conf, but for where it listens and keeps what is its own.
        passwords: of users of this system who may log on.
        link: how fast the way to it is to be, as tc(8) writes it; it is then reached only from
            inside a network of its own.
    """
    folder.mkdir()
    port = _free_port()
    configuration = folder / "smb.conf"
    configuration.write_text(_own_lines(folder, port) + definition)
    for user, password in (passwords or {}).items():
        subprocess.run(
            ["smbpasswd", "-c", str(configuration), "-s", "-a", user],
            input=f"{password}\n{password}\n",
            text=True,
            check=True,
            capture_output=True,
        )
    command = ["smbd", "--foreground", "--no-process-group", f"--configfile={configuration}"]
    if link:
        command = ["unshare", "--net", "sh", "-c", _HELD_LINK, "sh", link, *command]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(process, port, folder)
        inside = ("nsenter", "--net", "--target", str(process.pid)) if link else ()
        yield Samba(port, configuration, process.pid, folder / "smbd.log", inside)
    finally:
        _end(process)


def _own_lines(folder: Path, port: int) -> str:
    for name in _OWN_FOLDERS:
        (folder / name).mkdir(mode=0o755)
    lines = [
        "[global]",
        f"smb ports = {port}",
        "interfaces = 127.0.0.1",
        "bind interfaces only = yes",
        "disable netbios = yes",
        "disable spoolss = yes",
        "load printers = no",
        "printing = bsd",
        "printcap name = /dev/null",
        "usershare max shares = 0",
        f"log file = {folder}/smbd.log",
        "max log size = 0",
        f"lock directory = {folder}/lock",
        f"state directory = {folder}/state",
        f"cache directory = {folder}/cache",
        f"pid directory = {folder}/pid",
        f"private dir = {folder}/private",
        f"ncalrpc dir = {folder}/ncalrpc",
        f"passdb backend = tdbsam:{folder}/private/passdb.tdb",
    ]
    return "\n".join(lines) + "\n\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not _listens(process.pid, port):
        if process.poll() is not None or time.monotonic() > end:
            logs = (folder / name for name in ("output", "smbd.log"))
            said = [log.read_text(errors="replace") for log in logs if log.exists()]
            raise RuntimeError(f"smbd does not listen: {' '.join(said)}")
        time.sleep(0.02)


def _listens(pid: int, port: int) -> bool:
    """Whether somebody listens at a port, in the network of a process."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:  # it has ended
        return False
    fields = [line.split() for line in lines]
    return any(field[1] == f"0100007F:{port:04X}" and field[3] == "0A" for field in fields)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server in order, and then whatever of it is left."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)
    end = time.monotonic() + _END_SECONDS
    while left := _session(process.pid):
        if time.monotonic() > end - _END_SECONDS / 2:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise RuntimeError(f"smbd left processes: {left}")
        time.sleep(0.02)


def _session(leader: int) -> list[int]:
    """The processes of a session, but for dead ones."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(words[3]) == leader and words[0] != "Z":
                found.append(int(entry.name))
    return found
