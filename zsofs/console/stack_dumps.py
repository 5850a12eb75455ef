"""What all threads are doing, written to the log on SIGUSR2: for a daemon that hangs.

The interpreter's fault handler writes it from the signal handler itself, without the GIL, which may
be what the daemon waits for. The log may hang as well, and the thread that gets the signal with it;
so that is one of its own.
"""

import faulthandler
import signal
import threading

SIGNAL = signal.SIGUSR2


def dump_on_signal(fd: int) -> None:
    """Have SIGUSR2 dump all stacks from now on; for the main thread, before it starts others.

    Args:
        fd: descriptor to write to, which stays open.
    """
    signal.signal(SIGNAL, signal.SIG_IGN)  # what comes back when the interpreter ends
    faulthandler.register(SIGNAL, file=fd)
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    try:
        threading.Thread(target=_take_signals, name="stacks", daemon=True).start()
    except RuntimeError:  # the system gives none
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})


def _take_signals() -> None:
    """Be the thread that the signal comes to, as all others block it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})
    threading.Event().wait()
