"""How the tasks that read requests take turns, so that one which never waits goes straight on.

pyfuse3 keeps two idle tasks: one waits for a request, the other for a lock. Each request hands the
lock on and costs two turns of the event loop, although most are answered from memory and the task
that did it could take the next. Here a task keeps its turn until it has to wait for something.

pyfuse3 looks its event loop up in a module variable, which its asyncio mode replaces; so do we.
"""

import logging
import os
import select
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pyfuse3
import trio

from zsofs.fuse._receive import is_in_use

log = logging.getLogger(__name__)

R = TypeVar("R")

_AWAKE_NS = 50_000
"""How long a task looks for the next request before it sleeps, while requests come briskly. Falling
asleep and being woken takes longer than answering: random 4 KiB reads went from 12,400 to 24,400 a
second by this (median 78 to 39 microseconds), and took less processor time, 40 for 54 microseconds
each; a disc in order was no slower and no dearer."""

_BRISK_NS = 100_000
"""Requests come briskly if the last sleep was shorter than that; a video's are 30 ms apart."""

_ALONE_NS = 1_000_000
"""How long requests are taken one after another before the loop looks after its other tasks."""


_KNOWN_VERSION = "3.5."
"""Beginning of the versions whose request loop is known to work this way."""

_MAX_TASKS = 1 << 14
"""Requests that may wait at a time. Each has a task of pyfuse3's, which takes some 10 KiB."""


class Turns:
    """Whose turn it is to take requests; as a lock, what pyfuse3 takes before it waits for one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nobody's turn, as before the first request."""
        self._owner: trio.lowlevel.Task | None = None
        self.handlers = 0
        self._next = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        task = trio.lowlevel.current_task()
        if self._owner is None:
            self._owner = task
        elif self._owner is not task:
            await self._next.park()

    async def __aexit__(self, *_: object) -> None:
        """The turn is kept: the request that is there now may be answered without waiting."""

    def has_next(self) -> bool:
        """Whether a task waits for its turn; without one pyfuse3 starts one for each request."""
        return bool(self._next)

    def pass_on(self) -> None:
        """The calling task has to wait, or ends: if it is its turn, it is the next one's.

        A task that is cancelled just when it is woken goes on as the owner, to its next wait.
        """
        if self._owner is trio.lowlevel.current_task():
            woken = self._next.unpark()
            self._owner = woken[0] if woken else None


_turns = Turns()


@types.coroutine
def passing_on(handler: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Run *handler*, and pass the turn on when it first has to wait.

    Driven by hand to see its first trap, which is when it waits; trio itself never throws.
    """
    try:
        trap = handler.send(None)
        _turns.pass_on()
        _turns.handlers += 1
        try:
            while True:
                trap = handler.send((yield trap))
        finally:
            _turns.handlers -= 1
    except StopIteration as done:
        result: R = done.value
        return result


def handlers_waiting() -> int:
    """How many requests are being answered that had to wait for something."""
    return _turns.handlers


class _Nursery:
    """Tasks of pyfuse3's; one that ends does not take the turn with it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: object, name: str
    ) -> None:
        async def run() -> None:
            try:
                await function(*args)
            finally:
                _turns.pass_on()

        self._nursery.start_soon(run, name=name)


@asynccontextmanager
async def _open_nursery() -> AsyncIterator[_Nursery]:
    async with trio.open_nursery() as nursery:
        yield _Nursery(nursery)


class _Requests:
    """Waiting for requests: not at all where there is one, and awake where one comes soon."""

    def __init__(self) -> None:
        self.fd = -1
        self._poll = select.poll()
        self._last_turn = 0
        self._brisk = False
        self._may_stay_awake = len(os.sched_getaffinity(0)) > 1

    async def wait_readable(self, fd: int) -> None:
        if fd != self.fd:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            self.fd = fd
        if time.monotonic_ns() - self._last_turn > _ALONE_NS or not _turns.has_next():
            await trio.lowlevel.checkpoint()
            self._last_turn = time.monotonic_ns()
        poll = self._poll.poll
        if poll(0):
            return
        if self._brisk and self._may_stay_awake:
            end = time.monotonic_ns() + _AWAKE_NS
            while time.monotonic_ns() < end:
                if poll(0):
                    return
        begin = time.monotonic_ns()
        await trio.lowlevel.wait_readable(fd)
        self._last_turn = time.monotonic_ns()
        self._brisk = self._last_turn - begin < _BRISK_NS


_requests = _Requests()


async def serve() -> None:
    """Run pyfuse3's main loop, with requests taken this way if it is a pyfuse3 that is known."""
    _turns.reset()
    if _is_known():
        loop = types.SimpleNamespace(
            Lock=lambda: _turns,
            open_nursery=_open_nursery,
            ClosedResourceError=trio.ClosedResourceError,
            lowlevel=types.SimpleNamespace(
                current_task=trio.lowlevel.current_task,
                current_trio_token=trio.lowlevel.current_trio_token,
                notify_closing=trio.lowlevel.notify_closing,
                wait_readable=_requests.wait_readable,
            ),
        )
        pyfuse3.trio = loop  # type: ignore[attr-defined]
    await pyfuse3.main(max_tasks=_MAX_TASKS)


def _is_known() -> bool:
    return _version().startswith(_KNOWN_VERSION) and getattr(pyfuse3, "trio", None) is trio


def _version() -> str:
    return str(getattr(pyfuse3, "__version__", "?"))


def begun() -> None:
    """Take the descriptor out of blocking mode, once the first request has been received.

    A request can be withdrawn between poll(2) and read(2), which would then block the event loop.
    Where the wrappers of libfuse's calls are not in effect the descriptor stays as it is: pyfuse3
    ends the mount on EAGAIN.
    """
    if is_in_use() and _requests.fd >= 0:
        os.set_blocking(_requests.fd, False)
    else:
        log.warning(
            "this pyfuse3 (%s) is not one that zsofs knows: its own request loop is used, which"
            " can stop for a while when a program is killed; install pyfuse3 %s",
            _version(),
            _KNOWN_VERSION.rstrip("."),
        )
