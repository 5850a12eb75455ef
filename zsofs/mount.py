"""The life of one mount: mount, ready, signals, unmount."""

import logging
import os
import resource
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pyfuse3
import trio

from zsofs._blocks import start_helpers
from zsofs.answers import ControlSocket
from zsofs.background import in_background
from zsofs.catalog import Catalog, default_catalog_file
from zsofs.errors import FuseError
from zsofs.fs import Operations
from zsofs.log import REPORT
from zsofs.mountpoint import unmount
from zsofs.mounts import Mounted, mounted_at
from zsofs.service import Service
from zsofs.settings import MountSettings
from zsofs.source import SourceTree

log = logging.getLogger(__name__)

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPORT_SIGNAL = signal.SIGUSR1
_RELOAD_SIGNAL = signal.SIGHUP

_MAX_BACKGROUND = 96
"""Read-ahead requests under way for each mount. The kernel's own limit of 12 is shared by all
files: 12 readers that hang on a dead disk stop everyone (tried). Just below pyfuse3's 99 tasks."""


def serve(settings: MountSettings, ready: Callable[[], None]) -> None:
    """Mount and answer requests until unmounted or told to end by SIGTERM or SIGINT.

    Args:
        settings: what to mount.
        ready: called once, when the mount exists and is about to be served.

    Raises:
        FuseError: the mount could not be made.
        OSError: the source could not be opened.
    """
    _raise_descriptor_limit()
    start_helpers()
    tree = SourceTree(settings.source)
    file = default_catalog_file(tree.path) if settings.remember else None
    with closing(Catalog(file, tree.path)) as catalog:
        service = Service(settings, tree, catalog)
        trio.run(_run, service, settings, ready)
        service.report(logging.INFO)


async def _run(service: Service, settings: MountSettings, ready: Callable[[], None]) -> None:
    signals = (*_END_SIGNALS, _REPORT_SIGNAL, _RELOAD_SIGNAL)
    # From before the mount exists to after it has gone, a signal asks for an orderly end.
    with trio.open_signal_receiver(*signals) as received:
        _mount(service.operations, settings)
        with ControlSocket(settings.mount_point, service.answer) as control:
            try:
                ready()
            except BaseException:
                pyfuse3.close()
                raise
            await _serve(service, settings, control, received)


async def _serve(
    service: Service,
    settings: MountSettings,
    control: ControlSocket,
    signals: AsyncIterator[int],
) -> None:
    had_terminal = _has_terminal()
    try:
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            nursery.start_soon(_obey_signals, signals, service, scope, had_terminal)
            nursery.start_soon(in_background, _raise_limits, settings)
            nursery.start_soon(in_background, control.serve)
            await service.serve()
            log.info("unmounted")
            scope.cancel()
    except BaseException:
        # After a crash the mount stays and fails loudly: an empty folder in its place could make a
        # mirror job delete its copies.
        if service.end():
            pyfuse3.close(unmount=False)
        raise
    if service.end():
        pyfuse3.close()
    else:  # a thread is in the kernel with the session in its hands, waiting for an answer of ours
        _abort(settings.mount_point)
        unmount(os.fsdecode(settings.mount_point), lazy=True)


async def _obey_signals(
    signals: AsyncIterator[int], service: Service, scope: trio.CancelScope, had_terminal: bool
) -> None:
    async for number in signals:
        if number == _REPORT_SIGNAL:
            service.report(REPORT)
        elif number == _RELOAD_SIGNAL and not (had_terminal and not _has_terminal()):
            log.info("looking at the source again on SIGHUP")
            service.begin_reload()
        else:
            log.info("ending on %s", signal.Signals(number).name)
            await service.drain()
            scope.cancel()


def _abort(mount_point: bytes) -> None:
    """Have the kernel fail everything that still waits for us."""
    mounted = mounted_at(mount_point)
    if mounted is not None:
        with suppress(OSError):
            (_connection(mounted) / "abort").write_text("1")


def _connection(mounted: Mounted) -> Path:
    """Where the kernel lets a FUSE mount be tuned."""
    return Path("/sys/fs/fuse/connections") / mounted.device.partition(":")[2]


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


def _mount(operations: Operations, settings: MountSettings) -> None:
    options = {
        "rw" if settings.writable else "ro",
        "nodev",
        "nosuid",
        "default_permissions",
        "subtype=zsofs",
        f"fsname={_mount_option_text(settings.source)}",
    }
    if settings.allow_other:
        options.add("allow_other")
    with _caught_stderr() as said:
        try:
            pyfuse3.init(operations, os.fsdecode(settings.mount_point), options)
        except RuntimeError:
            problem = said().strip().replace("\n", "; ") or "no reason given"
        else:
            return
    raise FuseError(f"the mount at {os.fsdecode(settings.mount_point)} failed: {problem}")


def _mount_option_text(path: bytes) -> str:
    """A path as the text of a mount option: printable ASCII, commas and backslashes escaped.

    pyfuse3 takes nothing but ASCII, and libfuse splits options at commas.
    """
    text = "".join(chr(byte) if 32 < byte < 127 else "?" for byte in path)
    return text.replace("\\", "\\\\").replace(",", "\\,")


@contextmanager
def _caught_stderr() -> Iterator[Callable[[], str]]:
    """Collect what C code writes to descriptor 2: libfuse gives its reasons nowhere else."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


async def _raise_limits(settings: MountSettings) -> None:
    """As root, let hung readers leave room for others, and the kernel read further ahead."""
    # The kernel sets both itself when the mount answers its first request: not before that.
    with suppress(OSError):
        await trio.to_thread.run_sync(os.stat, settings.mount_point, abandon_on_cancel=True)
    mounted = mounted_at(settings.mount_point)
    if mounted is None:
        return
    with suppress(OSError):
        (_connection(mounted) / "max_background").write_text(str(_MAX_BACKGROUND))
    with suppress(OSError):
        read_ahead = Path("/sys/class/bdi") / mounted.device / "read_ahead_kb"
        read_ahead.write_text(str(settings.read_ahead >> 10))
