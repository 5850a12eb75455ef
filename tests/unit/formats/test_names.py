"""Which name each disc gets: examples, and a property over random siblings."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsofs.console.text import for_people
from zsofs.formats.file_names import (
    has_disc_ending,
    is_kept_for_discs,
    is_packed_name,
    is_plain_image,
    may_be_disc,
)
from zsofs.vfs.naming import shown_names

CLASSES = {
    # packed, plain, kept for discs, ends like a disc, looked into
    b".zso .ziso .cso .ciso .dax .chd": (True, False, True, True, True),
    b".iso": (False, True, True, True, True),
    b".img .bin": (False, True, False, True, True),
    b"": (False, False, False, False, True),
    b".txt .part .cue .jpg .zso2 .is .gz": (False, False, False, False, False),
}


@pytest.mark.parametrize(
    ("ending", "classes"),
    [(ending, classes) for endings, classes in CLASSES.items() for ending in endings.split(b" ")],
)
def test_each_name_is_in_its_classes(ending: bytes, classes: tuple[bool, ...]) -> None:
    for stem in (b"Game", b"a.zso", b"a.iso", b"/the.iso/file", b"\xff \n", b".hidden"):
        if b"." in stem[1:] and not ending:
            continue
        for name in (stem + ending, stem + ending.upper(), stem + ending.title()):
            assert (
                is_packed_name(name),
                is_plain_image(name),
                is_kept_for_discs(name),
                has_disc_ending(name),
                may_be_disc(name),
            ) == classes, name


@pytest.mark.parametrize("name", [b".iso", b".zso", b"no ending", b"/the.iso/name", b"..."])
def test_a_name_that_is_all_ending_has_none(name: bytes) -> None:
    assert may_be_disc(name)
    assert not has_disc_ending(name)
    assert not is_kept_for_discs(name)


def test_an_ending_of_blanks_is_one() -> None:
    assert not may_be_disc(b"Vol. 2")


def test_a_packed_disc_alone() -> None:
    assert shown_names([], {b"Game.zso": b".iso"}) == {b"Game.zso": b"Game.iso"}
    assert shown_names([], {b"GAME.CSO": b".iso"}) == {b"GAME.CSO": b"GAME.iso"}
    assert shown_names([], {b"Game": b".iso"}) == {b"Game": b"Game.iso"}
    assert shown_names([], {b"\xff[x]\n.zso": b".iso"}) == {b"\xff[x]\n.zso": b"\xff[x]\n.iso"}


def test_a_raw_cd_is_a_bin() -> None:
    assert shown_names([], {b"Game.zso": b".bin"}) == {b"Game.zso": b"Game.bin"}
    assert shown_names([], {b"Game.bin": b".bin"}) == {b"Game.bin": b"Game.bin"}


def test_the_real_file_wins() -> None:
    assert shown_names([b"Game.iso"], {b"Game.zso": b".iso"}) == {b"Game.zso": b"Game.zso.iso"}


def test_two_packed_siblings() -> None:
    assert shown_names([], {b"Game.zso": b".iso", b"Game.cso": b".iso"}) == {
        b"Game.zso": b"Game.zso.iso",
        b"Game.cso": b"Game.cso.iso",
    }


def test_a_container_called_iso_keeps_its_name() -> None:
    assert shown_names([], {b"Game.iso": b".iso", b"Game.zso": b".iso"}) == {
        b"Game.iso": b"Game.iso",
        b"Game.zso": b"Game.zso.iso",
    }
    assert shown_names([], {b"Game.ISO": b".iso"}) == {b"Game.ISO": b"Game.ISO"}


def test_even_the_longer_name_is_taken() -> None:
    shown = shown_names([b"Game.iso", b"Game.zso.iso"], {b"Game.zso": b".iso"})
    assert shown == {b"Game.zso": b"Game.zso.iso.iso"}


def test_a_name_that_would_be_too_long_stays() -> None:
    long = b"x" * 253
    assert shown_names([], {long: b".iso"}) == {long: None}
    fits = b"x" * 251 + b".zso"
    assert shown_names([], {fits: b".iso"}) == {fits: b"x" * 251 + b".iso"}
    assert shown_names([b"x" * 251 + b".iso"], {fits: b".iso"}) == {fits: None}


stems = st.sampled_from([b"a", b"b", b"a.zso", b"a.iso", b"a.bin", b"x" * 248, b"x" * 251])
endings = st.sampled_from([b"", b".zso", b".ZSO", b".cso", b".iso", b".ISO", b".bin", b".img"])
names = st.builds(lambda stem, ending: stem + ending, stems, endings)


@given(
    st.sets(names, max_size=12).flatmap(
        lambda all_names: st.tuples(
            st.just(sorted(all_names)),
            st.lists(
                st.sampled_from([b"", b".iso", b".bin"]),
                min_size=len(all_names),
                max_size=len(all_names),
            ),
        )
    ),
    st.randoms(use_true_random=False),
)
def test_never_two_of_one_name_whatever_the_order(
    case: tuple[list[bytes], list[bytes]], order: random.Random
) -> None:
    kinds = dict(zip(*case, strict=True))
    others = [name for name, kind in kinds.items() if not kind]
    discs = {name: kind for name, kind in kinds.items() if kind}
    shown = shown_names(others, discs)
    assert set(shown) == set(discs)
    every = others + [new if new is not None else old for old, new in shown.items()]
    assert len(set(every)) == len(every)
    assert all(len(name) <= 255 for name in every)
    for old, new in shown.items():
        assert new is None or new.lower().endswith(discs[old])
    shuffled = list(discs.items())
    order.shuffle(shuffled)
    order.shuffle(others)
    assert shown_names(others, dict(shuffled)) == shown


def test_names_in_messages_are_one_line() -> None:
    assert for_people(b"a\nb\x1b[31m\t") == "a\\nb\\x1b[31m\\t"
    assert for_people("caf\xe9".encode()) == "caf\xe9"
    assert for_people(b"\xff.zso") == "\udcff.zso"
