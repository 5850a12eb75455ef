"""All workloads, in the order in which they are run and shown."""

from bench.chd import CHD_WORKLOADS
from bench.folders import FIRST_BYTE
from bench.hung import HUNG
from bench.library import LISTING, LISTING_COLD, MOUNTING
from bench.many_discs import MANY_DISCS
from bench.measure import Workload
from bench.packing import PACKING, PURPOSES
from bench.players import PCSX2, STREAM
from bench.random_reads import RANDOM_READS
from bench.samba import SAMBA
from bench.sequential import FOUR, MEMORY, OPL, SEQUENTIAL
from bench.starts import STARTS
from bench.throttled import THROTTLED
from bench.verifying import VERIFYING

WORKLOADS: tuple[Workload, ...] = (
    SEQUENTIAL,
    *RANDOM_READS,
    OPL,
    PCSX2,
    STREAM,
    FOUR,
    MEMORY,
    MANY_DISCS,
    FIRST_BYTE,
    LISTING,
    LISTING_COLD,
    MOUNTING,
    THROTTLED,
    STARTS,
    HUNG,
    *SAMBA,
    PACKING,
    PURPOSES,
    VERIFYING,
    *CHD_WORKLOADS,
)
