"""Activity of mounts: counters of reads, discs and programs, and causes of slow reads."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_status import read_direct
from tests.mount.control.test_status import runtime as runtime
from tests.support import writers
from tests.support.ends import spawned
from tests.support.hanging import HangingDisk, hanging_disk
from tests.support.mounting import DATA, Mount, mounted, status_of, timed, wait_until
from tests.unit.cli.test_messages import run
from zsofs.errors import ControlError
from zsofs.mount.control.activity import (
    CAUSES,
    LATENCY_BOUNDS,
    MAX_PAGE,
    PROTOCOL,
    Activity,
    DiscDetails,
    DiscPage,
    ReaderActivity,
)
from zsofs.mount.control.activity_client import (
    ask_activity,
    ask_discs,
    ask_slow_reads,
)
from zsofs.mount.control.client import ask_each, check_mount
from zsofs.native import meters
from zsofs.system.mountinfo import Mounted

BLOCK = 16384
IMAGE = writers.content(64 * BLOCK, ["text", "mixed", "noise"], seed=6)
READER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
for place in sys.argv[2:]:
    os.pread(fd, 4096, int(place))
"""


def of(made: Mount) -> Mounted:
    return check_mount(os.fsencode(made.path))


def summary(made: Mount) -> Activity:
    ((_, found),) = ask_activity([of(made)])
    assert isinstance(found, Activity), found
    return found


def details(made: Mount, disc: str) -> DiscDetails:
    request = {"command": "disc", "protocol": PROTOCOL, "disc": disc}
    ((_, reply),) = ask_each([of(made)], request)
    if isinstance(reply, ControlError):
        raise reply
    return DiscDetails.from_json(reply)


def read_by_another(path: Path, *places: int) -> int:
    """Read 4 KiB at each of these places; return the process that did."""
    done = subprocess.Popen([sys.executable, "-c", READER, str(path), *map(str, places)])
    assert done.wait(60) == 0
    return done.pid


@contextmanager
def sample_on_hanging_disk(tmp_path: Path) -> Iterator[tuple[HangingDisk, Mount]]:
    """A mount of the sample disc, as Game.zso, on a disk that can hang."""
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.copy(DATA / "maxcso-2048.zso", inner / "Game.zso")
    with (
        hanging_disk(inner, tmp_path / "disk") as disk,
        mounted(disk.path, tmp_path / "mnt", command=timed(quiet_file=0.1)) as made,
    ):
        wait_until((made.path / "Game.iso").exists, "the disc")
        yield disk, made


@contextmanager
def hanging_read(disk: HangingDisk, disc: Path, place: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that reads 4 KiB of a disc; its disk hangs until the end of the context."""
    with disc.open("rb"):
        disk.hang("read")
        with spawned([sys.executable, "-c", READER, str(disc), str(place)]) as process:
            try:
                yield process
            finally:
                disk.hang()
            assert process.wait(60) == 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "Game.zso").write_bytes(writers.maxcso_zso(IMAGE, block_size=BLOCK))
    (folder / "Plain.iso").write_bytes(IMAGE)
    return folder


def test_the_tracks_and_the_sheet_of_a_cd_are_counted_apart(
    mount: MountMaker, tmp_path: Path
) -> None:
    """They are different files with different maps, although they have one source."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(DATA / "chd" / "cd-mixed.chd", source)
    made = mount(source, "--cd", "tracks")
    sizes = {}
    for path in sorted(made.path.iterdir()):
        sizes[f"cd-mixed.chd/{path.name}"] = len(path.read_bytes())
    assert len(sizes) == 4
    found, _ = ask_discs(of(made), 0)
    assert {one.disc: one.counts.bytes for one in found} == sizes
    for name in sizes:
        assert min(details(made, name).ages) >= (0 if sizes[name] > 1024 else -1)
    assert summary(made).reads.counts.bytes == sum(sizes.values())


def test_each_number_is_that_of_what_was_read(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    places = [number * 4096 for number in random.Random(1).sample(range(256), 40)]
    pid = read_by_another(made.path / "Game.iso", *places)
    other = read_by_another(made.path / "Plain.iso", *places[:7])
    found = summary(made)
    extents = {place // BLOCK for place in places}
    counts = found.reads.counts
    assert (counts.requests, counts.bytes, counts.errors) == (47, 47 * 4096, 0)
    assert (counts.lookups, counts.hits) == (40, 40 - len(extents))
    assert counts.blocks == len(extents)
    assert sum(latency.reads for latency in found.reads.latency) == 47
    readers = {reader.pid: reader for reader in found.readers}
    assert readers.keys() == {pid, other}
    assert (readers[pid].counts.requests, readers[pid].counts.blocks) == (40, len(extents))
    assert (readers[other].counts.bytes, readers[other].counts.lookups) == (7 * 4096, 0)
    assert readers[pid].program.startswith("python")
    discs, revision = ask_discs(of(made), 0)
    assert {one.disc: one.counts.requests for one in discs} == {"Game.zso": 40, "Plain.iso": 7}
    assert revision <= found.revision + 2  # rates of both may have changed since
    mounted_at = found.mount
    assert (mounted_at.mount_point, mounted_at.pid) == (str(made.path), made.daemon.pid)
    assert (mounted_at.compressed_discs, mounted_at.plain_discs) == (1, 1)


def test_the_rates_are_those_of_the_last_whole_seconds(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    read_direct(made.path / "Plain.iso", 0, 65536)

    def counted() -> ReaderActivity | None:
        (reader,) = summary(made).readers
        return reader if reader.rates.bytes_10s else None

    wait_until(counted, "the second to be over")
    found = summary(made).reads
    assert found.rates.bytes_10s * 10 == sum(found.history) == 65536
    assert round(found.rates.bytes_60s * 60) == 65536
    assert round(found.rates.reads_10s * 10) == found.counts.requests
    # No more is read, yet the disc is reported again, because its rates change.
    (disc,), revision = ask_discs(of(made), 0)
    wait_until(lambda: ask_discs(of(made), revision)[0], "another rate")
    assert ask_discs(of(made), revision)[0][0].counts == disc.counts


def test_the_map_shows_what_was_read(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    part = len(IMAGE) // 1024
    read_direct(made.path / "Game.iso", 100 * 4096, 8192)
    found = details(made, "Game.zso")
    lit = {number for number, age in enumerate(found.ages) if age >= 0}
    assert len(found.ages) == 1024
    assert lit == set(range(100 * 4096 // part, (100 * 4096 + 8192) // part))
    assert sum(map(sum, (latency.buckets for latency in found.latency))) == 1
    with pytest.raises(ControlError, match="no disc of that name was read"):
        details(made, "Plain.iso")


def test_failed_reads_are_counted(mount: MountMaker, source: Path) -> None:
    packed = bytearray(writers.maxcso_zso(IMAGE, block_size=BLOCK))
    packed[400:1400] = b"\xff" * 1000
    (source / "Game.zso").write_bytes(packed)
    made = mount(source)
    with pytest.raises(OSError, match="Input/output error"):
        read_direct(made.path / "Game.iso", 0, 4096)
    found = summary(made)
    assert found.reads.counts.errors >= 1
    assert found.readers[0].counts.errors == found.reads.counts.errors
    assert ask_discs(of(made), 0)[0][0].counts.errors == found.reads.counts.errors


def test_files_that_may_change_are_counted_too(mount: MountMaker, source: Path) -> None:
    (source / "memory.card").write_bytes(IMAGE[:10_000])
    made = mount(source, "--writable")
    assert (made.path / "memory.card").read_bytes() == IMAGE[:10_000]
    ((disc,), _) = ask_discs(of(made), 0)
    assert (disc.disc, disc.counts.bytes) == ("memory.card", 10_000)
    assert details(made, "memory.card").ages == ()


def test_a_read_that_hangs_shows_and_is_explained_later(tmp_path: Path) -> None:
    """The movie of the sample disc lies in the sectors 207 to 326, as isoinfo reports.

    Its end is not in memory yet when the disc is opened, unlike the first 128 KiB of the file.
    """
    place = 320 * 2048
    with sample_on_hanging_disk(tmp_path) as (disk, made):
        with hanging_read(disk, made.path / "Game.iso", place) as process:
            wait_until(
                lambda: [one for one in summary(made).waiting if one.seconds > 0.1], "the read"
            )
            found = summary(made)
            assert (found.waiting_total, len(found.waiting)) == (1, 1)
            waiting = found.waiting[0]
            assert (waiting.disc, waiting.offset, waiting.pid) == ("Game.zso", place, process.pid)
            (disk_of_it,) = (one for one in found.disks if one.waiting)
            assert disk_of_it.longest_wait_seconds > 0.1
            assert found.reads.counts.slow == 0
        (read,), revision = ask_slow_reads(of(made), 0)
        assert (read.disc, read.offset, read.size, read.cause) == ("Game.zso", place, 4096, "disk")
        assert read.seconds.total >= read.seconds.disk > 0.1
        assert (read.pid, read.failed) == (process.pid, False)
        wait_until(lambda: ask_slow_reads(of(made), revision)[0], "the file of the disc")
        ((read,), _) = ask_slow_reads(of(made), revision)
        assert read.file == "/DATA/MOVIE.PSS"
        assert summary(made).reads.counts.slow == 1


def test_pages_and_changes(mount: MountMaker, tmp_path: Path) -> None:
    """Each disc comes once, in the order of the reads; and later those alone that were read."""
    source = tmp_path / "many"
    source.mkdir()
    for number in range(450):
        (source / f"{number:03}.iso").write_bytes(IMAGE[:4096])
    made = mount(source)
    order = [f"{number:03}.iso" for number in range(450)]
    random.Random(2).shuffle(order)
    for name in order:
        (made.path / name).read_bytes()
    sizes, seen, since = [], dict[str, None](), 0
    while True:
        ((_, reply),) = ask_each(
            [of(made)], {"command": "discs", "protocol": PROTOCOL, "since": since}
        )
        assert isinstance(reply, dict)
        page = DiscPage.from_json(reply)
        sizes.append(len(page.discs))
        seen |= dict.fromkeys(one.disc for one in page.discs)
        since = page.revision
        if not page.more:
            break
    assert max(sizes) == MAX_PAGE
    assert sorted(seen) == sorted(order)
    assert summary(made).discs_read == 450


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"command": "activity"}, "version 1 of its control protocol, not None"),
        ({"command": "activity", "protocol": 2}, "version 1 of its control protocol, not 2"),
        ({"command": "discs", "protocol": 1, "since": -1}, "not from 0 to"),
        ({"command": "discs", "protocol": 1, "since": True}, "not from 0 to"),
        ({"command": "discs", "protocol": 1, "since": 1 << 70}, "not from 0 to"),
        ({"command": "slow-reads", "protocol": 1, "limit": 201}, "not from 1 to 200"),
        ({"command": "slow-reads", "protocol": 1, "limit": "9"}, "not from 1 to 200"),
        ({"command": "disc", "protocol": 1}, "no disc of that name"),
        ({"command": "disc", "protocol": 1, "disc": {"a": []}}, "no disc of that name"),
    ],
)
def test_requests_that_are_refused(
    mount: MountMaker, source: Path, request_: dict[str, object], why: str
) -> None:
    made = mount(source)
    ((_, reply),) = ask_each([of(made)], request_)
    assert isinstance(reply, ControlError)
    assert why in str(reply)


def test_another_process_of_a_mount_is_another_instance(tmp_path: Path, source: Path) -> None:
    with mounted(source, tmp_path / "mnt") as made:
        first = summary(made)
    with mounted(source, tmp_path / "mnt") as made:
        second = summary(made)
    assert first.instance != second.instance
    assert second.reads.counts.requests == 0


def test_replies_of_other_versions_are_understood() -> None:
    found = Activity.from_json(
        {"ok": True, "protocol": 1, "new": 1, "readers": [{"pid": "x"}, 7], "disks": {"no": 1}}
    )
    assert found.readers == (ReaderActivity(), ReaderActivity())
    assert found.disks == ()


def test_the_protocol_names_what_the_meters_count() -> None:
    assert [bound * 1e9 for bound in LATENCY_BOUNDS] == pytest.approx(meters.BOUNDS_NS)
    assert CAUSES == meters.CAUSES


def test_the_status_while_a_disk_hangs(tmp_path: Path) -> None:
    with sample_on_hanging_disk(tmp_path) as (disk, made):
        with hanging_read(disk, made.path / "Game.iso", 320 * 2048):
            wait_until(lambda: status_of(made)["waiting_seconds"] > 1, "a long wait")
            assert status_of(made)["waiting"] == 1
            said = run("status", made.path).stdout
            assert "  waiting  1 read waits for the disk, the oldest for " in said
        wait_until(lambda: status_of(made)["waiting"] == 0, "the answer")
