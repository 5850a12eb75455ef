"""Which name each disc gets: examples, and a property over random siblings."""

import random
from itertools import product
from os.path import splitext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsofs.console.text import for_people
from zsofs.formats.file_names import (
    ending_of,
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


def test_the_ending_of_a_name_is_that_of_splitext() -> None:
    for size in range(7):
        for name in map(bytes, product(b"a./B", repeat=size)):
            assert ending_of(name) == splitext(name)[1].lower(), name


def test_an_ending_of_blanks_is_one() -> None:
    assert not may_be_disc(b"Vol. 2")


def one_each(others: list[bytes], discs: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    """The name of each disc that is shown as one file."""
    found = shown_names(others, {name: (ending,) for name, ending in discs.items()})
    assert all(names is None or len(names) == 1 for names in found.values())
    return {name: None if names is None else names[0] for name, names in found.items()}


def test_a_packed_disc_alone() -> None:
    assert one_each([], {b"Game.zso": b".iso"}) == {b"Game.zso": b"Game.iso"}
    assert one_each([], {b"GAME.CSO": b".iso"}) == {b"GAME.CSO": b"GAME.iso"}
    assert one_each([], {b"Game": b".iso"}) == {b"Game": b"Game.iso"}
    assert one_each([], {b"\xff[x]\n.zso": b".iso"}) == {b"\xff[x]\n.zso": b"\xff[x]\n.iso"}


def test_a_raw_cd_is_a_bin() -> None:
    assert one_each([], {b"Game.zso": b".bin"}) == {b"Game.zso": b"Game.bin"}
    assert one_each([], {b"Game.bin": b".bin"}) == {b"Game.bin": b"Game.bin"}


def test_the_real_file_wins() -> None:
    assert one_each([b"Game.iso"], {b"Game.zso": b".iso"}) == {b"Game.zso": b"Game.zso.iso"}


def test_two_packed_siblings() -> None:
    assert one_each([], {b"Game.zso": b".iso", b"Game.cso": b".iso"}) == {
        b"Game.zso": b"Game.zso.iso",
        b"Game.cso": b"Game.cso.iso",
    }


def test_a_container_called_iso_keeps_its_name() -> None:
    assert one_each([], {b"Game.iso": b".iso", b"Game.zso": b".iso"}) == {
        b"Game.iso": b"Game.iso",
        b"Game.zso": b"Game.zso.iso",
    }
    assert one_each([], {b"Game.ISO": b".iso"}) == {b"Game.ISO": b"Game.ISO"}


def test_even_the_longer_name_is_taken() -> None:
    shown = one_each([b"Game.iso", b"Game.zso.iso"], {b"Game.zso": b".iso"})
    assert shown == {b"Game.zso": b"Game.zso.iso.iso"}


def test_a_name_that_would_be_too_long_stays() -> None:
    long = b"x" * 253
    assert one_each([], {long: b".iso"}) == {long: None}
    fits = b"x" * 251 + b".zso"
    assert one_each([], {fits: b".iso"}) == {fits: b"x" * 251 + b".iso"}
    assert one_each([b"x" * 251 + b".iso"], {fits: b".iso"}) == {fits: None}


CUE_BIN = (b".cue", b".bin")
TRACKS = (b".cue", b" (Track 1).bin", b" (Track 2).bin")


def test_the_files_of_a_cd_are_renamed_together() -> None:
    assert shown_names([], {b"Game.chd": CUE_BIN}) == {b"Game.chd": (b"Game.cue", b"Game.bin")}
    moved = {b"Game.chd": (b"Game.chd.cue", b"Game.chd.bin")}
    for other in (b"Game.cue", b"Game.bin"):
        assert shown_names([other], {b"Game.chd": CUE_BIN}) == moved
    assert shown_names([b"Game.bin", b"Game.chd.cue"], {b"Game.chd": CUE_BIN}) == {
        b"Game.chd": (b"Game.chd.cue.cue", b"Game.chd.cue.bin")
    }
    assert shown_names([b"Game.cue"], {b"Game.chd": TRACKS}) == {
        b"Game.chd": tuple(b"Game.chd" + ending for ending in TRACKS)
    }
    assert shown_names([], {b"Game.zso": (b".bin",), b"Game.chd": CUE_BIN}) == {
        b"Game.zso": (b"Game.zso.bin",),
        b"Game.chd": (b"Game.chd.cue", b"Game.chd.bin"),
    }


def test_a_cd_whose_longest_name_is_too_long_stays() -> None:
    fits, long = b"x" * 241 + b".chd", b"x" * 242 + b".chd"
    shown = shown_names([], {fits: TRACKS, long: TRACKS})
    assert shown == {fits: tuple(b"x" * 241 + ending for ending in TRACKS), long: None}


stems = st.sampled_from([b"a", b"b", b"a.zso", b"a.iso", b"a.bin", b"x" * 248, b"x" * 251])
endings = st.sampled_from([b"", b".zso", b".ZSO", b".cso", b".iso", b".ISO", b".bin", b".img"])
names = st.builds(lambda stem, ending: stem + ending, stems, endings)


@given(
    st.sets(names, max_size=12).flatmap(
        lambda all_names: st.tuples(
            st.just(sorted(all_names)),
            st.lists(
                st.sampled_from([(), (b".iso",), (b".bin",), CUE_BIN, TRACKS]),
                min_size=len(all_names),
                max_size=len(all_names),
            ),
        )
    ),
    st.randoms(use_true_random=False),
)
def test_never_two_of_one_name_whatever_the_order(
    case: tuple[list[bytes], list[tuple[bytes, ...]]], order: random.Random
) -> None:
    kinds = dict(zip(*case, strict=True))
    others = [name for name, kind in kinds.items() if not kind]
    discs = {name: kind for name, kind in kinds.items() if kind}
    shown = shown_names(others, discs)
    assert set(shown) == set(discs)
    every = [*others]
    for old, new in shown.items():
        every += (old,) if new is None else new
    assert len(set(every)) == len(every)
    assert all(len(name) <= 255 for name in every)
    for old, new in shown.items():
        if new is not None:
            endings = discs[old]
            stem = new[0][: -len(endings[0])]
            assert [name[len(stem) :].lower() for name in new] == [*map(bytes.lower, endings)]
            assert len({name[: len(stem)] for name in new}) == 1
    shuffled = list(discs.items())
    order.shuffle(shuffled)
    order.shuffle(others)
    assert shown_names(others, dict(shuffled)) == shown


def test_names_in_messages_are_one_line() -> None:
    assert for_people(b"a\nb\x1b[31m\t") == "a\\nb\\x1b[31m\\t"
    assert for_people("caf\xe9".encode()) == "caf\xe9"
    assert for_people(b"\xff.zso") == "\udcff.zso"
