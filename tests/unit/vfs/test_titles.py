"""Lists of titles: lines, DATs with serials, and everything that is neither."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rounds import rounds
from zsofs.errors import FileError, UsageError
from zsofs.vfs.opl.titles import load_titles, normal_id

LOGIQX = """<?xml version="1.0"?>
<!DOCTYPE datafile PUBLIC "-//Logiqx//DTD ROM Management Datafile//EN"
 "http://www.logiqx.com/Dats/datafile.dtd">
<datafile>
\t<header>
\t\t<name>Sony - PlayStation 2</name>
\t\t<version>2026-06-15 03-41-38</version>
\t</header>
%s
</datafile>
"""
REDUMP = (
    LOGIQX
    % """
\t<game name="Lord of the Rings, The - The Two Towers (USA)">
\t\t<category>Games</category>
\t\t<description>Lord of the Rings, The - The Two Towers (USA)</description>
\t\t<rom name="Lord of the Rings, The - The Two Towers (USA).iso" size="4116250624"
\t\t crc="7723ab98" md5="2be0d4a7730fdff8d4eb2f95ac7a7bc8"/>
\t</game>"""
)
CLRMAMEPRO = """clrmamepro (
\tname "Sony - PlayStation 2"
\tversion "2026.10.07"
\thomepage "http://example.org/dats"
)

game (
\tname "0 Story (Japan) (Disc 1)"
\tregion "Japan"
\tserial "SLPM-65002"
\trom ( name "0 Story (Japan) (Disc 1).iso" size 4481286144 crc 1C6ED37F serial "SLPM-65002" )
)
game (
\tname "007 - Agent Under Fire (USA) (Greatest Hits)"
\tserial "SLUS-20265GH"
\trom ( name "007.iso" size 1630306304 crc 26424399 serial "SLUS-20265GH" )
)
game (
\tname "007 - Agent Under Fire (USA)"
\tserial "SLUS-20265"
\trom (
\t\tname "007 - Agent Under Fire (USA).iso"
\t\tsize 1630306304
\t)
)
game (
\tname "100 Bullets (USA) (Proto)"
\treleaseyear "2004"
\trom ( name "100 Bullets (USA) (Proto).iso" size 1357983744 )
)
game (
\tname "187 - Ride or Die \\"X\\" (Europe)"
\tserial "SLES-52276/ANZ"
)
"""


def loaded(tmp_path: Path, content: str | bytes) -> dict[str, str]:
    path = tmp_path / "titles"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_titles(path)


def refusal(tmp_path: Path, content: str | bytes) -> str:
    """The message with which the file is refused: one line that names it."""
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, content)
    message = str(caught.value)
    assert str(tmp_path / "titles") in message
    assert "\n" not in message
    return message.replace(str(tmp_path / "titles"), "FILE")


@pytest.mark.parametrize(
    "game_id", ["SLUS_209.63", "SLUS-20963", "slus20963", "SLUS20963", "slus 209.63"]
)
def test_normal_id(game_id: str) -> None:
    assert normal_id(game_id) == "SLUS20963"


def test_normal_id_has_letters_and_digits_only() -> None:
    assert normal_id("ULUS-10041") == "ULUS10041"
    assert normal_id("é-Ⅷ²_a1") == "A1"
    assert normal_id("") == ""


# Lines


@pytest.mark.parametrize(
    "line",
    [
        "SLUS_209.63,Final Fantasy XII",
        "SLUS-20963,Final Fantasy XII",
        "slus20963,Final Fantasy XII",
        "SLUS 20963,Final Fantasy XII",
        "  SLUS_209.63 ,  Final Fantasy XII  ",
        'SLUS_209.63,"Final Fantasy XII"',
        'SLUS_209.63, "Final Fantasy XII" ',
        "\ufeffSLUS_209.63,Final Fantasy XII",
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_ways_to_write_a_line(tmp_path: Path, line: str, end: str) -> None:
    assert loaded(tmp_path, line + end) == {"SLUS20963": "Final Fantasy XII"}


def test_a_list(tmp_path: Path) -> None:
    lines = """# my discs
SLUS_209.63,Final Fantasy XII

  # and more
SLUS-21134,Okami, the "best", really
SCES-50000,"Ratchet, Clank"
SCES-50001,"The ""Gold"" Edition"
ULUS-10041,Lumines
SLPM-65002,０ストーリー # 1
"""
    assert loaded(tmp_path, lines) == {
        "SLUS20963": "Final Fantasy XII",
        "SLUS21134": 'Okami, the "best", really',
        "SCES50000": "Ratchet, Clank",
        "SCES50001": 'The "Gold" Edition',
        "ULUS10041": "Lumines",
        "SLPM65002": "０ストーリー # 1",
    }


def test_the_first_title_of_an_id_counts(tmp_path: Path) -> None:
    assert loaded(tmp_path, "SLUS-20963,One\nslus_209.63,Two\n") == {"SLUS20963": "One"}


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "\ufeff"])
def test_a_list_of_nothing(tmp_path: Path, content: str) -> None:
    assert loaded(tmp_path, content) == {}


@pytest.mark.parametrize(
    "line",
    ["Okami", "Okami,SLUS-21134", "SLUS-2096,Short", "SLUS-209633,Long", "XSLUS-20963,Long", ",X",
     "SLUS_209.63", "SLUS-20963;Semicolon", "game"],
)  # fmt: skip
def test_a_line_without_an_id(tmp_path: Path, line: str) -> None:
    message = refusal(tmp_path, f"# a comment\nSLUS-20963,Okami\n{line}\n")
    if line == "SLUS_209.63":
        assert message.startswith("FILE, line 3: expected a title after the comma")
    else:
        assert message.startswith("FILE, line 3: expected an id such as SLUS-20963, then a comma")
    assert message.endswith(f", found {line!r}")


@pytest.mark.parametrize(
    "title", ["", "  ", '"', '""', '" "', '"open', '"open, " later']
)  # fmt: skip
def test_a_line_without_a_title(tmp_path: Path, title: str) -> None:
    message = refusal(tmp_path, f"SLUS-20963,{title}\n")
    assert message.startswith("FILE, line 1: expected a title after the comma")


def test_a_message_is_short(tmp_path: Path) -> None:
    message = refusal(tmp_path, "x" * 10_000 + "\x1b[31m")
    assert len(message) < 150
    message = refusal(tmp_path, "\x1b[31m\x07")
    assert "\x1b" not in message
    assert "\\x1b[31m\\x07" in message


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    message = refusal(tmp_path, "# one\nSLUS-20963,Pok\xe9mon\n".encode("latin-1"))
    assert message == "FILE, line 2: expected text in UTF-8, found the byte 0xe9"
    assert "UTF-8" in refusal(tmp_path, "SLUS-20963,X\n".encode("utf-16"))


# DATs


def test_redumps_own_dat(tmp_path: Path) -> None:
    message = refusal(tmp_path, REDUMP)
    assert "is a DAT without serials" in message
    assert "Redump" in message
    assert "use a DAT with serials" in message


@pytest.mark.parametrize(
    "games",
    [
        '<game name="Okami"><serial>SLUS-21134</serial></game>',
        '<game name="Okami" serial="SLUS-21134"></game>',
        '<machine name="Okami"><description>x</description><serial>SLUS_211.34</serial></machine>',
        '<machine name=" Okami " serial="slus 21134"/>',
        '<game name="Okami"><rom name="Okami.iso" serial="SLUS-21134"/></game>',
        '<game name="Okami"><serial/><rom><serial> SLUS-21134 </serial></rom></game>',
        '<game name="Okami GH" serial="SLUS-21134GH"/><game name="Okami" serial="SLUS-21134"/>',
        '<game name="Okami" serial="SLUS-21134"/><game name="Okami 2" serial="SLUS-21134"/>',
        '<game name="" serial="SLUS-21134"/><game name="Okami" serial="SLUS-21134"/>',
        '<game name="Okami"><serial>SLUS-21134GH</serial></game>',
        '<game name="No serial"/><game name="Okami"><serial>SLUS-21134</serial></game>',
    ],
)
def test_xml_with_serials(tmp_path: Path, games: str) -> None:
    assert loaded(tmp_path, LOGIQX % games) == {"SLUS21134": "Okami"}
    assert loaded(tmp_path, "\ufeff \n<datafile>" + games + "</datafile>") == {"SLUS21134": "Okami"}


@pytest.mark.parametrize(
    "serials", ["SLES-52046, SLES-52047", "SLES-52046/SLES-52047", "SLES-52046 / P,sles52047"]
)
def test_several_serials(tmp_path: Path, serials: str) -> None:
    wanted = {"SLES52046": "A & B", "SLES52047": "A & B"}
    xml = f'<game name="A &amp; B"><serial>{serials}</serial></game>'
    assert loaded(tmp_path, LOGIQX % xml) == wanted
    assert loaded(tmp_path, f'game (\n name "A & B"\n serial "{serials}"\n)\n') == wanted


def test_clrmamepro(tmp_path: Path) -> None:
    wanted = {
        "SLPM65002": "0 Story (Japan) (Disc 1)",
        "SLUS20265": "007 - Agent Under Fire (USA)",
        "SLES52276": '187 - Ride or Die "X" (Europe)',
    }
    assert loaded(tmp_path, CLRMAMEPRO) == wanted
    assert loaded(tmp_path, "\ufeff" + CLRMAMEPRO.replace("\n", "\r\n")) == wanted
    assert loaded(tmp_path, " ".join(CLRMAMEPRO.split("\n"))) == wanted


def test_clrmamepro_without_quotes(tmp_path: Path) -> None:
    text = "game ( name Okami serial SLUS-21134 rom ( name Okami(USA).iso size 1 baddump ) )"
    assert loaded(tmp_path, text) == {"SLUS21134": "Okami"}


def test_the_serial_of_a_file_in_clrmamepro(tmp_path: Path) -> None:
    text = 'game ( name "Okami" rom ( name "O.iso" serial "SLUS-21134" ) )'
    assert loaded(tmp_path, text) == {"SLUS21134": "Okami"}


def test_clrmamepro_without_serials(tmp_path: Path) -> None:
    text = "".join(line for line in CLRMAMEPRO.splitlines(True) if "serial" not in line)
    assert "is a DAT without serials" in refusal(tmp_path, text)


@pytest.mark.parametrize("serial", ["T-12345-50", "XSLUS-20963", "1SLUS-20963", "SLUS-209631"])
def test_serials_of_another_console(tmp_path: Path, serial: str) -> None:
    text = LOGIQX % f'<game name="Sonic" serial="{serial}"/>'
    assert "is a DAT without serials" in refusal(tmp_path, text)


@pytest.mark.parametrize("content", ["<html><body/></html>", "clrmamepro ( name x )\nrom ( a b )"])
def test_a_dat_without_games(tmp_path: Path, content: str) -> None:
    assert refusal(tmp_path, content).startswith("FILE is neither a DAT with games nor a list")


@pytest.mark.parametrize(
    ("content", "line", "wanted", "found"),
    [
        ("<datafile>\n<game>\n</datafile>", 3, "the XML of a DAT", "mismatched tag"),
        ("<", 1, "the XML of a DAT", "unclosed token"),
        ('<?xml version="1.0" encoding="x-none"?><a/>', 1, "the XML of a DAT", ""),
        ('<?xml version="1.0" encoding="utf-7"?><a/>', 1, "the XML of a DAT", ""),
        ("game (\n name a\n", 3, "a closing bracket", "the end"),
        ("game (\n name a\n)\n)\n", 4, "no closing bracket", "')'"),
        ('game (\n name "a\n)\n', 2, "a closing quote", "'\"a'"),
    ],
)
def test_a_malformed_dat(
    tmp_path: Path, content: str, line: int, wanted: str, found: str
) -> None:  # fmt: skip
    message = refusal(tmp_path, content)
    assert message.startswith(f"FILE, line {line}: expected {wanted}, found {found}")


def test_entities_do_not_grow_without_bound(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "' + "x" * 1000 + '">'
    for level in range(1, 6):
        entities += f'<!ENTITY a{level} "' + f"&a{level - 1};" * 10 + '">'
    text = f'<!DOCTYPE d [{entities}]><d><game name="&a5;" serial="SLUS-20963"/></d>'
    assert "expected the XML of a DAT" in refusal(tmp_path, text)


def test_nothing_outside_of_the_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SLUS-20963")
    entity = f'<!ENTITY e SYSTEM "file://{tmp_path}/secret">'
    text = f'<!DOCTYPE d [{entity}]><d><game name="X"><serial>&e;</serial></game></d>'
    assert "SLUS20963" not in refusal(tmp_path, text)


# Files


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"/none cannot be read: No such file or directory$"):
        load_titles(tmp_path / "none")
    with pytest.raises(FileError, match=r"cannot be read: Is a directory$"):
        load_titles(tmp_path)
    with pytest.raises(FileError, match=r"a\\nb cannot be read"):
        load_titles(tmp_path / "a\nb")


def test_the_largest_file(tmp_path: Path) -> None:
    path = tmp_path / "titles"
    with path.open("wb") as file:
        file.write(b"SLUS-20963,X\n#")
        file.write(b"x" * ((64 << 20) - 14))
    assert load_titles(path) == {"SLUS20963": "X"}
    assert path.stat().st_size == 64 << 20
    with path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(UsageError, match="more than 64 MiB"):
        load_titles(path)


ids = st.builds(
    lambda letters, digits: f"{letters}_{digits // 100:03}.{digits % 100:02}",
    st.text("ABCDXYZ", min_size=4, max_size=4),
    st.integers(0, 99999),
)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]) | st.sampled_from(" ,\"'()"),
    min_size=1,
    max_size=20,
).map(str.strip)


@given(titles=st.dictionaries(ids, names.filter(bool), max_size=6))
def test_any_titles_come_back(titles: dict[str, str], tmp_path: Path) -> None:
    wanted = {normal_id(game_id): title for game_id, title in titles.items()}
    doubled = {game_id: title.replace('"', '""') for game_id, title in titles.items()}
    lines = "\n".join(f'{game_id},"{title}"' for game_id, title in doubled.items())
    assert loaded(tmp_path, lines) == wanted
    if titles:
        escaped = {
            game_id: title.replace("\\", "\\\\").replace('"', '\\"')
            for game_id, title in titles.items()
        }
        blocks = "\n".join(
            f'game (\n\tname "{title}"\n\tserial "{game_id}"\n)'
            for game_id, title in escaped.items()
        )
        assert loaded(tmp_path, blocks) == wanted


pieces = st.sampled_from(
    ["game", "machine", "(", ")", "name", "serial", '"', '"Okami"', "SLUS-21134", ",", "\n", "\\",
     "<", ">", "/", "=", "<datafile>", "<game ", "</game>", "<serial>", "</serial>", "&", "#"]
)  # fmt: skip


@settings(max_examples=rounds(150, 400))
@given(content=st.binary(max_size=60) | st.lists(pieces, max_size=40).map(" ".join))
def test_anything_is_read_or_refused(content: str | bytes, tmp_path: Path) -> None:
    try:
        titles = loaded(tmp_path, content)
    except UsageError:
        return
    assert all(game_id == normal_id(game_id) and len(game_id) == 9 for game_id in titles)
    assert all(titles.values())
