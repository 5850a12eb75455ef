"""Root's part in a mount that another user serves: a process that waits, and unmounts at the end.

A daemon without rights cannot unmount: umount(2) is root's, and fusermount3, which would do it for
a user, is a set-user-id program, of which no_new_privs makes a plain one. So the process that was
started stays root's, holds nothing of the mount, reads nothing but single letters from its child,
and can do for it just what they stand for: detach this mount, raise its limits. It passes signals
on, and ends when the daemon does, with its exit code.

Whatever it does is done to the mount that it made, as system/fuse_mount.py identifies it: the other
user may own directories above the mount point, and choose what is found at that path.
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
    """A mount that was made already, as its daemon sees it (own_mount.ServedMount).

    Attributes:
        fd: of /dev/fuse.
    """

    def __init__(self, fd: int, mounted: Mounted, keeper: socket.socket) -> None:
        self.fd = fd
        self._mounted = mounted
        self._keeper = keeper
        keeper.settimeout(timings().keeper_answer)

    @property
    def device(self) -> str:
        """Device number of the mount, as in ``0:52``."""
        return self._mounted.device

    def ready(self) -> None:
        """Tell the keeper that the mount is served, and in use from now on."""
        self._ask(_READY)

    def detach(self) -> None:
        """Have the mount taken from its place; who has something open in it keeps it."""
        if fuse_mount.is_connected(self.fd):
            self._ask(_DETACH)

    def raise_limits(self) -> None:
        """Have the kernel's limits for it raised."""
        self._ask(_RAISE)

    def abort(self) -> None:
        """Have the kernel fail all requests that wait for an answer; that user may do so."""
        if fuse_mount.is_connected(self.fd):
            fuse_mount.abort(self._mounted)

    def _ask(self, word: bytes) -> None:
        with suppress(OSError):  # a keeper that was killed leaves the mount to us, and to root
            self._keeper.sendall(word)
            self._keeper.recv(1)


def keep(
    who: Account,
    settings: MountSettings,
    load: Callable[[], Callable[[InheritedMount], int]],
    *,
    background: bool,
) -> int:
    """Mount, have a child serve it as *who*, and unmount when it has ended.

    After a crash the mount stays and fails loudly, as any of ours.

    Args:
        who: the user it is served as.
        settings: what to mount.
        load: called in the child, while it may still read what *who* may not; returns what is
            called when the child is *who*, and returns its exit code.
        background: whether to let go of the terminal when the child does.

    Returns:
        The exit code.

    Raises:
        MountError: the mount could not be made.
    """
    point = os.fsdecode(settings.mount_point)
    try:
        here, there = socket.socketpair()
        # From before the mount exists, so that no signal ends us between it and its end.
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
    held: InheritedMount,
    unblocked: Iterable[int],
) -> NoReturn:
    def run() -> int:
        signal.set_wakeup_fd(-1)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        serve = load()
        privileges.become(who)
        return serve(held)

    code = 1
    try:
        code = logging_setup.exit_code_of(run)
    finally:
        logging_setup.finish()
        os._exit(code)


class _Keeper:
    """The process that waits."""

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
        """Wait for the child's end, and clean up; returns the exit code."""
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
        """For how many seconds to wait before the mount is detached unasked; None for ever."""
        return None if self._detach_at is None else max(self._detach_at - time.monotonic(), 0)

    def _obey(self) -> bool:
        """Do what the child asks for; False if it will never ask again."""
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
        if self._is_detached:  # another mount may have its number the next time
            return
        self._is_detached = True

        def detach() -> None:
            with suppress(OSError):
                fuse_mount.detach(self._mounted)

        detaching = threading.Thread(target=detach, daemon=True)
        try:
            detaching.start()
        except RuntimeError:  # the system gives no thread
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
        if not self._is_ready:  # nobody else knows of this mount yet
            self._detach()
            if code < 0 and not self._is_ending:
                raise StartKilledError(os.fsdecode(self._mounted.path), -code)
        elif code == 0 or self._is_ending:
            self._detach_what_is_left()
        if code < 0 and self._is_ending:
            return 0  # it was told to end before it could do so in order
        return code if code >= 0 else 128 - code

    def _detach_what_is_left(self) -> None:
        """Detach the mount, unless somebody took it down and put another there."""
        if is_dead(self._mounted):
            self._detach()
