"""CHD v5: files of chdman, generated ones, damage, parents, and what is refused."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.support import chd_reference as reference
from tests.support.chd_reference_cd import FRAME, cd_hunk, data_sector
from tests.support.chd_writer import (
    ENCODERS,
    NEXT_PARENT,
    NEXT_SELF,
    PARENT,
    PARENT_HERE,
    PLAIN,
    SAME_PARENT,
    SAME_SELF,
    SELF,
    Hunk,
    chd,
    deflate,
)
from tests.support.mounting import DATA
from tests.support.packed import open_disc
from tests.support.rounds import rounds
from zsofs.discs.cd_image import as_bin, choose_form
from zsofs.errors import (
    BlockError,
    FormatError,
    InputError,
    MissingParentError,
    UnusableParentError,
)
from zsofs.formats.chd import HEADER_SIZE
from zsofs.formats.chd_layout import _SLOW
from zsofs.formats.geometry import ChdCodec
from zsofs.images.input_image import Original, original
from zsofs.images.probe import probe
from zsofs.images.source_file import OpenSource

CHDS = DATA / "chd"
ALL = json.loads((CHDS / "manifest.json").read_text())
ALL.pop("_")
MANIFEST = {name: about for name, about in ALL.items() if "size" in about or "iso_size" in about}
CODECS = (b"zlib", b"zstd", b"huff")


@contextmanager
def opened(path: Path) -> Iterator[OpenSource]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield OpenSource.of(fd, os.fstat(fd))
    finally:
        os.close(fd)


def blocks_of(image: Original) -> list[bytes | None]:
    """Each block by itself; None for one that is refused."""
    assert image.geometry is not None
    size = image.geometry.block_size
    found: list[bytes | None] = []
    for number in range(image.geometry.block_count):
        try:
            found.append(image.read(number * size, size))
        except BlockError as error:
            if error.block != number:
                raise
            found.append(None)
    return found


@pytest.mark.parametrize("name", MANIFEST)
def test_files_of_chdman(name: str) -> None:
    about = MANIFEST[name]
    with original(str(CHDS / name)) as image:
        assert image.size == about.get("size", about.get("iso_size"))
        whole = image.read(0, image.size)
        assert hashlib.sha1(whole).hexdigest() == about.get("sha1", about.get("iso_sha1"))
        assert b"".join(block or b"" for block in blocks_of(image)) == whole
        chance = random.Random(name)
        for _ in range(200):
            offset = chance.randrange(image.size)
            size = chance.randrange(1, 40_000)
            assert image.read(offset, size) == whole[offset : offset + size]


@pytest.mark.parametrize("name", [name for name, about in ALL.items() if "bin_size" in about])
def test_bins_of_chdman(name: str) -> None:
    """The bytes of all tracks, as `chdman extractcd` writes them."""
    about = ALL[name]
    with original(str(CHDS / name)) as opened:
        image = as_bin(opened)
        assert image.size == about["bin_size"]
        whole = image.read(0, image.size)
        assert hashlib.sha1(whole).hexdigest() == about["bin_sha1"]
        chance = random.Random(name)
        for _ in range(200):
            offset = chance.randrange(image.size)
            size = chance.randrange(1, 40_000)
            assert image.read(offset, size) == whole[offset : offset + size]
        assert image.geometry is not None
        ranges = [image.range_of(number) for number in range(image.geometry.block_count)]
        shown = [both for both in ranges if both[0] != both[1]]
        assert shown[0][0] == 0
        assert all(begin < end <= image.size for begin, end in shown)


@pytest.mark.parametrize(
    ("name", "form"),
    [("cd-default.chd", "iso"), ("cd-zstd.chd", "iso"), ("cd-of-dvd-iso.chd", "iso"),
     ("cd-mixed.chd", "bin"), ("cd-mode1-pregap.chd", "bin"), ("dvd-default.chd", "iso")],
)  # fmt: skip
def test_the_form_of_a_cd(name: str, form: str) -> None:
    with original(str(CHDS / name)) as opened:
        image = choose_form(opened)
        assert image.ending == f".{form}"
        assert (image.view is not None) == (form == "bin")


@pytest.mark.parametrize(
    ("name", "on_the_loop"),
    [("dvd-default.chd", False), ("cd-default.chd", False), ("dvd-zstd-2048.chd", True)],
)
def test_lzma_is_not_decoded_on_the_event_loop(name: str, on_the_loop: bool) -> None:
    assert int(ChdCodec.LZMA) in _SLOW
    assert int(ChdCodec.CDLZ) in _SLOW
    with closing(open_disc(CHDS / name)) as content:
        assert content.can_ask == on_the_loop
        out = bytearray(content.extent_size)
        assert content.read_now(0, out) == on_the_loop


def test_a_hard_disk_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="a hard disk image"), original(str(CHDS / "hd.chd")):
        pass


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_older_versions_are_refused_by_name(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.chd"
    path.write_bytes(b"MComprHD" + (108).to_bytes(4, "big") + bytes([0, 0, 0, version]) + bytes(92))
    with pytest.raises(InputError, match=f"a CHD of version {version}"), original(str(path)):
        pass


@pytest.mark.parametrize("name", ["Game.chd", "Game.iso"])
def test_what_only_begins_like_a_chd_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"MComprHD" + random.Random(1).randbytes(5000))
    with pytest.raises(InputError, match="no CHD header of version 5"), original(str(path)):
        pass


def test_a_laserdisc_is_refused_by_name(tmp_path: Path) -> None:
    data = bytearray((CHDS / "dvd-default.chd").read_bytes())
    data[16:20] = b"avhu"
    path = tmp_path / "laser.chd"
    path.write_bytes(data)
    with pytest.raises(InputError, match="a laserdisc"), original(str(path)):
        pass


@dataclass(frozen=True)
class Made:
    """A generated CHD, what it decodes to, and its parent."""

    data: bytes = field(repr=False)
    image: bytes = field(repr=False)
    parent: bytes | None = field(repr=False)
    description: str


def content(chance: random.Random, size: int) -> bytes:
    """Bytes of some kind: noise, one byte, few different ones, a text."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(size)
    if kind == 1:
        return bytes([chance.randrange(256)]) * size
    if kind == 2:
        return bytes(chance.choice(b"aaaabc\0\0\xff") for _ in range(size))
    return (b"%d lines of text. " % chance.randrange(99) * size)[:size]


@st.composite
def made(draw: st.DrawFn) -> Made:
    chance = random.Random(draw(st.integers(0, 2**32)))
    unit = draw(st.sampled_from([1, 64, 512, 2048]))
    hunk_size = max(draw(st.sampled_from([512, 1000, 2048, 4096, 6144])) // unit, 1) * unit
    count = draw(st.sampled_from([1, 2, 5, 30, 255, 256, 257, 600]))
    if count > 30:
        unit, hunk_size = min(unit, 512), 512
    names = draw(st.lists(st.sampled_from(CODECS), min_size=1, max_size=4, unique=True))
    parent_data = None
    parent_image = b""
    parent_sha1 = ""
    if draw(st.booleans()):
        parent_hunks = [content(chance, hunk_size) for _ in range(min(count, 40) + 1)]
        parent_image = b"".join(parent_hunks)
        parent_data = chd(
            [Hunk(chance.randrange(len(names)), data) for data in parent_hunks],
            hunk_size=hunk_size,
            unit_size=unit,
            codecs=names,
            image=parent_image,
        )
        parent_sha1 = parent_data[84:104].hex()
    step = hunk_size // unit
    hunks: list[Hunk] = []
    plain: list[bytes] = []
    links: list[int] = []
    last_self = last_parent = 0
    while len(hunks) < count:
        number = len(hunks)
        kind = chance.choice([0, 0, 1, 2, PLAIN, SELF, SAME_SELF, NEXT_SELF, 6, 11, 12, 13])
        for _ in range(chance.choice([1, 1, 2, 3, 20, 300])):
            target = 0
            if kind in (SELF, SAME_SELF, NEXT_SELF):
                target = {SELF: chance.randrange(number) if number else 0}.get(
                    kind, last_self + (kind == NEXT_SELF)
                )
                if target >= number or links[target] == 32:
                    break
                last_self = target
                data = plain[target]
            elif kind > SELF:
                units = len(parent_image) // unit
                target = {
                    PARENT: chance.randrange(max(units - step, 0) + 1),
                    PARENT_HERE: number * step,
                    SAME_PARENT: last_parent,
                    NEXT_PARENT: last_parent + step,
                }[kind]
                if target + step > units:
                    break
                last_parent = target
                data = parent_image[target * unit :][:hunk_size]
            else:
                data = content(chance, hunk_size)
            used = kind if kind >= PLAIN else kind % len(names)
            hunks.append(Hunk(used, data, target))
            plain.append(data)
            links.append(links[target] + 1 if kind in (SELF, SAME_SELF, NEXT_SELF) else 0)
            number += 1
            if number == count:
                break
    size = hunk_size * count - chance.choice([0, 0, 1, hunk_size - 1])
    image = b"".join(plain)[:size]
    data = chd(
        hunks,
        hunk_size=hunk_size,
        unit_size=unit,
        codecs=names,
        size=size,
        image=image,
        metadata=[(b"DVD ", b"\0")],
        parent_sha1=parent_sha1,
        skewed=draw(st.booleans()),
    )
    return Made(data, image, parent_data, f"{count} hunks of {hunk_size}, units {unit}, {names}")


def emptied(folder: Path) -> Path:
    """The directory for an example: all examples of a test have the same one."""
    for path in folder.iterdir():
        path.unlink()
    return folder


@settings(max_examples=rounds(60, 400))
@given(made=made())
def test_generated_files_decode(made: Made, tmp_path: Path) -> None:
    note(made.description)
    folder = emptied(tmp_path)
    (folder / "made.chd").write_bytes(made.data)
    parent = None
    if made.parent is not None:
        (folder / "parent.chd").write_bytes(made.parent)
        parent = reference.Chd(made.parent)
    assert reference.Chd(made.data, parent).image() == made.image
    with original(str(folder / "made.chd")) as image:
        assert image.read(0, image.size) == made.image
        assert b"".join(block or b"" for block in blocks_of(image)) == made.image


@settings(max_examples=rounds(60, 400))
@given(made=made(), seed=st.integers(0, 2**32))
def test_damage_gives_errors_or_the_same_bytes(made: Made, seed: int, tmp_path: Path) -> None:
    """Never other bytes than before: unless the CRC-16 of hunk and map are both lucky."""
    note(made.description)
    chance = random.Random(seed)
    folder = emptied(tmp_path)
    data = bytearray(made.data)
    # The sizes in the header have no checksum but the SHA-1s that `verify` compares.
    at = chance.randrange(HEADER_SIZE, len(data))
    data[at] ^= 1 << chance.randrange(8)
    (folder / "made.chd").write_bytes(data)
    if made.parent is not None:
        (folder / "parent.chd").write_bytes(made.parent)
    cause: BaseException | None = None
    try:
        with original(str(folder / "made.chd")) as image:
            size = image.geometry.block_size if image.geometry else 1
            for number, block in enumerate(blocks_of(image)):
                assert block is None or block == made.image[number * size :][: len(block)]
    except InputError as error:
        cause = error.__cause__
    assert cause is None or isinstance(cause, FormatError)


@pytest.mark.parametrize("name", ["dvd-default.chd", "dvd-none.chd", "cd-of-dvd-iso.chd"])
def test_every_truncation_is_an_error(tmp_path: Path, name: str) -> None:
    data = (CHDS / name).read_bytes()
    about = MANIFEST[name]
    path = tmp_path / name
    for size in [*range(0, 300, 7), *range(300, len(data), len(data) // 40)]:
        path.write_bytes(data[:size])
        with opened(path) as source:
            try:
                disc = probe(source)
            except FormatError:
                continue
            assert (disc is None) == (size < 4)
            assert name == "dvd-none.chd" or disc is None  # its map and metadata come first
        if disc is not None:
            with original(str(path)) as image:
                assert image.size == about["size"]
                assert None in blocks_of(image)


@pytest.mark.parametrize("name", MANIFEST)
def test_a_flipped_bit_in_each_hunk_is_found(tmp_path: Path, name: str) -> None:
    """One bit of the stored bytes: EIO for those hunks, the right bytes for all others."""
    if name == "dvd-child.chd":
        shutil.copy(CHDS / "dvd-default.chd", tmp_path)
    if name == "dvd-none.chd":
        return  # it has no checksums
    path = tmp_path / name
    data = (CHDS / name).read_bytes()
    with original(str(CHDS / name)) as image:
        right = blocks_of(image.as_hunks())
        assert image.reader is not None
        assert image.reader.chd_map is not None
        end = image.reader.chd_map.data_end
    chance = random.Random(name)
    for _ in range(40):
        at = chance.randrange(HEADER_SIZE + 100, end)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with original(str(path)) as image:
            found = blocks_of(image.as_hunks())
        assert None in found
        assert all(block in (None, good) for block, good in zip(found, right, strict=True))


def test_parents_of_parents(tmp_path: Path) -> None:
    """32 of them, each with one hunk of its own."""
    chance = random.Random(7)
    hunks = [chance.randbytes(4096) for _ in range(40)]
    sha1 = ""
    for level in range(33):
        made = [Hunk(PLAIN, hunks[0])]
        if level:
            hunks[level] = chance.randbytes(4096)
            made = [
                Hunk(PLAIN, data) if at == level else Hunk(PARENT_HERE)
                for at, data in enumerate(hunks)
            ]
        else:
            made = [Hunk(PLAIN, data) for data in hunks]
        data = chd(
            made,
            hunk_size=4096,
            unit_size=2048,
            codecs=[b"zlib"],
            image=b"".join(hunks),
            parent_sha1=sha1,
        )
        (tmp_path / f"{level:02}.chd").write_bytes(data)
        sha1 = data[84:104].hex()
    with original(str(tmp_path / "32.chd")) as image:
        assert image.read(0, image.size) == b"".join(hunks)
    data = chd(
        [Hunk(PARENT_HERE)] * 40,
        hunk_size=4096,
        unit_size=2048,
        codecs=[b"zlib"],
        image=b"x",
        parent_sha1=sha1,
    )
    (tmp_path / "33.chd").write_bytes(data)
    with pytest.raises(InputError, match="more than 32"), original(str(tmp_path / "33.chd")):
        pass


@pytest.mark.parametrize("levels", [6, 32])
def test_hunks_across_two_of_each_parent_end(tmp_path: Path, levels: int) -> None:
    """Each level doubles the hunks that one needs."""
    data = random.Random(9).randbytes(4096 * (levels + 4))
    count = levels + 4
    whole = [Hunk(PLAIN, data[4096 * at :][:4096]) for at in range(count)]
    files = [small_chd(whole, b"0")]
    for level in range(1, levels + 1):
        made = [Hunk(PARENT, target=2 * at + 1) for at in range(count - level)]
        files.append(small_chd(made, b"%d" % level, files[-1][84:104].hex()))
    for level, file in enumerate(files):
        (tmp_path / f"{level}.chd").write_bytes(file)
    with original(str(tmp_path / f"{levels}.chd")) as image:
        if levels == 6:
            assert image.read(0, image.size) == data[2048 * levels :][: image.size]
        else:
            with pytest.raises(BlockError, match="more than 134217728 bytes of its parents"):
                image.read(0, 1)


@pytest.mark.parametrize("name", ["dvd-zstd-2048.chd", "dvd-child.chd"])
def test_a_child_is_not_decoded_on_the_event_loop(tmp_path: Path, name: str) -> None:
    """Its parents may have LZMA, whatever its own codecs are."""
    data = bytearray((CHDS / name).read_bytes())
    if name == "dvd-child.chd":
        shutil.copy(CHDS / "dvd-default.chd", tmp_path)
        data[16:32] = b"zlib" * 4
    (tmp_path / name).write_bytes(data)
    with closing(open_disc(tmp_path / name)) as content:
        assert content.can_ask == (name != "dvd-child.chd")


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    shutil.copy(CHDS / "dvd-child.chd", tmp_path)
    sha1 = reference.Chd((CHDS / "dvd-child.chd").read_bytes(), None).parent_sha1
    with opened(tmp_path / "dvd-child.chd") as source:
        with pytest.raises(MissingParentError, match=sha1):
            probe(source)
        shutil.copy(CHDS / "dvd-default.chd", tmp_path / "any name.CHD")
        assert probe(source) is not None


def test_a_parent_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    shutil.copy(CHDS / "dvd-child.chd", tmp_path)
    whole = (CHDS / "dvd-default.chd").read_bytes()
    (tmp_path / "half.chd").write_bytes(whole[: len(whole) // 2])
    with opened(tmp_path / "dvd-child.chd") as source:
        with pytest.raises(
            UnusableParentError,
            match=r"its parent half\.chd cannot be used: the file is truncated or unfinished",
        ):
            probe(source)
        units = bytearray(whole)
        units[60:64] = (int.from_bytes(whole[60:64], "big") // 2).to_bytes(4, "big")
        (tmp_path / "half.chd").write_bytes(units)
        with pytest.raises(UnusableParentError, match="it has units of 1024 bytes, and its child"):
            probe(source)


@pytest.mark.parametrize("kind", ["cut", "damaged map", "unreadable units"])
def test_a_duplicate_of_a_parent_that_cannot_be_used_is_passed_over(
    tmp_path: Path, kind: str
) -> None:
    shutil.copy(CHDS / "dvd-child.chd", tmp_path)
    whole = (CHDS / "dvd-default.chd").read_bytes()
    data = bytearray(whole)
    if kind == "cut":
        del data[200_000:]
    elif kind == "damaged map":
        data[int.from_bytes(data[40:48], "big") + 20] ^= 1
    else:
        data[60:64] = (1024).to_bytes(4, "big")
    (tmp_path / "a.chd").write_bytes(data)
    (tmp_path / "z.chd").write_bytes(whole)
    with original(str(tmp_path / "dvd-child.chd")) as image:
        found = image.read(0, image.size)
    assert hashlib.sha1(found).hexdigest() == ALL["dvd-child.chd"]["sha1"]


def test_a_duplicate_of_a_parent_that_lacks_its_own_parent_is_passed_over(tmp_path: Path) -> None:
    """Both hold the same data, one as the differences from a CHD that is not there."""
    data = random.Random(3).randbytes(8192)
    whole = small_chd([Hunk(PLAIN, data[:4096]), Hunk(PLAIN, data[4096:])], data)
    sha1 = whole[84:104].hex()
    (tmp_path / "a.chd").write_bytes(small_chd([Hunk(PARENT_HERE)] * 2, data, "12" * 20))
    child = small_chd([Hunk(PARENT_HERE)] * 2, b"other", sha1)
    (tmp_path / "child.chd").write_bytes(child)
    with (
        pytest.raises(InputError, match=f"it needs its parent, the CHD with SHA-1 {'12' * 20}"),
        original(str(tmp_path / "child.chd")),
    ):
        pass
    (tmp_path / "z.chd").write_bytes(whole)
    with original(str(tmp_path / "child.chd")) as image:
        assert image.read(0, image.size) == data


def test_a_child_is_not_its_own_parent(tmp_path: Path) -> None:
    """A child without a difference has the SHA-1 of its parent."""
    data = random.Random(4).randbytes(8192)
    whole = small_chd([Hunk(PLAIN, data[:4096]), Hunk(PLAIN, data[4096:])], data)
    child = small_chd([Hunk(PARENT_HERE)] * 2, data, whole[84:104].hex())
    assert child[84:104] == whole[84:104]
    (tmp_path / "a.chd").write_bytes(child)
    with (
        pytest.raises(InputError, match="it needs its parent"),
        original(str(tmp_path / "a.chd")),
    ):
        pass
    (tmp_path / "parent.chd").write_bytes(whole)
    with original(str(tmp_path / "a.chd")) as image:
        assert image.read(0, image.size) == data


def small_chd(hunks: list[Hunk], image: bytes, parent_sha1: str = "") -> bytes:
    return chd(
        hunks,
        hunk_size=4096,
        unit_size=2048,
        codecs=[b"zlib"],
        image=image,
        parent_sha1=parent_sha1,
    )


def test_a_damaged_parent_is_named(tmp_path: Path) -> None:
    shutil.copy(CHDS / "dvd-child.chd", tmp_path)
    data = bytearray((CHDS / "dvd-default.chd").read_bytes())
    data[200_000] ^= 1
    (tmp_path / "dvd-default.chd").write_bytes(data)
    with original(str(tmp_path / "dvd-child.chd")) as image:
        with pytest.raises(BlockError, match="stored in the parent, which is damaged there"):
            image.read(0, image.size)
        assert None in blocks_of(image)


@pytest.mark.parametrize("frames", [4, 8])
@pytest.mark.parametrize("codec", [b"cdzl", b"cdzs"])
def test_a_child_of_a_cd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: bytes, frames: int
) -> None:
    """Its hunks are as large as those of the parent or larger, and may lie in two or three."""
    base = {b"cdzl": deflate, b"cdzs": ENCODERS[b"zstd"]}[codec]
    monkeypatch.setitem(
        ENCODERS,
        codec,
        lambda data: cd_hunk(
            [data[at : at + FRAME] for at in range(0, len(data), FRAME)], base, base
        ),
    )
    chance = random.Random(8)
    image = b"".join(
        data_sector(number, b"text" * 256 + chance.randbytes(1024), 1)
        + bytes(chance.choice(b"ab") for _ in range(96))
        for number in range(48)
    )
    metadata = [(b"CHT2", b"TRACK:1 TYPE:MODE1_RAW SUBTYPE:RW_RAW FRAMES:%d PREGAP:0 "
                          b"PGTYPE:MODE1 PGSUB:RW POSTGAP:0\0")]  # fmt: skip
    size = 4 * FRAME
    parent = chd(
        [Hunk(at // size % 2, image[at : at + size]) for at in range(0, len(image), size)],
        hunk_size=size,
        unit_size=FRAME,
        codecs=[b"zlib", codec],
        image=image,
        metadata=[(metadata[0][0], metadata[0][1] % 48)],
    )
    (tmp_path / "parent.chd").write_bytes(parent)
    for shift in (0, 3):
        count = 48 // frames - 1
        data = chd(
            [Hunk(PARENT, target=number * frames + shift) for number in range(count)],
            hunk_size=frames * FRAME,
            unit_size=FRAME,
            codecs=[codec],
            image=image[1:],
            metadata=[(metadata[0][0], metadata[0][1] % (count * frames))],
            parent_sha1=parent[84:104].hex(),
        )
        (tmp_path / "child.chd").write_bytes(data)
        with original(str(tmp_path / "child.chd")) as disc:
            whole = disc.as_hunks()
            assert whole.size == count * frames * FRAME
            right = image[shift * FRAME :][: whole.size]
            assert whole.read(0, whole.size) == right
            assert b"".join(block or b"" for block in blocks_of(whole)) == right
            sectors = [right[at + 16 : at + 2064] for at in range(0, len(right), FRAME)]
            assert disc.read(0, disc.size) == b"".join(sectors)


def test_a_circle_of_references_ends(tmp_path: Path) -> None:
    hunks = [Hunk(SELF, target=1), Hunk(SELF, target=0), Hunk(PLAIN, b"x" * 512)]
    path = tmp_path / "circle.chd"
    path.write_bytes(chd(hunks, hunk_size=512, unit_size=512, codecs=[b"zlib"]))
    with original(str(path)) as image:
        found = blocks_of(image)
        assert found == [None, None, b"x" * 512]
        with pytest.raises(BlockError, match="more than 32 times"):
            image.read(0, 512)


@pytest.mark.parametrize("target", [1, 2, 9])
def test_a_reference_past_the_end_is_an_error(tmp_path: Path, target: int) -> None:
    path = tmp_path / "far.chd"
    hunks = [Hunk(SELF, target=target)]
    path.write_bytes(chd(hunks, hunk_size=512, unit_size=512, codecs=[b"zlib"]))
    why = f"refers to hunk {target} of 1"
    with original(str(path)) as image, pytest.raises(BlockError, match=why):
        image.read(0, 512)


def test_metadata_that_refer_to_themselves_are_refused(tmp_path: Path) -> None:
    data = bytearray((CHDS / "dvd-default.chd").read_bytes())
    at = int.from_bytes(data[48:56], "big")
    data[at + 8 : at + 16] = at.to_bytes(8, "big")
    path = tmp_path / "circle.chd"
    path.write_bytes(data)
    with pytest.raises(InputError, match="more metadata than any disc"), original(str(path)):
        pass


@pytest.mark.parametrize("offset", [16, 20, 32, 33, 34, 36, 39, 40, 41, 44, 47, 48, 51, 55, 56, 57,
                                    58, 59, 60, 61, 62, 63])  # fmt: skip
@pytest.mark.parametrize("value", [0, 1, 0x7F, 0x80, 0xFF])
def test_any_header_is_refused_or_read(tmp_path: Path, offset: int, value: int) -> None:
    data = bytearray((CHDS / "dvd-default.chd").read_bytes())
    data[offset] = value
    path = tmp_path / "odd.chd"
    path.write_bytes(data)
    cause: BaseException | None = None
    try:
        with original(str(path)) as image:
            assert image.geometry is not None
            for number in {0, image.geometry.block_count // 2, image.geometry.block_count - 1}:
                with suppress(BlockError):
                    image.read(number * image.geometry.block_size, 1)
    except InputError as error:
        cause = error.__cause__
    assert cause is None or isinstance(cause, FormatError)


def test_a_parent_that_the_owner_of_the_child_may_not_read(tmp_path: Path) -> None:
    """Otherwise a child of references alone would show a private file in a mount of root."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    child, parent = tmp_path / "Child.chd", tmp_path / "Parent.chd"
    shutil.copy(CHDS / "dvd-child.chd", child)
    shutil.copy(CHDS / "dvd-default.chd", parent)
    os.chown(child, 12345, 12345)
    for mode, group, is_readable in (
        (0o600, 0, False),
        (0o640, 0, False),
        (0o640, 12345, True),
        (0o604, 0, True),
    ):
        os.chown(parent, 0, group)
        parent.chmod(mode)
        if is_readable:
            with original(str(child)) as image:
                assert image.size
        else:
            with pytest.raises(InputError, match=r"Parent\.chd cannot be used: Permission denied"):
                original(str(child)).__enter__()
