"""Keep one pyfuse3 task reading requests until its handler first blocks.

pyfuse3 keeps two idle tasks: one waits for a request, the other for a lock. Each request hands the
lock on and costs two turns of the event loop, although most are answered from memory and the task
that did it could take the next. Here the lock is a token that a task keeps until it has to wait.

This relies on internals of pyfuse3 (src/pyfuse3/internal.pxi of 3.5.0), and :func:`differences`
looks for each of them at the start, as far as they can be seen:

1. pyfuse3 looks up its event loop in a module variable ``trio`` at each use, for its asyncio mode
   replaces it; and uses nothing of it but what :func:`_replacement` has.
2. ``main()`` runs ``_session_loop()`` in a nursery, and that starts further tasks of itself by
   ``start_soon(..., name=...)`` when none waits for a request, *max_tasks* at most.
3. ``_wait_fuse_readable()`` makes one ``Lock()`` for all tasks and holds it around nothing but a
   call of ``wait_readable()`` with the session's descriptor.
4. The task that was woken receives one request, awaits its handler in the same task, and sends the
   reply without an await in between.
5. It calls ``fuse_session_receive_buf()`` of libfuse by the dynamic linker, so that the wrapper in
   receive.h gets the call; and tries again on EINTR.

If one of them differs, pyfuse3's own loop runs as it is, and the descriptor stays in blocking mode.
"""

import inspect
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


KNOWN_VERSION = "3.5."
"""Beginning of the versions whose request loop is known to work this way, as in pyproject.toml."""

_SIGNATURES = {
    "main": ("min_tasks", "max_tasks"),
    "_session_loop": ("nursery", "min_tasks", "max_tasks"),
    "_wait_fuse_readable": (),
}
"""Functions of pyfuse3 that the request loop consists of, with their parameters."""


_MAX_TASKS = 1 << 14
"""Requests that may wait at a time. Each has a task of pyfuse3's, which takes some 10 KiB."""


class ReaderToken:
    """Which task may read the next request; pyfuse3 takes it for a lock.

    Attributes:
        blocked: how many requests are being answered that had to wait for something.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Give the token to nobody, as before the first request."""
        self._owner: trio.lowlevel.Task | None = None
        self.blocked = 0
        self._next = trio.lowlevel.ParkingLot()

    async def acquire(self) -> None:
        """Wait for the token, unless the calling task has it."""
        task = trio.lowlevel.current_task()
        if self._owner is None:
            self._owner = task
        elif self._owner is not task:
            await self._next.park()

    __aenter__ = acquire

    async def __aexit__(self, *_: object) -> None:
        """Keep the token: the request that is there now may be answered without waiting."""

    def has_next(self) -> bool:
        """Whether a task waits for the token; else pyfuse3 starts one for each request."""
        return bool(self._next)

    def release(self) -> None:
        """If the calling task, which has to wait or ends, has the token, give it to the next one.

        A task that is cancelled just when it is woken goes on as the owner, to its next wait.
        """
        if self._owner is trio.lowlevel.current_task():
            woken = self._next.unpark()
            self._owner = woken[0] if woken else None


_token = ReaderToken()


@types.coroutine
def run_until_blocked(handler: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Run *handler*, and release the token when it first has to wait.

    Driven by hand to see its first trap, which is when it waits; trio itself never throws.
    """
    try:
        trap = handler.send(None)
        _token.release()
        _token.blocked += 1
        try:
            while True:
                trap = handler.send((yield trap))
        finally:
            _token.blocked -= 1
    except StopIteration as done:
        result: R = done.value
        return result


def handlers_waiting() -> int:
    """How many requests are being answered that had to wait for something."""
    return _token.blocked


class _Nursery:
    """Tasks of pyfuse3's; one that ends does not take the token with it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *args: object, name: str
    ) -> None:
        async def run() -> None:
            try:
                await function(*args)
            finally:
                _token.release()

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
        self._last_wait = 0
        self._brisk = False
        self._may_stay_awake = len(os.sched_getaffinity(0)) > 1

    async def wait_readable(self, fd: int) -> None:
        if fd != self.fd:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            self.fd = fd
        if time.monotonic_ns() - self._last_wait > _ALONE_NS or not _token.has_next():
            await trio.lowlevel.checkpoint()
            self._last_wait = time.monotonic_ns()
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
        self._last_wait = time.monotonic_ns()
        self._brisk = self._last_wait - begin < _BRISK_NS


_requests = _Requests()


async def serve() -> None:
    """Run pyfuse3's main loop, with requests read this way if it is a pyfuse3 that is known."""
    _token.reset()
    _requests.fd = -1
    unknown = differences(pyfuse3)
    if unknown:
        _report(unknown[0])
    else:
        pyfuse3.trio = _replacement()  # type: ignore[attr-defined]
    takes_limit = "max_tasks" in (_parameters(pyfuse3.main) or ())
    await pyfuse3.main(**{"max_tasks": _MAX_TASKS} if takes_limit else {})


def _replacement() -> types.SimpleNamespace:
    """Return what takes the place of trio in pyfuse3."""
    return types.SimpleNamespace(
        Lock=lambda: _token,
        open_nursery=_open_nursery,
        ClosedResourceError=trio.ClosedResourceError,
        lowlevel=types.SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            notify_closing=trio.lowlevel.notify_closing,
            wait_readable=_requests.wait_readable,
        ),
    )


def differences(module: types.ModuleType) -> list[str]:
    """Return in which ways a pyfuse3 is not one that this module works with; empty if it is."""
    found = []
    if not _version(module).startswith(KNOWN_VERSION):
        found.append("its version differs")
    if getattr(module, "trio", None) is not trio:
        found.append("it does not use the module name trio")
    found += [
        f"it has no {name}({', '.join(parameters)})"
        for name, parameters in _SIGNATURES.items()
        if _parameters(getattr(module, name, None)) != parameters
    ]
    return found


def _parameters(function: Callable[..., object] | None) -> tuple[str, ...] | None:
    """The names of a function's parameters; None where these cannot be told."""
    try:
        return tuple(inspect.signature(function).parameters) if function is not None else None
    except (TypeError, ValueError):  # no function, or one without a signature
        return None


def _version(module: types.ModuleType) -> str:
    return str(getattr(module, "__version__", "?"))


def _report(why: str) -> None:
    log.warning(
        "this pyfuse3 (%s) is not supported: %s; the mount may stall when a program is killed;"
        " install pyfuse3 %s",
        _version(pyfuse3),
        why,
        KNOWN_VERSION.rstrip("."),
    )


def begun() -> None:
    """Take the descriptor out of blocking mode, once the first request has been received.

    A request can be withdrawn between poll(2) and read(2), which would then block the event loop.
    Where pyfuse3 reads requests in another way the descriptor stays as it is: pyfuse3 ends the
    mount on EAGAIN.
    """
    if _requests.fd < 0:  # serve() has said why
        return
    if is_in_use():
        os.set_blocking(_requests.fd, False)
    else:
        _report("it calls libfuse without the wrappers of zsofs")
