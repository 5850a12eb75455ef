"""The life of one mount: mount, ready, signals, unmount."""

import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import pyfuse3
import trio

from zsofs._blocks import start_helpers
from zsofs.answers import ControlSocket
from zsofs.background import in_background
from zsofs.catalog import Catalog, default_catalog_file
from zsofs.daemon import end_undisturbed
from zsofs.errors import FuseError
from zsofs.fs import Operations
from zsofs.fuse_kernel import abort, raise_limits
from zsofs.keeper import Held
from zsofs.log import REPORT
from zsofs.mountpoint import unmount
from zsofs.notify import Notifier
from zsofs.server import Server
from zsofs.settings import MountSettings
from zsofs.source import SourceTree
from zsofs.supervision import Supervision

log = logging.getLogger(__name__)

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPORT_SIGNAL = signal.SIGUSR1
_RELOAD_SIGNAL = signal.SIGHUP
_SIGNALS = (*_END_SIGNALS, _REPORT_SIGNAL, _RELOAD_SIGNAL)

_MOST_SAID = 1 << 16
"""Bytes of what libfuse says when it cannot mount: all that a pipe holds."""


def serve(
    settings: MountSettings,
    ready: Callable[[], None],
    notifier: Notifier,
    held: Held | None = None,
) -> None:
    """Mount and answer requests until unmounted or told to end by SIGTERM or SIGINT.

    Args:
        settings: what to mount.
        ready: called once, when the mount exists and is about to be served.
        notifier: the service manager, if one started us.
        held: the mount, where root made it and serves no more; else it is made here.

    Raises:
        FuseError: the mount could not be made.
        OSError: the source could not be opened.
    """
    _raise_descriptor_limit()
    start_helpers()
    tree = SourceTree(settings.source)
    file = default_catalog_file(tree.path) if settings.remember else None
    with closing(Catalog(file, tree.path)) as catalog:
        server = Server(settings, tree, catalog)
        supervision = Supervision(notifier, settings.mount_point, server.status)
        server.around_reload = supervision.reload
        try:
            trio.run(_run, server, settings, ready, supervision, held)
        finally:
            end_undisturbed(_SIGNALS)
        server.report(logging.INFO)


async def _run(
    server: Server,
    settings: MountSettings,
    ready: Callable[[], None],
    supervision: Supervision,
    held: Held | None,
) -> None:
    # From before the mount exists, a signal asks for an orderly end; those that come when it is
    # under way already change nothing.
    early: list[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: early.append(number))
    with trio.open_signal_receiver(*_SIGNALS) as received:
        for missed in early:
            signal.raise_signal(missed)
        _mount(server.operations, settings, held)
        with ControlSocket(settings.mount_point, server.answer) as control:
            try:
                ready()
            except BaseException:
                pyfuse3.close()
                raise
            if held is not None:
                held.ready()
            life = _Life(server, settings, supervision, held)
            await _serve(life, control, received)


@dataclass(frozen=True, slots=True)
class _Life:
    """What the tasks of a mount share."""

    server: Server
    settings: MountSettings
    supervision: Supervision
    held: Held | None


async def _serve(life: _Life, control: ControlSocket, signals: AsyncIterator[int]) -> None:
    server, settings = life.server, life.settings
    had_terminal = _has_terminal()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, signals, life, nursery, had_terminal)
            nursery.start_soon(in_background, _raise_limits, life)
            nursery.start_soon(in_background, control.serve)
            nursery.start_soon(in_background, life.supervision.serve)
            await server.serve()
            log.info("unmounted")
            nursery.cancel_scope.cancel()
    except BaseException:
        # After a crash the mount stays and fails loudly: an empty folder in its place could make a
        # mirror job delete its copies.
        if server.end():
            pyfuse3.close(unmount=False)
        raise
    if server.end():
        pyfuse3.close()
    else:  # a thread is in the kernel with the session in its hands, waiting for an answer of ours
        abort(settings.mount_point)
        if life.held is None:
            unmount(os.fsdecode(settings.mount_point), lazy=True)


async def _obey_signals(
    signals: AsyncIterator[int], life: _Life, nursery: trio.Nursery, had_terminal: bool
) -> None:
    server = life.server
    async for number in signals:
        if number == _REPORT_SIGNAL:
            server.report(REPORT)
        elif number == _RELOAD_SIGNAL and not (had_terminal and not _has_terminal()):
            log.info("looking at the source again on SIGHUP")
            server.begin_reload()
        else:
            log.info("ending on %s", signal.Signals(number).name)
            life.supervision.stop()
            if life.held is not None:  # nobody comes in any more, and who is in may finish a read
                await trio.to_thread.run_sync(life.held.detach)
            await server.drain()
            nursery.cancel_scope.cancel()


def _has_terminal() -> bool:
    """Whether we run in a terminal; closing it sends SIGHUP, too, which then means the end."""
    try:
        return os.isatty(0)
    except OSError:
        return False


def _raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us: each disc that is open takes one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _mount(operations: Operations, settings: MountSettings, held: Held | None) -> None:
    point = os.fsdecode(settings.mount_point)
    options = {
        "rw" if settings.writable else "ro",
        "nodev",
        "nosuid",
        "default_permissions",
        "subtype=zsofs",
        _source_option(settings.source),
    }
    if settings.allow_other:
        options.add("allow_other")
    with _caught_stderr() as said:
        try:
            if held is None:
                pyfuse3.init(operations, point, options)
            else:  # libfuse knows such a path for a mount that was made already
                pyfuse3.init(operations, f"/dev/fd/{held.fd}", set())
        except RuntimeError:
            problem = said().strip().replace("\n", "; ") or "no reason given"
        else:
            return
    raise FuseError(f"the mount at {point} failed: {problem}")


class _AnyBytes(str):
    """An option that pyfuse3, which takes each in ASCII, gets in the bytes that it stands for."""

    __slots__ = ()

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        del encoding, errors
        return os.fsencode(str(self))


def _source_option(path: bytes) -> str:
    """What the table of mounts shows as the source: mount(8) knows our line of fstab by it."""
    # libfuse splits options at commas.
    return _AnyBytes("fsname=" + os.fsdecode(path).replace("\\", "\\\\").replace(",", "\\,"))


@contextmanager
def _caught_stderr() -> Iterator[Callable[[], str]]:
    """Collect what C code writes to descriptor 2: libfuse gives its reasons nowhere else.

    In a pipe, for each disk may be full or read-only; what is more than that holds is lost.
    """
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    kept = os.dup(2)
    os.dup2(write_end, 2)
    os.close(write_end)

    def said() -> str:
        try:
            return os.read(read_end, _MOST_SAID).decode(errors="replace")
        except BlockingIOError:
            return ""

    try:
        yield said
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(read_end)


async def _raise_limits(life: _Life) -> None:
    """As root, or by root's keeper, have the kernel's limits raised once it has set its own."""
    point = life.settings.mount_point
    with suppress(OSError):
        await trio.to_thread.run_sync(os.stat, point, abandon_on_cancel=True)
    if life.held is None:
        raise_limits(point, life.settings.read_ahead)
    else:
        await trio.to_thread.run_sync(life.held.raise_limits, abandon_on_cancel=True)
