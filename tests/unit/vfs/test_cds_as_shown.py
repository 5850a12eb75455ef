"""Which files a CD becomes in a directory of the mount, and what is in them."""

import os
import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from zsofs.discs.cd_forms import CdForm, files_of
from zsofs.errors import StaleNodeError
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.cd_views import CdView, chd_pieces
from zsofs.formats.geometry import ChdCodec, Codec
from zsofs.images.probe import Disc
from zsofs.source.cd_finding import CdFinding
from zsofs.source.entry import Entry, Kind
from zsofs.source.finding import FileFinding
from zsofs.source.shown_part import ShownText, ShownView
from zsofs.source.tree import SourceTree
from zsofs.vfs.contents import Contents
from zsofs.vfs.node import Node
from zsofs.vfs.node_identity import is_no_disc, may_stand_for, number_of
from zsofs.vfs.present import as_shown, named

STATUS = os.stat_result(
    (stat.S_IFREG | 0o644, 7, 1, 1, 0, 0, 1000, 0, 0, 0), {"st_mtime_ns": 5, "st_ctime_ns": 6}
)
DATA = Track(1, TrackType.MODE2_RAW, 302)
SOUND = Track(2, TrackType.AUDIO, 353, 150, has_stored_pregap=True)
MIXED = CdFinding((DATA, SOUND), CdForm.BIN, in_chd=True)
GAME = CdFinding((DATA,), CdForm.ISO, in_chd=True)
AUDIO = CdFinding((Track(1, TrackType.AUDIO, 9),), CdForm.BIN, in_chd=True)
LATE = CdFinding(
    (Track(1, TrackType.MODE1_RAW, 200, 150, has_stored_pregap=True),), CdForm.ISO, in_chd=True
)
RAW = CdFinding((DATA,), CdForm.BIN, in_chd=False)
FORMS = [None, *CdForm]


def chd(name: bytes, cd: CdFinding = MIXED) -> Entry:
    size = cd.tracks[0].frames * 2048
    disc = Disc("CHD", ChdCodec.CDLZ, size, 16384, raw_cd=False)
    return Entry(name, Kind.DISC, name, STATUS, finding=FileFinding(disc, cd=cd))


def raw_image(name: bytes) -> Entry:
    return Entry(name, Kind.FILE, name, STATUS, finding=FileFinding(cd=RAW))


def packed_raw(name: bytes) -> Entry:
    disc = Disc("ZSO", Codec.LZ4, DATA.size, 2352, raw_cd=True)
    return Entry(name, Kind.DISC, name, STATUS, finding=FileFinding(disc, cd=RAW))


def plain(name: bytes) -> Entry:
    return Entry(name, Kind.FILE, name, STATUS)


def shown(*entries: Entry, cd: CdForm | None = None, show_raw: bool = False) -> dict[bytes, Entry]:
    found = [*entries]
    names = named({entry.name: entry for entry in found}, show_raw=show_raw, cd=cd)
    for seed in range(3):
        random.Random(seed).shuffle(found)
        again = named({entry.name: entry for entry in found}, show_raw=show_raw, cd=cd)
        assert again == names, "the order matters"
    return names


def text_of(entry: Entry) -> bytes:
    assert isinstance(entry.shown, ShownText)
    assert entry.size == len(entry.shown.text)
    return entry.shown.text


def view_of(entry: Entry) -> CdView:
    assert isinstance(entry.shown, ShownView)
    return entry.shown.view


@pytest.mark.parametrize("form", [CdForm.BIN, CdForm.TRACKS])
def test_the_files_of_a_cd_are_those_of_its_form(form: CdForm) -> None:
    pieces = chd_pieces(MIXED.tracks, 1000)
    wanted = files_of(form, b"Game", MIXED.tracks, pieces)
    names = shown(chd(b"Game.chd"), cd=form)
    assert [*names] == [file.name for file in wanted]
    for file in wanted:
        entry = names[file.name]
        content = text_of(entry) if isinstance(file.content, bytes) else view_of(entry)
        assert content == file.content
        assert entry.size == file.size
        assert entry.kind is Kind.DISC
        assert (entry.name, entry.path) == (b"Game.chd", b"Game.chd")


@pytest.mark.parametrize(
    ("cd", "finding", "names"),
    [
        (None, GAME, {b"Game.iso"}),
        (None, MIXED, {b"Game.cue", b"Game.bin"}),
        (None, AUDIO, {b"Game.cue", b"Game.bin"}),
        (CdForm.ISO, GAME, {b"Game.iso"}),
        (CdForm.ISO, MIXED, {b"Game.iso"}),
        (CdForm.ISO, AUDIO, {b"Game.cue", b"Game.bin"}),
        (CdForm.BIN, GAME, {b"Game.cue", b"Game.bin"}),
        (CdForm.TRACKS, GAME, {b"Game.cue", b"Game (Track 1).bin"}),
        (CdForm.TRACKS, MIXED, {b"Game.cue", b"Game (Track 1).bin", b"Game (Track 2).bin"}),
    ],
)
def test_a_form_for_all(cd: CdForm | None, finding: CdFinding, names: set[bytes]) -> None:
    assert shown(chd(b"Game.chd", finding), cd=cd).keys() == names


def test_the_iso_of_a_cd_begins_at_its_index() -> None:
    whole = shown(chd(b"Game.chd", GAME))[b"Game.iso"]
    assert whole.shown is None
    assert whole.size == 302 * 2048
    late = shown(chd(b"Game.chd", LATE))[b"Game.iso"]
    assert late.size == 50 * 2048
    (span,) = view_of(late).spans(0, 2048)
    assert (span.begin, span.length) == (150 * 2048, 2048)


def test_the_cue_sheet_names_the_files_that_are_there() -> None:
    names = shown(chd(b"Game.chd"), plain(b"Game.cue"))
    assert names.keys() == {b"Game.cue", b"Game.chd.cue", b"Game.chd.bin"}
    assert names[b"Game.cue"].shown is None
    assert text_of(names[b"Game.chd.cue"]).startswith(b'FILE "Game.chd.bin" BINARY\n')
    names = shown(chd(b"Game.chd"), plain(b"Game (Track 2).bin"), cd=CdForm.TRACKS)
    assert b'FILE "Game.chd (Track 2).bin" BINARY\n' in text_of(names[b"Game.chd.cue"])
    assert names[b"Game (Track 2).bin"].shown is None
    names = shown(chd(b"Game.chd"), chd(b"Game.CHD"), chd(b"Game.iso"), chd(b"Game"))
    cues = [name for name in names if name.endswith(b".cue")]
    assert len(cues) * 2 == len(names) == 8
    for name in cues:
        bin_name = name[:-4] + b".bin"
        assert bin_name in names
        assert text_of(names[name]).startswith(b'FILE "' + bin_name + b'" BINARY\n')


@pytest.mark.parametrize("cd", FORMS)
def test_the_packed_file_beside_its_files(cd: CdForm | None) -> None:
    names = shown(chd(b"Game.chd"), cd=cd, show_raw=True)
    packed = names.pop(b"Game.chd")
    assert (packed.kind, packed.disc, packed.shown) == (Kind.FILE, None, None)
    assert names == shown(chd(b"Game.chd"), cd=cd)


@pytest.mark.parametrize("length", [251, 252])
def test_a_name_that_is_too_long_for_its_files(length: int) -> None:
    name = b"x" * (length - 4) + b".chd"
    names = shown(chd(name), cd=CdForm.BIN)
    assert len(names) == 2
    names = shown(chd(name), cd=CdForm.TRACKS)
    assert [*names] == [name]
    assert names[name].kind is Kind.FILE
    assert "longer than 255 bytes" in names[name].finding.reason


@pytest.mark.parametrize("cd", FORMS)
def test_images_of_raw_sectors_become_an_iso_only_on_request(cd: CdForm | None) -> None:
    source = (raw_image(b"A.bin"), plain(b"A.cue"), packed_raw(b"B.zso"), raw_image(b"C.iso"))
    names = shown(*source, cd=cd)
    if cd is not CdForm.ISO:
        assert names.keys() == {b"A.bin", b"A.cue", b"B.bin", b"C.iso"}
        assert all(entry.shown is None for entry in names.values())
        return
    assert names.keys() == {b"A.iso", b"B.iso", b"C.iso"}
    for entry in names.values():
        assert (entry.kind, entry.size) == (Kind.DISC, 302 * 2048)
        (span,) = view_of(entry).spans(0, 2048)
        assert (span.begin, span.skip, span.unit) == (0, 24, 2352)
    names = shown(*source, cd=cd, show_raw=True)
    assert names.keys() == {b"A.iso", b"A.bin", b"A.cue", b"B.iso", b"B.zso", b"C.iso"}


@pytest.mark.parametrize("number", [b"1", b"01"])
def test_the_cue_sheet_of_a_set_with_a_file_for_each_track(number: bytes) -> None:
    """It names a .bin that is not there, if the first track is shown as an .iso."""
    first = b"A (Track " + number + b").bin"
    others = (plain(b"A (Track 2).bin"), plain(b"A.cue"), plain(b"A (Track 2).cue"))
    source = (raw_image(first), *others)
    iso = first.replace(b".bin", b".iso")
    assert shown(*source).keys() == {first, b"A (Track 2).bin", b"A.cue", b"A (Track 2).cue"}
    names = shown(*source, cd=CdForm.ISO)
    assert names.keys() == {iso, b"A (Track 2).bin", b"A (Track 2).cue"}
    assert b"A.cue" in shown(*others, cd=CdForm.ISO)
    assert b"A.cue" in shown(*source, cd=CdForm.ISO, show_raw=True)


@pytest.mark.parametrize("cd", FORMS)
@pytest.mark.parametrize("show_raw", [False, True])
def test_the_files_of_a_cd_are_one_disc(cd: CdForm | None, show_raw: bool) -> None:
    entries = {name: chd(name) for name in (b"A.chd", b"B.chd")}
    found = as_shown(b"", entries, show_raw=show_raw, cd=cd).count
    assert (found.compressed, found.plain, found.refused) == (2, 0, ())


def test_each_file_has_a_number_of_its_own_which_its_content_decides() -> None:
    numbers = set()
    for cd in (CdForm.BIN, CdForm.TRACKS):
        for name, entry in shown(chd(b"Game.chd"), cd=cd).items():
            assert number_of(name, entry, False) == number_of(name, entry, False)
            numbers.add(number_of(name, entry, False))
    assert len(numbers) == 5  # the sheets are called the same, and differ
    one, other = (shown(chd(b"Game.chd", cd))[b"Game.bin"] for cd in (MIXED, AUDIO))
    assert not may_stand_for(Node(5, one, None), other, writable=False)
    again = shown(chd(b"Game.chd"))[b"Game.bin"]
    assert may_stand_for(Node(5, one, None), again, writable=False)


def test_files_of_a_cd_are_never_changed() -> None:
    for cd in CdForm:
        for entry in shown(chd(b"Game.chd"), raw_image(b"Other.bin"), cd=cd).values():
            assert is_no_disc(entry) == (entry.shown is None and entry.name == b"Other.bin")


@pytest.mark.parametrize("cd", [MIXED, GAME, AUDIO, LATE, RAW])
def test_a_finding_as_text(cd: CdFinding) -> None:
    assert CdFinding.from_text(cd.to_text()) == cd


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '["bin",true,[]]',
        '["cue",true,[[1,"AUDIO",9,0,false,0,"NONE"]]]',
        '["bin",true,[[1,"SOUND",9,0,false,0,"NONE"]]]',
        '["bin",true,[[1,"AUDIO",-9,0,false,0,"NONE"]]]',
        '["bin",true,[[1,"AUDIO",9.5,0,false,0,"NONE"]]]',
        '["bin",true,[[1,"AUDIO",9,10,true,0,"NONE"]]]',
        '["bin",true,[[1,["AUDIO"],9,0,true,0,"NONE"]]]',
        '["bin",true,[[1,"AUDIO",9]]]',
        f'["bin",true,[[1,"AUDIO",{(1 << 40) - 1},0,false,0,"NONE"]]]',
        '["bin",true,' + str([[1, "AUDIO", 9, 0, 0, 0, "NONE"]] * 100).replace("'", '"') + "]",
    ],
)
def test_a_text_that_is_no_finding(text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        CdFinding.from_text(text)


def test_a_generated_sheet_is_only_opened_for_the_file_that_it_was_generated_for(
    tmp_path: Path,
) -> None:
    file = tmp_path / "Game.chd"
    file.write_bytes(b"a CD")
    entry = replace(chd(b"Game.chd"), status=file.stat())
    contents = Contents(SourceTree(os.fsencode(tmp_path)))
    node = Node(2, shown(entry)[b"Game.cue"], None)
    content = contents.open(node)
    assert content.size == node.size > 0
    file.write_bytes(b"another CD")
    with pytest.raises(StaleNodeError):
        contents.open(node)


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_a_cue_sheet_cannot_hold(form: CdForm | None) -> None:
    for name in (b'The "Game".chd', b"Two\nLines.chd", b"Carriage\rReturn.chd"):
        shown = named({name: chd(name)}, show_raw=False, cd=form)
        if form is CdForm.ISO:
            assert list(shown) == [name.replace(b".chd", b".iso")]
        else:
            assert shown[name].kind is Kind.FILE
            assert "quotation mark" in shown[name].finding.reason
            assert len(shown) == 1
    assert named({b'A "B".chd': chd(b'A "B".chd', GAME)}, show_raw=False).keys() == {b'A "B".iso'}
