"""Dump of all thread stacks to the log on SIGUSR2, for a daemon that hangs.

A thread takes the stacks with the GIL held: while another one runs, its stack changes under the
reader, which can end the process. The GIL itself may be what the daemon waits for, so a second
thread receives the signal without it. It writes what the first one took, since the log may hang as
well. If the first one gets no turn, the fault handler of the interpreter takes the stacks: what
holds the GIL is then stuck in native code.
"""

import faulthandler
import os
import signal
import threading

from zsofs.native.stack_signal import answer_signal
from zsofs.timings import timings

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
        stacks = os.memfd_create("stacks")
        asked, answered = os.eventfd(0), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        words = (int(SIGNAL), asked, answered, stacks, fd, timings().stacks)
        for target, args in ((_take_stacks, words[1:4]), (answer_signal, words)):
            threading.Thread(target=target, args=args, name="stacks", daemon=True).start()
    except (OSError, RuntimeError):  # no descriptor or thread available
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})


def _take_stacks(asked: int, answered: int, stacks: int) -> None:
    """Write the stacks of all threads to the file *stacks*, each time that they are asked for."""
    while True:
        os.eventfd_read(asked)
        os.ftruncate(stacks, 0)
        os.lseek(stacks, 0, os.SEEK_SET)
        faulthandler.dump_traceback(stacks)
        os.eventfd_write(answered, 1)
