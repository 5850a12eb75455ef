"""A daemon's beginning and end: the command returns when the mount is usable, not before."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

_READY = b"r"
_NEVER_READY = 1
_INTERRUPTED = 130


def start(run: Callable[[Callable[[], None]], int]) -> int:
    """Fork a child that runs *run* and wait until it is ready or has ended.

    Args:
        run: gets a function to call when it is ready, after which its standard streams are gone;
            returns an exit code, and raises nothing. Until then it may write to them.

    Returns:
        0 as soon as the child is ready, else its exit code, which is the negative number of a
        signal that ended it.

    Raises:
        OSError: no child can be started.
    """
    read_end, write_end = os.pipe()
    # The interpreter runs code of its own around fork(2): it drops a KeyboardInterrupt there, and a
    # child forgets the signals that it was sent by then, if they have handlers in Python.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
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
    """Let go of the standard streams."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def end_undisturbed(signals: Iterable[int]) -> None:
    """Have *signals* change nothing any more: the process ends in order already.

    A handler of Python's would not do: the interpreter takes those away before it has ended itself.
    """
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def _run_child(run: Callable[[Callable[[], None]], int], write_end: int) -> int:
    os.setsid()
    os.chdir("/")

    def ready() -> None:
        leave_terminal()
        with suppress(BrokenPipeError):  # whoever waited was killed; the mount is wanted still
            os.write(write_end, _READY)
        os.close(write_end)

    try:
        return run(ready)
    except KeyboardInterrupt:
        return _INTERRUPTED
