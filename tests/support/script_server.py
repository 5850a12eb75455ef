"""Forks of the fork server for scripts: what `tests.support.script_client` asks for.

A script has its own table of mounts, processes that end without each other, and waits for what it
has started. So the client waits in the place of the command, which is forked by another process in
the script's table of mounts; that one passes signals on, and kills the command if the client is.
"""

import ctypes
import os
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.become import IGNORED_BY_PYTHON, become

_NEW_MOUNTS = 0x20000  # setns(2): CLONE_NEWNS
_CLIENT_WORDS = 5  # of a client's command line, before those of the command
_ALIKE = ("CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed")
_USER = ("Uid", "Gid", "Groups", "CapPrm", "CapEff")
_PAIR = struct.Struct("qq")  # a limit
_FIRST = 3  # descriptor behind the standard streams
_FDS = 5  # of a client without others: the standard streams, its directory, its socket


def listening(name: str) -> socket.socket:
    """A socket for clients; it has no place in the file system, over which scripts may mount."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.bind("\0" + name)
    line.listen(64)
    return line


def fork(scripts: socket.socket, is_alike: Callable[[Mapping[str, str]], bool]) -> list[str] | None:
    """Fork what a client asks for; returns its arguments there, and None in the server.

    Args:
        scripts: the socket of the clients.
        is_alike: whether an interpreter with this environment begins as this one did.
    """
    line, _ = scripts.accept()
    if os.fork():
        line.close()
        return None
    asked = None
    try:
        asked = _fork_command(line, is_alike)
    except BaseException:
        traceback.print_exc()
    if asked is None:
        os._exit(0)
    become(*asked)
    line.detach()  # it is closed
    return list(asked[0]["words"])


_Asked = tuple[dict[str, Any], list[int]]


def _fork_command(
    line: socket.socket, is_alike: Callable[[Mapping[str, str]], bool]
) -> _Asked | None:
    """Return what is asked for in the process that is to run it; None in this one, afterwards."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.closerange(_FIRST, line.fileno())
    os.closerange(line.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    data, fds, *_ = socket.recv_fds(line, 1024, 4)
    pid, user, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    request = _request(pid, is_alike) if os.geteuid() in (0, user) else None
    if request is None:
        line.send(b"execute")
        return None
    request["limits"] = [(n, soft, hard) for n, (soft, hard) in enumerate(_PAIR.iter_unpack(data))]
    _enter_mounts(pid)
    child = os.fork()
    if child == 0:
        return request, fds
    for fd in fds:
        os.close(fd)
    _attend(line, child)
    return None


def _request(pid: int, is_alike: Callable[[Mapping[str, str]], bool]) -> dict[str, Any] | None:
    """Return what a client's command has, for `become`; None if a fork could not have it."""
    process = Path(f"/proc/{pid}")
    status, own = _status(process), _status(Path("/proc/self"))
    environment = dict(word.split("=", 1) for word in _words(process / "environ") if "=" in word)
    user = _user(status, own)
    if not (
        is_alike(environment)
        and user is not None
        and all(status[name] == own[name] for name in _ALIKE)
        and _place(pid) == _place(os.getpid())
        and len(os.listdir(process / "fd")) == _FDS
    ):
        return None
    return {
        "words": _words(process / "cmdline")[_CLIENT_WORDS:],
        "environment": environment,
        "kept": [],
        "umask": int(status["Umask"], 8),
        "ignored": sorted(_signals(status["SigIgn"]) - IGNORED_BY_PYTHON),
        "blocked": sorted(_signals(status["SigBlk"])),
        "session": False,
        "group": -1,
        **user,
    }


def _user(status: Mapping[str, str], own: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what is to be changed to have the user of a process; None if it is not that alone."""
    if all(status[name] == own[name] for name in _USER):
        return {"uid": None, "gid": None, "gids": None}
    users, groups = set(status["Uid"].split()), set(status["Gid"].split())
    has_rights = any(int(status[name], 16) for name in ("CapPrm", "CapEff"))
    if os.geteuid() != 0 or users == {"0"} or len(users) + len(groups) != 2 or has_rights:
        return None
    gids = [int(word) for word in status["Groups"].split()]
    return {"uid": int(users.pop()), "gid": int(groups.pop()), "gids": gids}


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def _words(path: Path) -> list[str]:
    return [os.fsdecode(word) for word in path.read_bytes().split(b"\0")[:-1]]


def _signals(mask: str) -> set[int]:
    return {number for number in signal.valid_signals() if int(mask, 16) >> number - 1 & 1}


def _place(pid: int) -> tuple[object, ...]:
    """Return where a process is, but for its mounts: namespaces, root, session, priority."""
    folder = f"/proc/{pid}/ns"
    spaces = [
        os.readlink(f"{folder}/{name}") for name in sorted(os.listdir(folder)) if name != "mnt"
    ]
    priority = os.getpriority(os.PRIO_PROCESS, pid)
    return spaces, os.readlink(f"/proc/{pid}/root"), os.getsid(pid), priority


def _enter_mounts(pid: int) -> None:
    """Have the table of mounts of another process."""
    path = f"/proc/{pid}/ns/mnt"
    if os.readlink(path) == os.readlink("/proc/self/ns/mnt"):
        return
    space = os.open(path, os.O_RDONLY)
    library = ctypes.CDLL(None, use_errno=True)
    assert library.setns(space, _NEW_MOUNTS) == 0, os.strerror(ctypes.get_errno())
    os.close(space)


def _attend(line: socket.socket, child: int) -> None:
    """Pass the client's signals on until the command has ended, and then tell how."""
    ended = os.pidfd_open(child)
    ready = select.poll()
    for one in (line.fileno(), ended):
        ready.register(one, select.POLLIN)
    while ended not in {fd for fd, _ in ready.poll()}:
        try:
            number = line.recv(1)
        except ConnectionResetError:
            number = b""
        if not number:  # it was killed
            ready.unregister(line)
        os.kill(child, number[0] if number else signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with suppress(BrokenPipeError):
        line.send(str(os.waitstatus_to_exitcode(status)).encode())
