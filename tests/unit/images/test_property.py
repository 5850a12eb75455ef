"""Containers that nobody thought of: generated, read through the real code, and compared."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.conftest import MountMaker
from tests.support import reference, verdict
from tests.support.rounds import rounds
from tests.support.writers import containers
from zsofs.errors import BlockError, FormatError
from zsofs.images.open_image import DiscImage
from zsofs.images.probe import Disc, block_reader, geometry_of, probe
from zsofs.images.source_file import OpenSource
from zsofs.reading.admission import Admission
from zsofs.reading.extent_cache import ExtentCache
from zsofs.reading.io_pool import IoPool
from zsofs.reading.reader import Reader
from zsofs.reading.stats import UNCOUNTED
from zsofs.reading.worker_threads import WorkerThreads

Generated = tuple[bytes, bytes, str]


@contextmanager
def opened(folder: Path, data: bytes) -> Iterator[OpenSource]:
    """A file of these bytes, as the source tree gives it."""
    path = folder / "container"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield OpenSource.of(fd, os.fstat(fd))
    finally:
        os.close(fd)


def read_blocks(disc: Disc, source: OpenSource) -> list[bytes | None]:
    """Each block by itself; None for one that is refused."""
    geometry = geometry_of(source, disc)
    reader = block_reader(geometry, source)
    blocks: list[bytes | None] = []
    for number in range(geometry.block_count):
        out = bytearray(b"\xa5" * (geometry.block_size + 16))
        try:
            length = reader.read(source.fd, number, 1, memoryview(out)[: geometry.block_size])
        except BlockError as error:
            if error.block != number:
                raise
            blocks.append(None)
        else:
            assert out[length:] == b"\xa5" * (len(out) - length), "nothing is written behind it"
            blocks.append(bytes(out[:length]))
    return blocks


@settings(max_examples=rounds(120, 400))
@given(generated=containers())
def test_generated_containers_decode(generated: Generated, tmp_path: Path) -> None:
    image, container, description = generated
    note(description)
    with opened(tmp_path, container) as source:
        disc = probe(source)
        assert disc is not None
        geometry = geometry_of(source, disc)
        assert geometry.size == len(image)
        assert b"".join(block or b"" for block in read_blocks(disc, source)) == image
        if image:  # in one call, too
            whole = bytearray(geometry.size)
            reader = block_reader(geometry, source)
            assert reader.read(source.fd, 0, geometry.block_count, whole) == len(image)
            assert whole == image
    assert reference.decode(container) == image


@settings(max_examples=rounds(60, 200))
@given(
    generated=containers(),
    capacity=st.sampled_from([0, 5000, 40000, 1 << 20]),
    pieces=st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 140_000)), max_size=12),
)
def test_random_reads_of_generated_containers(
    generated: Generated, capacity: int, pieces: list[tuple[int, int]], tmp_path: Path
) -> None:
    """Any reads, one after another and all at once, through caches of any size."""
    image, container, description = generated
    note(description)
    with opened(tmp_path, container) as source:
        disc = probe(source)
        assert disc is not None
        content = DiscImage("container", 2, source, geometry_of(source, disc))
        places = [(offset % (len(image) + 3000), size) for offset, size in pieces]

        async def read_all() -> None:
            reads = Reader(ExtentCache(capacity), IoPool(3), WorkerThreads(3, Admission()))

            async def check(offset: int, size: int) -> None:
                given = bytes(
                    await reads.read(content, offset, size, UNCOUNTED.begin(offset, size))
                )
                assert given == image[offset : offset + size], (offset, size)

            for place in places:
                await check(*place)
            async with trio.open_nursery() as nursery:
                for place in places:
                    nursery.start_soon(check, *place)

        trio.run(read_all)


def collected(count: int) -> list[Generated]:
    """Generated containers, always the same, the trivial ones among them."""
    found: list[Generated] = []

    @settings(max_examples=count, database=None)
    @given(containers())
    def collect(generated: Generated) -> None:
        found.append(generated)

    collect()
    return found


def test_generated_containers_through_a_mount(source: Path, mount: MountMaker) -> None:
    made = collected(rounds(40, 80))
    assert len(made) >= rounds(30, 60)
    images = {}
    for number, (image, container, _) in enumerate(made):
        (source / f"{number}.zso").write_bytes(container)
        images[f"{number}.iso"] = image
    path = mount(source).path
    assert sorted(os.listdir(path)) == sorted(images)
    generator = random.Random(1)
    for number, (image, _, description) in enumerate(made):
        name = f"{number}.iso"
        assert (path / name).stat().st_size == len(image), description
        assert (path / name).read_bytes() == image, description
        fd = os.open(path / name, os.O_RDONLY)
        try:
            for _ in range(25):
                if generator.random() < 0.3:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                offset = generator.randrange(len(image) + 5000)
                size = int(2 ** generator.uniform(0, 17))
                assert os.pread(fd, size, offset) == image[offset : offset + size], description
        finally:
            os.close(fd)


# Mutations: each says where (as a part of the file, from its begin, in its index, or from its
# end) and what happens there.


@dataclass(frozen=True)
class Mutation:
    where: str
    place: int
    what: str
    value: int

    def apply(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._offset(len(data))
        before, after, byte = data[:at], data[at:], bytes([self.value % 256])
        length = 1 + self.value // 32
        changed = {
            "flip": before + bytes([data[at] ^ 1 << self.value % 8]) + after[1:],
            "set": before + byte + after[1:],
            "cut": before,
            "insert": before + byte * (1 + self.value // 256) + after,
            "delete": before + after[1 + self.value // 256 :],
            "zeros": (before + bytes(length) + after[length:])[: len(data)],
            "grow": data + byte * (self.value // 16),
        }
        return changed[self.what]

    def _offset(self, size: int) -> int:
        if self.where == "header":
            return min(self.place % 24, size - 1)
        if self.where == "index":
            return min(24 + self.place % 48, size - 1)
        if self.where == "end":
            return size - 1 - self.place % min(size, 40)
        return self.place % size


mutations = st.builds(
    Mutation,
    where=st.sampled_from(["anywhere", "anywhere", "anywhere", "index", "index", "end", "header"]),
    place=st.integers(0, 1 << 20),
    what=st.sampled_from(
        ["flip", "flip", "flip", "set", "cut", "insert", "delete", "zeros", "grow"]
    ),
    value=st.integers(0, 4095),
)


def mutated(data: bytes, changes: Sequence[Mutation]) -> bytes:
    for change in changes:
        data = change.apply(data)
    return data


def check_mutated(data: bytes, folder: Path) -> str:
    """A word on what became of the file; AssertionError where the reference disagrees."""
    with opened(folder, data) as source:
        try:
            disc = probe(source)
        except FormatError:
            return "refused"
        if disc is None:
            return "no container"
        if geometry_of(source, disc).block_count > 5000:
            return "huge"
        container = verdict.open_or_none(data)
        assert container is not None, "the reference refuses it as a whole"
        assert container.size == disc.size
        assert container.block_size == disc.block_size
        codec = disc.codec.name.lower()
        if container.codec not in ("mixed", codec) and container.size < 100:
            return "ambiguous"  # so few bytes may be right in more than one codec
        given = read_blocks(disc, source)
        wanted = verdict.verdicts(container)
        for number, (one, judged) in enumerate(zip(given, wanted, strict=True)):
            assert judged.allows(one), (
                f"block {number} of {len(given)}: {'an error' if one is None else 'bytes'} where"
                f" {'an error' if judged.right is None else 'bytes'} should be"
            )
        return "damaged" if None in given else "whole"


@settings(max_examples=rounds(250, 1000))
@given(generated=containers(), changes=st.lists(mutations, min_size=1, max_size=4))
def test_mutated_containers_agree_with_the_reference(
    generated: Generated, changes: list[Mutation], tmp_path: Path
) -> None:
    _, container, description = generated
    note(description)
    check_mutated(mutated(container, changes), tmp_path)


@pytest.mark.parametrize("wanted", ["refused", "no container", "damaged", "whole"])
def test_mutations_have_every_outcome(wanted: str, tmp_path: Path) -> None:
    """The test above would be empty if its files were all refused, or all whole."""
    generator = random.Random(1)
    for _, container, _ in collected(150):
        change = Mutation(
            generator.choice(["anywhere", "index", "end", "header"]),
            generator.randrange(1 << 20),
            generator.choice(["flip", "cut", "grow"]),
            generator.randrange(4096),
        )
        if container and check_mutated(change.apply(container), tmp_path) == wanted:
            return
    raise AssertionError(f"no mutation had the outcome {wanted!r}")
