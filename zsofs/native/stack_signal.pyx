# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A signal that is answered even if no thread gets the GIL any more."""

cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <unistd.h>

    static void zsofs_copy(int from, int to)
    {
        char part[4096];
        off_t offset = 0;
        ssize_t count, written, now;

        while ((count = pread(from, part, sizeof part, offset)) > 0) {
            for (written = 0; written < count; written += now) {
                now = write(to, part + written, count - written);
                if (now < 0 && errno != EINTR)
                    return;
                if (now < 0)
                    now = 0;
            }
            offset += count;
        }
    }

    /* Whether the thread that was asked for the stacks has taken them in time. */
    static int zsofs_asked(int asked, int answered, int patience_ms)
    {
        struct pollfd answer = {.fd = answered, .events = POLLIN};
        uint64_t count = 1;
        int ready;

        while (read(answered, &count, sizeof count) > 0)
            ; /* an answer that came too late */
        count = 1;
        if (write(asked, &count, sizeof count) < 0)
            return 0;
        do
            ready = poll(&answer, 1, patience_ms);
        while (ready < 0 && errno == EINTR);
        return ready > 0;
    }

    static void zsofs_answer(int number, int asked, int answered, int stacks, int log,
                             int patience_ms)
    {
        sigset_t only;
        int received;

        sigemptyset(&only);
        sigaddset(&only, number);
        for (;;) {
            if (sigwait(&only, &received) != 0)
                continue;
            if (zsofs_asked(asked, answered, patience_ms)) {
                zsofs_copy(stacks, log);
                continue;
            }
            pthread_sigmask(SIG_UNBLOCK, &only, NULL);
            raise(number);
            pthread_sigmask(SIG_BLOCK, &only, NULL);
        }
    }
    """
    void zsofs_answer(int number, int asked, int answered, int stacks, int log,
                      int patience_ms) nogil


def answer_signal(int number, int asked, int answered, int stacks, int log, double patience):
    """Wait for a signal for ever, and write the stacks of all threads to the log each time.

    Another thread takes the stacks, with the GIL. If it does not get the GIL, the handler of the
    signal runs in this thread.

    Args:
        number: of the signal, which all threads block.
        asked: event descriptor that asks that thread.
        answered: event descriptor by which it answers; nonblocking.
        stacks: descriptor of the file into which it has written them.
        log: descriptor of the log. A write to it may block; only this thread waits for it.
        patience: how long that thread may take, in seconds.
    """
    cdef int patience_ms = int(patience * 1000)
    with nogil:
        zsofs_answer(number, asked, answered, stacks, log, patience_ms)
