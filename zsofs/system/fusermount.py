"""Mounting and unmounting without root privileges, by fusermount3.

It is called as libfuse does: it opens /dev/fuse, mounts, and sends the descriptor over the socket
that _FUSE_COMMFD names. libfuse's own call is not used, because a signal can interrupt it after
the mount was created (``fuse: waitpid: Interrupted system call``).
"""

import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from zsofs.errors import MountError, reason
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, mounted_at
from zsofs.system.programs import run_bounded
from zsofs.timings import timings

_PROGRAM = "fusermount3"
_SOCKET = "_FUSE_COMMFD"
_DETACH = f"""\
trap '' HUP INT TERM
read -r point && point=$(printf '%b.' "$point") && exec {_PROGRAM} -u -z -- "${{point%.}}"
"""
_OPTIONS = (b"nodev", b"nosuid", b"default_permissions", b"subtype=zsofs")


def mount(source: bytes, point: bytes, *, writable: bool, allow_other: bool) -> int:
    """Mount a FUSE file system that is not served yet.

    Args:
        source: the source in the mount table; any bytes.
        point: real path of the mount point.
        writable: whether the kernel permits writes.
        allow_other: whether other users may use it.

    Returns:
        A descriptor of /dev/fuse, by which the mount is served.

    Raises:
        MountError: it cannot be mounted; nothing remains.
    """
    # fusermount3 splits options at commas.
    shown = source.replace(b"\\", b"\\\\").replace(b",", b"\\,")
    options = [b"rw" if writable else b"ro", *_OPTIONS, b"fsname=" + shown]
    if allow_other:
        options.append(b"allow_other")
    command: list[str | bytes] = [_PROGRAM, "-o", b",".join(options), "--", point]
    try:
        fd, code, said = _run(command)
    except OSError as error:
        fd, code, said = None, 1, f"{_PROGRAM} cannot be run: {reason(error)}"
    if fd is not None and code == 0:
        return fd
    if fd is not None:
        os.close(fd)
    mounted = mounted_at(point)
    is_ours = mounted is not None and mounted.kind == FILE_SYSTEM_TYPE
    if is_ours and (fd is not None or code < 0):  # killed, but only after it had mounted
        unmount(point, lazy=True)
    raise MountError(
        f"the mount at {os.fsdecode(point)} failed:"
        f" {said or f'{_PROGRAM} failed with exit code {code}'}"
    )


def _run(command: Sequence[str | bytes]) -> tuple[int | None, int, str]:
    """Run fusermount3 with one end of a socket pair.

    Returns:
        The descriptor that it sends, if any; its exit code, negative for a signal; and its standard
        error output.
    """
    ours, its = socket.socketpair()
    with ours:
        with its:
            program = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"LC_ALL": "C", _SOCKET: str(its.fileno())},
                pass_fds=(its.fileno(),),
                # Ctrl-C in the terminal must not terminate it between mount and reply.
                start_new_session=True,
            )
        with program:
            _, fds, _, _ = socket.recv_fds(ours, 1, 1, socket.MSG_CMSG_CLOEXEC)
            _, said = program.communicate()
    text = os.fsdecode(said).strip().replace("\n", "; ")
    return (fds[0] if fds else None), program.returncode, text


def unmount(point: bytes, *, lazy: bool) -> str:
    """Unmount a mount of this user at *point*.

    Args:
        point: real path of the mount point.
        lazy: detach it immediately even if it is in use.

    Returns:
        Why it cannot be unmounted; empty if it was.
    """
    try:
        done = run_bounded([_PROGRAM, "-u", *(["-z"] if lazy else []), "--", point])
    except OSError as error:
        return f"{_PROGRAM} cannot be run: {reason(error)}"
    if done is None:
        return f"{_PROGRAM} does not finish"
    code, said = done
    return "" if code == 0 else said or f"{_PROGRAM} ended with exit code {code}"


class Detacher:
    """A process that can run fusermount3 later, started before any file of the source is open.

    Later the daemon may be unable to start a program: execve(2) closes the child's copies of all
    open files, and closing a file of a hanging FUSE file system blocks. The process ignores the
    signals that a service manager sends to the whole service; it exits with the daemon.
    """

    def __init__(self) -> None:
        """Start the process; if that fails, :meth:`detach` starts a program itself."""
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(
                ["sh", "-c", _DETACH],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def detach(self, point: bytes) -> None:
        """Detach the mount of this user at *point*; open files stay usable. Never raises.

        Args:
            point: real path of the mount point.
        """
        try:
            if self._process is None or self._process.poll() is not None:
                unmount(point, lazy=True)
            else:
                line = "".join(f"\\0{byte:03o}" for byte in point)  # printf octal escapes
                self._process.communicate(line.encode() + b"\n", timings().program)
        except (OSError, subprocess.TimeoutExpired):
            pass  # the mount remains, and fails visibly when the daemon has exited
