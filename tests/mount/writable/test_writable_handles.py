"""Requests that use what a program has open while that program closes it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trio.testing

from tests.conftest import MountMaker
from tests.support.mounting import all_the_time, opened
from tests.support.rounds import rounds
from zsofs.source.entry import Entry, Kind
from zsofs.source.new_discs import NewDiscs
from zsofs.source.tree import SourceTree
from zsofs.source.writer import SourceWriter
from zsofs.vfs.node import Node
from zsofs.vfs.writing.file_handles import Handle, Handles

ROUNDS = rounds(300, 1000)
"""Descriptors that were closed while they were used were seen in each of five runs of 1000."""

SIZES = {"truncated.bin": (1000, 2000), "other.bin": (50_000,)}


def test_other_files_stay_when_one_is_truncated_by_name_and_closed(
    source: Path, mount: MountMaker
) -> None:
    """The number of a closed descriptor is that of the next file which is opened."""
    for name, sizes in SIZES.items():
        (source / name).write_bytes(bytes(sizes[0]))
    made = mount(source, "--writable")
    truncated, other = made.path / "truncated.bin", made.path / "other.bin"

    def open_and_close() -> None:
        os.close(os.open(truncated, os.O_RDWR))

    def look_at_the_other() -> None:
        with opened(other, os.O_RDWR) as fd:
            assert os.fstat(fd).st_size in SIZES[other.name]
        assert (source / other.name).stat().st_size in SIZES[other.name]

    def truncate() -> None:
        for number in range(ROUNDS):
            os.truncate(truncated, SIZES[truncated.name][number % 2])
            assert truncated.stat().st_size in SIZES[truncated.name]

    with (
        all_the_time(open_and_close),
        all_the_time(open_and_close),
        all_the_time(look_at_the_other),
        ThreadPoolExecutor() as threads,
    ):
        for truncation in [threads.submit(truncate) for _ in range(2)]:
            truncation.result(300)
    assert made.log_lines("WARN") == []


def test_a_borrowed_handle_is_closed_when_it_was_given_back(source: Path) -> None:
    path = source / "a.bin"
    path.write_bytes(b"a")
    status = path.stat()
    node = Node(2, Entry(b"a.bin", Kind.FILE, b"a.bin", status), None)
    changes = SourceWriter(SourceTree(os.fsencode(source)), NewDiscs())
    handles = Handles()

    def added(number: int, flags: int) -> Handle:
        live, _ = changes.open(b"a.bin", flags, status)
        handle = Handle(number, node, live, os.getpid())
        handles.add(handle)
        return handle

    async def close(handle: Handle) -> None:
        handles.remove(handle)
        await handle.unused()
        handle.live.close()

    async def use() -> None:
        first, second = added(1, os.O_RDWR), added(2, os.O_RDONLY)
        async with trio.open_nursery() as nursery:
            with handles.borrowed(node) as one, handles.borrowed(node, writable=True) as two:
                assert one is two is first
                nursery.start_soon(close, first)
                await trio.testing.wait_all_tasks_blocked()
                assert os.fstat(first.live.fd).st_size == 1
                with handles.borrowed(node) as another:
                    assert another is second
                with handles.borrowed(node, writable=True) as none:
                    assert none is None
            await trio.testing.wait_all_tasks_blocked()
            assert not is_open(first)
        await close(second)
        assert not is_open(second)

    trio.run(use)


def is_open(handle: Handle) -> bool:
    return Path(f"/proc/self/fd/{handle.live.fd}").exists()
