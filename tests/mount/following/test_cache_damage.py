"""A damaged cache file, or something else in its place, never ends a command or changes a result.

Both caches are covered: the catalog of a source, and what `zsofs verify` found in whole files.
``ZSOFS_TEST_EVERY_BYTE=1`` changes each byte of them; otherwise a sample and the bytes at which
earlier versions failed.
"""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mount.following.test_scan_cache import FINDINGS, IMAGES, SHOWN, catalog_of, check, names
from tests.mount.following.test_scan_cache import cache_home as cache_home
from tests.mount.following.test_scan_cache import discs as discs
from tests.support import writers
from tests.support.mounting import ZSOFS, mounted, open_to_others
from zsofs.discs.identify import Media, System
from zsofs.images.checksums import Digests
from zsofs.images.source_file import Key
from zsofs.inspection.verdict import VerifiedImage
from zsofs.inspection.verify_cache import Checked, Kept, open_checked
from zsofs.source.finding import FileFinding
from zsofs.source.scan_cache import ScanCache

FAILED_BEFORE = [18, *range(3742, 3830, 7), *range(3992, 4096, 7)]
"""The version of the file, of which an unknown one makes it read-only; and offsets in the schema,
which SQLite quotes in its messages: they were not UTF-8 any more."""

STEP = 1 if os.environ.get("ZSOFS_TEST_EVERY_BYTE") else 149

FLIPS = (0xFF, 0x01)

FOLDERS = (b"", b"folder")

KEY: Key = (1 << 33, 1_700_000_000_123_456_789, 1_700_000_000_987_654_321)
LATER = 1 << 62
"""When files of that key were opened: long after they were written."""

WHOLE = VerifiedImage(
    1 << 33,
    Digests("0" * 8, "1" * 32, "2" * 40),
    sealed=False,
    packed=True,
    raw_cd=False,
    system=System.PS2,
    media=Media.DVD,
    remarks=("odd",),
)


def damaged(file: Path) -> Iterator[int]:
    """Change one byte of a file after another; the offset of each, while it is changed."""
    good = file.read_bytes()
    for at in sorted({*range(0, len(good), STEP), *FAILED_BEFORE}):
        for flip in FLIPS:
            for ending in ("-wal", "-shm"):
                file.with_name(file.name + ending).unlink(missing_ok=True)
            content = bytearray(good)
            content[at] ^= flip
            file.write_bytes(content)
            yield at
    file.write_bytes(good)


def test_no_byte_of_a_catalog_makes_it_fail_or_say_something_wrong(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    with closing(ScanCache(file, b"/source")) as catalog:
        for folder in FOLDERS:
            catalog.keep(folder, [(name, KEY, found) for name, found in FINDINGS.items()])
        known = {folder: catalog.folder(folder) for folder in FOLDERS}
        all_known = catalog.findings()
    for at in damaged(file):
        with closing(ScanCache(file, b"/source")) as catalog:
            assert all(row in all_known for row in catalog.findings()), at
            for folder in FOLDERS:
                for name, found in catalog.folder(folder).items():
                    assert found == known[folder][name], at
            catalog.keep(b"new", [(b"name", KEY, FileFinding(None))])
        with closing(ScanCache(file, b"/source")) as catalog:
            assert catalog.folder(b"new") == {b"name": (KEY, FileFinding(None))}, at


def test_no_byte_of_what_was_verified_makes_it_fail_or_say_something_wrong(
    cache_home: Path,
) -> None:
    paths = [f"/discs/{number}.zso" for number in range(8)]
    with closing(open_checked()) as checked:
        for path in paths:
            checked.keep(path, KEY, "a disk", WHOLE, opened_ns=LATER)
        known = {path: checked.find(path) for path in paths}
    assert all(known.values())
    for at in damaged(cache_home / "zsofs" / "verified.sqlite"):
        with closing(open_checked()) as checked:
            for path in paths:
                assert checked.find(path) in (known[path], None), at
            checked.keep("/new", KEY, "a disk", WHOLE, opened_ns=LATER)
            new = checked.find("/new")
            assert isinstance(new, Kept), at
            assert new.whole == WHOLE, at


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ZSOFS, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


def change_byte(file: Path, at: int, value: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(bytes([value]))


@pytest.mark.parametrize("at", [0, 16, 100, 3742, 4000, 4095, 8190, 12200])
def test_the_commands_go_on_with_a_damaged_byte(discs: Path, tmp_path: Path, at: int) -> None:
    with mounted(discs, tmp_path / "earlier") as made:
        names(made.path)
    run("verify", discs)
    listed = run("list", discs).stdout
    verified = [json.loads(line) for line in run("verify", "--json", discs).stdout.splitlines()]
    folder = catalog_of(discs).parent
    for file in folder.glob("*.sqlite"):
        change_byte(file, at, 0xFF)
    with mounted(discs, tmp_path / "mnt") as made:
        check(made)
        assert len(made.log_lines("is damaged and will be recreated")) == 1
    change_byte(catalog_of(discs), at, 0xFF)
    done = run("list", discs)
    assert (done.returncode, done.stdout) == (0, listed)
    assert "Traceback" not in done.stderr
    done = run("verify", "--json", discs)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    keys = ("path", "state", "sha1")
    assert [[one[key] for key in keys] for one in found] == [
        [one[key] for key in keys] for one in verified
    ]
    assert "Traceback" not in done.stderr
    assert list(folder.glob("*.broken")), "what was damaged is set aside"


def a_directory(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()
    (file / "something").touch()


def a_fifo(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def a_dangling_link(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to("/nowhere/at/all")


def a_link_to_a_database(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to(foreign(file.parent.parent / f"of another program of {file.name}"))


def a_database(file: Path) -> None:
    file.unlink(missing_ok=True)
    foreign(file)


def a_directory_for_its_log(file: Path) -> None:
    file.with_name(file.name + "-wal").mkdir()


def a_huge_file(file: Path) -> None:
    os.truncate(file, 1 << 40)


def a_huge_value(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE file SET row_check = zeroblob(5000000)")


def a_view_without_end(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(file)")]
        connection.execute("DROP TABLE file")
        connection.execute(
            "CREATE VIEW file AS WITH RECURSIVE endless(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM"
            f" endless) SELECT {', '.join(f'n AS {name}' for name in columns)} FROM endless"
        )


def of_another_user(file: Path) -> None:
    os.chown(file, 1234, 1234)
    file.chmod(0)


def foreign(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (address)")
        connection.execute("INSERT INTO bookmarks VALUES ('mine')")
    return path


IN_ITS_PLACE: list[Callable[[Path], None]] = [
    a_directory,
    a_fifo,
    a_dangling_link,
    a_link_to_a_database,
    a_database,
    a_directory_for_its_log,
    a_huge_file,
    a_huge_value,
    a_view_without_end,
]


@pytest.mark.parametrize("put", IN_ITS_PLACE)
def test_whatever_is_in_the_place_of_a_cache_is_set_aside(
    discs: Path, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    run("list", discs)
    run("verify", discs)
    folder = catalog_of(discs).parent
    files = list(folder.glob("*.sqlite"))
    assert len(files) == 2
    for file in files:
        put(file)
    foreign_before = {path: path.read_bytes() for path in folder.parent.glob("of another*")}
    with mounted(discs, tmp_path / "mnt") as made:
        check(made)
    for words in (("list", discs), ("verify", discs)):
        done = run(*words)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 9), done.stderr
    with closing(ScanCache(catalog_of(discs), os.fsencode(discs))) as catalog:
        assert len(catalog.folder(b"")) == 5, "a new one has been made"
    assert {path: path.read_bytes() for path in foreign_before} == foreign_before


@pytest.mark.usefixtures("as_root", "another_user")
def test_a_user_goes_on_without_the_cache_that_root_has_made(tmp_path: Path) -> None:
    """As `sudo zsofs` leaves it in a home directory."""
    cache = tmp_path / "cache"
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from zsofs.source.finding import FileFinding\n"
        "from zsofs.source.scan_cache import ScanCache\n"
        "catalog = ScanCache(Path(sys.argv[1]), b'/source')\n"
        "catalog.keep(b'', [(b'name', (1, 2, 3), FileFinding(None))])\n"
        "print(len(catalog.folder(b'')))\ncatalog.close()\n"
    )
    file = cache / "catalog.sqlite"
    with closing(ScanCache(file, b"/source")) as catalog:
        catalog.keep(b"", [(b"root's", KEY, FileFinding(None))])
    file.chmod(0o600)
    os.chown(cache, 1234, 1234)
    open_to_others(tmp_path)
    words = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(
        [*words, *ZSOFS[:1], "-c", script, str(file)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    assert file.stat().st_uid == 1234
    assert file.with_name("catalog.sqlite.broken").stat().st_uid == 0


def test_a_second_damage_of_a_running_mount_costs_no_more_than_the_first(
    discs: Path, tmp_path: Path
) -> None:
    """Each time what is new is shown, whatever happened to the file meanwhile."""
    with mounted(discs, tmp_path / "mnt") as made:
        names(made.path)
        for number in range(3):
            for path in catalog_of(discs).parent.glob("*.sqlite*"):
                if not path.name.endswith("-shm"):
                    path.write_bytes(b"\xa5" * 40_000)
            folder = discs / f"new {number}"
            folder.mkdir()
            (folder / "0.zso").write_bytes(writers.zstd_ziso(IMAGES["0"]))
            shown = made.path / folder.name / "0.iso"
            assert shown.read_bytes() == IMAGES["0"]
        assert not made.log_lines("Traceback")
        for number in range(3):
            shutil.rmtree(discs / f"new {number}")
    with mounted(discs, tmp_path / "later") as made:
        assert names(made.path) == SHOWN


def test_a_locked_store_of_verified_files_is_done_without(discs: Path, cache_home: Path) -> None:
    run("verify", discs)
    file = cache_home / "zsofs" / "verified.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        done = run("verify", discs)
        connection.execute("ROLLBACK")
    assert "Traceback" not in done.stderr
    assert done.returncode == 9, "for the broken one among them"
    assert not file.with_name(file.name + ".broken").exists()


def test_dates_that_sqlite_cannot_hold_are_not_kept(cache_home: Path) -> None:
    with closing(open_checked()) as checked:
        checked.keep("/far", (1, 1 << 63, 1), "", replace(WHOLE), opened_ns=LATER)
        assert checked.find("/far") is None
        checked.keep("/near", KEY, "", WHOLE, opened_ns=LATER)
        assert checked.find("/near") is not None
    assert Checked(None).find("/near") is None


def test_a_store_that_another_mount_has_replaced_is_not_replaced_again(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    one, two = ScanCache(file, b"/source"), ScanCache(file, b"/source")
    with closing(one), closing(two):
        one.keep(b"", [(b"old", KEY, FileFinding(None))])
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE file SET row_check = 0")
        assert one.folder(b"") == {}
        one.keep(b"", [(b"new", KEY, FileFinding(None))])
        assert two.folder(b"") == {}
        assert set(two.folder(b"")) == {b"new"}
        two.keep(b"", [(b"newer", KEY, FileFinding(None))])
        assert set(one.folder(b"")) == {b"new", b"newer"}
