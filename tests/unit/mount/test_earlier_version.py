"""Files that an earlier zsofs made: what is kept of its caches, and its configs are valid.

The files in tests/data were made by the package that was built before the modules had rooms. If a
row comes to mean something else, the version of the cache is raised and it is created again; then
the recorded one has to become that of the version before.
"""

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounting import DATA
from zsofs.cli.parser import parse
from zsofs.discs.identify import Media, System
from zsofs.images.checksums import Digests
from zsofs.inspection.verdict import VerifiedImage
from zsofs.inspection.verify_cache import open_checked, store_file
from zsofs.mount.options import OPTIONS
from zsofs.source.scan_cache import ScanCache, default_catalog_file
from zsofs.system import xdg

SOURCE = b"/srv/zso"
SIZE = 1468416
IMAGE = VerifiedImage(
    SIZE,
    Digests(
        "97e58ca7", "5dc90d7c5012beb227059c73f8e077e8", "af5ddfe6367b8beaaf5cca5ad0b880a885bbf9f2"
    ),
    sealed=False,
    packed=True,
    raw_cd=False,
    system=System.PS2,
    media=Media.CD,
)


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def put(name: str, file: Path | None) -> Path:
    """A recorded file in its place; returns that."""
    assert file is not None
    file.parent.mkdir(mode=0o700, parents=True)
    shutil.copyfile(DATA / name, file)
    return file


def test_a_scan_cache_leaves_the_names_of_the_opl_layout(caplog: pytest.LogCaptureFixture) -> None:
    """Its findings are found again; a name that a player knows would be lost."""
    caplog.set_level(logging.INFO)
    file = put("scan-cache-version4.sqlite", default_catalog_file(SOURCE))
    with closing(sqlite3.connect(file)) as old:
        names = dict(old.execute("SELECT path, given FROM opl_name"))
    assert names[b"PSP/Patapon.cso"] == "SLUS_209.63.Patapon.iso"
    for _ in range(2):
        with closing(ScanCache(file, SOURCE)) as cache:
            assert cache.findings() == []
            assert {path: given for path, (_, given) in cache.opl_names().items()} == names
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_scan_cache_of_another_source_leaves_nothing() -> None:
    file = put("scan-cache-version4.sqlite", default_catalog_file(b"/srv/other"))
    with closing(ScanCache(file, b"/srv/other")) as cache:
        assert cache.opl_names() == {}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE opl_name SET given = 'Other.iso'",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 3",
        "DROP TABLE opl_name; CREATE VIEW opl_name AS SELECT 1 path, 2 wanted, 3 given, 4",
        "DROP TABLE source",
    ],
)
def test_damaged_names_are_not_kept(damage: str) -> None:
    file = put("scan-cache-version4.sqlite", default_catalog_file(SOURCE))
    with closing(sqlite3.connect(file)) as old:
        old.executescript(damage)
    with closing(ScanCache(file, SOURCE)) as cache:
        assert cache.opl_names() == {}
        cache.keep_opl_names({b"Game.zso": ("Game.iso", "Game.iso")})
        assert cache.opl_names() == {b"Game.zso": ("Game.iso", "Game.iso")}


def test_what_was_verified_is_known(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = put("verified-version3.sqlite", store_file())
    before = os.stat(file)
    with closing(open_checked()) as checked:
        kept = checked.find("/srv/zso/PSP/Patapon.cso")
        assert kept is not None
        assert kept.whole == IMAGE
        assert kept.is_of((542098, 1796018292964601042, 1796018292964601042), "")
        checked.remember("/srv/zso/new.cso", (1, 2, 3), "", IMAGE)
    with closing(open_checked()) as checked:
        assert checked.find("/srv/zso/new.cso") is not None
        assert checked.find("/srv/zso/PSP/maxcso.dax") is not None
    assert os.stat(file).st_ino == before.st_ino, "it was created again"
    assert caplog.records == []


def test_a_config_of_service_install_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All options that there were, with values that need quoting."""
    monkeypatch.setattr(xdg, "system_folder", lambda: tmp_path)
    shutil.copyfile(DATA / "config-0.1.0.toml", tmp_path / "games.toml")
    parsed = parse(["mount", "games"])
    assert parsed.paths == ['/srv/z\u00f6 "q" \\ \t\n\u0001', "/srv/iso"]
    newer = {"slow-ms", "new-discs", "no-preload", "keep-awake", "view-group"}
    found = {one.name: getattr(parsed, one.field) for one in OPTIONS if one.name not in newer}
    assert found == {
        "layout": "opl",
        "titles": Path("/srv/titles.csv"),
        "include": ["*"],
        "exclude": ["old", 'tr"ash'],
        "allow-links-to": [Path("/mnt/disk")],
        "show-raw": True,
        "cd": "auto",
        "cache-size": 128 << 20,
        "threads": 8,
        "read-ahead": 1 << 20,
        "writable": True,
        "allow-other": True,
        "uid": 0,
        "gid": 0,
        "umask": 0o022,
        "setuid": 0,
        "nofail": True,
        "verbose": True,
        "quiet": False,
        "log-file": Path("/var/log/zsofs.log"),
    }
