"""DATs: what is read of them, and which discs they know."""

import hashlib
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.checks import DAT_NAME, dat_of, rom
from zsofs.discs.dat import Dat, load
from zsofs.errors import UsageError
from zsofs.images.checksums import Digests

IMAGE = b"an image of a disc" * 100
OTHER = IMAGE[:-1] + b"!"


def digests(image: bytes) -> Digests:
    return Digests(
        f"{zlib.crc32(image):08x}", hashlib.md5(image).hexdigest(), hashlib.sha1(image).hexdigest()
    )


def loaded(folder: Path, text: str | bytes) -> Dat:
    path = folder / "list.dat"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path)


def games(dat: Dat, image: bytes) -> list[str]:
    return [found.game for found in dat.matches(len(image), digests(image))]


@pytest.mark.parametrize("keys", ["crc md5 sha1", "sha1", "md5", "crc", "crc md5"])
@pytest.mark.parametrize("tag", ["game", "machine"])
def test_a_disc_is_known_by_its_best_checksum(tmp_path: Path, keys: str, tag: str) -> None:
    game = "Lord & Rings, The (USA) (\u00e9)"
    dat = loaded(tmp_path, dat_of({game: [rom("x.iso", IMAGE, keys=keys)]}, tag=tag))
    assert dat.name == DAT_NAME
    assert dat.games == 1
    assert games(dat, IMAGE) == [game]
    assert games(dat, OTHER) == []
    assert games(dat, IMAGE + b"0") == []


def test_a_weaker_checksum_does_not_outweigh_a_better_one(tmp_path: Path) -> None:
    other = digests(OTHER)
    dat = loaded(tmp_path, dat_of({"A": [rom("a.iso", IMAGE, sha1=other.sha1)]}))
    assert games(dat, IMAGE) == []
    dat = loaded(tmp_path, dat_of({"A": [rom("a.iso", IMAGE, crc=other.crc32, md5=other.md5)]}))
    assert games(dat, IMAGE) == ["A"]


def test_capitals_and_what_is_no_checksum(tmp_path: Path) -> None:
    sha1 = digests(IMAGE).sha1.upper()
    lines = [
        f'<rom name="a.iso" size="{len(IMAGE)}" crc="xyz" md5="" sha1="{sha1}"/>',
        f'<rom name="none.iso" size="{len(IMAGE)}" crc="-"/>',
        '<rom name="odd.iso" size="many" crc="00000000"/>',
        f'<rom name="huge.iso" size="{"9" * 400}" crc="00000000"/>',
    ]
    dat = loaded(tmp_path, dat_of({"A": lines}))
    assert games(dat, IMAGE) == ["A"]
    assert sum(map(len, dat.roms.values())) == 1


def test_two_games_with_one_image(tmp_path: Path) -> None:
    dat = loaded(tmp_path, dat_of({name: [rom("a.iso", IMAGE)] for name in "AB"}))
    assert games(dat, IMAGE) == ["A", "B"]


def test_tracks_of_cds(tmp_path: Path) -> None:
    one, two = bytes(2352 * 30), bytes(2352 * 10)
    dat = loaded(
        tmp_path,
        dat_of(
            {
                "One": [rom("One.cue", b"cue"), rom("One.bin", one)],
                "Two": [
                    rom("Two.cue", b"cue"),
                    rom("Two (Track 1).bin", one),
                    rom("Two (Track 2).bin", two),
                ],
                "DVD": [rom("DVD.iso", IMAGE)],
            }
        ),
    )
    assert dat.cds_as_long(2048 * 30) == ["One"]
    assert dat.cds_as_long(2048 * 31) == []
    assert dat.cds_of_tracks(2352 * 40) == ["Two"]
    assert dat.cds_of_tracks(2352 * 30) == []
    assert dat.sizes_of("two (track 2)") == {2352 * 10}
    assert dat.sizes_of("TWO") == {3, 2352 * 30, 2352 * 10}
    assert dat.sizes_of("DVD") == {len(IMAGE)}
    assert dat.sizes_of("Three") == set()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a DAT: expected XML (Logiqx) or clrmamepro text, found ''"),
        ("a list\nof things", "is not a DAT: expected XML (Logiqx) or clrmamepro text, found"),
        ("game ( name x", "line 1: expected a closing bracket, found the end of the file"),
        ("<datafile><game name='x'>", "line 1: expected the XML of a DAT, found no element found"),
        ("<datafile>\n</dat>", "line 2: expected the XML of a DAT, found mismatched tag"),
        ("<?xml version='1.0' encoding='klingon'?><datafile/>", "line 1: expected"),
        ("<datafile><game name='x'><rom name='y'/></game></datafile>", "is not a DAT"),
        ("<html><body/></html>", "is not a DAT"),
    ],
)
def test_what_is_none(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_and_a_folder_and_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        archive.writestr("list.dat", dat_of({"A": [rom("a.iso", IMAGE)]}))
    assert games(load(tmp_path / "list.zip"), IMAGE) == ["A"]
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load(tmp_path / "nothing.dat")


def test_entities_that_grow_are_refused(tmp_path: Path) -> None:
    lines = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    text = (
        f'<!DOCTYPE datafile [<!ENTITY a0 "{"lol" * 1000}">{"".join(lines)}]>'
        "<datafile><header><name>&a11;</name></header></datafile>"
    )
    with pytest.raises(UsageError, match="expected the XML of a DAT"):
        loaded(tmp_path, text)


def test_nothing_outside_is_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do not read this")
    text = (
        f'<!DOCTYPE datafile [<!ENTITY x SYSTEM "file://{secret}">]>'
        "<datafile><header><name>&x;</name></header>" + dat_of({"A": [rom("a.iso", IMAGE)]})
    )
    with pytest.raises(UsageError):
        loaded(tmp_path, text)


def test_memory_does_not_grow_with_what_is_not_kept(tmp_path: Path) -> None:
    """Sixty megabytes with one game in them."""
    path = tmp_path / "large.dat"
    with path.open("w") as file:
        file.write("<datafile><header><name>Large</name></header>\n")
        line = "<comment>" + "x" * 1000 + "</comment>\n"
        for _ in range(60):
            file.write(line * 1000)
        file.write(f'<game name="A">{rom("a.iso", IMAGE)}</game></datafile>')

    assert games(load(path), IMAGE) == ["A"]
    code = (
        "import re, sys; from pathlib import Path; from zsofs.discs.dat import load;"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]);"
        "before = peak(); load(Path(sys.argv[1])); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 30 << 10


@given(st.binary(max_size=300), st.integers(0, 5000))
def test_hostile_files_end_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    text = dat_of({"A": [rom("a.iso", IMAGE)] * 5}).encode()
    at %= len(text)
    folder = tmp_path_factory.getbasetemp()
    try:
        loaded(folder, text[:at] + noise + text[at + len(noise) :])
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
