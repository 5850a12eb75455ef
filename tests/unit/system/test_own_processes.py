"""Processes of this program that cannot be started."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from zsofs.archives.decoder import decoder
from zsofs.archives.kinds import ArchiveKind
from zsofs.errors import InputError
from zsofs.watch.job import Job
from zsofs.watch.order import Order
from zsofs.watch.tracker import Input
from zsofs.watch.units import Unit

MOST = 8
"""Descriptors that a process with two pipes needs at most while it is started."""


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open so many files, and no more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free: list[int] = []
    while len(free) <= count:
        free.append(os.open(os.devnull, os.O_RDONLY))
    for fd in free:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def decode() -> None:
    with decoder(ArchiveKind.ZIP, [], [], ""):
        pass


def pack() -> None:
    path = "/nowhere/Game.iso"
    order = Order(path, (), "", "", ("mount", None, None, None), "leave", "", (), True, True, ())
    Job(order, Input(Unit(path, (path,)), (), 0.0)).end()


@pytest.mark.parametrize("start", [decode, pack])
def test_no_descriptor_is_lost(start: Callable[[], None]) -> None:
    """However many are left, each that was opened is closed."""
    start()  # what is opened once is open
    before = os.listdir("/proc/self/fd")
    failures = []
    for count in range(MOST):
        try:
            with descriptors_left(count):
                start()
        except InputError as error:
            failures.append(str(error))
        assert os.listdir("/proc/self/fd") == before, f"{count} descriptors were left"
    assert 4 <= len(failures) < MOST
    assert all("cannot be started: [Errno 24]" in failure for failure in failures)
