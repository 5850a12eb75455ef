"""The reference decoder against real files, and the writers' models against the reference."""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import reference, writers
from tests.support.rounds import rounds

DATA = Path(__file__).parents[2] / "data"
MANIFEST: dict[str, Any] = {
    name: facts
    for name, facts in json.loads((DATA / "manifest.json").read_text()).items()
    if name != "_"
}
CODECS = {
    "ciso-py.cso": "deflate",
    "maxcso-2048.cso": "deflate",
    "maxcso-v2-2048.cso": "mixed",
    "maxcso.dax": "zlib",
    "zstd-2048.zso": "zstd",
    "zstd-odd-size.zso": "zstd",
}


def quiet(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def body(size: int = 9 * 2048) -> bytes:
    return writers.content(size, ["text", "zeros", "noise", "mixed", "tight"], 1)


def changed(container: bytes, offset: int, value: bytes) -> bytes:
    return container[:offset] + value + container[offset + len(value) :]


def entry(container: bytes, i: int) -> int:
    value: int = struct.unpack_from("<I", container, 24 + 4 * i)[0]
    return value


def with_entry(container: bytes, i: int, value: int) -> bytes:
    return changed(container, 24 + 4 * i, struct.pack("<I", value))


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_real_file(name: str) -> None:
    data = (DATA / name).read_bytes()
    image = (DATA / f"{MANIFEST[name]['image']}.iso").read_bytes()
    container = reference.open_container(data)
    decoded = reference.decode(data)
    assert container.size == len(decoded) == MANIFEST[name]["size"]
    assert hashlib.sha1(decoded).hexdigest() == MANIFEST[name]["sha1"]
    assert decoded == image
    assert container.codec == CODECS.get(name, "lz4")
    for offset, size in [(0, 1), (2047, 2), (30000, 40000), (len(image) - 5, 100)]:
        assert container.read(offset, size) == image[offset : offset + size]
    assert container.read(len(image), 1) == b""


@pytest.mark.parametrize("name", sorted(writers.WRITERS))
@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 9 * 2048, 9 * 2048 + 1000])
def test_writer(name: str, size: int) -> None:
    image = body(size)
    decoded = reference.decode(writers.WRITERS[name](image))
    assert decoded == (writers.kept(image) if name in writers.DROPS_TAIL else image)


@quiet(rounds(120, 400))
@given(writers.containers(), st.data())
def test_any_container(made: tuple[bytes, bytes, str], draws: st.DataObject) -> None:
    image, data, _description = made
    container = reference.open_container(data)
    assert container.size == len(image)
    assert container.block_count == -(-len(image) // container.block_size)
    assert reference.decode(data) == image
    offset = draws.draw(st.integers(0, len(image)))
    size = draws.draw(st.integers(0, 3 * container.block_size))
    assert container.read(offset, size) == image[offset : offset + size]


@quiet(100)
@given(writers.containers(), st.binary(max_size=40))
def test_bytes_behind_the_end(made: tuple[bytes, bytes, str], extra: bytes) -> None:
    """Files cut out of a disc have more bytes behind the end, which mean nothing."""
    image, data, _description = made
    assert reference.decode(data + bytes(2048) + extra) == image


@quiet(rounds(100, 300))
@given(writers.containers(), st.data())
def test_damage_is_told_or_decoded(made: tuple[bytes, bytes, str], draws: st.DataObject) -> None:
    """Whatever is changed, blocks have the right length or are damaged."""
    _image, data, _description = made
    at = draws.draw(st.integers(0, len(data) - 1))
    data = changed(data, at, draws.draw(st.binary(min_size=1, max_size=1)))
    data = data[: draws.draw(st.just(len(data)) | st.integers(0, len(data)))]
    try:
        container = reference.open_container(data)
    except (reference.Damaged, ValueError):
        return
    for i in range(min(container.block_count, 20)):
        try:
            block = container.block(i)
        except reference.Damaged:
            continue
        want = min(container.block_size, container.size - i * container.block_size)
        assert len(block) == want


@pytest.mark.parametrize("name", sorted(writers.FOREIGN))
def test_foreign(name: str) -> None:
    with pytest.raises(ValueError, match=r"GameCube|Xbox|LZO"):
        reference.open_container(writers.FOREIGN[name](body()))


@pytest.mark.parametrize("data", [b"", b"CD001", b"ZSO\0" + bytes(60), b"DAX\0" + bytes(4)])
def test_not_a_container(data: bytes) -> None:
    with pytest.raises((ValueError, reference.Damaged)):
        reference.open_container(data)


def test_the_lost_byte_is_zero() -> None:
    image = b"\xff" * 8192
    data = writers.danixu(image, lose_last_byte=True)
    assert reference.decode(data) == image[:-1] + b"\0"
    noise = writers.content(8192, ["noise"], 3)
    data = writers.danixu(noise, lose_last_byte=True)
    assert reference.decode(data) == noise[:-1] + b"\0"
    with pytest.raises(reference.Damaged):
        reference.decode(data[:-1])


def test_the_dropped_tail_is_not_part_of_the_image() -> None:
    image = body(5 * 4096 + 2048)
    for shift in range(7):
        data = writers.ziso_py(image, block_size=4096, shift=shift)
        container = reference.open_container(data)
        assert (container.size, container.block_count) == (5 * 4096, 5)
        assert reference.decode(data) == image[: 5 * 4096]


def test_version_2_is_mixed() -> None:
    image = writers.content(40 * 2048, ["text", "zeros", "noise", "mixed"], 5)
    data = writers.maxcso_cso2(image)
    flags = {entry(data, i) >> 31 for i in range(40)}
    assert flags == {0, 1}
    assert reference.open_container(data).codec == "mixed"


def test_broken_index() -> None:
    data = writers.ziso_py(body())
    opened = reference.open_container
    for broken in (
        with_entry(data, 1, 30),  # in the index
        with_entry(data, 1, len(data) + 1),  # behind the end
        with_entry(data, 2, entry(data, 1) - 1),  # backwards
        with_entry(data, 2, entry(data, 1)),  # nothing stored
        with_entry(data, 2, entry(data, 1) + 4098),  # too much
    ):
        with pytest.raises(reference.Damaged):
            opened(broken).block(1)
        assert opened(broken).block(4) == body()[4 * 2048 : 5 * 2048]
    with pytest.raises(reference.Damaged):
        opened(data[:40])
    for offset, value in ((16, bytes(4)), (21, b"\x11"), (8, b"\xff" * 8), (8, b"\0\0\0\x7f")):
        with pytest.raises(reference.Damaged):
            opened(changed(data, offset, value))


def test_broken_index_where_a_decoder_would_not_mind() -> None:
    """Deflate ignores what is behind it; the model does not."""
    data = writers.ciso_py(body())
    assert entry(data, 2) >= writers.PLAIN > entry(data, 0)
    for i, broken in (
        (0, with_entry(data, 1, entry(data, 0) + 4098)),
        (2, with_entry(data, 2, writers.PLAIN | 30)),
        (2, with_entry(data, 3, entry(data, 1))),
        (2, with_entry(data, 3, entry(data, 3) + 1)),
        (0, with_entry(data, 1, entry(data, 1) + 1)),
    ):
        with pytest.raises(reference.Damaged):
            reference.open_container(broken).block(i)
    assert reference.open_container(data).block(0) == body()[:2048]


def test_zsoz_is_strict() -> None:
    image = body()
    data = writers.zsoz(image, trailer=True)
    assert reference.open_container(data).codec == "zstd"
    for broken in (
        with_entry(data, 8, entry(data, 8) | writers.PLAIN),
        with_entry(data, 9, entry(data, 9) + 1),
        with_entry(data, 9, entry(data, 9) - 1),
        with_entry(data, 9, entry(data, 8) - 1),
        changed(data, entry(data, 9) - 1, bytes([data[entry(data, 9) - 1] ^ 1])),
    ):
        with pytest.raises(reference.Damaged):
            reference.open_container(broken).block(8)
        assert reference.open_container(broken).block(6) == image[6 * 2048 : 7 * 2048]


@pytest.mark.parametrize(
    ("writer", "size"),
    [
        ("ziso_py", 3 << 30),
        ("ziso_py", (5 << 30) + 2048),
        ("maxcso", (4 << 30) + 2048),
        ("maxcso", (8 << 30) + 3000),
        ("danixu", (9 << 30) + 1000),
    ],
)
def test_sparse(writer: writers.SparseWriter, size: int, tmp_path: Path) -> None:
    """A huge file, read where data was put, beside that, and behind it."""
    count = -(-size // 2048)
    tail = size - (count - 1) * 2048
    near = [1, (1 << 20) - 1, 1 << 20, (1 << 21) + 5, (1 << 22) + 1]
    blocks = {
        i: writers.content(2048, [writers.KINDS[1 + n % 4]], n)
        for n, i in enumerate(near)
        if i < count - 1
    }
    blocks[count - 1] = writers.content(tail, ["text"], 9)
    path = tmp_path / "huge.zso"
    writers.sparse_ziso(path, size, writer=writer, blocks=blocks)
    assert path.stat().st_blocks * 512 < 40 << 20
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert len(data) > size - 20000
        container = reference.open_container(data)
        assert (container.size, container.block_count) == (size, count)
        for i, block in blocks.items():
            assert container.block(i) == block
            if 0 < i < count - 1:
                assert container.block(i - 1) == blocks.get(i - 1, bytes(2048))
                assert container.block(i + 1) == blocks.get(i + 1, bytes(2048))
        assert container.read(size - tail - 1, 5000) == b"\0" + blocks[count - 1]
