"""What memory the server holds after very many discs were read."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.chd import ZSTD_2K
from bench.discs import Discs, remove
from bench.measure import Figure, Figures, Occasion, Workload
from bench.mounting import served
from bench.packers import Packing
from bench.servers import LZ4_2K, Contender, Served, zsofs_command
from bench.system import memory_mib

_DISCS = 500
_READS = 4
"""Of each disc and of each size."""

_SIZES = (32 << 10, 4 << 10)
_KEPT_OPEN = 16
_LATER_SECONDS = 65


_ZSTD_32K = Packing("zstd", 32768)
_KINDS: tuple[tuple[str, str, Callable[[Discs], Path]], ...] = (
    (LZ4_2K.name, "LZ4 2 KiB", partial(Discs.container, packing=LZ4_2K)),
    (_ZSTD_32K.name, "zstd 32 KiB", partial(Discs.container, packing=_ZSTD_32K)),
    (ZSTD_2K.name, ZSTD_2K.title, ZSTD_2K.make),
)


@contextmanager
def _many(make: Callable[[Discs], Path], discs: Discs, point: Path) -> Iterator[Served]:
    container = make(discs)
    source = point.with_name(point.name + "-source")
    remove(source)
    try:
        source.mkdir(parents=True)
        names = [f"Disc {number:03}" for number in range(_DISCS)]
        for name in names:
            os.link(container, source / (name + container.suffix))
        with served(zsofs_command(source, point), point) as pid:
            yield Served([point / f"{name}.iso" for name in names], [container], [pid])
    finally:
        remove(source)


def _measure(served: Served, occasion: Occasion) -> Figures:
    places = random.Random(occasion.round)
    with ExitStack() as kept:
        for number, disc in enumerate(served.discs):
            fd = os.open(disc, os.O_RDONLY)
            with ExitStack() as opened:
                (kept if number < _KEPT_OPEN else opened).callback(os.close, fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
                for size in _SIZES * _READS:
                    os.pread(fd, size, places.randrange(occasion.image_size // size) * size)
        figures = {"rss_mib": memory_mib(served.pids)}
        if occasion.round == 0 and not occasion.quick:
            time.sleep(_LATER_SECONDS)
            figures["later_mib"] = memory_mib(served.pids)
    return figures


MANY_DISCS = Workload(
    "many-discs",
    f"Memory after {_DISCS} discs",
    f"{_DISCS} discs in one folder are opened one after another, and {_READS} times each 32 KiB and"
    f" 4 KiB are read at random; {_KEPT_OPEN} stay open. VmRSS of the server's process at once, and"
    f" (in the first round, not in a quick run) {_LATER_SECONDS} s later. The cache has its default"
    " size. Each run has a mount of its own.",
    {
        "rss_mib": Figure("at once", "MiB", 1),
        "later_mib": Figure("a minute later", "MiB", 1),
    },
    _measure,
    tuple(
        Contender(f"zsofs-500-{name}", f"zsofs {title}", "zsofs", make, partial(_many, make))
        for name, title, make in _KINDS
    ),
    fresh=True,
)
