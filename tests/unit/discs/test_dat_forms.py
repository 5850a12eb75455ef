"""DATs in all their forms, from anywhere: what counts, what is skipped, what is refused in time."""

import gzip
import hashlib
import logging
import lzma
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import zstandard

from tests.mount.following.test_scan_cache import cache_home as cache_home
from tests.support.checks import dat_of, rom
from tests.support.ends import join
from tests.support.mounting import DATA, timed
from tests.support.packed import reports, zsofs
from tests.support.rounds import rounds
from tests.unit.discs.test_dat import IMAGE, digests, games, loaded
from zsofs.discs.dat import load
from zsofs.errors import FileError, UsageError
from zsofs.vfs.opl.titles import load_titles

SUMS = digests(IMAGE)
LINE = rom("x.iso", IMAGE)
XML = dat_of({"A": [LINE]})
BODY = XML[XML.index("<datafile>") :]
SERIALS = '<datafile><game name="Okami" serial="SLUS-21134"/></datafile>'
TITLES = {"SLUS21134": "Okami"}

CLRMAMEPRO = f"""clrmamepro (
\tname "Sony - PlayStation 2"
\tversion "2026.10.07"
)

game (
\tname "Okami "GH" (USA)"
\tserial "SLUS-21134"
\trom ( name "Okami "GH" (USA).iso" size {len(IMAGE)} crc {SUMS.crc32.upper()} md5 {SUMS.md5} sha1 {SUMS.sha1} serial "SLUS-21134" )
)

game (
\tname "Bad"
\trom ( name "Bad.iso" size 3 crc 00000001 flags baddump )
\tsample "one"
)
"""  # noqa: E501


# Which entries count


@pytest.mark.parametrize(
    "size", ["", 'size=""', 'size="0"', 'size="-1"', 'size="1,800"', 'size="x"']
)
@pytest.mark.parametrize("key", ["sha1", "md5"])
def test_a_checksum_counts_without_a_clean_size(tmp_path: Path, size: str, key: str) -> None:
    line = f'<rom name="x.iso" {size} {key}="{getattr(SUMS, key)}"/>'
    dat = loaded(tmp_path, dat_of({"A": [line]}))
    assert games(dat, IMAGE) == ["A"]
    assert games(dat, IMAGE + b"0") == []
    assert (dat.games, dat.skipped) == (1, 0)


def test_what_is_skipped_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [
        LINE,
        f'<rom name="a.iso" crc="{SUMS.crc32}"/>',
        f'<rom name="b.iso" size="1" sha256="{"0" * 64}"/>',
        '<rom name="c.iso" size="7" status="nodump"/>',
    ]
    with caplog.at_level(logging.WARNING):
        dat = loaded(tmp_path, dat_of({"A": lines}))
    assert dat.skipped == 3
    assert caplog.messages == [
        f"{tmp_path / 'list.dat'}: 3 of 4 files have no SHA-1, no MD5, and no CRC-32 with a size;"
        " they are skipped"
    ]


def test_nothing_is_said_where_nothing_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        loaded(tmp_path, XML)
    assert caplog.messages == []


def test_verify_finds_a_disc_of_which_the_dat_has_no_size(tmp_path: Path, cache_home: Path) -> None:
    image = (DATA / "ps2.iso").read_bytes()
    dat = tmp_path / "x.dat"
    other = '<game name="Other"><rom name="o.iso" size="2048" crc="00000001"/></game>'
    sha1 = hashlib.sha1(image).hexdigest()
    dat.write_text(
        f'<datafile>{other}<game name="This one"><rom name="x" sha1="{sha1}"/></game></datafile>'
    )
    (found,) = reports("verify", "--dat", dat, DATA / "ps2.iso")
    assert (found["state"], found["game"]) == ("verified", "This one")


# Forms


@pytest.mark.parametrize(
    "text",
    [
        XML.replace("<datafile>", '<datafile xmlns="http://example.org/dat">'),
        f'<d:datafile xmlns:d="urn:x"><d:game name="A"><d:rom{LINE[4:]}</d:game></d:datafile>',
        XML.replace("<datafile>", '<datafile xmlns="http://example.org/dat">').replace(
            "game", "machine"
        ),
    ],
)
def test_namespaces_play_no_part(tmp_path: Path, text: str) -> None:
    assert games(loaded(tmp_path, text), IMAGE) == ["A"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_encodings_of_xml(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0"?><datafile><game name="Ōkami">{LINE}</game></datafile>'
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    assert games(loaded(tmp_path, mark + text.encode(encoding)), IMAGE) == ["Ōkami"]


def test_the_text_of_clrmamepro(tmp_path: Path) -> None:
    dat = loaded(tmp_path, CLRMAMEPRO)
    assert (dat.name, dat.games, dat.skipped) == ("Sony - PlayStation 2", 2, 0)
    assert games(dat, IMAGE) == ['Okami "GH" (USA)']
    assert [found.bad_dump for found in dat.roms[3]] == [True]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("written", "title"),
    [
        ('"The "Best" Game"', 'The "Best" Game'),
        ('""Best" Game"', '"Best" Game'),
        ('"Game "Best""', 'Game "Best"'),
        (r'"The \"Best\" Game"', 'The "Best" Game'),
        ('"Two "A" and (B)"', 'Two "A" and (B)'),
        ('"5" Gun"', '5" Gun'),
        ('""', ""),
    ],
)
def test_a_quote_in_a_title_does_not_cut_it(
    tmp_path: Path, written: str, title: str, ending: str
) -> None:
    line = f"rom ( name {written} size {len(IMAGE)} sha1 {SUMS.sha1} )"
    text = ending.join(["game (", f"\tname {written}", f"\t{line}", ")", ""])
    dat = loaded(tmp_path, text.encode())
    assert games(dat, IMAGE) == [title]
    assert dat.roms[len(IMAGE)][0].name == title


def test_a_title_that_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2: expected a closing quote"):
        loaded(tmp_path, 'game (\n\tname "The "Best" of all times"\n)\n')


def packed_in_zip(path: Path, *contents: str, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("folder")
        for number, content in enumerate(contents):
            archive.writestr(f"folder/{number}.dat", content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_dat_in_a_zip_archive(tmp_path: Path, method: int) -> None:
    assert games(load(packed_in_zip(tmp_path / "a.zip", XML, method=method)), IMAGE) == ["A"]
    zipped = packed_in_zip(tmp_path / "b.zip", SERIALS, method=method)
    assert load_titles(zipped) == TITLES
    zipped = packed_in_zip(tmp_path / "c.zip", CLRMAMEPRO, method=method)
    assert len(games(load(zipped), IMAGE)) == 1
    zipped = packed_in_zip(tmp_path / "d.zip", "SLUS-21134,Okami\n", method=method)
    assert load_titles(zipped) == TITLES


def test_a_dat_in_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.dat.gz"
    path.write_bytes(gzip.compress(XML[:100].encode()) + gzip.compress(XML[100:].encode()))
    assert games(load(path), IMAGE) == ["A"]
    path.write_bytes(gzip.compress(SERIALS.encode()))
    assert load_titles(path) == TITLES


def test_a_dat_in_zstandard(tmp_path: Path) -> None:
    path = tmp_path / "a.dat.zst"
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    path.write_bytes(
        zstandard.compress(XML[:100].encode()) + skippable + zstandard.compress(XML[100:].encode())
    )
    assert games(load(path), IMAGE) == ["A"]
    path.write_bytes(zstandard.compress(SERIALS.encode(), 19))
    assert load_titles(path) == TITLES
    text = "".join(f"SLUS-{10000 + number},Game {number}\n" for number in range(20_000))
    path.write_bytes(zstandard.compress(text.encode()))
    assert len(load_titles(path)) == 20_000


def test_archives_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    good = packed_in_zip(path, XML).read_bytes()
    for content, why in (
        (packed_in_zip(path, XML, XML).read_bytes(), "is a ZIP archive with 2 files"),
        (packed_in_zip(path).read_bytes(), "is a ZIP archive with 0 files"),
        (packed_in_zip(path, XML, method=zipfile.ZIP_LZMA).read_bytes(), "of an unsupported kind"),
        (good[:-10], "is a ZIP archive that cannot be read"),
        (good[:-60], "is a ZIP archive that is truncated"),
        (b"PK\3\4", "is a ZIP archive that is truncated"),
        (good.replace(b"folder/0.dat", b"folder/1.dat", 1), "is a ZIP archive that cannot be read"),
        (gzip.compress(XML.encode())[:-9], "is a damaged archive"),
        (b"\x1f\x8b" + b"x" * 100, "is a damaged archive"),
        (zstandard.compress(XML.encode())[:-1], "is a damaged archive: it ends inside a Zstandard"),
        (zstandard.compress(XML.encode()) + b"more", "is a damaged archive: zstd decompress"),
        (zstandard.compress(b"")[:4] + b"x" * 100, "is a damaged archive: zstd decompress"),
        (lzma.compress(XML.encode()), "is not a DAT"),
    ):
        path.write_bytes(content)
        with pytest.raises(UsageError) as caught:
            load(path)
        if content[:4] == b"PK\3\4" or "ZIP" not in why:
            assert why in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(UsageError):
            load_titles(path)


def test_no_byte_of_an_archive_does_harm(tmp_path: Path) -> None:
    zipped = packed_in_zip(tmp_path / "a.zip", XML).read_bytes()
    path = tmp_path / "x.dat"
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(XML.encode())
    for good in (zipped, gzip.compress(XML.encode()), checked):
        for at in range(len(good)):
            content = bytearray(good)
            content[at] ^= 0xFF
            path.write_bytes(content)
            try:
                assert games(load(path), IMAGE) in (["A"], [])
            except UsageError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


# Bounds

ELEMENTS = rounds(1_000_000, 5_000_000)
"""The limit of elements: usually a fifth of the real one, whose test takes five times as long."""


def bomb(path: Path, content: bytes, size: int) -> Path:
    piece = content * ((16 << 20) // len(content))
    path.write_bytes(gzip.compress(piece, 1) * (size >> 24))
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!-- " + b"x" * 1000 + b" -->\n", "more than 64 MiB"),
        (b"x" * 1000, "a tag or comment of more than 4 MiB"),
        (b'<game name="a"/>\n', "more than 250000 games"),
        (b"<a/>", f"more than {ELEMENTS} elements"),
        (b"<a>", "more than 64 levels of elements"),
        (b'<rom name="a" size="1"/>', "a game with more than 10000 files"),
        (b'<game name="a">' + b"<rom/>" * 9 + b"</game>", "more than 500000 files"),
        (b"a ( ", "more than 64 MiB"),
    ],
)
def test_too_much_of_anything_is_refused_in_time(tmp_path: Path, content: bytes, why: str) -> None:
    """A gzip of a few hundred KB, with 80 MiB in it; the process may take 400 MiB."""
    begin = b"" if content.startswith(b"a ") else b"<datafile>"
    if content.startswith(b"x"):
        begin = b"<datafile><!-- "
    elif content.startswith(b"<rom"):
        begin = b'<datafile><game name="x">'
    path = bomb(tmp_path / "x.dat.gz", content, 80 << 20)
    path.write_bytes(gzip.compress(begin) + path.read_bytes())
    said = refused_in_little_memory(path)
    assert all(why in line for line in said), said


def test_zstandard_that_grows_is_refused_in_time(tmp_path: Path) -> None:
    path = tmp_path / "x.dat.zst"
    head, rest = zstandard.compress(b"<datafile>"), zstandard.compress(b"\n" * (16 << 20))
    path.write_bytes(head + rest * 64)
    assert path.stat().st_size < 64 << 10
    said = refused_in_little_memory(path)
    assert all("has more than 64 MiB" in line for line in said), said


def refused_in_little_memory(path: Path) -> list[str]:
    """What a process says that may take 400 MiB and reads it as a DAT and as a list of titles."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (400 << 20,) * 2)\n"
        f"from zsofs.discs import logiqx; logiqx._MAX_ELEMENTS = {ELEMENTS}\n"
        "from pathlib import Path; from zsofs.errors import UsageError\n"
        "from zsofs.discs.dat import load; from zsofs.vfs.opl.titles import load_titles\n"
        "for read in load, load_titles:\n"
        "    try: read(Path(sys.argv[1]))\n"
        "    except UsageError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert len(said) == 2
    return said


@pytest.mark.parametrize(
    "begin", [b"", gzip.compress(XML.encode()), zstandard.compress(XML.encode()), b"PK\3\4"]
)
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, begin: bytes) -> None:
    """Zeros behind an archive, too: they would be read for hours."""
    path = tmp_path / "x.dat"
    path.write_bytes(begin)
    os.truncate(path, 1 << 40)
    for read in (load, load_titles):
        with pytest.raises(UsageError, match="has more than 64 MiB"):
            read(path)


def test_a_list_of_titles_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "titles"
    path.write_bytes(b"#\n" * 1_000_000)
    assert load_titles(path) == {}
    with path.open("ab") as file:
        file.write(b"#\n")
    with pytest.raises(UsageError, match="has more than 1000000 lines"):
        load_titles(path)


@pytest.mark.parametrize(
    "entity",
    ['a "b"', '% a "b"', 'a SYSTEM "file:///etc/passwd"', 'a SYSTEM "file:///x" NDATA n'],
)
def test_any_declaration_of_entities_is_refused(tmp_path: Path, entity: str) -> None:
    text = f'<!DOCTYPE d [<!ENTITY {entity}>]><datafile><game name="A">{LINE}</game></datafile>'
    with pytest.raises(UsageError, match="found a declaration of entities, which no DAT has"):
        loaded(tmp_path, text)
    with pytest.raises(UsageError, match="found a declaration of entities, which no DAT has"):
        load_titles(tmp_path / "list.dat")


def test_a_document_type_with_default_values_grows_nothing(tmp_path: Path) -> None:
    """Each element would get them: with values of 1 MiB, 10,000 elements have 10 GB."""
    attributes = f'rom size CDATA "1" status CDATA "baddump" junk CDATA "{"x" * (1 << 20)}"'
    text = f"<!DOCTYPE datafile [<!ATTLIST {attributes}>]>{BODY}"
    dat = loaded(tmp_path, text.replace("</game>", "<rom/>" * 9_000 + "</game>"))
    assert games(dat, IMAGE) == ["A"]
    assert (sum(map(len, dat.roms.values())), dat.skipped) == (1, 9_000)


@pytest.mark.parametrize("count", [500, 501])
def test_a_document_type_with_very_many_attributes_is_refused(tmp_path: Path, count: int) -> None:
    attributes = " ".join(f'a{number} CDATA ""' for number in range(count))
    text = f"<!DOCTYPE datafile [<!ATTLIST rom {attributes}>]>{BODY}"
    if count > 500:
        with pytest.raises(UsageError, match="more than 500 declarations of attributes"):
            loaded(tmp_path, text)
    else:
        assert games(loaded(tmp_path, text), IMAGE) == ["A"]


def test_a_pipe_that_nobody_writes_to_is_given_up(tmp_path: Path, cache_home: Path) -> None:
    os.mkfifo(tmp_path / "x.dat")
    done = subprocess.run(
        [*timed(pipe=1.0), "verify", "--dat", str(tmp_path / "x.dat"), str(DATA / "ps2.iso")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "is a pipe that did not end within 1 s" in done.stderr


def test_a_pipe_that_ends_is_read(tmp_path: Path) -> None:
    """As in ``--dat <(curl …)``."""
    for read, text, wanted in ((load, XML, None), (load_titles, SERIALS, TITLES)):
        out, into = os.pipe()

        def write(into: int = into, text: str = text) -> None:
            for at in range(0, len(text), 50):
                os.write(into, text[at : at + 50].encode())
            os.close(into)

        thread = threading.Thread(target=write)
        thread.start()
        found = read(Path(f"/dev/fd/{out}"))
        join(thread)
        os.close(out)
        if wanted is None:
            assert games(found, IMAGE) == ["A"]  # type: ignore[arg-type]
        else:
            assert found == wanted


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "titles")
    with pytest.raises(FileError, match="it is not a regular file"):
        load_titles(tmp_path / "titles", from_file=True)
    with pytest.raises(UsageError):
        load(Path("/dev/zero"))
    with pytest.raises(UsageError):
        load(Path("/dev/null"))


def test_games_without_serials_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.dat"
    path.write_text(SERIALS.replace("</datafile>", '<game name="B"/></datafile>'))
    with caplog.at_level(logging.WARNING):
        assert load_titles(path) == TITLES
    assert caplog.messages == [f"{path}: 1 of 2 games have no title or serial; they are skipped"]


def test_the_command_says_what_it_skips(tmp_path: Path, cache_home: Path) -> None:
    path = tmp_path / "x.dat"
    path.write_text(dat_of({"A": [LINE, '<rom name="c.iso" size="7"/>']}))
    done = zsofs("verify", "--dat", path, DATA / "ps2.iso", code=10)
    assert "1 of 2 files have no SHA-1" in done.stderr
