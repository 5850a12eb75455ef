"""The lifecycle of a mount: mount, serve, handle signals, unmount."""

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass

import pyfuse3
import trio

from zsofs.console.logging_setup import REPORT, lasting_descriptor
from zsofs.console.stack_dumps import dump_on_signal
from zsofs.errors import MountError
from zsofs.mount.control.server import ControlSocket
from zsofs.mount.own_mount import OwnMount, ServedMount
from zsofs.mount.readiness import Supervision
from zsofs.mount.server import Server
from zsofs.mount.settings import MountSettings
from zsofs.native.block_reader import start_helpers
from zsofs.reading.tasks import in_background
from zsofs.source.scan_cache import ScanCache, default_catalog_file
from zsofs.source.tree import SourceTree
from zsofs.system.daemonize import end_undisturbed
from zsofs.system.sd_notify import Notifier
from zsofs.system.view_folders import view_folder

log = logging.getLogger(__name__)

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPORT_SIGNAL = signal.SIGUSR1
_RELOAD_SIGNAL = signal.SIGHUP
_SIGNALS = (*_END_SIGNALS, _REPORT_SIGNAL, _RELOAD_SIGNAL)


def serve(
    settings: MountSettings,
    ready: Callable[[], None],
    notifier: Notifier,
    inherited: ServedMount | None = None,
) -> None:
    """Mount and serve until unmounted or terminated by SIGTERM or SIGINT.

    Args:
        settings: what to mount.
        ready: called once, when the mount exists and is about to be served.
        notifier: the service manager, if any.
        inherited: a mount that root created and hands over; None: it is created here.

    Raises:
        MountError: the mount could not be made.
        OSError: the source could not be opened.
    """
    dump_on_signal(lasting_descriptor())
    start_helpers()
    tree = SourceTree(settings.source, settings.tree.allow_links_to)
    file = default_catalog_file(tree.path) if settings.remember else None
    with closing(ScanCache(file, tree.path)) as catalog:
        server = Server(settings, tree, catalog)
        supervision = Supervision(notifier, settings.mount_point, server.status)
        server.around_reload = supervision.reload
        try:
            trio.run(_run, server, settings, ready, supervision, inherited)
        finally:
            end_undisturbed(_SIGNALS)
            server.keep_traces()
        server.report(logging.INFO)


async def _run(
    server: Server,
    settings: MountSettings,
    ready: Callable[[], None],
    supervision: Supervision,
    inherited: ServedMount | None,
) -> None:
    # From before the mount exists, a signal starts an orderly shutdown; further signals during the
    # shutdown have no effect.
    early: list[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: early.append(number))
    with trio.open_signal_receiver(*_SIGNALS) as received:
        for missed in early:
            signal.raise_signal(missed)
        mount = inherited or OwnMount(settings)
        with ExitStack() as stack:
            try:
                _attach(server, mount)
                controls = [ControlSocket(settings.mount_point, server.answer)]
                group = settings.reports.view_group
                if group is not None:
                    view = view_folder(os.geteuid(), group)
                    controls.append(ControlSocket(settings.mount_point, server.answer_view, view))
                for control in controls:
                    stack.enter_context(control)
                ready()
                mount.ready()
            except BaseException:
                mount.detach()
                raise
            await _serve(_Life(server, settings, supervision, mount), controls, received)


def _attach(server: Server, mount: ServedMount) -> None:
    """Let pyfuse3 serve an existing mount."""
    try:
        pyfuse3.init(server.operations, f"/dev/fd/{mount.fd}", set())
    except RuntimeError as error:
        raise MountError(f"libfuse cannot serve the mount: {error}") from None


@dataclass(frozen=True, slots=True)
class _Life:
    """State that the tasks of a mount share."""

    server: Server
    settings: MountSettings
    supervision: Supervision
    mount: ServedMount


async def _serve(
    life: _Life, controls: Sequence[ControlSocket], signals: AsyncIterator[int]
) -> None:
    server = life.server
    had_terminal = _has_terminal()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, signals, life, nursery, had_terminal)
            nursery.start_soon(in_background, _raise_limits, life)
            for control in controls:
                nursery.start_soon(in_background, control.serve)
            nursery.start_soon(in_background, life.supervision.serve, server.until_it_can_report)
            await server.serve(life.mount.device)
            log.info("unmounted")
            nursery.cancel_scope.cancel()
    except BaseException:
        # After a crash the mount remains and fails visibly: an empty directory in its place could
        # make a mirror job delete its copies.
        if server.end():
            pyfuse3.close(unmount=False)
        raise
    is_free = server.end()
    life.mount.detach()
    if is_free:
        pyfuse3.close()
    else:  # a thread is in a system call that uses the session, and waits for our answer
        life.mount.abort()


async def _obey_signals(
    signals: AsyncIterator[int], life: _Life, nursery: trio.Nursery, had_terminal: bool
) -> None:
    server = life.server
    async for number in signals:
        if number == _REPORT_SIGNAL:
            server.report(REPORT)
        elif number == _RELOAD_SIGNAL and not (had_terminal and not _has_terminal()):
            log.info("scanning the source again (SIGHUP)")
            server.begin_reload()
        else:
            log.info("stopping on %s", signal.Signals(number).name)
            life.supervision.stop()
            # No new reads start, and those in progress may finish.
            await _detach(life.mount)
            await server.drain()
            nursery.cancel_scope.cancel()


async def _detach(mount: ServedMount) -> None:
    try:
        await trio.to_thread.run_sync(mount.detach)
    except RuntimeError:  # no thread available
        mount.detach()


def _has_terminal() -> bool:
    """Return whether this runs in a terminal; closing it sends SIGHUP, which then means exit."""
    try:
        return os.isatty(0)
    except OSError:
        return False


async def _raise_limits(life: _Life) -> None:
    """Raise the kernel's limits, as far as permitted, after it has set its own."""
    point = life.settings.mount_point
    with suppress(OSError):
        await trio.to_thread.run_sync(os.stat, point, abandon_on_cancel=True)
    await trio.to_thread.run_sync(life.mount.raise_limits, abandon_on_cancel=True)
