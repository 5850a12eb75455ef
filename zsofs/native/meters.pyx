# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""Counters, latency histograms and rates of reads, in C: a read costs 0.3 microseconds.

For one thread, which is the event loop. The same counters as Python attributes cost more than the
2 % of a random read that measuring may cost.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline int64_t zsofs_meter_now(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    """
    int64_t zsofs_meter_now() nogil

cdef enum:
    MEMORY_ = 0
    DISK_ = 1
    DECODE_ = 2
    QUEUE_ = 3
    HANG_ = 4
    CAUSES_ = 5
    BUCKETS = 20       # 19 bounds, and what is above
    SECONDS = 64       # at least 61: a minute, and the second that has begun
    PARTS_ = 1024
    SECOND = 1_000_000_000

CAUSES = ("memory", "disk", "decode", "queue", "hang")
"""What a read spent most of its time on, in the order of all lists by cause."""

BOUNDS_NS = tuple(
    step * 10**power for power in range(4, 10) for step in (1, 2.5, 5)
) + (10**10,)
"""Upper bounds of the buckets of a histogram in nanoseconds: 10 microseconds to 10 seconds."""

PARTS = PARTS_
"""Equal parts of a disc for which the last read is kept."""

MAX_SIZE = 1 << 52
"""Size of a file whose size changes, for which no map is kept."""

HANG_NS = 2 * SECOND
"""A disk that takes longer for one read hangs; spinning up is a hang, too."""

cdef int64_t _hang_ns = HANG_NS
cdef int64_t[BUCKETS - 1] _bounds
for _number in range(BUCKETS - 1):
    _bounds[_number] = <int64_t> BOUNDS_NS[_number]


cdef struct Second:
    int64_t bytes
    int32_t number       # of the second since the start of the clock
    uint32_t requests


cdef struct Details:
    int64_t[CAUSES_][BUCKETS] reads
    int64_t[CAUSES_] total_ns
    Second[SECONDS] seconds
    int64_t disc_size    # 0: no map
    uint32_t[PARTS_] read_at   # seconds of the clock; 0: never


def now_ns():
    """Return the time of the monotonic clock, which all times here are of, in nanoseconds."""
    return zsofs_meter_now()


cdef class Meter:
    """Counters of one disc, of one reader, or of a mount.

    Attributes:
        requests: finished reads.
        bytes: bytes that they returned.
        lookups: cache lookups of extents.
        loads: cache misses.
        blocks: decoded blocks; 0 for a plain file.
        inline: runs of blocks read on the event loop.
        threaded: runs of blocks read in a thread, because a disk might block.
        queue_ns: total nanoseconds that the latter waited for a thread.
        errors: failed reads.
        revision: number of the last change, counted for the whole mount.
        last_ns: time of the last change, in nanoseconds of the clock.
        aged: the second of the clock for which its rates were last reported.
    """

    cdef readonly int64_t requests, bytes, lookups, loads, blocks, inline, threaded, queue_ns
    cdef readonly int64_t errors, last_ns
    cdef public int64_t revision, aged
    cdef int64_t[CAUSES_] _slow
    cdef Details *_details

    def __dealloc__(self):
        free(self._details)

    @property
    def slow(self):
        """Number of slow reads by cause."""
        return tuple([self._slow[cause] for cause in range(CAUSES_)])

    @property
    def has_details(self):
        """Whether it has a histogram, rates and a map."""
        return self._details is not NULL

    def keep_details(self, int64_t disc_size=0):
        """Begin to keep a histogram and rates; *disc_size*: also a map of a disc of that size.

        The size of a disc can change with its file; the map is then cleared. A handle without a
        map changes nothing.
        """
        cdef size_t size = sizeof(Details)
        if self._details is not NULL:
            if not disc_size or disc_size == self._details.disc_size:
                return
            if self._details.disc_size:
                memset(self._details.read_at, 0, sizeof(self._details.read_at))
                self._details.disc_size = disc_size
                return
            self.drop_details()
        if not disc_size:
            size -= sizeof(uint32_t) * PARTS_
        self._details = <Details *> calloc(1, size)
        if self._details is NULL:
            raise MemoryError("no memory to measure reads")
        self._details.disc_size = disc_size

    def drop_details(self):
        """Drop histogram, rates and map; the counters stay."""
        free(self._details)
        self._details = NULL

    def histogram(self):
        """Return the numbers of reads by cause and bucket; empty without details."""
        if self._details is NULL:
            return []
        return [[self._details.reads[cause][bucket] for bucket in range(BUCKETS)]
                for cause in range(CAUSES_)]

    def total_ns(self):
        """Return the nanoseconds that reads took by cause; empty without details."""
        if self._details is NULL:
            return []
        return [self._details.total_ns[cause] for cause in range(CAUSES_)]

    def rates(self, int64_t at_ns):
        """Return bytes and reads per second before *at_ns*: each of the last 1, 10 and 60 s.

        Only whole seconds count, so that a rate does not begin at 0 in each second.
        """
        cdef int64_t[3] windows = [1, 10, 60]
        cdef int64_t[3] size = [0, 0, 0]
        cdef int64_t[3] count = [0, 0, 0]
        cdef int64_t current = at_ns // SECOND
        cdef int64_t age
        cdef Second *second
        if self._details is not NULL and at_ns - self.last_ns < 61 * <int64_t> SECOND:
            for slot in range(SECONDS):
                second = &self._details.seconds[slot]
                age = current - second.number
                for at in range(3):
                    if 1 <= age <= windows[at]:
                        size[at] += second.bytes
                        count[at] += second.requests
        return (tuple([size[at] / <double> windows[at] for at in range(3)]),
                tuple([count[at] / <double> windows[at] for at in range(3)]))

    def history(self, int64_t at_ns):
        """Return the bytes of each of the 60 s before *at_ns*, the oldest first."""
        cdef int64_t current = at_ns // SECOND
        cdef int64_t age
        found = [0] * 60
        if self._details is not NULL:
            for slot in range(SECONDS):
                age = current - self._details.seconds[slot].number
                if 1 <= age <= 60:
                    found[60 - age] = self._details.seconds[slot].bytes
        return found

    def ages(self, int64_t at_ns):
        """Return for each part of the disc how many seconds ago it was read; -1: never."""
        cdef int64_t current = at_ns // SECOND
        if self._details is NULL or not self._details.disc_size:
            return []
        return [current - self._details.read_at[part] if self._details.read_at[part] else -1
                for part in range(PARTS_)]

    cdef void count(self, Trace trace, int64_t elapsed, int cause, bint slow) noexcept:
        cdef Details *details = self._details
        cdef Second *second
        cdef int32_t number
        cdef int bucket = 0
        cdef int64_t part, last
        self.requests += 1
        self.lookups += trace.lookups
        self.loads += trace.loads
        self.blocks += trace.blocks
        self.inline += trace.inline
        self.threaded += trace.threaded
        self.queue_ns += trace.queue_ns
        self.last_ns = trace.ended
        if slow:
            self._slow[cause] += 1
        if trace.failed:
            self.errors += 1
        else:
            self.bytes += trace.size
        if details is NULL:
            return
        while bucket < BUCKETS - 1 and elapsed > _bounds[bucket]:
            bucket += 1
        details.reads[cause][bucket] += 1
        details.total_ns[cause] += elapsed
        number = <int32_t> (trace.ended // SECOND)
        second = &details.seconds[number % SECONDS]
        if second.number != number:
            second.number = number
            second.bytes = 0
            second.requests = 0
        second.requests += 1
        if trace.failed:
            return
        second.bytes += trace.size
        if details.disc_size and trace.size:
            part = trace.offset * PARTS_ // details.disc_size
            last = (trace.offset + trace.size - 1) * PARTS_ // details.disc_size
            last = min(last, PARTS_ - 1)  # a handle of a longer file, which this one replaced
            while part <= last:
                details.read_at[part] = number
                part += 1


cdef class HandleMeter:
    """Counts the reads through one handle: for the mount, the disc, and the reader.

    Args:
        total: of the mount; None: nothing is counted.
        disc: of the disc.
        reader: of the program.
        size: of the disc in bytes.
        slow_ns: a read is slow from this time on, in nanoseconds.
        label: the file and the program that reads it, for reports.
    """

    cdef Meter _total, _disc, _reader
    cdef int64_t _size, _slow_ns
    cdef readonly object label

    def __init__(self, Meter total, Meter disc, Meter reader, int64_t size, int64_t slow_ns,
                 object label=None):
        if size < 0 or size > MAX_SIZE:
            raise ValueError("no disc is that long")
        self._total = total
        self._disc = disc
        self._reader = reader
        self._size = size
        self._slow_ns = slow_ns
        self.label = label

    def begin(self, int64_t offset, int64_t size):
        """Begin to measure a read of *size* bytes at *offset*, fewer at the end."""
        cdef Trace trace = Trace.__new__(Trace)
        trace.handle = self
        trace.offset = min(offset, self._size)
        trace.size = min(size, self._size - trace.offset)
        trace.started = zsofs_meter_now()
        return trace


@cython.freelist(64)
@cython.no_gc
cdef class Trace:
    """One read, from its beginning to its end.

    Attributes:
        handle: the meter of its handle.
        offset: in bytes.
        size: in bytes, within the disc.
        lookups, loads, blocks, inline: as in :class:`Meter`.
        failed: whether it failed.
    """

    cdef readonly HandleMeter handle
    cdef readonly int64_t offset, queue_ns, disk_ns, decode_ns
    cdef public int lookups, loads, blocks, inline
    cdef public int64_t size
    cdef public bint failed
    cdef readonly int threaded
    cdef int64_t started, ended

    def __init__(self):
        raise TypeError("traces are made by HandleMeter.begin")

    def waited(self, int64_t queue_ns, int64_t disk_ns, int64_t decode_ns):
        """Count a run of blocks read in a thread, by its times in nanoseconds."""
        self.threaded += 1
        self.queue_ns += queue_ns
        self.disk_ns += disk_ns
        self.decode_ns += decode_ns

    def elapsed_ns(self):
        """Return how long it took, or takes so far, in nanoseconds."""
        return (self.ended or zsofs_meter_now()) - self.started

    @property
    def cause(self):
        """What it spent most of its time on: a number of :data:`CAUSES`."""
        return self._cause(self.elapsed_ns())

    cdef int _cause(self, int64_t elapsed) noexcept:
        cdef int64_t queue
        if not self.threaded:
            # Waiting without a job of its own is waiting for that of another read, or for memory.
            if elapsed >= 1_000_000 and not self.inline:
                return QUEUE_
            return DECODE_ if self.blocks else MEMORY_
        queue = elapsed - self.disk_ns - self.decode_ns
        if self.disk_ns >= _hang_ns and self.disk_ns >= queue:
            return HANG_
        if queue > self.disk_ns and queue > self.decode_ns:
            return QUEUE_
        return DISK_ if self.disk_ns >= self.decode_ns else DECODE_

    def end(self):
        """Count the read, which ends now; return whether it was slow."""
        cdef HandleMeter handle = self.handle
        cdef int64_t elapsed
        cdef int cause
        cdef bint slow
        self.ended = zsofs_meter_now()
        if handle._total is None:
            return False
        elapsed = self.ended - self.started
        cause = self._cause(elapsed)
        slow = elapsed >= handle._slow_ns
        handle._total.count(self, elapsed, cause, slow)
        handle._disc.count(self, elapsed, cause, slow)
        handle._reader.count(self, elapsed, cause, slow)
        handle._total.revision += 1
        handle._disc.revision = handle._total.revision
        handle._reader.revision = handle._total.revision
        return slow
