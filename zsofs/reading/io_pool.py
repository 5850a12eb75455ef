"""Reads that may wait for a disk, on threads that run without Python.

trio's own threads serve everything else that may wait. For reads they cost too much: two turns of
the event loop and the interpreter's lock, longer in all than decoding 128 KiB.
"""

import logging
import math
import os
import time

import trio

from zsofs.native.block_reader import Job, ThreadPool
from zsofs.timings import timings

log = logging.getLogger(__name__)

_SPIN_NS = 300_000
"""How long the event loop itself waits for a read from a disk that has been answering at once (one
that only cannot promise to, such as NFS or FUSE, with the bytes in memory). Going through the loop
instead costs as much as the read; with this, random 4 and 32 KiB reads through overlayfs took 0.11
and 0.15 ms in all. A disk that takes longer is not waited for again until it has answered within
that time."""


class _Disk:
    def __init__(self, threads: int, eventfd: int) -> None:
        self.pool = ThreadPool(threads, eventfd)
        self.prompt = True
        self.waiting = 0
        self.used_at = -math.inf


class IoPool:
    """At most *threads* reads at a time from each source device: a dead disk stops only itself."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._disks: dict[int, _Disk] = {}
        self._waiting: dict[Job, trio.lowlevel.Task] = {}
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._has_ears = False

    async def run(self, device: int, job: Job, *, spin: bool) -> None:
        """Have *job* done by a thread that counts against *device*; its result is the caller's.

        Cancelling abandons it: what hangs in the kernel cannot be called back. Its buffer then
        stays in the thread's hands.

        Args:
            device: st_dev of the source.
            job: what to do.
            spin: whether it may well be done at once, so that waiting for it a moment pays.

        Raises:
            MemoryError: the system gives no thread.
        """
        disk = self._disks.get(device)
        if disk is None:
            disk = self._disks[device] = _Disk(self._threads, self._bell)
        try:
            done = disk.pool.run(job, _SPIN_NS if spin and disk.prompt else 0)
        except OSError as error:  # EAGAIN would tell the reader to try again
            raise MemoryError(f"cannot start a thread for reading: {error.strerror}") from None
        if done:
            return
        disk.prompt = False
        disk.waiting += 1
        try:
            await self._answer(job)
        finally:
            disk.waiting -= 1
            disk.used_at = time.monotonic()
        disk.prompt = job.source_ns + job.decode_ns < _SPIN_NS

    def is_in_use(self, device: int) -> bool:
        """Whether reads wait for *device*, or did a moment ago. Any thread may ask."""
        disk = self._disks.get(device)
        if disk is None:
            return False
        return disk.waiting > 0 or time.monotonic() - disk.used_at < timings().disk_in_use

    async def _answer(self, job: Job) -> None:
        self._waiting[job] = trio.lowlevel.current_task()
        if not self._has_ears:
            self._has_ears = True
            trio.lowlevel.spawn_system_task(self._listen)

        def abandon(_: object) -> trio.lowlevel.Abort:
            del self._waiting[job]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)

    async def _listen(self) -> None:
        """Give finished jobs back to their tasks until cancelled.

        A failure must not leave here: it would end trio, and with it the mount; and a listener that
        ends leaves every reader waiting.
        """
        try:
            while True:
                try:
                    await trio.lowlevel.wait_readable(self._bell)
                    os.eventfd_read(self._bell)
                except Exception:
                    log.exception(
                        "internal error in zsofs: finished reads are polled without a signal"
                    )
                    await trio.sleep(timings().retry_finished_jobs)
                for disk in self._disks.values():
                    self._give_back(disk)
        finally:
            self._has_ears = False

    def _give_back(self, disk: _Disk) -> None:
        try:
            for job in disk.pool.finished():
                task = self._waiting.pop(job, None)
                if task is not None:  # else nobody wants it any more
                    trio.lowlevel.reschedule(task)
        except Exception:
            log.exception("internal error in zsofs: finished reads could not be returned")
