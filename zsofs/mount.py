"""The life of one mount: checks, mount, ready, signals, unmount."""

import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from zsofs._blocks import start_helpers
from zsofs.cache import ExtentCache
from zsofs.crews import Crews
from zsofs.errors import FuseError
from zsofs.fs import Operations
from zsofs.library import Library
from zsofs.log import REPORT
from zsofs.mountpoint import mounted_at
from zsofs.reads import Reads
from zsofs.source import SourceTree
from zsofs.workers import Workers

log = logging.getLogger(__name__)

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPORT_SIGNAL = signal.SIGUSR1
_REPORTED_DISCS = 20

_MAX_BACKGROUND = 96
"""Read-ahead requests under way for each mount. The kernel's own limit of 12 is shared by all
files: 12 readers that hang on a dead disk stop everyone (tried). Just below pyfuse3's 99 tasks."""


@dataclass(frozen=True, slots=True)
class MountSettings:
    """What a mount is made from.

    Attributes:
        source: real path of the folder with the discs.
        mount_point: real path of an empty folder.
        cache_size: bytes for decoded blocks.
        threads: reads that may wait for one disk at a time.
        read_ahead: bytes that the kernel may read ahead of a sequential reader, if we are root.
        allow_other: whether other users may read.
    """

    source: bytes
    mount_point: bytes
    cache_size: int
    threads: int
    read_ahead: int
    allow_other: bool


def serve(settings: MountSettings, ready: Callable[[], None]) -> None:
    """Mount and answer requests until unmounted or told to end by SIGTERM or SIGINT.

    Args:
        settings: what to mount.
        ready: called once, when the mount exists and is about to be served.

    Raises:
        FuseError: the mount could not be made.
        OSError: the source could not be opened.
    """
    with ExitStack() as undo:
        tree = SourceTree(settings.source)
        undo.callback(tree.close)
        start_helpers()
        cache = ExtentCache(settings.cache_size)
        reads = Reads(cache, Crews(settings.threads))
        operations = Operations(Library(tree), reads, Workers(settings.threads))
        trio.run(_run, operations, reads, settings, ready)
        _report(reads, logging.INFO)


async def _run(
    operations: Operations, reads: Reads, settings: MountSettings, ready: Callable[[], None]
) -> None:
    # From before the mount exists to after it has gone, a signal asks for an orderly end.
    with trio.open_signal_receiver(*_END_SIGNALS, _REPORT_SIGNAL) as signals:
        _mount(operations, settings)
        try:
            ready()
        except BaseException:
            pyfuse3.close()
            raise
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_obey_signals, signals, reads, nursery.cancel_scope)
                nursery.start_soon(reads.give_back_when_idle)
                nursery.start_soon(_raise_limits, settings)
                await operations.serve()
                log.info("unmounted")
                nursery.cancel_scope.cancel()
        except BaseException:
            # After a crash the mount stays and fails loudly: an empty folder in its place could
            # make a mirror job delete its copies.
            pyfuse3.close(unmount=False)
            raise
        pyfuse3.close()


async def _obey_signals(signals: AsyncIterator[int], reads: Reads, scope: trio.CancelScope) -> None:
    async for number in signals:
        if number == _REPORT_SIGNAL:
            _report(reads, REPORT)
        else:
            log.info("ending on %s", signal.Signals(number).name)
            scope.cancel()


def _report(reads: Reads, level: int) -> None:
    """Log what reads have cost so far."""
    log.log(level, "all discs: %s", reads.statistics.total().text())
    for name, counters in reads.statistics.busiest(_REPORTED_DISCS):
        log.log(level, "%s: %s", name, counters.text())


def _mount(operations: Operations, settings: MountSettings) -> None:
    options = {
        "ro",
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
    connection = Path("/sys/fs/fuse/connections") / mounted.device.partition(":")[2]
    with suppress(OSError):
        (connection / "max_background").write_text(str(_MAX_BACKGROUND))
    with suppress(OSError):
        read_ahead = Path("/sys/class/bdi") / mounted.device / "read_ahead_kb"
        read_ahead.write_text(str(settings.read_ahead >> 10))
