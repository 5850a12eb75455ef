"""Names on an OPL share: examples, and what holds for all of them."""

import random
import re
import unicodedata
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rounds import rounds
from zsofs.vfs.opl.given_names import GivenNames
from zsofs.vfs.opl.names import game_name, title_of, unique_names

LONGEST = 159


def opl_takes_the_id(name: str) -> bool:
    """As OPL decides whether a name begins with an id."""
    data = name.encode()
    return len(data) >= 17 and data[4:5] == b"_" and data[8:9] == b"." and data[11:12] == b"."


@pytest.mark.parametrize(
    ("game_id", "title", "wanted"),
    [
        ("SLUS_209.63", "Final Fantasy XII", "SLUS_209.63.Final Fantasy XII.iso"),
        ("", "Final Fantasy XII", "Final Fantasy XII.iso"),
        ("SLUS_209.63", "", "SLUS_209.63.SLUS_209.63.iso"),
        ("SLUS_209.63", " ?. . ", "SLUS_209.63.SLUS_209.63.iso"),
        ("", "", "Disc.iso"),
        ("", '"*"', "Disc.iso"),
        ("SLUS_209.63", "Ratchet: Deadlocked", "SLUS_209.63.Ratchet Deadlocked.iso"),
        ("SLUS_209.63", '\\/:*?"<>|', "SLUS_209.63.SLUS_209.63.iso"),
        ("SLUS_209.63", "This / That", "SLUS_209.63.This That.iso"),
        ("SLUS_209.63", "A\x00\x1b[1m\x7f\x9fB", "SLUS_209.63.A[1mB.iso"),
        ("SLUS_209.63", "  A\t \r\n B\u2003C  ", "SLUS_209.63.A B C.iso"),
        ("SLUS_209.63", "Etc. . .", "SLUS_209.63.Etc.iso"),
        ("SLUS_209.63", "Etc.: ?", "SLUS_209.63.Etc.iso"),
        ("SLUS_209.63", ".hack//Infection", "SLUS_209.63..hackInfection.iso"),
        ("SLUS_209.63", "Pok\xe9mon \u30dd", "SLUS_209.63.Pok\xe9mon \u30dd.iso"),
        ("SLUS_209.63", "A\udcff\udce9B\ud800", "SLUS_209.63.A__B_.iso"),
        ("ULUS-10041", "Lumines", "Lumines.iso"),
        ("ULUS-10041", "", "ULUS-10041.iso"),
        ("../../x", "Title", "Title.iso"),
        ("../../x", "", "....x.iso"),
    ],
)
def test_names(game_id: str, title: str, wanted: str) -> None:
    assert game_name(game_id, title) == (wanted, False)


@pytest.mark.parametrize(("game_id", "room"), [("SLUS_209.63", 143), ("", 155)])
def test_the_longest_title(game_id: str, room: int) -> None:
    prefix = f"{game_id}." if game_id else ""
    assert game_name(game_id, "x" * room) == (f"{prefix}{'x' * room}.iso", False)
    assert game_name(game_id, "x" * (room + 1)) == (f"{prefix}{'x' * room}.iso", True)
    assert len(f"{prefix}{'x' * room}.iso".encode()) == LONGEST


def test_a_cut_leaves_whole_letters() -> None:
    assert game_name("", "x" * 154 + "\xe9y") == ("x" * 154 + ".iso", True)
    assert game_name("", "x" * 154 + "e\u0301") == ("x" * 154 + ".iso", True)
    assert game_name("", "x" * 153 + "e\u0301y") == ("x" * 153 + ".iso", True)
    assert game_name("", "x" * 152 + "e\u0301y") == ("x" * 152 + "e\u0301.iso", True)
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert game_name("", "x" * 140 + family) == ("x" * 140 + ".iso", True)
    assert game_name("", "x" * 137 + family)[1] is False


def test_a_cut_leaves_no_space_or_dot_at_the_end() -> None:
    assert game_name("", "x" * 150 + ". . . . y") == ("x" * 150 + ".iso", True)


@pytest.mark.parametrize("title", ["e" + "\u0301" * 500, "\u0301" * 500, "." * 500 + "x"])
def test_a_cut_of_what_is_no_text_leaves_something(title: str) -> None:
    name, shortened = game_name("SLUS_209.63", title)
    assert shortened
    assert LONGEST - 1 <= len(name.encode()) <= LONGEST
    numbered = unique_names({b"a": name, b"b": name})[b"b"]
    assert numbered.endswith(" (2).iso")
    assert LONGEST - 1 <= len(numbered.encode()) <= LONGEST


@pytest.mark.parametrize(
    ("file_name", "title"),
    [
        (b"Okami.zso", "Okami"),
        (b"Okami.ZSO", "Okami"),
        (b"Okami.iso.zso", "Okami"),
        (b"Okami", "Okami"),
        (b"Okami.txt", "Okami.txt"),
        (b"Dr. Mario", "Dr. Mario"),
        (b"SLUS_211.34.Okami.zso", "Okami"),
        (b"slus_211.34.Okami.cso", "Okami"),
        (b"SLUS_211.34.zso", "SLUS_211.34"),
        (b"SLUS_211.34.SLUS_211.34.zso", "SLUS_211.34"),
        (b"SLUS-21134 Okami.dax", "SLUS-21134 Okami"),
        (b"XSLUS_211.34.Okami.ciso", "XSLUS_211.34.Okami"),
        (b"Pok\xc3\xa9mon \xff\xe9.bin", "Pok\xe9mon __"),
        (b".hack.ziso", ".hack"),
        (b"Okami (Track 1).bin", "Okami"),
        (b"Okami (Track 01).chd", "Okami"),
        (b"Okami (Track 2).bin", "Okami (Track 2)"),
        (b"", ""),
    ],
)
def test_titles_of_files(file_name: bytes, title: str) -> None:
    assert title_of(file_name) == title


def test_names_that_differ_stay() -> None:
    wanted = {b"a.zso": "A.iso", b"b.zso": "B.iso"}
    assert unique_names(wanted) == wanted
    assert unique_names({}) == {}


def test_a_name_once_given_stays() -> None:
    first = unique_names({b"m/Game.zso": "Game.iso"})
    given = {b"m/Game.zso": ("Game.iso", first[b"m/Game.zso"])}
    second = unique_names({b"a/Game.zso": "Game.iso", b"m/Game.zso": "Game.iso"}, given)
    assert second == {b"m/Game.zso": "Game.iso", b"a/Game.zso": "Game (2).iso"}
    given = {path: ("Game.iso", name) for path, name in second.items()}
    assert unique_names({b"a/Game.zso": "Game.iso"}, given) == {b"a/Game.zso": "Game (2).iso"}


@pytest.mark.parametrize(
    "given",
    [
        ("Other.iso", "Other.iso"),  # it wanted another name then
        ("Game.iso", "Games.iso"),
        ("Game.iso", "../Game (2).iso"),
        ("Game.iso", "Game (x).iso"),
        ("Game.iso", "Game (2) (2).iso"),
        ("Game.iso", "Game (0002).iso"),
        ("Game.iso", ""),
    ],
)
def test_a_name_that_makes_no_sense_is_not_kept(given: tuple[str, str]) -> None:
    assert unique_names({b"a": "Game.iso"}, {b"a": given}) == {b"a": "Game.iso"}


def test_two_discs_never_keep_one_name() -> None:
    given = {b"a": ("Game.iso", "Game.iso"), b"b": ("Game.iso", "Game.iso")}
    wanted = {b"a": "Game.iso", b"b": "Game.iso"}
    assert unique_names(wanted, given) == {b"a": "Game.iso", b"b": "Game (2).iso"}


class Memory:
    """Keeps names as a catalog does."""

    def __init__(self) -> None:
        self.names: dict[bytes, tuple[str, str]] = {}

    def opl_names(self) -> dict[bytes, tuple[str, str]]:
        return dict(self.names)

    def keep_opl_names(self, given: Mapping[bytes, tuple[str, str]], gone: Iterable[bytes]) -> None:
        for path in gone:
            self.names.pop(path, None)
        self.names.update(given)


def test_a_disc_that_returns_has_its_name_unless_another_got_it() -> None:
    store = Memory()
    names = GivenNames(store)
    wanted = {b"a": "Game.iso", b"b": "Game.iso"}

    def arranged(*paths: bytes) -> dict[bytes, str]:
        some = {path: wanted.get(path, "Game.iso") for path in paths}
        shown = unique_names(some, names.known)
        new, gone = names.take({path: (some[path], name) for path, name in shown.items()})
        store.keep_opl_names(new, gone)
        assert GivenNames(store).known == names.known
        return shown

    assert arranged(b"a", b"b") == {b"a": "Game.iso", b"b": "Game (2).iso"}
    assert arranged(b"b") == {b"b": "Game (2).iso"}
    assert arranged(b"a", b"b") == {b"a": "Game.iso", b"b": "Game (2).iso"}
    assert arranged(b"b", b"c") == {b"b": "Game (2).iso", b"c": "Game.iso"}
    assert arranged(b"a", b"b", b"c") == {
        b"a": "Game (3).iso",
        b"b": "Game (2).iso",
        b"c": "Game.iso",
    }


def test_names_that_differ_in_case_only() -> None:
    assert unique_names(
        {b"3": "STRASSE.iso", b"1": "Stra\xdfe.iso", b"2": "strasse.ISO", b"4": "other.iso"}
    ) == {
        b"1": "Stra\xdfe.iso",
        b"2": "strasse (2).ISO",
        b"3": "STRASSE (3).iso",
        b"4": "other.iso",
    }


def test_a_number_that_another_disc_really_has() -> None:
    assert unique_names(
        {b"1": "A.iso", b"2": "A.iso", b"3": "a (2).iso", b"4": "A.iso", b"5": "A (2).iso"}
    ) == {
        b"1": "A.iso",
        b"2": "A (3).iso",
        b"3": "a (2).iso",
        b"4": "A (4).iso",
        b"5": "A (2) (2).iso",
    }


def test_a_number_fits_the_longest_name() -> None:
    longest = f"SLUS_209.63.{'x' * 143}.iso"
    shown = unique_names({b"%02d" % number: longest for number in range(12)})
    assert shown[b"00"] == longest
    assert shown[b"01"] == f"SLUS_209.63.{'x' * 139} (2).iso"
    assert shown[b"11"] == f"SLUS_209.63.{'x' * 138} (12).iso"


def test_long_names_that_are_the_same_once_cut() -> None:
    first, second = (f"{'x' * 151}{end}.iso" for end in ("aaaa", "bbbb"))
    wanted = {b"1": first, b"2": first, b"3": second, b"4": second}
    assert unique_names(wanted) == {
        b"1": first,
        b"2": f"{'x' * 151} (2).iso",
        b"3": second,
        b"4": f"{'x' * 151} (3).iso",
    }


def test_many_discs_of_one_name() -> None:
    shown = unique_names({b"%05d" % number: "A.iso" for number in range(20_000)})
    assert len(set(shown.values())) == 20_000
    assert shown[b"19999"] == "A (20000).iso"


game_ids = st.sampled_from(["", "SLUS_209.63", "SCES_500.00", "ULUS-10041"]) | st.text(max_size=12)
letters = (
    st.sampled_from("aA. \xdf\xe9\u0301\u0130\u30dd\u200d\U0001f468:/\\\n\x00") | st.characters()
)
titles = st.text(letters, max_size=30) | st.builds(
    lambda text, times, end: text * times + end,
    st.text(letters, min_size=1, max_size=3),
    st.integers(30, 200),
    st.text(letters, max_size=6),
)


def check_name(name: str) -> None:
    assert len(name.encode()) <= LONGEST
    assert name.endswith(".iso")
    assert len(name) > len(".iso")
    assert not set(name) & set('\\/:*?"<>|')
    assert not [char for char in name if unicodedata.category(char) in ("Cc", "Cs")]
    assert name == " ".join(name.split())


@settings(max_examples=rounds(150, 500))
@given(game_id=game_ids, title=titles)
def test_every_name_can_be_on_a_share(game_id: str, title: str) -> None:
    name, shortened = game_name(game_id, title)
    check_name(name)
    prefix = ""
    if re.fullmatch(r"[A-Z]{4}_[0-9]{3}\.[0-9]{2}", game_id):
        prefix = f"{game_id}."
        assert name.startswith(prefix)
        assert opl_takes_the_id(name)
    if shortened:
        assert len(title.encode("utf-8", "surrogatepass")) > LONGEST - len(f"{prefix}.iso")
    else:
        again = game_name(game_id, name.removesuffix(".iso").removeprefix(prefix))
        assert again == (name, False), "a title in order is left alone"


@given(st.binary(max_size=40))
def test_every_file_name_has_a_title(file_name: bytes) -> None:
    title = title_of(file_name)
    title.encode()
    check_name(game_name("", title)[0])


paths = st.binary(min_size=1, max_size=3)
few_titles = st.sampled_from(
    ["a", "A", "a (2)", "A (2)", "a (2) (2)", "x" * 154, "X" * 155, "\xdf"]
)


@settings(max_examples=rounds(150, 500))
@given(
    st.dictionaries(
        paths,
        st.tuples(st.sampled_from(["", "SLUS_209.63"]), few_titles | titles),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_never_two_of_one_name_whatever_the_order(
    discs: dict[bytes, tuple[str, str]], order: random.Random
) -> None:
    wanted = {path: game_name(*about)[0] for path, about in discs.items()}
    final = unique_names(wanted)
    assert set(final) == set(wanted)
    assert len({name.casefold() for name in final.values()}) == len(final)
    for path, name in final.items():
        check_name(name)
        assert opl_takes_the_id(name) or not opl_takes_the_id(wanted[path])
        first = min(
            other for other in wanted if wanted[other].casefold() == wanted[path].casefold()
        )
        assert (name == wanted[path]) == (path == first)
    shuffled = list(wanted.items())
    order.shuffle(shuffled)
    assert unique_names(dict(shuffled)) == final
