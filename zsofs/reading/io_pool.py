"""Reads that may wait for a disk, on native threads without Python.

trio's threads serve all other blocking calls. For reads they cost too much: two turns of the event
loop and the GIL, together longer than decoding 128 KiB.
"""

import logging
import math
import os
import time
from typing import NamedTuple

import trio

from zsofs.native.block_reader import Job, ThreadPool
from zsofs.timings import timings

log = logging.getLogger(__name__)

_SPIN_NS = 300_000
"""How long the event loop itself waits for a read from a disk that has been answering immediately
(one that cannot guarantee it, such as NFS or FUSE, with the bytes in memory). Going through the
loop costs as much as the read. A disk that takes longer is not waited for again until it has
answered within that time."""

_TURNS = 3
"""Turns of the event loop in which a request of the kernel that has arrived becomes a read: it is
received, its task starts, and that waits."""


class _Disk:
    def __init__(self, threads: int, eventfd: int) -> None:
        self.pool = ThreadPool(threads, eventfd)
        self.prompt = True
        self.waiting = 0
        self.idle: trio.Event | None = None
        self.used_at = -math.inf


class _Waiting(NamedTuple):
    """A task that waits for a job of a device, since a time of the monotonic clock."""

    task: trio.lowlevel.Task
    device: int
    since: float


class IoPool:
    """At most *threads* concurrent reads per source device: a dead disk blocks only itself."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._disks: dict[int, _Disk] = {}
        self._waiting: dict[Job, _Waiting] = {}
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._listener_running = False

    def run_now(self, device: int, job: Job, *, spin: bool) -> bool:
        """Run *job* in a thread for *device*.

        Args:
            device: st_dev of the source.
            job: the read.
            spin: whether it is likely to finish immediately, so that a short wait pays off.

        Returns:
            Whether it is done, and the caller evaluates its result. If not, call :meth:`wait`.

        Raises:
            MemoryError: no thread is available.
        """
        disk = self._disks.get(device)
        if disk is None:
            disk = self._disks[device] = _Disk(self.threads, self._eventfd)
        try:
            return disk.pool.run(job, _SPIN_NS if spin and disk.prompt else 0)
        except OSError as error:  # EAGAIN would make the reader retry
            raise MemoryError(f"cannot start a thread for reading: {error.strerror}") from None

    async def wait(self, device: int, job: Job) -> None:
        """Wait for a *job* that :meth:`run_now` began; the caller evaluates its result.

        Cancelling abandons it: a thread that hangs in the kernel cannot be recalled, and keeps its
        buffer.
        """
        disk = self._disks[device]
        disk.prompt = False
        disk.waiting += 1
        try:
            await self._answer(device, job)
        finally:
            disk.waiting -= 1
            disk.used_at = time.monotonic()
            if disk.idle is not None and not disk.waiting:
                disk.idle.set()
                disk.idle = None
        disk.prompt = job.source_ns + job.decode_ns < _SPIN_NS

    async def let_pass(self, device: int) -> None:
        """Wait until no read waits for *device*, or for ``timings.trace_yield``.

        A program that has just waited is likely to read on at once (anticipatory scheduling).
        """
        for _ in range(_TURNS):
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(timings().trace_yield):
            while (disk := self._disks.get(device)) is not None:
                since = time.monotonic() - disk.used_at
                if disk.waiting:
                    if disk.idle is None:
                        disk.idle = trio.Event()
                    await disk.idle.wait()
                elif since < timings().read_follows:
                    await trio.sleep(timings().read_follows - since)
                else:
                    return

    def let_go(self) -> None:
        """Let idle threads exit; others are started when they are needed."""
        for disk in self._disks.values():
            disk.pool.let_go()

    def is_in_use(self, device: int) -> bool:
        """Return whether reads wait for *device*, or did just now. Thread-safe."""
        return self.was_in_use(device, timings().disk_in_use)

    def was_in_use(self, device: int, seconds: float) -> bool:
        """Return whether reads wait for *device*, or did in the last *seconds*. Thread-safe."""
        disk = self._disks.get(device)
        if disk is None:
            return False
        return disk.waiting > 0 or time.monotonic() - disk.used_at < seconds

    def waits(self) -> dict[int, tuple[int, float]]:
        """Return for each device of a read how many wait now, and the longest wait in seconds."""
        now = time.monotonic()
        found = dict.fromkeys(self._disks, (0, 0.0))
        for waiting in self._waiting.values():
            count, longest = found[waiting.device]
            found[waiting.device] = count + 1, max(longest, now - waiting.since)
        return found

    async def _answer(self, device: int, job: Job) -> None:
        task = trio.lowlevel.current_task()
        self._waiting[job] = _Waiting(task, device, time.monotonic())
        if not self._listener_running:
            self._listener_running = True
            trio.lowlevel.spawn_system_task(self._listen)

        def abandon(_: object) -> trio.lowlevel.Abort:
            del self._waiting[job]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)

    async def _listen(self) -> None:
        """Return finished jobs to their tasks until cancelled.

        An exception must not leave this task: it would end trio, and with it the mount; and a
        listener that ends would leave every reader waiting.
        """
        try:
            while True:
                try:
                    await trio.lowlevel.wait_readable(self._eventfd)
                    os.eventfd_read(self._eventfd)
                except Exception:
                    log.exception(
                        "internal error in zsofs: finished reads are polled without a signal"
                    )
                    await trio.sleep(timings().retry_finished_jobs)
                for disk in self._disks.values():
                    self._give_back(disk)
        finally:
            self._listener_running = False

    def _give_back(self, disk: _Disk) -> None:
        try:
            for job in disk.pool.finished():
                waiting = self._waiting.pop(job, None)
                if waiting is not None:  # otherwise the task was cancelled
                    trio.lowlevel.reschedule(waiting.task)
        except Exception:
            log.exception("internal error in zsofs: finished reads could not be returned")
