"""The request loop with a fake pyfuse3: zsofs's own way for one that it knows, else the other's."""

import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio

from zsofs.fuse import request_loop

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


class FakePyfuse(ModuleType):
    """Receives one request, in the way of pyfuse3 3.5.0.

    Attributes:
        fd: of the session.
        used: the event loop that main() finds.
        limit: of tasks, which main() was called with.
    """

    def __init__(self, fd: int) -> None:
        super().__init__("pyfuse3")
        self.__version__ = "3.5.0"
        self.trio: Any = trio
        self.fd = fd
        self.used: Any = None
        self.limit = 0

    async def main(self, min_tasks: int = 1, max_tasks: int = 99) -> None:
        self.limit = max_tasks
        await self.main_without_limit()

    async def main_without_limit(self) -> None:
        self.used = self.trio
        async with self.trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, name="first")

    async def _receive(self) -> None:
        async with self.trio.Lock():
            await self.trio.lowlevel.wait_readable(self.fd)
        request_loop.begun()

    async def _session_loop(self, nursery: Any, min_tasks: int, max_tasks: int) -> None:
        """Here for its parameters."""

    async def with_buffer(self, nursery: Any, buffer: bytes) -> None:
        """Here for its parameters."""

    async def _wait_fuse_readable(self) -> None:
        """Here for its parameters."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePyfuse]:
    """A pyfuse3 for which a request waits, in effect with zsofs's wrappers."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"r")
    made = FakePyfuse(read_end)
    monkeypatch.setattr(request_loop, "pyfuse3", made)
    monkeypatch.setattr(request_loop, "is_in_use", lambda: True)
    yield made
    os.close(read_end)
    os.close(write_end)


def test_a_pyfuse3_that_is_known(fake: FakePyfuse, caplog: pytest.LogCaptureFixture) -> None:
    trio.run(request_loop.serve)
    assert fake.used is not trio
    assert fake.limit > 10_000
    assert not os.get_blocking(fake.fd)
    assert not caplog.records


UNKNOWN: dict[str, tuple[Callable[[FakePyfuse], None], str]] = {
    "version": (lambda fake: setattr(fake, "__version__", "3.6.0"), "its version differs"),
    "event loop": (
        lambda fake: setattr(fake, "trio", SimpleNamespace(**vars(trio))),
        "it does not use the module name trio",
    ),
    "no function": (
        lambda fake: setattr(fake, "_wait_fuse_readable", None),
        "it has no _wait_fuse_readable()",
    ),
    "parameters": (
        lambda fake: setattr(fake, "_session_loop", fake.with_buffer),
        "it has no _session_loop(nursery, min_tasks, max_tasks)",
    ),
    "main": (
        lambda fake: setattr(fake, "main", fake.main_without_limit),
        "it has no main(min_tasks, max_tasks)",
    ),
}
"""Possible differences of a pyfuse3, and the message for each."""


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_pyfuse3_that_is_not_known_runs_its_own_loop(
    fake: FakePyfuse, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    change, said = UNKNOWN[what]
    change(fake)
    own = fake.trio
    trio.run(request_loop.serve)
    assert fake.used is fake.trio is own
    assert os.get_blocking(fake.fd)
    (record,) = caplog.records
    assert f"is not supported: {said};" in record.getMessage()


def test_wrappers_that_are_not_in_effect(
    fake: FakePyfuse, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_loop, "is_in_use", lambda: False)
    trio.run(request_loop.serve)
    assert os.get_blocking(fake.fd)
    (record,) = caplog.records
    assert "it calls libfuse without the wrappers of zsofs" in record.getMessage()


def test_the_real_one_is_known() -> None:
    assert request_loop.differences(pyfuse3) == []


def test_the_versions_that_are_known_are_those_that_are_installed() -> None:
    wanted = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    assert f"pyfuse3=={request_loop.KNOWN_VERSION}*" in wanted
