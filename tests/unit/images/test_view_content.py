"""Views of CDs over real files: plain ones and containers, at once and by threads of their own."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import chd_reference_cd as reference
from tests.support import writers
from tests.support.rounds import rounds
from tests.unit.images.test_property import opened
from zsofs.errors import BlockError, SourceTouchedError, StaleNodeError
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.cd_views import (
    CdView,
    Piece,
    bin_pieces,
    bin_view,
    chd_pieces,
    track_view,
    user_data_view,
)
from zsofs.images.content_check import ContentCheck
from zsofs.images.open_image import Content, DiscImage, PlainFile
from zsofs.images.probe import geometry_of, probe
from zsofs.images.source_file import OpenSource
from zsofs.images.view_content import ViewContent, view_reader
from zsofs.native.block_reader import ThreadPool
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.stats import UNCOUNTED
from zsofs.reading.worker_threads import WorkerThreads

SECTORS = 40
CHANCE = random.Random(12)
DATA = [CHANCE.randbytes(256) * 8 for _ in range(SECTORS)]
RAW = b"".join(reference.data_sector(n, data, 2) for n, data in enumerate(DATA))
USER = b"".join(DATA)
TRACK = Track(1, TrackType.MODE2_RAW, SECTORS)
FOREVER = 60_000_000_000


def user_data(begin: int = 0) -> CdView:
    view = user_data_view(TRACK, bin_pieces([TRACK], [begin])[0])
    assert view is not None
    return view


@dataclass
class ByEvenNumbers:
    """What a content needs of its check for the change time, which is another one here."""

    expected_ctime: int = 0


@contextmanager
def content_of(
    folder: Path, data: bytes, *, packed: bool, check: ByEvenNumbers | None = None
) -> Iterator[tuple[Content, OpenSource]]:
    with opened(folder, data) as source:
        judge = cast("ContentCheck | None", check)
        if not packed:
            yield PlainFile("a.bin", 5, source, judge), source
            return
        disc = probe(source)
        assert disc is not None
        yield DiscImage("a.zso", 5, source, geometry_of(source, disc), judge), source


def read_by(content: Content, offset: int, size: int, *, pool: ThreadPool | None) -> bytes:
    """A read as the reader asks for it: from the begin of an extent, to the end of one."""
    extent = content.extent_size
    begin = offset // extent * extent
    end = min(-(-(offset + size) // extent) * extent, content.size)
    out = bytearray(end - begin)
    if pool is None:
        assert content.read_now(begin, out)
    else:
        job = content.job(begin, out)
        assert pool.run(job, FOREVER)
        content.finish(job)
    return bytes(out[offset - begin : offset - begin + size])


CONTAINERS = {
    "plain": None,
    "blocks of 2352": 2352,
    "blocks of 2048": 2048,
    "blocks of 4096": 4096,
    "blocks of 16384": 16384,
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("by_thread", [False, True])
def test_the_user_data_of_a_raw_image(on_disk: Path, name: str, by_thread: bool) -> None:
    block_size = CONTAINERS[name]
    data = RAW if block_size is None else writers.maxcso_zso(RAW, block_size=block_size)
    eventfd = os.eventfd(0)
    pool = ThreadPool(1, eventfd) if by_thread else None
    with content_of(on_disk, data, packed=block_size is not None) as (stored, source):
        content = ViewContent(9, user_data(), stored)
        assert (content.size, content.serial, content.name) == (len(USER), 9, stored.name)
        assert (content.device, content.check) == (source.device, None)
        assert content.can_ask == stored.can_ask
        chance = random.Random(3)
        places = [(0, len(USER)), (0, 1), (len(USER) - 1, 1), (2047, 2), (2048, 2048)]
        for _ in range(rounds(60, 600)):
            begin = chance.randrange(len(USER))
            places.append((begin, chance.randint(1, min(20_000, len(USER) - begin))))
        for offset, size in places:
            got = read_by(content, offset, size, pool=pool)
            assert got == USER[offset : offset + size], (offset, size)
    os.close(eventfd)


@settings(max_examples=rounds(40, 400), deadline=None)
@given(data=st.data())
def test_random_reads_of_random_views(tmp_path: Path, data: st.DataObject) -> None:
    """Through the reader of the mount: its cache, its threads, and many reads at a time."""
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    tracks = [
        Track(number, data.draw(st.sampled_from(list(TrackType))), data.draw(st.integers(0, 40)))
        for number in range(1, data.draw(st.integers(1, 5)) + 1)
    ]
    units = sum((track.frames + 3) // 4 * 4 for track in tracks) + 1
    frames = chance.randbytes(units * 2448)
    pieces = chd_pieces(tracks, units)
    views = [bin_view(pieces), *(track_view(pieces, track.number) for track in tracks)]
    user = user_data_view(tracks[0], pieces[0])
    view = data.draw(st.sampled_from(views if user is None else [*views, user]))
    block_size = data.draw(st.sampled_from((None, 2048, 2352, 16384, 1 << 19)))
    stored_bytes = frames
    if block_size is not None:
        stored_bytes = writers.maxcso_zso(frames, block_size=block_size)
    plain = view_reader(view, lambda at, size: frames[at : at + size])(0, view.size)
    capacity = data.draw(st.sampled_from((0, 5000, 1 << 20)))
    places = [
        (chance.randrange(view.size + 100), int(2 ** chance.uniform(0, 18))) for _ in range(12)
    ]
    with content_of(tmp_path, stored_bytes, packed=block_size is not None) as (stored, _):
        content = ViewContent(9, view, stored)

        async def read_all() -> None:
            reads = Reader(ExtentCache(capacity), IoPool(3), WorkerThreads(3, Admission()))

            async def check(offset: int, size: int) -> None:
                given = bytes(
                    await reads.read(content, offset, size, UNCOUNTED.begin(offset, size))
                )
                assert given == plain[offset : offset + size], (offset, size)

            for place in places:
                await check(*place)
            async with trio.open_nursery() as nursery:
                for place in places:
                    nursery.start_soon(check, *place)

        trio.run(read_all)


def test_extents_of_a_view_are_about_as_long_as_stored_ones(tmp_path: Path) -> None:
    """So that a read of a part decodes little more than it needs."""
    for block_size, expected in ((2352, 1), (2048, 1), (4096, 2), (16384, 7)):
        data = writers.maxcso_zso(RAW, block_size=block_size)
        with content_of(tmp_path, data, packed=True) as (stored, _):
            assert ViewContent(9, user_data(), stored).extent_size == expected * 2048
    with content_of(tmp_path, RAW, packed=False) as (stored, _):
        assert ViewContent(9, user_data(), stored).extent_size == 1


@pytest.mark.parametrize("packed", [False, True])
def test_all_views_of_frames_as_in_a_chd(on_disk: Path, packed: bool) -> None:
    """Data and swapped audio, with padding between the tracks that is in no view."""
    chance = random.Random(4)
    tracks = [Track(1, TrackType.MODE1_RAW, 5), Track(2, TrackType.AUDIO, 6)]
    frames = chance.randbytes(14 * 2448)
    data = writers.maxcso_zso(frames, block_size=4096) if packed else frames
    sectors = [frames[at * 2448 :][:2352] for at in range(14)]
    first = b"".join(sectors[:5])
    sound = b"".join(sectors[8:14])
    second = b"".join(sound[at : at + 2][::-1] for at in range(0, len(sound), 2))
    pieces = chd_pieces(tracks, 14)
    with content_of(on_disk, data, packed=packed) as (stored, _):
        for view, plain in (
            (bin_view(pieces), first + second),
            (track_view(pieces, 1), first),
            (track_view(pieces, 2), second),
        ):
            content = ViewContent(9, view, stored)
            reader = view_reader(view, lambda at, size: frames[at : at + size])
            assert content.size == len(plain)
            for offset in range(0, len(plain), 997):
                size = min(5000, len(plain) - offset)
                assert read_by(content, offset, size, pool=None) == plain[offset : offset + size]
                assert reader(offset, size) == plain[offset : offset + size]
            assert reader(len(plain) - 3, 100) == plain[-3:]
            assert reader(len(plain), 5) == b""


@pytest.mark.parametrize("by_thread", [False, True])
def test_a_damaged_block_costs_the_sectors_that_it_holds(on_disk: Path, by_thread: bool) -> None:
    data = bytearray(writers.maxcso_zso(RAW, block_size=2352))
    entry = 24 + 4 * 7
    begin = int.from_bytes(data[entry : entry + 4], "little") & 0x7FFFFFFF
    data[begin : begin + 60] = b"\xff" * 60
    eventfd = os.eventfd(0)
    pool = ThreadPool(1, eventfd) if by_thread else None
    with content_of(on_disk, bytes(data), packed=True) as (stored, _):
        content = ViewContent(9, user_data(), stored)
        for sector in range(SECTORS):
            if sector == 7:
                with pytest.raises(BlockError) as caught:
                    read_by(content, sector * 2048, 2048, pool=pool)
                assert caught.value.block == 7
            else:
                got = read_by(content, sector * 2048, 2048, pool=pool)
                assert got == DATA[sector]
    os.close(eventfd)


@pytest.mark.parametrize("by_thread", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_touched_file_is_judged_with_the_bytes_in_place(
    on_disk: Path, packed: bool, by_thread: bool
) -> None:
    data = writers.maxcso_zso(RAW, block_size=2352) if packed else RAW
    check = ByEvenNumbers()
    eventfd = os.eventfd(0)
    pool = ThreadPool(1, eventfd) if by_thread else None
    with content_of(on_disk, data, packed=packed, check=check) as (stored, source):
        content = ViewContent(9, user_data(), stored)
        out = bytearray(4096)
        job = content.job(2048, out)
        if pool is None:
            with pytest.raises(SourceTouchedError) as caught:
                content.read_now(2048, out)
        else:
            assert pool.run(job, FOREVER)
            with pytest.raises(SourceTouchedError) as caught:
                content.finish(job)
        assert out == USER[2048:6144]
        check.expected_ctime = caught.value.ctime_ns
        assert caught.value.ctime_ns == source.ctime_ns
        content.expect_checked()
        assert read_by(content, 2048, 4096, pool=pool) == USER[2048:6144]
    os.close(eventfd)


def test_closing_a_view_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(RAW)
    fd = os.open(path, os.O_RDONLY)
    source = OpenSource.of(fd, os.fstat(fd))
    ViewContent(9, user_data(), PlainFile("a.bin", 5, source)).close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_view_of_more_than_there_is(tmp_path: Path) -> None:
    for size, begin in ((len(RAW) - 280, 0), (len(RAW) - 281, 0), (len(RAW), 281)):
        with content_of(tmp_path, RAW[:size], packed=False) as (stored, _):
            view = user_data(begin)
            if view.end <= size:  # the parity of the last sector is not needed
                assert ViewContent(9, view, stored).size == len(USER)
                continue
            with pytest.raises(StaleNodeError, match="no longer contains the disc that was listed"):
                ViewContent(9, view, stored)


def test_an_empty_view(tmp_path: Path) -> None:
    with content_of(tmp_path, RAW, packed=False) as (stored, _):
        assert ViewContent(9, CdView([Piece(0, 0, 4, 0, 4)]), stored).size == 0
