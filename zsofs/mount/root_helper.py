"""Root's helper process of a mount that another user serves: it waits, and unmounts at the end.

An unprivileged daemon cannot unmount: umount(2) requires root, and fusermount3, which would do it
for a user, is a set-user-ID program, which no_new_privs makes ineffective. So the initial process
keeps root privileges, holds no file of the mount, reads only single letters from its child, and
performs only the operations that they stand for: detach this mount, raise its limits. It forwards
signals, and exits when the daemon does, with its exit code.

All operations apply to the mount that it created, as system/fuse_mount.py identifies it: the other
user may own directories above the mount point, and control what has that path.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from zsofs.console import logging_setup
from zsofs.errors import MountError, NoProcessError, StartKilledError, reason
from zsofs.mount.own_mount import mount_as_root
from zsofs.mount.settings import MountSettings
from zsofs.system import fuse_mount, privileges
from zsofs.system.daemonize import end_undisturbed, leave_terminal
from zsofs.system.mountinfo import Mounted
from zsofs.system.mountpoint import is_dead
from zsofs.system.privileges import Account
from zsofs.timings import timings

_READY = b"r"
_DETACH = b"d"
_RAISE = b"l"

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_END = (signal.SIGTERM, signal.SIGINT)


class InheritedMount:
    """An existing mount, as seen by its daemon (own_mount.ServedMount).

    Attributes:
        fd: descriptor of /dev/fuse.
    """

    def __init__(self, fd: int, mounted: Mounted, keeper: socket.socket) -> None:
        self.fd = fd
        self._mounted = mounted
        self._keeper = keeper
        keeper.settimeout(timings().keeper_answer)

    @property
    def device(self) -> str:
        """Device number of the mount, such as ``0:52``."""
        return self._mounted.device

    def ready(self) -> None:
        """Report to the helper that the mount is being served."""
        self._ask(_READY)

    def detach(self) -> None:
        """Let the helper detach the mount; programs with open files keep access."""
        if fuse_mount.is_connected(self.fd):
            self._ask(_DETACH)

    def raise_limits(self) -> None:
        """Let the helper raise the kernel's limits for it."""
        self._ask(_RAISE)

    def abort(self) -> None:
        """Make the kernel fail all requests that wait for an answer; this user may do so."""
        if fuse_mount.is_connected(self.fd):
            fuse_mount.abort(self._mounted)

    def _ask(self, word: bytes) -> None:
        with suppress(OSError):  # if the helper was killed, the mount remains for us and root
            self._keeper.sendall(word)
            self._keeper.recv(1)


def keep(
    who: Account,
    settings: MountSettings,
    load: Callable[[], Callable[[InheritedMount], int]],
    *,
    background: bool,
) -> int:
    """Mount, let a child serve it as *who*, and unmount when the child has exited.

    After a crash the mount remains and fails visibly, like any zsofs mount.

    Args:
        who: the user who serves it.
        settings: what to mount.
        load: called in the child while it can still read files that *who* may not; returns the
            function to call as *who*, which returns its exit code.
        background: whether to close the terminal when the child does.

    Returns:
        The exit code.

    Raises:
        MountError: the mount could not be created.
    """
    point = os.fsdecode(settings.mount_point)
    try:
        here, there = socket.socketpair()
        # Installed before the mount exists, so that no signal kills this process in between.
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MountError(f"the mount at {point} failed: {reason(error)}") from None
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (*_PASSED_ON, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    fd, mounted = mount_as_root(settings, user=who.user, group=who.group)
    # Until the child has handlers of its own: those that it has from here would drop a signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        child = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(fd)
        with suppress(OSError):
            fuse_mount.detach(mounted)
        raise NoProcessError(point, error) from None
    if child == 0:
        here.close()
        _serve(who, load, InheritedMount(fd, mounted, there), before)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    there.close()
    os.close(fd)
    keeper = _Keeper(mounted, settings.read_ahead, child, here, woken, background=background)
    try:
        return keeper.run()
    finally:
        end_undisturbed(_PASSED_ON)


def _serve(
    who: Account,
    load: Callable[[], Callable[[InheritedMount], int]],
    inherited: InheritedMount,
    unblocked: Iterable[int],
) -> NoReturn:
    def run() -> int:
        signal.set_wakeup_fd(-1)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        serve = load()
        privileges.become(who)
        return serve(inherited)

    code = 1
    try:
        code = logging_setup.exit_code_of(run)
    finally:
        logging_setup.finish()
        os._exit(code)


class _Keeper:
    """The helper process."""

    def __init__(
        self,
        mounted: Mounted,
        read_ahead: int,
        child: int,
        peer: socket.socket,
        woken: int,
        *,
        background: bool,
    ) -> None:
        self._mounted = mounted
        self._read_ahead = read_ahead
        self._child = child
        self._peer = peer
        self._woken = woken
        self._background = background
        self._is_ready = self._is_detached = self._is_ending = False
        self._detach_at: float | None = None

    def run(self) -> int:
        """Wait for the child to exit, and clean up; return the exit code."""
        inputs = [self._woken, self._peer.fileno()]
        while True:
            ready, _, _ = select.select(inputs, [], [], self._patience())
            if not ready:
                self._detach_at = None
                self._detach()
            if self._peer.fileno() in ready and not self._obey():
                inputs.remove(self._peer.fileno())
            if self._woken in ready:
                self._pass_on(os.read(self._woken, 64))
                pid, status = os.waitpid(self._child, os.WNOHANG)
                if pid:
                    return self._end(os.waitstatus_to_exitcode(status))

    def _patience(self) -> float | None:
        """Return the seconds until the mount is detached without a request; None: no limit."""
        return None if self._detach_at is None else max(self._detach_at - time.monotonic(), 0)

    def _obey(self) -> bool:
        """Execute a request of the child; return False if there will be none."""
        try:
            word = self._peer.recv(1)
        except OSError:
            return False
        if word == _READY and not self._is_ready:
            self._is_ready = True
            if self._background:
                with suppress(OSError):
                    leave_terminal()
        elif word == _DETACH:
            self._detach()
        elif word == _RAISE:
            fuse_mount.raise_limits(self._mounted, self._read_ahead)
        with suppress(OSError):
            self._peer.send(word)
        return bool(word)

    def _detach(self) -> None:
        if self._is_detached:  # its number may have been reused
            return
        self._is_detached = True

        def detach() -> None:
            with suppress(OSError):
                fuse_mount.detach(self._mounted)

        detaching = threading.Thread(target=detach, daemon=True)
        try:
            detaching.start()
        except RuntimeError:  # no thread available
            detach()
        else:
            detaching.join(timings().keeper_unmount)

    def _pass_on(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _PASSED_ON:
                if number in _END and not self._is_ending:
                    self._is_ending = True
                    self._detach_at = time.monotonic() + timings().keeper_detach
                with suppress(ProcessLookupError):
                    os.kill(self._child, number)

    def _end(self, code: int) -> int:
        if not self._is_ready:  # the mount is not known to anyone yet
            self._detach()
            if code < 0 and not self._is_ending:
                raise StartKilledError(os.fsdecode(self._mounted.path), -code)
        elif code == 0 or self._is_ending:
            self._detach_what_is_left()
        if code < 0 and self._is_ending:
            return 0  # it was terminated before it could exit in order
        return code if code >= 0 else 128 - code

    def _detach_what_is_left(self) -> None:
        """Detach the mount, unless it was unmounted and replaced by another one."""
        if is_dead(self._mounted):
            self._detach()
