"""Debian's smbd on a port of this machine, with everything that it keeps in a folder of its own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_SECONDS = 20.0
_END_SECONDS = 10.0

_OWN_FOLDERS = ("lock", "state", "cache", "pid", "private", "ncalrpc")


@dataclass(frozen=True)
class Samba:
    """A server that runs.

    Attributes:
        port: where it listens, on 127.0.0.1.
        configuration: its smb.conf.
        pid: of its first process; it forks one for each client, in the same session.
        log: file with what it said.
    """

    port: int
    configuration: Path
    pid: int
    log: Path

    def processes(self) -> list[int]:
        """All of its processes."""
        return _session(self.pid)

    def run_client(
        self, share: str, commands: str, *arguments: str
    ) -> "subprocess.CompletedProcess[str]":
        """Have smbclient do something on a share, as a guest that speaks SMB3."""
        command = ["smbclient", "-s", str(self.configuration), "-N", "-p", str(self.port)]
        command += ["-m", "SMB3", *arguments, f"//127.0.0.1/{share}", "-c", commands]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def serving(
    folder: Path, definition: str, passwords: dict[str, str] | None = None
) -> Iterator[Samba]:
    """Run smbd until the block ends; then it is gone, with all that it forked.

    Args:
        folder: for its configuration, locks and logs; made here.
        definition: its smb.conf, but for where it listens and keeps what is its own.
        passwords: of users of this system who may log on.
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
    log = folder / "smbd.log"
    command = ["smbd", "--foreground", "--no-process-group", f"--configfile={configuration}"]
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
        yield Samba(port, configuration, process.pid, log)
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
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                said = [path.read_text(errors="replace") for path in folder.glob("*[gt]")]
                raise RuntimeError(f"smbd does not listen: {' '.join(said)}") from None
            time.sleep(0.02)
        else:
            return


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server in order, and then whatever of it is left."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end = time.monotonic() + _END_SECONDS
    while left := _session(process.pid):
        if time.monotonic() > end - _END_SECONDS / 2:
            for pid in left:
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
