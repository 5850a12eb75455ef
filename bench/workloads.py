"""All workloads, in the order in which they are run and shown."""

from bench.folders import FIRST_BYTE, LISTING
from bench.measure import Workload
from bench.players import PCSX2, STREAM
from bench.random_reads import RANDOM_READS
from bench.sequential import FOUR, MEMORY, OPL, SEQUENTIAL

WORKLOADS: tuple[Workload, ...] = (
    SEQUENTIAL,
    *RANDOM_READS,
    OPL,
    PCSX2,
    STREAM,
    FOUR,
    MEMORY,
    FIRST_BYTE,
    LISTING,
)
