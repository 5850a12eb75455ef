"""A load of reads that is done in a machine, and what a mount has to say of it afterwards."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.support.mounting import DATA
from tests.system.machine import Machine

# What each disc of a machine is made of, by its name in the mount: source, size of its blocks.
DISCS = {"ziso-py.iso": ("ziso-py.zso", 2048), "maxcso.iso": ("maxcso.dax", 8192)}
IMAGE = (DATA / "ps2.iso").read_bytes()

# O_DIRECT: the kernel hands each read on as it is, and keeps nothing.
_READ = """
import hashlib, json, os, sys
folder, reads = json.load(sys.stdin)
files = {name: os.open(f"{folder}/{name}", os.O_RDONLY | os.O_DIRECT) for name, _, _ in reads}
got = hashlib.sha1()
for name, offset, size in reads:
    got.update(os.pread(files[name], size, offset))
print(got.hexdigest())
"""


@dataclass(frozen=True)
class Read:
    """One read.

    Attributes:
        name: of the disc in the mount.
        offset: where it begins.
        size: bytes, all of which the disc has.
    """

    name: str
    offset: int
    size: int


@dataclass
class Figures:
    """What reads of one disc, or of all, come to."""

    requests: int = 0
    bytes: int = 0
    lookups: int = 0
    hits: int = 0
    blocks: int = 0
    cached: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        """Both together."""
        return Figures(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


def some_reads(seed: int, count: int) -> list[Read]:
    """Reads of any size up to 64 KiB at any place, some of them up to the end of the disc."""
    chance = random.Random(seed)
    reads = []
    for _ in range(count):
        size = chance.choice((1, 512, 2048, 4096, 8192, 65536, chance.randrange(1, 65536)))
        offset = chance.choice(
            (chance.randrange(len(IMAGE) - size), chance.randrange(100) * 8192, len(IMAGE) - size)
        )
        reads.append(Read(chance.choice(list(DISCS)), offset, size))
    return reads


def figures(reads: Sequence[Read]) -> dict[str, Figures]:
    """What a mount that was not read before has to count, for each path in its source.

    Blocks that a read takes whole are decoded into the answer; others are looked for in the cache,
    which has room for all of them.
    """
    counted: dict[str, Figures] = {}
    seen: set[tuple[str, int]] = set()
    for read in reads:
        source, block = DISCS[read.name]
        one = counted.setdefault(source, Figures())
        one.requests += 1
        one.bytes += read.size
        end = read.offset + read.size
        for begin in range(read.offset - read.offset % block, end, block):
            stop = min(begin + block, len(IMAGE))
            if read.offset <= begin and stop <= end:
                one.blocks += 1
                continue
            one.lookups += 1
            if (source, begin) in seen:
                one.hits += 1
            else:
                seen.add((source, begin))
                one.blocks += 1
                one.cached += stop - begin
    return counted


def do(machine: Machine, folder: str, reads: Sequence[Read]) -> None:
    """Do all of them in a machine, in order, and check the bytes."""
    plain = [(read.name, read.offset, read.size) for read in reads]
    given = json.dumps([folder, plain]).encode()
    wanted = hashlib.sha1()
    for _, offset, size in plain:
        wanted.update(IMAGE[offset : offset + size])
    assert machine.run("python3", "-c", _READ, given=given) == f"{wanted.hexdigest()}\n"


def said_by(status: Mapping[str, object]) -> Figures:
    """The figures in what ``zsofs status --json`` says; it has no decoded blocks."""
    cache = status["cache"]
    assert isinstance(cache, dict)
    requests, bytes_ = status["requests"], status["bytes"]
    assert isinstance(requests, int)
    assert isinstance(bytes_, int)
    return Figures(requests, bytes_, cache["lookups"], cache["hits"], 0, cache["bytes"])
