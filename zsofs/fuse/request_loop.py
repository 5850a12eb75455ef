"""Keep one pyfuse3 task reading requests until its handler first blocks.

pyfuse3 keeps two idle tasks: one waits for a request, the other for a lock. Each request passes
the lock on, which costs two turns of the event loop, although most are answered from memory and the
task could read the next one. Here the lock is a token that a task keeps until it blocks.

This relies on internals of pyfuse3 (src/pyfuse3/internal.pxi of 3.5.0); :func:`differences`
checks each of them at startup, as far as possible:

1. pyfuse3 looks up its event loop in a module variable ``trio`` on each use, because its asyncio
   mode replaces it, and uses only what :func:`_replacement` provides.
2. ``main()`` runs ``_session_loop()`` in a nursery, which starts further tasks of itself by
   ``start_soon(..., name=...)`` when none waits for a request, at most *max_tasks*.
3. ``_wait_fuse_readable()`` creates one ``Lock()`` for all tasks, and holds it only around a
   call of ``wait_readable()`` with the session's descriptor.
4. A task that is woken receives one request, awaits its handler in the same task, and sends the
   reply without an await in between.
5. It calls ``fuse_session_receive_buf()`` of libfuse through the dynamic linker, so that the
   wrapper in receive.h is called, and retries on EINTR.

If one of them differs, pyfuse3's own loop runs unchanged, and the descriptor stays blocking.
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
"""How long a task polls for the next request before it sleeps, while requests arrive quickly.
Sleeping and waking takes longer than answering: random 4 KiB reads rose from 12,400 to 24,400 per
second (median 78 to 39 microseconds), and took less CPU time, 40 instead of 54 microseconds each;
sequential reads of a disc were no slower and used no more CPU time."""

_BRISK_NS = 100_000
"""Requests arrive quickly if the last sleep was shorter; those of a video are 30 ms apart."""

_ALONE_NS = 1_000_000
"""How long requests are handled in sequence before other tasks of the event loop run."""


KNOWN_VERSION = "3.5."
"""Prefix of the supported versions of pyfuse3, as in pyproject.toml."""

_SIGNATURES = {
    "main": ("min_tasks", "max_tasks"),
    "_session_loop": ("nursery", "min_tasks", "max_tasks"),
    "_wait_fuse_readable": (),
}
"""Functions of the request loop of pyfuse3, with their parameters."""


_MAX_TASKS = 1 << 14
"""Maximum number of waiting requests. Each has a task of pyfuse3, which takes some 10 KiB."""


class ReaderToken:
    """The right to read the next request; replaces the lock of pyfuse3.

    Attributes:
        blocked: number of requests in progress whose handler has blocked.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset the token to unowned, as before the first request."""
        self._owner: trio.lowlevel.Task | None = None
        self.blocked = 0
        self._next = trio.lowlevel.ParkingLot()

    async def acquire(self) -> None:
        """Wait for the token, unless the calling task owns it."""
        task = trio.lowlevel.current_task()
        if self._owner is None:
            self._owner = task
        elif self._owner is not task:
            await self._next.park()

    __aenter__ = acquire

    async def __aexit__(self, *_: object) -> None:
        """Keep the token: the current request may be answered without blocking."""

    def has_next(self) -> bool:
        """Return whether a task waits for the token; otherwise pyfuse3 starts one per request."""
        return bool(self._next)

    def release(self) -> None:
        """Pass the token on, if the calling task, which blocks or ends, owns it.

        A task that is cancelled while it is being woken continues as the owner until it blocks.
        """
        if self._owner is trio.lowlevel.current_task():
            woken = self._next.unpark()
            self._owner = woken[0] if woken else None


_token = ReaderToken()


@types.coroutine
def run_until_blocked(handler: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Run *handler*, and release the token when it first blocks.

    It is driven manually to detect its first yield; trio itself never throws.
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
    """Return the number of requests in progress whose handler has blocked."""
    return _token.blocked


class _Nursery:
    """Nursery of pyfuse3 tasks; a task that ends releases the token."""

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
    """Waits for requests: not at all if one is pending, and by polling if one is expected soon."""

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
    """Run pyfuse3's main loop, with this request reading if the pyfuse3 version is supported."""
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
    """Return the replacement of trio in pyfuse3."""
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
    """Return how a pyfuse3 differs from what this module requires; empty if it does not."""
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
    """Return the names of a function's parameters; None if unavailable."""
    try:
        return tuple(inspect.signature(function).parameters) if function is not None else None
    except (TypeError, ValueError):  # not a function, or without a signature
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
    """Make the descriptor non-blocking, after the first request has been received.

    A request can be withdrawn between poll(2) and read(2), which would then block the event loop.
    With pyfuse3's own request loop the descriptor stays blocking, because it terminates the mount
    on EAGAIN.
    """
    if _requests.fd < 0:  # serve() has logged why
        return
    if is_in_use():
        os.set_blocking(_requests.fd, False)
    else:
        _report("it calls libfuse without the wrappers of zsofs")
