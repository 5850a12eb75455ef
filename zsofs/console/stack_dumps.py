"""Dump of all thread stacks to the log on SIGUSR2, for a daemon that hangs.

The fault handler of the interpreter writes it from the signal handler, without the GIL, which may
be what the daemon waits for. The log may hang as well and block the thread that gets the signal,
so a separate thread receives it.
"""

import faulthandler
import signal
import threading

SIGNAL = signal.SIGUSR2


def dump_on_signal(fd: int) -> None:
    """Dump all stacks on SIGUSR2 from now on; for the main thread, before other threads start.

    Args:
        fd: descriptor to write to, which stays open.
    """
    signal.signal(SIGNAL, signal.SIG_IGN)  # restored when the interpreter exits
    faulthandler.register(SIGNAL, file=fd)
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    try:
        threading.Thread(target=_take_signals, name="stacks", daemon=True).start()
    except RuntimeError:  # no thread available
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})


def _take_signals() -> None:
    """Receive the signal, which all other threads block."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})
    threading.Event().wait()
