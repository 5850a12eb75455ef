"""Verifying a disc beside taking the MD5 of the plain image, which is the slowest part of it."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.discs import Discs
from bench.measure import Figure, Figures, Occasion, Workload, per_second_mb
from bench.packers import Packing
from bench.servers import Contender, Served
from bench.system import BenchError, Unavailable

_PACKINGS = (Packing("zstd", 32768), Packing("lz4", 2048), Packing("deflate", 2048, suffix=".cso"))


@dataclass(frozen=True, kw_only=True)
class Checker(Served):
    """A program that reads all of a disc; nothing is mounted.

    Attributes:
        command: what to run.
    """

    command: list[str]


def _zsofs_verify(*words: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "zsofs", "verify", "-q", *words, str(path)]


@contextmanager
def _verifier(packing: Packing, discs: Discs, point: Path) -> Iterator[Served]:
    container = discs.container(packing)
    yield Checker([], [container], command=_zsofs_verify("--no-cache", path=container))


@contextmanager
def _quick(packing: Packing, discs: Discs, point: Path) -> Iterator[Served]:
    container = discs.container(packing)
    yield Checker([], [container], command=_zsofs_verify("--quick", path=container))


@contextmanager
def _openssl(discs: Discs, point: Path) -> Iterator[Served]:
    """The MD5 that zsofs uses too, with nothing to decode."""
    program = shutil.which("openssl")
    if program is None:
        raise Unavailable("openssl is not installed")
    yield Checker([], [discs.image()], command=[program, "md5", str(discs.image())])


@contextmanager
def _md5sum(discs: Discs, point: Path) -> Iterator[Served]:
    yield Checker([], [discs.image()], command=["md5sum", str(discs.image())])


def _check(served: Served, occasion: Occasion) -> Figures:
    if not isinstance(served, Checker):
        raise BenchError("there is nothing to run")
    before = time.perf_counter()
    done = subprocess.run(served.command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - before
    if done.returncode:
        raise BenchError(f"it failed: {done.stderr.strip() or done.stdout.strip()}")
    return {"mbs": per_second_mb(occasion.image_size, took), "s": took}


def _contenders() -> Iterator[Contender]:
    for packing in _PACKINGS:
        title = f"{packing.codec} {packing.block_size >> 10} KiB"
        make = partial(Discs.packed, packing=packing)
        serve = partial(_verifier, packing)
        yield Contender(
            f"verify-{packing.name}", f"zsofs verify, {title}", "zsofs", make, serve, None
        )
    yield Contender(
        "verify-quick",
        "zsofs verify --quick, lz4 2 KiB",
        "zsofs",
        partial(Discs.packed, packing=_PACKINGS[1]),
        partial(_quick, _PACKINGS[1]),
        None,
    )
    yield Contender("openssl-md5", "openssl md5", "limit", Discs.image, _openssl, None)
    yield Contender("md5sum", "md5sum", "peer", Discs.image, _md5sum, None)


VERIFYING = Workload(
    "verifying",
    "Verifying a disc",
    "The packed disc is in memory: zsofs decodes it and takes CRC-32, MD5 and SHA-1 of the image."
    " Beside it MD5 alone of the plain image, which is in memory too, with the code that zsofs"
    " calls. The start of each program is in its figure.",
    {"mbs": Figure("of the plain disc", "MB/s"), "s": Figure("in all", "s", 2)},
    _check,
    tuple(_contenders()),
    fresh=True,
)
