"""How fast one core decodes a disc in this process, with no file system around it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import Discs
from bench.packers import Packing
from bench.servers import Contender, Served
from bench.system import BenchError
from zsofs.formats.geometry import Geometry
from zsofs.images.probe import block_reader, geometry_of, probe
from zsofs.images.source_file import OpenSource
from zsofs.native.block_reader import BlockReader

_SPAN = 128 << 10
"""Decoded in one call: what the kernel asks a mount for at most, with its usual read-ahead."""


@dataclass(frozen=True, kw_only=True)
class Packed(Served):
    """A packed disc that is decoded in this process; there is nothing mounted.

    Attributes:
        container: its path.
        decode: decodes all of it in one thread on one core, and gives the seconds.
    """

    container: Path
    decode: Callable[[Path], float]


def decode_all(container: Path) -> float:
    """Decode a whole disc with zsofs's decoders into one buffer, on one core; gives the seconds."""
    with opened(container) as (source, geometry, reader), one_core():
        step = max(_SPAN // geometry.block_size, 1)
        span = memoryview(bytearray(_SPAN))
        begin = time.perf_counter()
        for first in range(0, geometry.block_count, step):
            size = min(_SPAN, geometry.size - first * geometry.block_size)
            count = min(step, geometry.block_count - first)
            reader.read(source.fd, first, count, span[:size])
        return time.perf_counter() - begin


@contextmanager
def opened(container: Path) -> Iterator[tuple[OpenSource, Geometry, BlockReader]]:
    """Open a packed disc; gives the file, the layout of its blocks, and what decodes them."""
    with container.open("rb", buffering=0) as file:
        source = OpenSource.of(file.fileno(), os.fstat(file.fileno()))
        disc = probe(source)
        if disc is None:
            raise BenchError(f"{container.name} is no disc")
        geometry = geometry_of(source, disc)
        yield source, geometry, block_reader(geometry, source)


@contextmanager
def one_core() -> Iterator[None]:
    """Run this process on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _packed(
    make: Callable[[Discs], Path], decode: Callable[[Path], float], discs: Discs, point: Path
) -> Iterator[Served]:
    container = make(discs)
    yield Packed([], [container], container=container, decode=decode)


def one_core_contender(
    name: str,
    title: str,
    make: Callable[[Discs], Path],
    kind: str = "limit",
    decode: Callable[[Path], float] = decode_all,
) -> Contender:
    """A packed disc that one core of this process decodes."""
    return Contender(name, title, kind, make, partial(_packed, make, decode), None)


ONE_CORE = tuple(
    one_core_contender(
        f"one-core-{packing.name}",
        f"one core decodes {packing.codec} 2 KiB",
        partial(Discs.container, packing=packing),
    )
    for packing in (Packing("zstd", 2048), Packing("deflate", 2048, suffix=".cso"))
)
