"""Daemon startup and exit: the command returns when the mount is ready."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

_READY = b"r"
_NEVER_READY = 1
_INTERRUPTED = 130


def start(run: Callable[[Callable[[], None]], int]) -> int:
    """Fork a child that calls *run*, and wait until it is ready or has exited.

    Args:
        run: receives a function to call when it is ready, which closes its standard streams;
            returns an exit code and never raises. Before that it may write to the streams.

    Returns:
        0 when the child is ready, otherwise its exit code, or the negative number of the signal
        that terminated it.

    Raises:
        OSError: the child cannot be started.
    """
    read_end, write_end = os.pipe()
    # The interpreter runs its own code around fork(2), and drops a KeyboardInterrupt there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(read_end)
        os.close(write_end)
        raise
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(read_end)
        os._exit(_run_child(run, write_end))
    os.close(write_end)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        said = os.read(read_end, 1)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(read_end)
    if said == _READY:
        return 0
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or _NEVER_READY


def leave_terminal() -> None:
    """Close the standard streams."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def end_undisturbed(signals: Iterable[int]) -> None:
    """Ignore *signals* during shutdown.

    A Python handler does not suffice: the interpreter removes those before it has exited.
    """
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def _run_child(run: Callable[[Callable[[], None]], int], write_end: int) -> int:
    os.setsid()
    os.chdir("/")

    def ready() -> None:
        leave_terminal()
        with suppress(BrokenPipeError):  # the parent was killed; the mount is still wanted
            os.write(write_end, _READY)
        os.close(write_end)

    try:
        return run(ready)
    except KeyboardInterrupt:
        return _INTERRUPTED
