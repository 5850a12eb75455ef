"""In which order a service manager is told what: by a real socket, of a folder that is listed."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.conftest import TimingsSetter
from zsofs.mount.control.mount_status import DiscStatus, MountStatus, SourceStatus
from zsofs.mount.readiness import Supervision
from zsofs.system.sd_notify import Notifier

STATE = MountStatus(source=SourceStatus(source_state="there"), discs=DiscStatus(discs=1))


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.setblocking(False)
    return listener


def told(
    manager: socket.socket, folder: Path, script: Callable[[Supervision], Awaitable[None]]
) -> list[str]:
    """What the manager of a mount at *folder* has heard when *script* is done; no status lines."""
    supervision = Supervision(Notifier(str(manager.getsockname())), bytes(folder), lambda: STATE)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervision.serve, trio.lowlevel.checkpoint)
            await script(supervision)
            nursery.cancel_scope.cancel()

    trio.run(run)
    words = []
    with manager:
        while True:
            try:
                words.append(manager.recv(4096).decode().partition("=")[0])
            except BlockingIOError:
                return [word for word in words if word != "STATUS"]


async def until_ready(supervision: Supervision) -> None:
    """A reload is told from when the mount is ready; the listing takes a thread."""
    with trio.fail_after(20):
        while not supervision.is_ready:  # noqa: ASYNC110 - the program has no use for an event
            await trio.sleep(0.01)


def test_several_reloads_at_a_time_are_one(manager: socket.socket, tmp_path: Path) -> None:
    async def script(supervision: Supervision) -> None:
        await until_ready(supervision)
        with supervision.reload():
            with supervision.reload():
                pass
            with supervision.reload():
                pass
        with supervision.reload():
            pass

    said = told(manager, tmp_path, script)
    assert said == ["READY", "RELOADING", "READY", "RELOADING", "READY"]


def test_a_manager_that_had_no_time_is_told_again(
    manager: socket.socket, tmp_path: Path, set_timings: TimingsSetter
) -> None:
    """It would wait until it gives up, and end the mount."""
    set_timings(service_status=0.1)

    async def script(supervision: Supervision) -> None:
        await until_ready(supervision)
        with suppress(BlockingIOError):
            while True:
                manager.recv(4096)
        await trio.sleep(1)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                others.sendto(b"STATUS=", manager.getsockname())
    assert "READY" in told(manager, tmp_path, script)


def test_nothing_comes_after_the_end(manager: socket.socket, tmp_path: Path) -> None:
    async def script(supervision: Supervision) -> None:
        await until_ready(supervision)
        with supervision.reload():
            supervision.stop()
        with supervision.reload():
            pass

    assert told(manager, tmp_path, script) == ["READY", "RELOADING", "STOPPING"]


def test_an_end_before_it_was_ready(manager: socket.socket, tmp_path: Path) -> None:
    async def script(supervision: Supervision) -> None:
        with supervision.reload():
            supervision.stop()
        await until_ready(supervision)

    assert told(manager, tmp_path, script) == ["STOPPING"]
