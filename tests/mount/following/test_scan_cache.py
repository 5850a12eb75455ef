"""What one mount found in the source's files is known to the next, and does no harm if it is wrong.

The catalog holds no bytes of discs, so that a wrong one may cost an error, a file that is shown
packed, or another look: never a wrong byte.
"""

import errno
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from inotify_simple import INotify, flags

from tests.conftest import MountMaker
from tests.support import writers
from tests.support.mounting import RACY_SECONDS, Mount, mounted, wait_until, wait_until_kept
from zsofs.discs.cd_forms import CdForm
from zsofs.discs.identify import Identity, Media, System
from zsofs.formats.cd_tracks import Track, TrackType
from zsofs.formats.geometry import ChdCodec, Codec
from zsofs.formats.sheets import parse_sheet
from zsofs.images.probe import Disc
from zsofs.source.cd_finding import CdFinding
from zsofs.source.file_looks import _is_racy
from zsofs.source.finding import FileFinding
from zsofs.source.scan import Scanner
from zsofs.source.scan_cache import ScanCache, default_catalog_file
from zsofs.source.scan_result import ScanHints
from zsofs.source.tree import SourceTree
from zsofs.system.sqlite_store import StoreSchema, open_store, row_check

IMAGES = {
    f"{number}": writers.content(100_000 + 2048 * number, ["text", "noise", "zeros"], number)
    for number in range(4)
}
PACKERS: tuple[writers.Writer, ...] = (
    writers.maxcso_zso,
    writers.zstd_ziso,
    writers.maxcso_cso1,
    partial(writers.zsoz, block_size=16384),
)
ROOT = Path(__file__).parents[3]
SECONDS = 0.5


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own where catalogs go."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def discs(source: Path) -> Path:
    """A source with four discs, one of them in a folder, and two files that are none."""
    (source / "folder").mkdir()
    for (name, image), pack in zip(IMAGES.items(), PACKERS, strict=True):
        write(source / f"{name}.zso", pack(image))
    (source / "3.zso").rename(source / "folder" / "3.zso")
    write(source / "none.iso", b"no disc" * 1000)
    write(source / "broken.zso", writers.maxcso_zso(IMAGES["0"])[:-1])
    wait_until_kept(source)
    return source


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def catalog_of(source: Path) -> Path:
    file = default_catalog_file(os.fsencode(source))
    assert file is not None
    return file


def rows(source: Path) -> dict[tuple[bytes, bytes], int | None]:
    """Folder and name of each finding, and the size of the disc that was found."""
    with closing(sqlite3.connect(f"file:{catalog_of(source)}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT folder, name, image_size FROM file").fetchall()
    return {(folder, name): size for folder, name, size in found}


def change(file: Path, statement: str, *values: object) -> None:
    """Change rows of a catalog that nobody has open, with checksums that fit: on purpose."""
    with closing(sqlite3.connect(file)) as connection:
        with connection:
            connection.execute(statement, values)
            for *row, _ in connection.execute("SELECT * FROM file").fetchall():
                connection.execute(
                    "UPDATE file SET row_check = ? WHERE folder IS ? AND name IS ?",
                    (row_check(row), row[0], row[1]),
                )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


SHOWN = {"0.iso", "1.iso", "2.iso", "folder/3.iso", "none.iso", "broken.zso"}


def check(mount: Mount) -> None:
    """All is shown as it has to be, and every byte of it is right."""
    assert names(mount.path) == SHOWN
    for path in mount.path.rglob("*.iso"):
        if path.name != "none.iso":
            assert path.stat().st_size == len(IMAGES[path.stem])
            assert path.read_bytes() == IMAGES[path.stem]
    for name in ("none.iso", "broken.zso"):
        assert (mount.path / name).read_bytes() == (mount.source / name).read_bytes()
    assert not mount.log_lines("internal error in zsofs")
    assert not mount.log_lines("Traceback")


def list_once(source: Path, tmp_path: Path) -> None:
    """Have an earlier mount fill the catalog."""
    with mounted(source, tmp_path / "earlier") as made:
        names(made.path)


@contextmanager
def opened_files(source: Path) -> Iterator[Callable[[], set[str]]]:
    """Watch which files of the source are opened by anyone: a function that tells, and forgets."""
    folders = [source, *(path for path in source.rglob("*") if path.is_dir())]
    with closing(INotify()) as watcher:
        watched = {watcher.add_watch(folder, flags.OPEN): folder for folder in folders}

        def opened() -> set[str]:
            return {
                str((watched[watch] / name).relative_to(source))
                for watch, _, _, name in watcher.read(timeout=0)
                if name and not (watched[watch] / name).is_dir()
            }

        yield opened


# What a catalog is for


def test_a_second_mount_opens_no_file_of_a_library_that_it_lists(
    discs: Path, tmp_path: Path
) -> None:
    with opened_files(discs) as opened:
        with mounted(discs, tmp_path / "first") as made:
            assert names(made.path) == SHOWN
        assert opened() == {"0.zso", "1.zso", "2.zso", "folder/3.zso", "none.iso", "broken.zso"}
        with mounted(discs, tmp_path / "second") as made:
            assert names(made.path) == SHOWN
            assert made.log_lines("broken.zso: shown as a plain file"), (
                "what is wrong is told again"
            )
            assert opened() == set()
            check(made)


def test_a_playlist_is_read_once_to_be_listed_and_again_to_be_opened(
    discs: Path, tmp_path: Path
) -> None:
    """A wrong cache does not change what is read."""
    write(discs / "List.m3u", b"0.zso\nx.zso\n")
    wait_until_kept(discs)
    list_once(discs, tmp_path)
    with opened_files(discs) as opened, mounted(discs, tmp_path / "mnt") as made:
        before = (made.path / "List.m3u").stat()
        assert before.st_size == 12
        assert opened() == set()
        assert (made.path / "List.m3u").read_bytes() == b"0.iso\nx.zso\n"
        assert opened() == {"List.m3u"}
    change(catalog_of(discs), "UPDATE file SET sheet = ? WHERE sheet != x''", b"1.zso\n")
    with mounted(discs, tmp_path / "mnt") as made:
        assert (made.path / "List.m3u").stat().st_size == 6
        found = read_or_none(made.path / "List.m3u")
        assert found in (None, b"0.iso\nx.zso\n")
        wait_until(lambda: read_or_none(made.path / "List.m3u") == b"0.iso\nx.zso\n", "the text")
        now = (made.path / "List.m3u").stat()
        assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for wrong in ("1.zso\n", 5, None, b"no disc", b"x" * 70_000):
        change(catalog_of(discs), "UPDATE file SET sheet = ? WHERE name = ?", wrong, b"List.m3u")
        right = b"0.zso\nx.zso\n" if isinstance(wrong, bytes) else b"0.iso\nx.zso\n"
        with mounted(discs, tmp_path / "mnt") as made:
            assert (made.path / "List.m3u").read_bytes() == right
            assert (made.path / "0.iso").read_bytes() == IMAGES["0"]


def test_only_files_that_changed_between_two_mounts_are_looked_into(
    discs: Path, tmp_path: Path
) -> None:
    list_once(discs, tmp_path)
    write(discs / "0.zso", writers.zstd_ziso(IMAGES["1"]))
    (discs / "1.zso").rename(discs / "folder" / "1.zso")
    os.utime(discs / "2.zso")
    (discs / "none.iso").unlink()
    with opened_files(discs) as opened, mounted(discs, tmp_path / "mnt") as made:
        assert names(made.path) == {"0.iso", "2.iso", "folder/1.iso", "folder/3.iso", "broken.zso"}
        assert opened() == {"0.zso", "2.zso", "folder/1.zso"}
        assert (made.path / "0.iso").read_bytes() == IMAGES["1"]
        assert (made.path / "folder" / "1.iso").read_bytes() == IMAGES["1"]
    assert {(b"", b"1.zso"), (b"", b"none.iso")}.isdisjoint(rows(discs))


def test_only_a_file_that_changes_under_a_mount_is_looked_into_again(
    discs: Path, tmp_path: Path, mount: MountMaker
) -> None:
    made = mount(discs)
    check(made)
    (tmp_path / "new").write_bytes(writers.zstd_ziso(IMAGES["1"]))
    with opened_files(discs) as opened:
        (tmp_path / "new").rename(discs / "0.zso")
        (discs / "new.txt").touch()
        wait_until(lambda: (made.path / "0.iso").stat().st_size == len(IMAGES["1"]), "the change")
        names(made.path)
        assert opened() - {"new.txt"} == {"0.zso"}


def test_folders_that_vanish_are_dropped(discs: Path, tmp_path: Path) -> None:
    for name in ("other", "folder/below"):
        shutil.copytree(discs / "folder", discs / name)
    wait_until_kept(discs)
    with mounted(discs, tmp_path / "first") as made:
        names(made.path)
        assert {folder for folder, _ in rows(discs)} == {b"", b"folder", b"folder/below", b"other"}
        shutil.rmtree(discs / "folder")
        os.listdir(made.path)
        wait_until(
            lambda: {folder for folder, _ in rows(discs)} == {b"", b"other"}, "the end of it"
        )
    shutil.rmtree(discs / "other")
    with mounted(discs, tmp_path / "second") as made:
        os.listdir(made.path)
        wait_until(lambda: {folder for folder, _ in rows(discs)} == {b""}, "the end of the other")


def test_what_was_found_within_a_tick_of_the_clock_is_not_kept(source: Path) -> None:
    """Another change in the same tick would have the same times."""
    tree = SourceTree(os.fsencode(source))
    with closing(ScanCache(None, tree.path)) as catalog:
        scanner = Scanner(tree, catalog)
        for _ in range(100):
            begin = time.monotonic()
            write(source / "0.zso", writers.maxcso_zso(IMAGES["0"]))
            found = scanner.survey(b"", frozenset(), ScanHints())
            if time.monotonic() < begin + RACY_SECONDS:
                break
            catalog.drop_folders([b""])
        else:
            pytest.fail("the machine is too slow to look at a file just written")
        assert found.entries[b"0.zso"].disc is not None
        assert catalog.folder(b"") == {}
        wait_until_kept(source)
        scanner.survey(b"", frozenset(), ScanHints())
        assert list(catalog.folder(b"")) == [b"0.zso"]


def test_a_look_into_a_file_is_no_read_of_it(source: Path) -> None:
    """Of files of ours; a file system that keeps no such dates shows nothing here."""
    path = source / "0.zso"
    write(path, writers.maxcso_zso(IMAGES["0"]))
    os.utime(path, (1, 1))
    tree = SourceTree(os.fsencode(source))
    with closing(ScanCache(None, tree.path)) as catalog:
        found = Scanner(tree, catalog).survey(b"", frozenset(), ScanHints())
    assert found.entries[b"0.zso"].disc is not None
    assert path.stat().st_atime == 1


def test_a_clock_of_whole_seconds_has_longer_ticks() -> None:
    now = time.time_ns()
    second = 1_000_000_000
    assert _is_racy((1, 5, now - second // 100))
    assert not _is_racy((1, 5, (now - second) // second * second + 7))
    assert _is_racy((1, 5, (now - second // 2) // second * second))
    assert not _is_racy((1, 5, (now - 4 * second) // second * second))


# The catalog by itself

FINDINGS = {
    b"disc": FileFinding(Disc("ZISO", Codec.ZSTD, 1 << 35, 2048, False, ("odd", "very odd"))),
    b"raw": FileFinding(Disc("ZSOZ", Codec.LZ4, 0, 2352, True)),
    b"refused": FileFinding(None, "the file is truncated \udcff"),
    b"nothing": FileFinding(None),
    b"cd": FileFinding(
        Disc("CHD", ChdCodec.CDLZ, 2048 * 9, 16384, False),
        cd=CdFinding(
            (Track(1, TrackType.MODE1_RAW, 9), Track(2, TrackType.AUDIO, 5, 2, True, 7, "RW")),
            CdForm.BIN,
            in_chd=True,
        ),
    ),
    b"Game.m3u": FileFinding(
        sheet=parse_sheet(b"Game.m3u", b"#EXTM3U\r\nP\xe9 (Disc 1).zso\r\nP\xe9 (Disc 2).zso")
    ),
    b"known \xff\n": FileFinding(
        Disc("CISO", Codec.DEFLATE, 2048, 2048, False),
        identity=Identity(System.PS2, "SLUS_210.05", "Ökami \udc80", "OKAMI", Media.DVD),
    ),
}


def discs_in(catalog: ScanCache) -> Counter[bytes]:
    """How many discs in containers the catalog knows, by folder."""
    return Counter(folder for folder, _, found in catalog.findings() if found.disc is not None)


def test_findings_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "catalog"
    key = (1 << 40, -5, 1_700_000_000_123_456_789)
    with closing(ScanCache(file, b"/source")) as catalog:
        catalog.keep(b"folder", [(name, key, finding) for name, finding in FINDINGS.items()])
        catalog.keep(b"other", [(b"disc", key, FINDINGS[b"disc"])])
    with closing(ScanCache(file, b"/source")) as catalog:
        found = catalog.folder(b"folder")
        assert found.keys() == FINDINGS.keys()
        for name in (b"disc", b"raw", b"nothing", b"cd"):
            assert found[name] == (key, FINDINGS[name])
        assert found[b"refused"][1].reason == "the file is truncated ?"
        identity = found[b"known \xff\n"][1].identity
        assert identity is not None
        assert (identity.game_id, identity.title) == ("SLUS_210.05", "Ökami ?")
        assert discs_in(catalog) == {b"folder": 4, b"other": 1}
        catalog.keep(b"folder", [(b"raw", (7, 8, 9), FINDINGS[b"nothing"])], gone=[b"disc"])
        assert catalog.folder(b"folder")[b"raw"] == ((7, 8, 9), FINDINGS[b"nothing"])
        assert b"disc" not in catalog.folder(b"folder")
        catalog.drop_folders([b"folder", b"never seen"])
        assert discs_in(catalog) == {b"other": 1}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "text"),
        ("size", "large"),
        ("mtime_ns", 1.5),
        ("ctime_ns", None),
        ("container", 7),
        ("container", b"ZISO"),
        ("codec", 12),
        ("codec", -1),
        ("codec", "LZ4"),
        ("image_size", -1),
        ("image_size", 1 << 62),
        ("image_size", "2048"),
        ("image_size", None),
        ("block_size", 0),
        ("block_size", -2048),
        ("block_size", 1 << 40),
        ("block_size", 2048.5),
        ("remarks", 5),
        ("reason", None),
        ("reason", b"bytes"),
        ("system", "PS9"),
        ("game_id", 3),
        ("title", b"bytes"),
        ("label", None),
        ("media", "cassette"),
        ("cd", "[]"),
        ("cd", 5),
    ],
)
def test_a_row_that_makes_no_sense_is_as_none(tmp_path: Path, column: str, value: object) -> None:
    file = tmp_path / "catalog"
    finding = FINDINGS[b"known \xff\n"]
    with closing(ScanCache(file, b"/source")) as catalog:
        catalog.keep(b"", [(b"1", (1, 2, 3), finding), (b"2", (1, 2, 3), finding)])
    change(file, f"UPDATE file SET {column} = ? WHERE name = ?", value, b"1")
    with closing(ScanCache(file, b"/source")) as catalog:
        assert catalog.folder(b"") == {}, "the whole catalog is created again"
        catalog.keep(b"", [(b"1", (1, 2, 3), finding)])
        assert set(catalog.folder(b"")) == {b"1"}
    with closing(ScanCache(file, b"/source")) as catalog:
        assert set(catalog.folder(b"")) == {b"1"}


def test_text_that_is_not_utf_8_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "catalog"
    with closing(ScanCache(file, b"/source")) as catalog:
        catalog.keep(b"", [(name, (1, 2, 3), FINDINGS[b"refused"]) for name in (b"1", b"2")])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE file SET reason = CAST(x'ff41' AS TEXT) WHERE name = ?", (b"1",))
    with closing(ScanCache(file, b"/source")) as catalog:
        assert catalog.folder(b"") == {}


# Catalogs that are broken, or none


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(50_000))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def scribbled(file: Path) -> None:
    """The header is whole, and nothing behind it."""
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xa5" * (file.stat().st_size - 4096))


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE file (folder, name)")
        connection.execute("INSERT INTO file VALUES ('a', 'b')")


def pragma(statement: str) -> Callable[[Path], None]:
    def write_it(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(f"PRAGMA {statement}")

    return write_it


def statement(text: str) -> Callable[[Path], None]:
    def do_it(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(text)

    return do_it


BROKEN: dict[str, Callable[[Path], None]] = {
    "garbage": garbage,
    "cut": cut,
    "empty": empty,
    "scribbled": scribbled,
    "foreign": foreign,
    "another application": pragma("application_id = 12345"),
    "a later version": pragma("user_version = 1000"),
    "another source": statement("UPDATE source SET path = CAST('/elsewhere' AS BLOB)"),
    "no files": statement("DROP TABLE file"),
    "no column": statement("ALTER TABLE file RENAME COLUMN codec TO decoc"),
    "no source": statement("DROP TABLE source"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_catalog_is_replaced(discs: Path, tmp_path: Path, how: str) -> None:
    list_once(discs, tmp_path)
    good = rows(discs)
    assert len(good) == 6
    change(
        catalog_of(discs), "UPDATE file SET image_size = 4096 WHERE name = ?", b"0.zso"
    )  # not to be used
    BROKEN[how](catalog_of(discs))
    with mounted(discs, tmp_path / "mnt") as made:
        check(made)
        assert (made.path / "0.iso").stat().st_size == len(IMAGES["0"])
    assert rows(discs) == good


def test_a_catalog_that_breaks_while_it_is_used_is_given_up(discs: Path, tmp_path: Path) -> None:
    with mounted(discs, tmp_path / "mnt") as made:
        assert "0.iso" in os.listdir(made.path)
        file = catalog_of(discs)
        for path in (file, file.with_name(file.name + "-wal")):
            if path.exists():
                garbage(path)
        (discs / "new folder").mkdir()
        write(discs / "new folder" / "0.zso", writers.zstd_ziso(IMAGES["0"]))
        wait_until((made.path / "new folder" / "0.iso").exists, "the new folder")
        assert (made.path / "new folder" / "0.iso").read_bytes() == IMAGES["0"]
        check_but_new = names(made.path) - {"new folder/0.iso"}
        assert check_but_new == SHOWN
        assert not made.log_lines("internal error in zsofs")
    shutil.rmtree(discs / "new folder")
    with mounted(discs, tmp_path / "later") as made:
        check(made)
    assert len(rows(discs)) == 6


# Catalogs that lie


def is_right(path: Path) -> bool:
    """Whether a disc can be read and is right; where it cannot be, that is all that is wrong."""
    try:
        found = path.read_bytes()
    except OSError as error:
        assert error.errno in (errno.EIO, errno.ESTALE)  # noqa: PT017
        return False
    assert found == IMAGES[path.stem], "wrong bytes"
    return True


LIES = {
    "another size": "image_size = 4096",
    "larger blocks": "block_size = 16384",
    "smaller blocks": "block_size = 1",
    "another codec": f"codec = {int(Codec.ZSTD)}",
    "a third codec": f"codec = {int(Codec.ZLIB)}",
    "a codec that it cannot have": f"codec = {int(Codec.DEFLATE)}",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_catalog_that_lies_about_a_disc_costs_an_error_at_most_and_is_put_right(
    discs: Path, tmp_path: Path, lie: str
) -> None:
    list_once(discs, tmp_path)
    good = rows(discs)
    change(catalog_of(discs), f"UPDATE file SET {LIES[lie]} WHERE name = ?", b"0.zso")
    with mounted(discs, tmp_path / "mnt") as made:
        os.listdir(made.path)
        wait_until(lambda: is_right(made.path / "0.iso"), "the right bytes")
        check(made)
    assert rows(discs) == good
    with opened_files(discs) as opened, mounted(discs, tmp_path / "later") as made:
        assert names(made.path) == SHOWN
        assert opened() == set()
        assert is_right(made.path / "0.iso")


def test_a_catalog_that_takes_a_plain_file_for_a_disc_is_put_right(
    discs: Path, tmp_path: Path
) -> None:
    list_once(discs, tmp_path)
    good = rows(discs)
    columns = "container, codec, image_size, block_size, raw_cd, remarks"
    change(
        catalog_of(discs),
        f"UPDATE file SET ({columns}) = (SELECT {columns} FROM file WHERE name = ?) WHERE name = ?",
        b"0.zso",
        b"none.iso",
    )
    with mounted(discs, tmp_path / "mnt") as made:
        assert (made.path / "none.iso").stat().st_size == len(IMAGES["0"])
        plain = (discs / "none.iso").read_bytes()
        wait_until(lambda: read_or_none(made.path / "none.iso") == plain, "the plain file")
        check(made)
    assert rows(discs) == good


def read_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        assert error.errno in (errno.EIO, errno.ESTALE)  # noqa: PT017
        return None


def test_findings_of_other_times_or_sizes_are_not_believed(discs: Path, tmp_path: Path) -> None:
    for statement_text in ("size = size + 1", "mtime_ns = mtime_ns - 1", "ctime_ns = ctime_ns + 1"):
        list_once(discs, tmp_path)
        change(catalog_of(discs), f"UPDATE file SET container = NULL, {statement_text}")
        with mounted(discs, tmp_path / "mnt") as made:
            check(made)


def test_folders_that_never_were_are_not_counted_for_long(discs: Path, tmp_path: Path) -> None:
    list_once(discs, tmp_path)
    for folder in (b"ghost", b"folder/ghost/below", b"//", b"..", b"/"):
        change(
            catalog_of(discs),
            "INSERT INTO file SELECT ?, name, size, mtime_ns, ctime_ns, container, codec,"
            " image_size, block_size, raw_cd, remarks, reason, system, game_id, title, label,"
            " media, image_remarks, content, right_ending, cd, sheet, row_check FROM file"
            " WHERE folder = ?",
            folder,
            b"folder",
        )
    with mounted(discs, tmp_path / "mnt") as made:
        check(made)
        wait_until(lambda: {folder for folder, _ in rows(discs)} == {b"", b"folder"}, "their end")


# Where no catalog can be


def test_a_folder_for_catalogs_that_is_missing_is_made(
    discs: Path, tmp_path: Path, cache_home: Path
) -> None:
    assert not cache_home.exists()
    list_once(discs, tmp_path)
    assert len(rows(discs)) == 6
    assert (cache_home / "zsofs").stat().st_mode & 0o777 == 0o700


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[None]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("size", ["4k", "32k", "64k", "100k"])
def test_a_full_disk_keeps_nobody_from_his_discs(
    as_root: None, discs: Path, tmp_path: Path, cache_home: Path, size: str
) -> None:
    """Whether there is no room for the file, for its log, or for what is put into it."""
    for number in range(300):
        shutil.copy(discs / "broken.zso", discs / "folder" / f"{number:03} {'x' * 200}.zso")
    wait_until_kept(discs)
    with small_disk(cache_home, f"size={size}"):
        for point in ("first", "second"):
            with mounted(discs, tmp_path / point) as made:
                shown = names(made.path)
                assert shown >= SHOWN
                assert len(shown) == len(SHOWN) + 300
                assert is_right(made.path / "0.iso")
                assert is_right(made.path / "folder" / "3.iso")
                assert not made.log_lines("internal error in zsofs")


def test_a_read_only_disk_does_no_harm(
    as_root: None, discs: Path, tmp_path: Path, cache_home: Path
) -> None:
    with small_disk(cache_home, "size=4m"):
        subprocess.run(["mount", "-o", "remount,ro", cache_home], check=True)
        with mounted(discs, tmp_path / "empty") as made:
            check(made)
            assert made.log_lines("cannot be used")
        subprocess.run(["mount", "-o", "remount,rw", cache_home], check=True)
        list_once(discs, tmp_path)
        subprocess.run(["mount", "-o", "remount,ro", cache_home], check=True)
        with mounted(discs, tmp_path / "filled") as made:
            check(made)


@pytest.mark.parametrize("what", ["a file", "nothing"])
def test_where_no_catalog_can_be_made_all_is_shown_as_ever(
    discs: Path, tmp_path: Path, cache_home: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "a file":
        cache_home.write_text("a file")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing/here")
    with mounted(discs, tmp_path / "mnt") as made:
        check(made)
        assert len(made.log_lines("cannot be used")) == 1


def test_a_catalog_that_another_program_keeps_to_itself_is_done_without(
    discs: Path, tmp_path: Path
) -> None:
    list_once(discs, tmp_path)
    with closing(sqlite3.connect(catalog_of(discs), isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with mounted(discs, tmp_path / "mnt") as made:
            check(made)
        connection.execute("ROLLBACK")
    assert len(rows(discs)) == 6


HANGING = """
import sys, threading
from pathlib import Path
from zsofs.source.finding import FileFinding
from zsofs.source.scan_cache import ScanCache

catalog = ScanCache(Path(sys.argv[1]), b"/source")
print("opened", flush=True)
sys.stdin.readline()
row = b"name", (1, 2, 3), FileFinding(None)
threading.Thread(target=catalog.keep, args=(b"folder", [row]), daemon=True).start()
sys.stdin.readline()
catalog.close()
print("closed", flush=True)
"""
"""Opens a catalog, uses it in a thread, closes it."""


def test_a_disk_that_hangs_under_a_catalog_does_not_hold_up_the_end(
    source: Path, mount: MountMaker
) -> None:
    disk = mount(source, "--writable")
    user = subprocess.Popen(
        [sys.executable, "-c", HANGING, disk.path / "catalog.sqlite"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert user.stdin
    assert user.stdout
    with user, closing(user.stdin):
        assert user.stdout.readline() == b"opened\n"
        os.kill(disk.daemon.pid, signal.SIGSTOP)
        try:
            user.stdin.write(b"\n")
            user.stdin.flush()
            time.sleep(SECONDS)  # until the thread hangs
            user.stdin.write(b"\n")
            user.stdin.flush()
            ready, _, _ = select.select([user.stdout], [], [], 20)
            assert ready, "it waits for the disk"
        finally:
            os.kill(disk.daemon.pid, signal.SIGCONT)
        assert user.stdout.readline() == b"closed\n"


# More than one mount


def test_two_mounts_of_one_source_share_a_catalog(
    discs: Path, tmp_path: Path, mount: MountMaker
) -> None:
    for number in range(8):
        shutil.copytree(discs / "folder", discs / f"folder {number}")
    wait_until_kept(discs)
    one, two = mount(discs), mount(discs)
    walks = [
        subprocess.Popen(["ls", "-lR", made.path], stdout=subprocess.PIPE) for made in (one, two)
    ]
    listings = [walk.communicate(timeout=60)[0].split(b"\n", 1)[1] for walk in walks]
    assert listings[0].count(b".iso") == 4 + 1 + 8
    assert sorted(names(one.path)) == sorted(names(two.path))
    for made in (one, two):
        assert is_right(made.path / "0.iso")
        assert is_right(made.path / "folder 7" / "3.iso")
        assert not made.log_lines("catalog")
        assert not made.log_lines("internal error in zsofs")
    assert len(rows(discs)) == 6 + 8
    write(discs / "0.zso", writers.zstd_ziso(IMAGES["0"]))
    for made in (one, two):
        wait_until(partial(is_right, made.path / "0.iso"), "the new disc")


def all_at_once(number: int, act: Callable[[], object]) -> None:
    barrier = threading.Barrier(number)
    with ThreadPoolExecutor(number) as pool:
        for future in [pool.submit(lambda: (barrier.wait(60), act())) for _ in range(number)]:
            future.result(300)


def make_catalog(file: Path) -> None:
    ScanCache(file, b"/source").close()


def test_mounts_that_begin_together_make_one_catalog(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite does not wait for a file that another one makes."""
    for number in range(50):
        all_at_once(4, partial(make_catalog, tmp_path / f"{number}.sqlite"))
    assert not caplog.messages


def test_mounts_that_begin_together_make_a_catalog_anew_once(tmp_path: Path) -> None:
    """What one of them has made is not an earlier one's, which the other found before."""
    file, both_found = tmp_path / "store.sqlite", threading.Barrier(2)
    kept: list[object] = []

    def is_ours(store: sqlite3.Connection) -> bool:
        if store.execute("SELECT * FROM numbers").fetchall() != [(0,)]:
            return True
        with suppress(threading.BrokenBarrierError):
            if both_found.wait(SECONDS):
                wait_until(lambda: kept, "the other one")
        return False

    def keep() -> None:
        schema = ("CREATE TABLE numbers (number)",)
        with closing(open_store(file, StoreSchema(1, 1, schema, is_ours, add))) as store, store:
            store.execute("INSERT INTO numbers VALUES (2)")
        kept.append(1)

    def add(store: sqlite3.Connection) -> None:
        store.execute("INSERT INTO numbers VALUES (1)")

    with closing(
        open_store(file, StoreSchema(1, 1, ("CREATE TABLE numbers (number)",), bool))
    ) as old:
        old.execute("INSERT INTO numbers VALUES (0)")
        old.commit()
    all_at_once(2, keep)
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("SELECT number FROM numbers").fetchall() == [(1,), (2,), (2,)]


def test_sources_do_not_share_a_catalog(discs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other source"
    shutil.copytree(discs, other)
    assert catalog_of(other) != catalog_of(discs)
    list_once(discs, tmp_path)
    assert not catalog_of(other).exists()
