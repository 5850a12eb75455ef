"""`zsofs verify`: whole discs, DATs, what is kept from run to run, and what it says and returns."""

import hashlib
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import termios
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.mount.following.test_scan_cache import cache_home as cache_home
from tests.support import writers
from tests.support.checks import DAT_NAME, dat_of, result, results, rom
from tests.support.disks import make_disk, take_down
from tests.support.ends import spawned
from tests.support.mounting import DATA, ZSOFS, wait_until
from tests.support.packed import reports, zsofs
from tests.support.rounds import rounds
from tests.unit.cli.test_messages import refused
from tests.unit.discs.test_identify import PSP_FILES, made, raw
from zsofs.discs.dat import Dat, load
from zsofs.images.input_image import original
from zsofs.inspection.verify import VerifyRequest, VerifyRun
from zsofs.inspection.verify_cache import open_checked
from zsofs.inspection.verify_report import VerifyReporter
from zsofs.system import volume_id
from zsofs.system.sqlite_store import row_check

MANIFEST = json.loads((DATA / "manifest.json").read_text())
FIXTURES = sorted(name for name in MANIFEST if name != "_")
IMAGES = {name: (DATA / f"{name}.iso").read_bytes() for name in ("ps2", "psp", "odd")}
GAMES = {
    "ps2": "Sample Disc 11 (USA)",
    "psp": "Sample Disc 12 (Europe) (En,Fr)",
    "odd": "Odd & End",
}


@pytest.fixture
def dat(tmp_path: Path) -> Path:
    """A DAT with all images of the fixtures, and a few others."""
    games = {GAMES[name]: [rom(f"{GAMES[name]}.iso", IMAGES[name])] for name in GAMES}
    games["Another (Japan)"] = [rom("Another (Japan).iso", b"another" * 1000)]
    return put(tmp_path / "list.dat", dat_of(games).encode())


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def age(*paths: Path) -> None:
    """As if these files had been there for a while: fresh ones are not kept."""
    newest = max(path.stat().st_ctime_ns for path in paths)
    wait_until(lambda: time.time_ns() > newest + 2.05e9, "files to grow old")


def checked_rows(cache_home: Path) -> int:
    file = cache_home / "zsofs" / "verified.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM file").fetchone()[0])


# Whole discs


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture(dat: Path, name: str) -> None:
    known = MANIFEST[name]
    bare = result(DATA / name)
    assert bare.verdict.state == "whole"
    assert bare.size == known["size"]
    image = IMAGES[known["image"]]
    assert bare.digests.sha1 == known["sha1"] == hashlib.sha1(image).hexdigest()
    assert bare.digests.md5 == hashlib.md5(image).hexdigest()
    assert bare.digests.crc32 == f"{zlib.crc32(image):08x}"
    verified = result(DATA / name, load(dat)).verdict
    assert verified.state == "verified"
    assert verified.game == GAMES[known["image"]]
    assert verified.reason == f"“{verified.game}” of {DAT_NAME}"
    quick = result(DATA / name, quick=True)
    assert quick.verdict.state == "sound"
    assert quick.digests.sha1 == ""


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 100_000])
@pytest.mark.parametrize("name", writers.WRITERS)
def test_what_each_writer_makes(tmp_path: Path, name: str, size: int) -> None:
    image = writers.content(size, ["text", "noise", "zeros", "tight"], size)
    path = put(tmp_path / "Game.zso", writers.WRITERS[name](image))
    with original(str(path)) as opened:
        shown = (
            writers.kept(image, opened.disc.block_size)
            if opened.disc and name in writers.DROPS_TAIL
            else image
        )
    found = result(path)
    assert found.verdict.state == "whole", found
    assert found.digests.sha1 == hashlib.sha1(shown).hexdigest()
    assert result(path, quick=True).verdict.state == "sound"


@settings(max_examples=rounds(80, 200))
@given(writers.containers())
def test_whatever_the_writers_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[bytes, bytes, str]
) -> None:
    image, content, what = made
    path = put(tmp_path_factory.getbasetemp() / "any.zso", content)
    found = result(path)
    assert found.verdict.state == "whole", (what, found)
    assert found.digests.sha1 == hashlib.sha1(image).hexdigest(), what
    assert result(path, quick=True).verdict.state == "sound", what


@pytest.mark.parametrize("writer", ["ziso_py", "maxcso", "danixu"])
def test_the_index_of_a_whole_dvd9(tmp_path: Path, writer: writers.SparseWriter) -> None:
    path = tmp_path / "Game.zso"
    count = 4_169_000
    writers.sparse_ziso(path, count * 2048, writer=writer, blocks={9: b"a" * 2048})
    assert result(path, quick=True).verdict.state == "sound"
    with path.open("r+b") as file:
        file.seek(24 + 4 * 4_000_000)
        file.write(bytes(4))
    damage = result(path, quick=True).damage
    assert damage is not None
    assert damage.bad == 2
    assert damage.block == 3_999_999
    assert damage.image_offset == 3_999_999 * 2048


@pytest.mark.parametrize("options", [(), ("--for", "console"), ("--block-size", "128K")])
def test_what_zsofs_packs(tmp_path: Path, dat: Path, options: tuple[str, ...]) -> None:
    zsofs("pack", *options, DATA / "ps2.iso", "-o", tmp_path / "Game.zso")
    console = "console" in options
    assert result(tmp_path / "Game.zso").verdict.state == ("whole" if console else "sealed")
    assert result(tmp_path / "Game.zso", load(dat)).verdict.game == GAMES["ps2"]
    zsofs("unpack", tmp_path / "Game.zso", "-o", tmp_path / "Game.iso")
    assert result(tmp_path / "Game.iso", load(dat)).verdict.game == GAMES["ps2"]


def test_the_lost_last_byte_is_told_each_time(cache_home: Path) -> None:
    for _ in range(2):
        (found,) = reports("verify", DATA / "ziso-compressor.zso")
        assert "the last byte of the image was not stored" in found["remarks"][0]


# DATs


def test_a_renamed_disc_is_found_all_the_same(tmp_path: Path, dat: Path) -> None:
    shutil.copy(DATA / "ziso-py.zso", tmp_path / "Another (Japan).zso")
    assert result(tmp_path / "Another (Japan).zso", load(dat)).verdict.game == GAMES["ps2"]


def test_a_damaged_disc_under_the_right_name_is_not(tmp_path: Path, dat: Path) -> None:
    """LZ4 has no checksums: a byte that changed decodes all the same."""
    image = bytearray(IMAGES["ps2"])
    image[700_000] ^= 1
    path = put(tmp_path / f"{GAMES['ps2']}.zso", writers.maxcso_zso(bytes(image)))
    found = result(path, load(dat)).verdict
    assert found.state == "unknown"
    assert found.reason == (
        "not in any DAT: the entry of the same name has different checksums, so this file may"
        " be damaged"
    )
    assert result(path.rename(tmp_path / "Game.zso"), load(dat)).verdict.reason == "not in any DAT"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (-1000, "1000 more bytes, so the end may be missing"),
        (-32 << 10, "32768 more bytes, so the end may be missing"),
        (2048, "2048 fewer bytes, so the end may be padded"),
        ((32 << 10) + 1, "different checksums, so this file may be damaged"),
    ],
)
def test_a_disc_with_another_end_than_that_of_its_name(
    tmp_path: Path, dat: Path, change: int, why: str
) -> None:
    image = IMAGES["ps2"][: len(IMAGES["ps2"]) + min(change, 0)] + bytes(max(change, 0))
    found = result(put(tmp_path / f"{GAMES['ps2']}.iso", image), load(dat)).verdict
    assert found.state == "unknown"
    assert found.reason == f"not in any DAT: the entry of the same name has {why}"


def test_an_unknown_disc_that_is_as_it_was_packed(tmp_path: Path, dat: Path) -> None:
    put(tmp_path / "Game.iso", IMAGES["ps2"][:-1])
    zsofs("pack", tmp_path / "Game.iso")
    found = result(tmp_path / "Game.zso", load(dat)).verdict
    assert found.state == "unknown"
    assert found.reason == "not in any DAT; it is identical to the packed image"


def test_bad_dumps_and_weak_checksums_are_called_so(tmp_path: Path) -> None:
    lines = {"Odd": [rom("Odd.iso", IMAGES["odd"], keys="crc", status="baddump")]}
    found = result(DATA / "odd.iso", load(put(tmp_path / "a.dat", dat_of(lines).encode()))).verdict
    assert found.state == "verified"
    assert found.reason == (
        f"“Odd” of {DAT_NAME}, which marks it as a bad dump, matched only by CRC-32"
    )


def cd_dat(tmp_path: Path, **games: list[bytes]) -> Dat:
    lines = {
        name: [rom(f"{name}.cue", b"cue")]
        + [rom(f"{name} ({number}).bin", track) for number, track in enumerate(tracks, 1)]
        for name, tracks in games.items()
    }
    return load(put(tmp_path / "cd.dat", dat_of(lines).encode()))


def test_cds(tmp_path: Path) -> None:
    """A track of raw sectors can be verified; an image of 2048-byte sectors can not, ever."""
    cooked = IMAGES["ps2"]
    track, audio = raw(cooked, 2), b"\x01\x02" * 1176 * 20
    dat = cd_dat(tmp_path, Single=[track], Double=[track[: 2352 * 100], audio])
    as_bin = put(tmp_path / "Single.bin", track)
    packed = put(tmp_path / "Packed.zso", writers.danixu(track, block_size=2352))
    for path in (as_bin, packed):
        assert result(path, dat).verdict.game == "Single"
    for path in (DATA / "ps2.iso", DATA / "ziso-py.zso"):
        found = result(path, dat).verdict
        assert found.state == "not comparable"
        assert found.reason == (
            "a CD with sectors of 2048 bytes, while the DAT lists raw sectors of 2352 bytes"
            " (.bin); according to its size it may be “Single”"
        )
    whole = put(tmp_path / "Whole.bin", track[: 2352 * 100] + audio)
    found = result(whole, dat).verdict
    assert found.state == "verified"
    assert found.reason == f"“Double” of {DAT_NAME}, all 2 tracks"
    other = put(tmp_path / "Other.bin", raw(cooked, 1))
    assert result(other, dat).verdict.state == "unknown"
    assert result(DATA / "psp.iso", dat).verdict.state == "unknown"  # no CD, whatever its size


def test_a_dat_without_cds_has_nothing_to_compare_wrongly(tmp_path: Path, dat: Path) -> None:
    image = made({"/SYSTEM.CNF": b"BOOT2 = cdrom0:\\SLUS_209.63;1\r\n"})
    assert result(put(tmp_path / "a.iso", image), load(dat)).verdict.state == "unknown"


def test_the_second_of_two_dats(tmp_path: Path, dat: Path) -> None:
    other = put(tmp_path / "b.dat", dat_of({"B": [rom("b.iso", b"b")]}, name="Other").encode())
    done = zsofs("verify", "--dat", other, "--dat", dat, DATA / "psp.iso").stdout
    assert f"verified, “{GAMES['psp']}” of {DAT_NAME}" in done


# A library


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Discs of all sorts in folders, and what is none."""
    folder = tmp_path / "library"
    put(folder / "a" / "Okami.zso", (DATA / "ziso-py.zso").read_bytes())
    put(folder / "a" / "Plain.iso", IMAGES["psp"])
    put(folder / "b" / "Track.bin", raw(made(PSP_FILES), 1))
    put(folder / "b" / "Portable.bin", made(PSP_FILES))
    put(folder / "b" / "Unknown", writers.zsoz(b"unknown" * 1000))
    put(folder / "Card.bin", b"a memory card" * 1000)
    put(folder / "notes", b"text")
    put(folder / "cover.jpg", b"jpg")
    put(folder / "._hidden.zso", b"\0\5\x16\7hidden")
    put(folder / "a" / "games.bin", b"")
    return folder


def test_a_folder(library: Path, dat: Path) -> None:
    found = {Path(one["path"]).name: one for one in reports("verify", library)}
    assert set(found) == {"Okami.zso", "Plain.iso", "Track.bin", "Portable.bin", "Unknown"}
    assert {one["state"] for one in found.values()} == {"whole"}
    done = zsofs("verify", "--dat", dat, library, code=10)
    lines = done.stdout.splitlines()
    assert lines[0] == f"{library}/a/Okami.zso: verified, “{GAMES['ps2']}” of {DAT_NAME}"
    assert lines[-1] == "5 files: 3 unknown, 2 verified"
    assert done.stderr == (
        "zsofs: left out: 1 AppleDouble file\nzsofs: 3 of 5 files are not in the DAT\n"
    )
    assert zsofs("verify", "-q", "--dat", dat, library, code=10).stdout == ""


def test_a_bin_that_the_dat_has_the_size_of_is_a_disc(library: Path, tmp_path: Path) -> None:
    card = (library / "Card.bin").read_bytes()
    dat = cd_dat(tmp_path, Game=[card])
    states = {Path(one.path).name: one.verdict.game for one in results(library, dats=(dat,))}
    assert states["Card.bin"] == "Game"


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = zsofs("verify", tmp_path / "empty")
    assert done.stdout == ""
    assert done.stderr == "zsofs: no discs found\n"


def test_bad_ones_do_not_stop_the_others(library: Path) -> None:
    content = bytearray((DATA / "ziso-py.zso").read_bytes())
    put(library / "0-cut.zso", bytes(content[:-100]))
    put(library / "1-empty.zso", b"")
    put(library / "2-foreign.cso", writers.gamecube_ciso())
    os.mkfifo(library / "3-pipe.zso")
    content[24:28] = b"\xff\xff\xff\x7f"
    put(library / "4-index.zso", bytes(content))
    found = {Path(one["path"]).name: one for one in reports("verify", library, code=9)}
    assert found["0-cut.zso"]["state"] == "bad"
    assert found["0-cut.zso"]["reason"].startswith(
        "the file is truncated: its index ends at 680184"
    )
    assert found["1-empty.zso"]["reason"] == (
        "it has the name of a packed disc, but it is an empty file"
    )
    assert found["2-foreign.cso"]["state"] == "unreadable"
    assert "GameCube" in found["2-foreign.cso"]["reason"]
    assert found["3-pipe.zso"]["state"] == "unreadable"
    assert found["4-index.zso"]["state"] == "bad"
    assert found["Okami.zso"]["state"] == "whole"
    done = zsofs("verify", "-q", library, code=9)
    assert len(done.stdout.splitlines()) == 5
    assert done.stderr == "zsofs: 3 of 10 files are bad\n"


def test_exit_codes(tmp_path: Path, dat: Path) -> None:
    assert zsofs("verify", DATA / "ps2.iso").stderr == ""
    bad = put(tmp_path / "bad.zso", b"")
    unknown = put(tmp_path / "unknown.iso", b"unknown")
    none = tmp_path / "none"
    assert zsofs("verify", none, code=8).stderr == "zsofs: 1 of 1 file is unreadable\n"
    assert zsofs("verify", none, bad, code=9).stderr == "zsofs: 1 of 2 files is bad\n"
    zsofs("verify", "--dat", dat, unknown, none, code=8)
    zsofs("verify", "--dat", dat, unknown, bad, code=9)
    zsofs("verify", "--dat", dat, unknown, code=10)
    zsofs("verify", "--dat", dat, unknown, DATA / "ps2.iso", code=10)
    zsofs("verify", "--dat", dat, DATA / "ps2.iso", DATA / "psp.iso")


def test_a_command_line_that_makes_no_sense(tmp_path: Path, dat: Path) -> None:
    assert "FILE|DIR" in refused(2, "verify")
    assert ("--quick and --dat cannot be combined") in refused(
        2, "verify", "--quick", "--dat", dat, DATA
    )
    assert "not allowed with" in refused(2, "verify", "-q", "--json", DATA)
    assert "cannot be read: No such file" in refused(2, "verify", "--dat", tmp_path / "x", DATA)
    assert "is not a DAT: expected XML (Logiqx)" in refused(
        2, "verify", "--dat", DATA / "ps2.iso", DATA
    )
    assert "FILE" in refused(2, "info")
    for command in ("info", "verify"):
        assert "examples:" in zsofs(command, "--help").stdout


@pytest.mark.usefixtures("as_root", "another_user")
def test_a_folder_that_cannot_be_read(library: Path) -> None:
    (library / "b").chmod(0)
    words = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "--inh-caps=-all"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/nowhere")
        for path in (library, *library.parents):
            if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o055 != 0o055:
                if path == Path(tempfile.gettempdir()):
                    break
                path.chmod(path.stat().st_mode | 0o555)
        for name in [name for name in os.environ if name.startswith("COVERAGE")]:
            patch.delenv(name)  # that user cannot write where it is counted
        done = subprocess.run(
            [*words, *ZSOFS, "verify", "--json", str(library)],
            capture_output=True,
            text=True,
            check=False,
        )
    (library / "b").chmod(0o755)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    unread = [one for one in found if one["state"] == "unreadable"]
    assert [one["path"] for one in unread] == [f"{library}/b"], unread
    assert unread[0]["reason"] == "the directory cannot be read: Permission denied"
    assert done.returncode == 8


# What is kept


def read_before(found: list[dict[str, Any]]) -> dict[str, bool]:
    return {Path(one["path"]).name: one["read_before"] for one in found}


def test_a_whole_file_is_read_once(library: Path, dat: Path, cache_home: Path) -> None:
    age(*library.rglob("*"))
    assert not any(read_before(reports("verify", library)).values())
    assert checked_rows(cache_home) == 5
    again = reports("verify", "--dat", dat, library, code=10)
    assert all(read_before(again).values())
    okami = next(one for one in again if one["path"].endswith("Okami.zso"))
    assert okami["game"] == GAMES["ps2"]  # another DAT is another question to the same checksums
    assert okami["sha1"] == MANIFEST["ziso-py.zso"]["sha1"]
    assert "(read on 2" in zsofs("verify", library / "a" / "Okami.zso").stdout
    assert not any(read_before(reports("verify", "--no-cache", library)).values())


def test_a_changed_file_is_read_again(library: Path) -> None:
    path = library / "a" / "Okami.zso"
    age(path)
    zsofs("verify", path)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-3:] = b"!!!"
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the change time gives it away
    assert path.stat().st_size == before.st_size
    (found,) = reports("verify", path, code=9)
    assert not found["read_before"]
    assert found["state"] == "changed"
    assert found["sha1"] != MANIFEST["ziso-py.zso"]["sha1"]


def test_what_is_bad_or_fresh_is_not_kept(tmp_path: Path, cache_home: Path) -> None:
    content = bytearray((DATA / "ziso-py.zso").read_bytes())
    content[24 + 4 * 400 : 24 + 4 * 401] = bytes(4)
    bad = put(tmp_path / "bad.zso", bytes(content))
    age(bad)
    fresh = put(tmp_path / "fresh.zso", (DATA / "ziso-py.zso").read_bytes())
    zsofs("verify", bad, fresh, code=9)
    assert checked_rows(cache_home) == 0


class Meanwhile(VerifyReporter):
    """Does something as soon as some bytes have been read."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(quiet=True, as_json=True)
        self._act: Callable[[], object] | None = act

    def advance(self, plain: int, packed: int) -> None:
        """See :class:`Bars`."""
        act, self._act = self._act, None
        if act is not None:
            act()
        super().advance(plain, packed)


def verified_meanwhile(path: Path, act: Callable[[], object]) -> dict[str, int]:
    """How many files came out in each way where *act* was done while one was read."""
    with closing(open_checked()) as checked, Meanwhile(act) as reporter:
        VerifyRun(VerifyRequest([str(path)]), reporter, checked).run()
        return dict(reporter.states)


def test_a_file_that_is_changed_while_it_is_read_is_not_called_bad(
    tmp_path: Path, cache_home: Path
) -> None:
    """Its old date is put back; what was read of it is a mix."""
    image = writers.content(32 << 20, ["text"], 1)
    path = put(tmp_path / "disc.zso", writers.maxcso_zso(image))
    before = path.stat()

    def spoil() -> None:
        with path.open("r+b") as file:
            file.seek(before.st_size // 2)
            file.write(bytes(before.st_size // 2))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert verified_meanwhile(path, spoil) == {"unreadable": 1}
    assert checked_rows(cache_home) == 0


def test_a_file_that_was_fresh_when_it_was_opened_is_not_kept(
    tmp_path: Path, cache_home: Path
) -> None:
    """However long it takes to read it: its first bytes may have been others in the same tick."""
    path = put(tmp_path / "disc.zso", (DATA / "ziso-py.zso").read_bytes())
    assert verified_meanwhile(path, lambda: time.sleep(2.1)) == {"whole": 1}
    assert checked_rows(cache_home) == 0


def test_a_date_to_come_does_not_make_a_file_fresh(library: Path) -> None:
    path = library / "a" / "Okami.zso"
    os.utime(path, (2**32, 2**32))
    age(path)
    assert read_before(reports("verify", path)) == {"Okami.zso": False}
    assert read_before(reports("verify", path)) == {"Okami.zso": True}


def test_another_file_under_the_name_is_not_believed(library: Path) -> None:
    one, other = library / "a" / "Okami.zso", library / "b" / "Other.zso"
    put(other, writers.maxcso_zso(IMAGES["psp"]))
    age(one, other)
    zsofs("verify", one, other)
    other.replace(one)
    (found,) = reports("verify", one)
    assert found["sha1"] == hashlib.sha1(IMAGES["psp"]).hexdigest()


@contextmanager
def exfat_mounted(image: Path, point: Path) -> Iterator[str]:
    """exFAT, which keeps no change times, by its FUSE driver; the path of its device."""
    point.mkdir(exist_ok=True)
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    device = run(["losetup", "--find", "--show", image]).stdout.strip()
    try:
        run(["mount.exfat-fuse", device, point])
        yield device
    finally:
        take_down(point)
        run(["losetup", "--detach", device])


@pytest.mark.parametrize("by_uuid", [False, True])
def test_a_backup_disk_at_the_same_place_is_read(
    as_root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: Path, by_uuid: bool
) -> None:
    """With a copy of the same size and dates, which is damaged."""
    links, point = tmp_path / "by-uuid", tmp_path / "point"
    links.mkdir()
    monkeypatch.setattr(volume_id, "_BY_UUID", links)
    zsofs("pack", DATA / "ps2.iso", "-o", tmp_path / "Game.zso")
    content = bytearray((tmp_path / "Game.zso").read_bytes())
    images = [make_disk(tmp_path / f"{name}.img", 16 << 20, "mkfs.exfat") for name in "AB"]
    for image in images:
        with exfat_mounted(image, point):
            put(point / "Game.zso", bytes(content))
            os.utime(point / "Game.zso", (1_600_000_000, 1_600_000_000))
        content[len(content) // 2] ^= 1
    keys, found = [], []
    for image in (images[0], images[0], images[1]):
        with exfat_mounted(image, point) as device, closing(open_checked()) as checked:
            if by_uuid:
                (links / f"UUID-of-{image.stem}").symlink_to(device)
            status = (point / "Game.zso").stat()
            keys.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            found += results(point / "Game.zso", checked=checked)
        for link in links.iterdir():
            link.unlink()
    assert len(set(keys)) == 1, "only the disk is another one"
    assert [one.verdict.state for one in found] == ["sealed", "sealed", "bad"]
    assert [bool(one.checked_at) for one in found] == [False, by_uuid, False]


@pytest.mark.parametrize("content", [b"no database", b"", b"SQLite format 3\0" + bytes(5000)])
def test_a_broken_store_is_made_anew(cache_home: Path, content: bytes) -> None:
    put(cache_home / "zsofs" / "verified.sqlite", content)
    age(DATA / "ps2.iso")
    (found,) = reports("verify", DATA / "ps2.iso")
    assert not found["read_before"]
    (found,) = reports("verify", DATA / "ps2.iso")
    assert found["read_before"]


@pytest.mark.parametrize("row", ["[]", "{}", "null", "{", '{"size": "x", "remarks": []}'])
def test_rows_that_make_no_sense_are_not_believed(cache_home: Path, row: str) -> None:
    zsofs("verify", DATA / "ps2.iso")
    file = cache_home / "zsofs" / "verified.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE file SET whole = ?", (row,))
        (values,) = connection.execute("SELECT * FROM file").fetchall()
        connection.execute("UPDATE file SET row_check = ?", (row_check(values[:-1]),))
    (found,) = reports("verify", DATA / "ps2.iso")
    assert not found["read_before"]
    assert found["sha1"] == hashlib.sha1(IMAGES["ps2"]).hexdigest()


def test_where_nothing_can_be_kept(cache_home: Path) -> None:
    put(cache_home, b"a file where the folder should be")
    done = zsofs("verify", DATA / "ps2.iso")
    assert "whole" in done.stdout
    assert "verified.sqlite cannot be used" in done.stderr


def test_an_interrupted_batch_goes_on_where_it_was(tmp_path: Path, cache_home: Path) -> None:
    folder = tmp_path / "library"
    small = put(folder / "0.zso", writers.maxcso_zso(IMAGES["ps2"]))
    large = folder / "1.zso"
    writers.sparse_ziso(large, 20 << 30, block_size=2048, writer="maxcso")
    age(small, large)
    process = subprocess.Popen(
        [*ZSOFS, "verify", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == (
        f"{small}: whole, every block can be decoded; there are no checksums to compare with\n"
    )
    process.send_signal(signal.SIGINT)
    _out, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (
        said
        == "zsofs: interrupted; files that were already verified are not read again next time\n"
    )
    large.unlink()
    (found,) = reports("verify", folder)
    assert found["read_before"]


def on_terminal(*words: str | Path) -> tuple[str, str]:
    """What a command prints, and what a terminal that is its standard error shows."""
    own, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    try:
        with spawned(
            [*ZSOFS, *map(str, words)], stdout=subprocess.PIPE, stderr=its, text=True
        ) as process:
            os.close(its)
            shown = b""
            with suppress(OSError):  # EIO: nobody has the other end any more
                while piece := os.read(own, 65536):
                    shown += piece
            assert process.stdout is not None
            return process.stdout.read(), shown.decode()
    finally:
        os.close(own)


def test_bars_are_for_terminals(tmp_path: Path) -> None:
    path = tmp_path / "Game.zso"
    writers.sparse_ziso(path, 250 << 20, writer="maxcso")
    said, shown = on_terminal("verify", path, DATA / "ps2.iso")
    assert said.splitlines()[-1] == "2 files: 2 whole"
    assert "Game.zso |" in shown
    assert "B/s" in shown
    assert "2 files |" in shown
    for words in (["-q"], ["--quick"]):
        _said, shown = on_terminal("verify", *words, path)
        assert "B/s" not in shown
    assert zsofs("verify", "--no-cache", path).stderr == ""


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Of a disc that is larger than it may get."""
    path = tmp_path / "Game.zso"
    writers.sparse_ziso(path, rounds(210 << 20, 1 << 30), writer="maxcso")
    code = (  # ru_maxrss would also count the process that this one was forked from
        "import re, sys; from zsofs.cli.main import main; code = main(sys.argv[1:]);"
        "print(code, *re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()))"
    )
    done = subprocess.run(
        [ZSOFS[0], "-c", code, "verify", str(path)], capture_output=True, text=True, check=True
    )
    exit_code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert exit_code == 0
    assert peak < 200 << 10
