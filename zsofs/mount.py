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

from zsofs.cache import ExtentCache
from zsofs.errors import FuseError
from zsofs.fs import Operations
from zsofs.library import Library
from zsofs.mountpoint import mounted_at
from zsofs.reads import Reads
from zsofs.source import SourceTree
from zsofs.workers import Workers

log = logging.getLogger(__name__)

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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
        allow_other: whether other users may read.
    """

    source: bytes
    mount_point: bytes
    cache_size: int
    threads: int
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
        workers = Workers(settings.threads)
        cache = ExtentCache(settings.cache_size)
        reads = Reads(cache, workers)
        operations = Operations(Library(tree), reads, Workers(settings.threads))
        trio.run(_run, operations, settings, ready)
        log.info("extents decoded: %d; found in the cache: %d", cache.misses, cache.hits)


async def _run(operations: Operations, settings: MountSettings, ready: Callable[[], None]) -> None:
    # From before the mount exists to after it has gone, a signal asks for an orderly end.
    with trio.open_signal_receiver(*_END_SIGNALS) as signals:
        _mount(operations, settings)
        try:
            _raise_limits(settings.mount_point)
            ready()
        except BaseException:
            pyfuse3.close()
            raise
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_on_signal, signals, nursery.cancel_scope)
                await operations.serve()
                log.info("unmounted")
                nursery.cancel_scope.cancel()
        except BaseException:
            # After a crash the mount stays and fails loudly: an empty folder in its place could
            # make a mirror job delete its copies.
            pyfuse3.close(unmount=False)
            raise
        pyfuse3.close()


async def _end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        log.info("ending on %s", signal.Signals(number).name)
        scope.cancel()


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


def _raise_limits(mount_point: bytes) -> None:
    """As root, let readers that hang on one disk leave room for the others."""
    mounted = mounted_at(mount_point)
    if mounted is None:
        return
    connection = Path("/sys/fs/fuse/connections") / mounted.device.partition(":")[2]
    with suppress(OSError):
        (connection / "max_background").write_text(str(_MAX_BACKGROUND))
