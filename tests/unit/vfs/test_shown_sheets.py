"""Playlists and cue sheets name what a directory of the mount shows."""

import os
import stat

import pytest

from tests.unit.vfs.test_cds_as_shown import FORMS, chd, packed_raw, raw_image, shown
from zsofs.discs.cd_forms import CdForm
from zsofs.formats.geometry import Codec
from zsofs.formats.sheets import parse_sheet
from zsofs.images.probe import Disc
from zsofs.source.disc_state import Count
from zsofs.source.entry import Entry, Kind
from zsofs.source.finding import FileFinding
from zsofs.source.shown_part import ShownText
from zsofs.vfs.node import Node
from zsofs.vfs.node_identity import is_no_disc, may_stand_for, number_of
from zsofs.vfs.present import as_shown


def status(mtime: int = 5) -> os.stat_result:
    return os.stat_result(
        (stat.S_IFREG | 0o644, 7, 1, 1, 0, 0, 1000, 0, 0, 0),
        {"st_mtime_ns": mtime, "st_ctime_ns": mtime + 1},
    )


def packed(name: bytes, mtime: int = 3) -> Entry:
    disc = Disc("ZSO", Codec.LZ4, 4096, 2048, raw_cd=False)
    return Entry(name, Kind.DISC, name, status(mtime), finding=FileFinding(disc))


def plain(name: bytes, mtime: int = 3) -> Entry:
    return Entry(name, Kind.FILE, name, status(mtime))


def sheet(name: bytes, text: bytes, mtime: int = 5) -> Entry:
    finding = FileFinding(sheet=parse_sheet(name, text))
    return Entry(name, Kind.FILE, name, status(mtime), finding=finding)


def text_of(entry: Entry) -> bytes | None:
    """The text that is shown instead of that of the source."""
    if entry.shown is None:
        return None
    assert isinstance(entry.shown, ShownText)
    assert entry.kind is Kind.FILE
    assert entry.size == len(entry.shown.text)
    return entry.shown.text


def playlist(text: bytes, *entries: Entry, cd: CdForm | None = None) -> bytes | None:
    return text_of(shown(sheet(b"x.m3u", text), *entries, cd=cd)[b"x.m3u"])


def cue(text: bytes, *entries: Entry, cd: CdForm | None = None) -> bytes | None:
    return text_of(shown(sheet(b"x.cue", text), *entries, cd=cd)[b"x.cue"])


def test_names_of_packed_files() -> None:
    text = b"#EXTM3U\r\nA.zso\r\nB.cso \r\nC.zso"
    a, b = packed(b"A.zso"), packed(b"B.cso")
    assert playlist(text, a, b) == b"#EXTM3U\r\nA.iso\r\nB.iso \r\nC.zso"
    assert playlist(text, a, plain(b"C.zso")) == text.replace(b"A.zso", b"A.iso")
    assert playlist(text) is None
    assert playlist(text, plain(b"A.zso")) is None, "it is still being copied"
    assert playlist(b"A.iso", a) is None
    assert playlist(b"A.zso", a, plain(b"A.iso")) == b"A.zso.iso"
    assert playlist(b"A.iso", a, plain(b"A.iso")) is None
    assert playlist(b"A.zso\nA.cso", a, packed(b"A.cso")) == b"A.zso.iso\nA.cso.iso"


def test_names_that_make_a_text_too_large() -> None:
    text = b"#" * (65536 - 6) + b"\nA.zso"
    assert playlist(text, packed(b"A.zso")) == text[:-3] + b"iso"
    assert playlist(text, packed(b"A.zso"), plain(b"A.iso")) is None


def test_case_matters_only_where_it_has_to() -> None:
    assert playlist(b"GAME.ZSO", packed(b"Game.zso")) == b"Game.iso"
    assert playlist(b"GAME.ZSO", packed(b"Game.zso"), plain(b"game.ZSO")) is None
    assert playlist(b"game.zso", packed(b"Game.zso"), packed(b"game.zso")) == b"game.iso"
    folder = Entry(b"game.ZSO", Kind.FOLDER, b"game.ZSO", status())
    assert playlist(b"GAME.ZSO", packed(b"Game.zso"), folder) == b"Game.iso"


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("Pokémon.zso".encode(), "Pokémon.zso", "Pokémon.iso".encode()),
        ("Pokémon.zso".encode("cp1252"), "Pokémon.zso", "Pokémon.iso".encode("cp1252")),
        ("Poke\u0301mon.zso".encode(), "Pokémon.zso", "Pokémon.iso".encode()),
        ("Pokémon.zso".encode(), "Poke\u0301mon.zso", "Poke\u0301mon.iso".encode()),
        ("Pokémon.zso".encode("cp1252"), "Poke\u0301mon.zso", "Poke\u0301mon.iso".encode()),
    ],
)
def test_encodings(text: bytes, name: str, found: bytes) -> None:
    assert playlist(text, packed(name.encode())) == found


def test_a_name_that_is_no_text() -> None:
    assert playlist(b"P\xe9.zso", packed(b"P\xe9.zso")) == b"P\xe9.iso"
    assert playlist("Pé.zso".encode(), packed(b"P\xe9.zso")) == b"P\xe9.iso"


def test_a_playlist_names_what_programs_open_of_a_cd() -> None:
    for cd, name in {None: b"A.cue", CdForm.TRACKS: b"A.cue", CdForm.ISO: b"A.iso"}.items():
        assert playlist(b"A.chd", chd(b"A.chd"), cd=cd) == name
        assert playlist(b"A.iso", chd(b"A.iso"), cd=cd) == (None if cd is CdForm.ISO else name)
    assert playlist(b"A.chd", chd(b"A.chd"), plain(b"A.bin")) == b"A.chd.cue"
    assert playlist(b"A.zso", packed_raw(b"A.zso")) == b"A.bin"
    assert playlist(b"A.zso", packed_raw(b"A.zso"), cd=CdForm.ISO) == b"A.iso"
    track = raw_image(b"A (Track 1).bin")
    assert playlist(b"A.cue", track, plain(b"A.cue")) is None
    assert playlist(b"A.cue", track, plain(b"A.cue"), cd=CdForm.ISO) == b"A (Track 1).iso"


def test_a_cue_sheet_names_the_bin() -> None:
    raw = packed_raw(b"A.zso")
    text = b'FILE "A.zso" BINARY\r\n  TRACK 01 MODE2/2352\r\n'
    assert cue(text, raw) == text.replace(b"A.zso", b"A.bin")
    assert cue(text, raw, plain(b"A.bin")) == text.replace(b"A.zso", b"A.zso.bin")
    assert cue(text.replace(b"A.zso", b"A.bin"), raw) is None
    assert cue(text, packed(b"A.zso")) == text.replace(b"A.zso", b"A.iso")
    text = text.replace(b"A.zso", b"A.chd")
    assert cue(text, chd(b"A.chd")) == text.replace(b"A.chd", b"A.bin")
    assert cue(text, chd(b"A.chd"), cd=CdForm.TRACKS) is None, "one of several"


@pytest.mark.parametrize("cd", FORMS)
def test_a_cue_sheet_for_an_iso_is_left_out(cd: CdForm | None) -> None:
    entries = (
        sheet(b"Other.cue", b"FILE A.zso BINARY\n"),
        packed_raw(b"A.zso"),
        plain(b"B.cue"),
        raw_image(b"B.bin"),
        sheet(b"x.m3u", b"Other.cue\nB.cue\n"),
    )
    names = shown(*entries, cd=cd)
    if cd is CdForm.ISO:
        assert names.keys() == {b"A.iso", b"B.iso", b"x.m3u"}
        assert text_of(names[b"x.m3u"]) == b"A.iso\nB.iso\n"
    else:
        assert names.keys() == {b"A.bin", b"B.bin", b"B.cue", b"Other.cue", b"x.m3u"}
        assert text_of(names[b"Other.cue"]) == b"FILE A.bin BINARY\n"
        assert text_of(names[b"x.m3u"]) is None
    names = shown(*entries, cd=cd, show_raw=True)
    if cd is CdForm.ISO:
        assert text_of(names[b"Other.cue"]) is text_of(names[b"x.m3u"]) is None
        assert names.keys() == {entry.name for entry in entries} | {b"A.iso", b"B.iso"}


def test_the_date_is_that_of_the_newest() -> None:
    text = b"A.zso\nB.zso\nC.iso\n"
    for a, b, c, own in ((3, 4, 1, 2), (9, 4, 1, 2), (1, 2, 3, 9), (1, 2, 7, 3)):
        entry = shown(
            sheet(b"x.m3u", text, own), packed(b"A.zso", a), packed(b"B.zso", b), plain(b"C.iso", c)
        )[b"x.m3u"]
        assert entry.status.st_mtime_ns == max(a, b, c, own)
        assert entry.status.st_ctime_ns == max(a, b, c, own) + 1
        assert entry.status[:7] == status()[:7]
    entry = shown(sheet(b"x.m3u", text, 2), plain(b"A.zso", 9))[b"x.m3u"]
    assert entry.status.st_mtime_ns == 2, "it is shown as it is"


def test_a_number_for_each_text() -> None:
    text = b"A.zso\nB.zso\n"
    entries = [sheet(b"x.m3u", text, 9), packed(b"A.zso"), packed(b"B.zso")]
    found = [shown(*entries[:count])[b"x.m3u"] for count in (1, 2, 3)]
    assert len({number_of(b"x.m3u", one, False) for one in found}) == 3
    again = shown(*entries)[b"x.m3u"]
    assert number_of(b"x.m3u", again, False) == number_of(b"x.m3u", found[2], False)
    for writable in (False, True):
        assert may_stand_for(Node(5, found[2], None), again, writable=writable)
        assert not may_stand_for(Node(5, found[2], None), found[1], writable=writable)
        assert not may_stand_for(Node(5, found[0], None), found[1], writable=writable)
    assert [is_no_disc(one) for one in found] == [True, False, False]


def test_the_original_beside() -> None:
    entries = [sheet(b"x.m3u", b"A.zso"), packed(b"A.zso")]
    names = shown(*entries, show_raw=True)
    assert names.keys() == {b"x.m3u", b"x.m3u.raw", b"A.iso", b"A.zso"}
    assert text_of(names[b"x.m3u"]) == b"A.iso"
    assert text_of(names[b"x.m3u.raw"]) == b"A.zso"
    assert not is_no_disc(names[b"x.m3u.raw"])
    names = shown(*entries, plain(b"x.m3u.raw"), show_raw=True)
    assert text_of(names[b"x.m3u.raw"]) is None
    assert text_of(names[b"x.m3u.raw.raw"]) == b"A.zso"
    long = b"y" * 250 + b".m3u"
    names = shown(sheet(long, b"A.zso"), packed(b"A.zso"), show_raw=True)
    assert names.keys() == {long, b"A.iso", b"A.zso"}
    names = shown(sheet(b"x.m3u", b"A.iso"), packed(b"A.zso"), show_raw=True)
    assert names.keys() == {b"x.m3u", b"A.iso", b"A.zso"}


@pytest.mark.parametrize("opl", [False, True])
def test_texts_are_no_discs(opl: bool) -> None:
    entries = {one.name: one for one in (sheet(b"x.m3u", b"A.zso"), packed(b"A.zso"))}
    entries[b"y.cue"] = Entry(b"y.cue", Kind.FILE, b"y.cue", status(), copying_since=1.0)
    assert as_shown(b"", entries, show_raw=True, opl=opl).count == Count(compressed=1)
