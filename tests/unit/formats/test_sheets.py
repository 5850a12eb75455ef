"""Names of discs in playlists and cue sheets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsofs.formats.sheets import MAX_SIZE, parse_sheet


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"Game.zso", (b"Game.zso",)),
        (b"A.zso\nB.chd\n", (b"A.zso", b"B.chd")),
        (b"A.zso\r\nB.CSO\r\n", (b"A.zso", b"B.CSO")),
        (b"A.zso\rB.cue\r", (b"A.zso", b"B.cue")),
        (b"\xef\xbb\xbfA.zso\n", (b"A.zso",)),
        (b"  A.zso \t\n\n \n", (b"A.zso",)),
        (b"#EXTM3U\n#EXTINF:-1,A.zso\n # A.zso\nGame (Disc 1).iso\n", (b"Game (Disc 1).iso",)),
        (b"A.zso|first disc\nB.zso | second\n", (b"A.zso", b"B.zso")),
        (b"a|b.zso\n", (b"a|b.zso",)),
        (b"./A.zso\n.\\B.zso\n", (b"A.zso", b"B.zso")),
        (b"sub/A.zso\n/srv/A.zso\nhttp://host/a.iso\nB.zso\n", (b"B.zso",)),
        (b"P\xe9.zso\n", (b"P\xe9.zso",)),
        (b'"A.zso"\n', None),
        (b"A.mp3\n", None),
        (b"A.zso\0\n", None),
        (b"\xff\xfeA\0.\0z\0s\0o\0", None),
        (b"", None),
        (b" \n\t\r\n", None),
        (b"A.zso\n" * 1000, (b"A.zso",) * 1000),
        (b"A.zso\n" * 1001, None),
        (b"#" * (MAX_SIZE - 6) + b"\nA.zso", (b"A.zso",)),
        (b"#" * (MAX_SIZE - 5) + b"\nA.zso", None),
    ],
)
def test_names_in_a_playlist(text: bytes, names: tuple[bytes, ...] | None) -> None:
    sheet = parse_sheet(b"Game.M3U", text)
    assert (sheet and sheet.names) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b'FILE "Game.zso" BINARY\n  TRACK 01 MODE2/2352\n', (b"Game.zso",)),
        (b'file\t"Game.zso"\tbinary\r\n', (b"Game.zso",)),
        (b"FILE My Game.zso BINARY\n", (b"My Game.zso",)),
        (b"FILE Game.zso\n", (b"Game.zso",)),
        (b"\xef\xbb\xbfFILE Game.zso  BINARY \n", (b"Game.zso",)),
        (b'FILE "A.zso" BINARY\nFILE "B.wav" WAVE\nFILE "C.cso" BINARY', (b"A.zso", b"C.cso")),
        (b'REM FILE "A.zso" BINARY\nTITLE "A.zso"\n', None),
        (b'FILE "Game.bin" BINARY\n', None),
        (b'FILE "sub/Game.zso" BINARY\n', None),
        (b'FILE "Game.zso\n', None),
        (b"FILE\nFILE \n \n", None),
        (b"FILES Game.zso BINARY\n", None),
        (b"FILE " + b" " * 60_000 + b"\n", None),
        (b'FILE "' + b"a " * 30_000 + b"\n", None),
    ],
)
def test_names_in_a_cue_sheet(text: bytes, names: tuple[bytes, ...] | None) -> None:
    sheet = parse_sheet(b"Game.cue", text)
    assert (sheet and sheet.names) == names


def test_all_but_the_names_stays() -> None:
    text = b"\xef\xbb\xbf#EXTM3U A.zso\r\n A.zso |A.zso \r\nB.zso\n\rsub\\A.zso\xff\rA.zso"
    sheet = parse_sheet(b"x.m3u", text)
    assert sheet is not None
    assert sheet.renamed({}) == text
    assert sheet.renamed({b"A.zso": b"Longer.iso"}) == (
        b"\xef\xbb\xbf#EXTM3U A.zso\r\n Longer.iso |A.zso \r\nB.zso\n\rsub\\A.zso\xff\rLonger.iso"
    )


@given(
    st.lists(
        st.sampled_from([b"FILE", b" ", b'"', b"A.zso", b"|", b"\r", b"\n", b"#", b"\t", b"./"])
    ).map(b"".join),
    st.sampled_from([b"x.m3u", b"x.cue"]),
)
def test_any_text(text: bytes, name: bytes) -> None:
    sheet = parse_sheet(name, text)
    if sheet is None:
        return
    assert sheet.renamed({}) == text
    names = {one: b"<" + one + b">" for one in sheet.names}
    back = sheet.renamed(names)
    assert len(back) == len(text) + 2 * len(sheet.spans)
    ends = [0, *(at for span in sheet.spans for at in span), len(text)]
    assert ends == sorted(ends)
