"""Where everything lies on a share for OPL: examples, and what holds for any source."""

import os
import stat

from hypothesis import given
from hypothesis import strategies as st

from zsofs.discs.cd_forms import CdForm
from zsofs.discs.identify import Identity, Media, System
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.geometry import ChdCodec, Codec
from zsofs.images.probe import Disc
from zsofs.source.cd_finding import CdFinding
from zsofs.source.entry import Entry, Kind
from zsofs.source.finding import FileFinding
from zsofs.vfs.opl.layout import OplLayout, arrange

LONGEST = 159
SOURCE = os.stat_result((stat.S_IFDIR | 0o755, 1, 1, 1, 0, 0, 4096, 0, 0, 0))
_FILE = os.stat_result((stat.S_IFREG | 0o644, 2, 1, 1, 0, 0, 1 << 20, 0, 0, 0))
_FOLDER = os.stat_result((stat.S_IFDIR | 0o755, 3, 1, 1, 0, 0, 4096, 0, 0, 0))
ZSO = Disc("ZSO", Codec.LZ4, 1 << 30, 2048, raw_cd=False)
RAW = Disc("ZSO", Codec.LZ4, 2352 * 1000, 2352, raw_cd=True)


def identity(
    game_id: str = "SLUS_209.63", media: Media = Media.DVD, system: System = System.PS2
) -> Identity:
    return Identity(system, game_id, "", "LABEL", media)


CD = identity(media=Media.CD)
DVD = identity()
PSP = identity("ULUS-10041", Media.CD, System.PSP)
OTHER = identity("", Media.CD, System.OTHER)


def packed(path: str, found: Identity | None = DVD, disc: Disc = ZSO) -> Entry:
    own = os.fsencode(path)
    return Entry(
        own.rpartition(b"/")[2], Kind.DISC, own, _FILE, finding=FileFinding(disc, identity=found)
    )


def file(
    path: str, found: Identity | None = None, *, reason: str = "", copying: float | None = None
) -> Entry:
    own = os.fsencode(path)
    name = own.rpartition(b"/")[2]
    finding = FileFinding(None, reason, found)
    return Entry(name, Kind.FILE, own, _FILE, finding=finding, copying_since=copying)


def folder(path: str, target: str = "") -> Entry:
    """A folder; one that a symlink leads to, if it has a target."""
    own = os.fsencode(path)
    name = own.rpartition(b"/")[2]
    where = os.fsencode(target) or own
    return Entry(name, Kind.FOLDER, where, _FOLDER, followed=bool(target))


def laid_out(*entries: Entry, titles: dict[str, str] | None = None) -> OplLayout:
    """The layout of a source with these; folders come by themselves."""
    folders: dict[bytes, dict[bytes, Entry]] = {b"": {}}
    for entry in entries:
        above = b"" if entry.followed else entry.path.rpartition(b"/")[0]
        folders.setdefault(above, {})[entry.name] = entry
        if entry.kind is Kind.FOLDER and not entry.followed:
            folders.setdefault(entry.path, {})
        while above:
            name = above.rpartition(b"/")[2]
            higher = above.rpartition(b"/")[0]
            folders.setdefault(higher, {}).setdefault(name, folder(os.fsdecode(above)))
            above = higher
    return arrange(folders, SOURCE, titles or {})


def names(layout: OplLayout) -> list[str]:
    """Every path at the top and in DVD and CD."""
    inside = [
        f"{os.fsdecode(at)}/{os.fsdecode(n)}" for at in layout.discs for n in layout.discs[at]
    ]
    return sorted([*map(os.fsdecode, layout.root), *inside])


def test_a_source_without_anything_has_both_folders() -> None:
    layout = laid_out()
    assert names(layout) == ["CD", "DVD"]
    for entry in layout.root.values():
        assert entry.kind is Kind.FOLDER
        assert entry.status is SOURCE


def test_discs_go_where_they_belong_from_any_depth() -> None:
    layout = laid_out(
        packed("Okami.zso"),
        packed("a/b/c/Rez.cso", CD),
        packed("a/Homebrew.zso", None),
        file("d/Plain.iso", CD),
    )
    assert names(layout) == [
        "CD",
        "CD/SLUS_209.63.Plain.iso",
        "CD/SLUS_209.63.Rez.iso",
        "DVD",
        "DVD/Homebrew.iso",
        "DVD/SLUS_209.63.Okami.iso",
    ]
    assert layout.discs[b"CD"][b"SLUS_209.63.Rez.iso"].path == b"a/b/c/Rez.cso"
    assert layout.places == {
        b"Okami.zso": b"DVD/SLUS_209.63.Okami.iso",
        b"a/b/c/Rez.cso": b"CD/SLUS_209.63.Rez.iso",
        b"a/Homebrew.zso": b"DVD/Homebrew.iso",
        b"d/Plain.iso": b"CD/SLUS_209.63.Plain.iso",
    }
    assert not layout.left_out
    assert not layout.shortened


def test_a_disc_that_the_user_has_sorted_stays_there() -> None:
    layout = laid_out(
        packed("DVD/Rip.zso", CD),
        packed("cd/Big.zso", DVD),
        packed("DVD/more/Deep.zso", CD),
        packed("old/DVD/Elsewhere.zso", CD),
        packed("CD", DVD),
    )
    assert set(layout.places.values()) == {
        b"DVD/SLUS_209.63.Rip.iso",
        b"DVD/SLUS_209.63.Deep.iso",
        b"CD/SLUS_209.63.Big.iso",
        b"CD/SLUS_209.63.Elsewhere.iso",
        b"DVD/SLUS_209.63.CD.iso",
    }


def test_titles_are_the_users_then_the_file_names() -> None:
    titles = {"SLUS20963": "Final Fantasy XII", "SLES50000": "Not here"}
    layout = laid_out(
        packed("ff12.zso"),
        packed("SLUS_200.02.Shadow Hearts.zso", identity("SLUS_200.02")),
        packed("slus_200.03.small.zso", identity("SLUS_200.03")),
        packed("SLUS_209.63.No id in it.zso", identity("")),
        titles=titles,
    )
    assert set(layout.discs[b"DVD"]) == {
        b"SLUS_209.63.Final Fantasy XII.iso",
        b"SLUS_200.02.Shadow Hearts.iso",
        b"SLUS_200.03.small.iso",
        b"No id in it.iso",
    }


def test_discs_of_one_name_are_numbered_by_their_paths() -> None:
    layout = laid_out(packed("b/Okami.zso"), packed("a/okami.cso"), packed("Okami.zso", CD))
    assert layout.places == {
        b"a/okami.cso": b"DVD/SLUS_209.63.okami.iso",
        b"b/Okami.zso": b"DVD/SLUS_209.63.Okami (2).iso",
        b"Okami.zso": b"CD/SLUS_209.63.Okami.iso",
    }


def test_what_opl_cannot_play_is_left_out_with_its_folder() -> None:
    layout = laid_out(
        packed("PSP/Patapon.cso", PSP),
        file("PSP/Lumines.iso", PSP),
        packed("raw/Track.zso", CD, RAW),
        file("bin/Game.bin", CD),
        file("bin/Game.cue"),
        file("VMC/Card.bin", OTHER),
        packed("Okami.zso"),
    )
    assert names(layout) == ["CD", "DVD", "DVD/SLUS_209.63.Okami.iso", "VMC"]
    assert layout.left_out == {
        b"PSP/Patapon.cso": "not in the OPL layout: it is a PSP disc",
        b"PSP/Lumines.iso": "not in the OPL layout: it is a PSP disc",
        b"raw/Track.zso": "not in the OPL layout: it has raw CD sectors",
        b"bin/Game.bin": "not in the OPL layout: OPL reads only .iso files as plain images",
    }


def cd(path: str, found: Identity, *tracks: Track, form: CdForm = CdForm.BIN) -> Entry:
    own = os.fsencode(path)
    disc = Disc("CHD", ChdCodec.CDLZ, 2048 * tracks[0].frames, 16384, raw_cd=False)
    finding = FileFinding(disc, identity=found, cd=CdFinding(tracks, form, in_chd=True))
    return Entry(own.rpartition(b"/")[2], Kind.DISC, own, _FILE, finding=finding)


def test_cds_in_chds() -> None:
    data, sound = Track(1, TrackType.MODE2_RAW, 302), Track(2, TrackType.AUDIO, 353)
    late = Track(1, TrackType.MODE1_RAW, 302, 150, has_stored_pregap=True)
    layout = laid_out(
        cd("One.chd", CD, data, form=CdForm.ISO),
        cd("Two.chd", identity("SLUS_200.02"), data, sound),
        cd("Late.chd", identity("SLUS_200.03"), late, sound),
        cd("Homebrew.chd", OTHER, Track(1, TrackType.MODE1, 9), form=CdForm.ISO),
        cd("PS1.chd", identity("SLUS_005.94", Media.CD, System.PS1), data, sound),
        cd("Other.chd", OTHER, data, sound),
        cd("Audio.chd", OTHER, Track(1, TrackType.AUDIO, 353), sound),
    )
    assert layout.left_out == {
        b"PS1.chd": "not in the OPL layout: it is a PS1 disc",
        b"Other.chd": "not in the OPL layout: it is not a PS2 disc",
        b"Audio.chd": "not in the OPL layout: its first track has no data for an .iso",
    }
    sizes = {name: entry.size for entries in layout.discs.values()
             for name, entry in entries.items()}  # fmt: skip
    assert sizes == {
        b"SLUS_209.63.One.iso": 302 * 2048,
        b"SLUS_200.02.Two.iso": 302 * 2048,
        b"SLUS_200.03.Late.iso": 152 * 2048,
        b"Homebrew.iso": 9 * 2048,
    }


def test_other_folders_and_files_stay_where_they_are() -> None:
    layout = laid_out(
        file("ART/SLUS_209.63_COV.png"),
        file("CFG/SLUS_209.63.cfg"),
        file("ul.cfg"),
        file("APPS/deep/er/boot.elf"),
        folder("empty"),
        packed("mixed/below/Okami.zso"),
        file("mixed/readme.txt"),
    )
    assert names(layout) == [
        "APPS",
        "ART",
        "CD",
        "CFG",
        "DVD",
        "DVD/SLUS_209.63.Okami.iso",
        "empty",
        "ul.cfg",
    ]


def test_a_folder_is_not_hidden_for_discs_in_one_whose_name_begins_alike() -> None:
    layout = laid_out(packed("PS2 discs/Okami.zso"), file("PS2/readme.txt"), folder("PS2 disc"))
    assert set(layout.root) == {b"CD", b"DVD", b"PS2", b"PS2 disc"}


def test_a_symlink_to_a_folder_with_discs_is_not_shown_either() -> None:
    layout = laid_out(
        packed("PS2/RPG/Okami.zso"),
        file("ART/a.png"),
        folder("favourites", "PS2/RPG"),
        folder("pictures", "ART"),
    )
    assert set(layout.root) == {b"ART", b"CD", b"DVD", b"pictures"}


def test_what_lies_beside_the_discs_in_dvd_and_cd() -> None:
    layout = laid_out(
        file("DVD/games.bin"),
        file("cd/games.bin"),
        file("DVD/Okami.txt"),
        file("DVD/Broken.zso", reason="the file is truncated"),
        file("DVD/Broken.iso", reason="the file is truncated"),
        file("DVD/Copied.ZSO", copying=1.0),
        file("DVD/Nonsense.zso"),
        file("DVD/sub/readme.txt"),
        packed("DVD/Patapon.zso", PSP),
        file("elsewhere/games.bin"),
    )
    assert names(layout) == [
        "CD",
        "CD/games.bin",
        "DVD",
        "DVD/Okami.txt",
        "DVD/games.bin",
        "elsewhere",
    ]
    assert layout.root[b"DVD"].status is _FOLDER
    assert layout.root[b"CD"].status is SOURCE


def test_what_is_copied_or_broken_is_no_disc_yet() -> None:
    layout = laid_out(
        file("Copied.iso", DVD, copying=1.0),
        file("new/Copied.zso", copying=1.0),
        file("Broken.iso", reason="the file is truncated"),
    )
    assert names(layout) == ["Broken.iso", "CD", "Copied.iso", "DVD", "new"]


def test_a_file_called_like_a_disc_folder_gives_way() -> None:
    layout = laid_out(file("DVD"), file("Cd"), packed("Okami.zso"))
    assert names(layout) == ["CD", "DVD", "DVD/SLUS_209.63.Okami.iso"]
    assert all(entry.kind is Kind.FOLDER for entry in layout.root.values())


def test_a_share_that_is_one_already_comes_out_the_same() -> None:
    """Folders, names and places, and the discs that OPL knows without their id as well."""
    layout = laid_out(
        file("DVD/SLUS_209.63.Final Fantasy XII.iso", DVD),
        file("DVD/SLUS_211.15.Rip.iso", identity("SLUS_211.15", Media.CD)),
        file("DVD/games.bin"),
        file("CD/SLUS_200.14.Rez.iso", identity("SLUS_200.14", Media.CD)),
        file("CD/Homebrew.iso", OTHER),
        file("CFG/SLUS_209.63.cfg"),
        file("ART/SLUS_209.63_COV.png"),
        file("VMC/SLUS_209.63_0.bin", OTHER),
        folder("CHT"),
        folder("LNG"),
        folder("THM"),
        folder("APPS"),
        file("ul.cfg"),
    )
    assert names(layout) == [
        "APPS",
        "ART",
        "CD",
        "CD/Homebrew.iso",
        "CD/SLUS_200.14.Rez.iso",
        "CFG",
        "CHT",
        "DVD",
        "DVD/SLUS_209.63.Final Fantasy XII.iso",
        "DVD/SLUS_211.15.Rip.iso",
        "DVD/games.bin",
        "LNG",
        "THM",
        "VMC",
        "ul.cfg",
    ]


def test_long_titles_are_told() -> None:
    long = "x" * 200
    layout = laid_out(packed(f"{long}.zso"), packed("a/Short.zso"))
    assert layout.shortened == {f"{long}.zso".encode(): f"SLUS_209.63.{'x' * 143}.iso"}
    assert max(map(len, layout.discs[b"DVD"])) == LONGEST


def test_forbidden_characters_go() -> None:
    layout = laid_out(
        packed("caf\udce9: what?.zso"),
        packed('a/"Quoted" <1>|2*.zso'),
        packed("b/new\nline\\.zso", identity("")),
    )
    assert set(layout.discs[b"DVD"]) == {
        b"SLUS_209.63.caf_ what.iso",
        b"SLUS_209.63.Quoted 12.iso",
        b"new line.iso",
    }


words = st.text(st.sampled_from('aAbB. :*\u0130\xdf\u30dd\udcff\n"'), min_size=1, max_size=60)
tops = st.sampled_from(["", "a/", "A/", "DVD/", "dvd/", "CD/", "a/b/", "ART/"])
ids = st.sampled_from(["", "SLUS_209.63", "SLUS_200.01"])
some_discs = st.builds(
    lambda top, word, game_id, media, ending: packed(
        f"{top}{word}{ending}", identity(game_id, media)
    ),
    tops,
    words,
    ids,
    st.sampled_from(Media),
    st.sampled_from([".zso", ".CSO", ".iso"]),
)
some_files = st.builds(
    lambda top, word, ending: file(f"{top}{word}{ending}"),
    tops,
    words,
    st.sampled_from([".bin", ".txt", ""]),
)


@given(st.lists(some_discs, max_size=12), st.lists(some_files, max_size=5))
def test_every_disc_is_shown_once_and_nowhere_twice(
    discs: list[Entry], others: list[Entry]
) -> None:
    by_path = {entry.path: entry for entry in (*others, *discs)}
    layout = laid_out(*by_path.values())
    in_discs = {path for path, entry in by_path.items() if entry.kind is Kind.DISC}
    assert set(layout.places) == in_discs
    for at, entries in layout.discs.items():
        shown = {name: entry for name, entry in entries.items() if entry.kind is Kind.DISC}
        assert len({name.decode().casefold() for name in shown}) == len(shown)
        assert all(len(name) <= LONGEST and name.endswith(b".iso") for name in shown)
        for name, entry in shown.items():
            assert layout.places[entry.path] == at + b"/" + name
    assert sum(
        entry.kind is Kind.DISC for found in layout.discs.values() for entry in found.values()
    ) == len(in_discs)
    assert {name.upper() for name in layout.root} >= {b"DVD", b"CD"}
    assert not [name for name in layout.root if name.upper() in (b"DVD", b"CD") and name.islower()]
    again = laid_out(*reversed(by_path.values()))
    assert again.places == layout.places
    assert set(again.root) == set(layout.root)
