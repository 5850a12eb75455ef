"""Files that an earlier zsofs made: its caches are read as they are, and its configs are valid.

The files in tests/data were made by the package that was built before the modules had rooms. If a
row comes to mean something else, the version of the cache is raised and it is created again; then
the recorded one has to become that of the version before.
"""

import logging
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounting import DATA
from zsofs.cli.parser import parse
from zsofs.discs.identify import Identity, Media, System
from zsofs.formats.geometry import Codec
from zsofs.images.checksums import Digests
from zsofs.images.probe import Disc
from zsofs.inspection.verdict import VerifiedImage
from zsofs.inspection.verify_cache import open_checked, store_file
from zsofs.mount.options import OPTIONS
from zsofs.source.finding import FileFinding
from zsofs.source.scan_cache import ScanCache, default_catalog_file
from zsofs.system import xdg

SOURCE = b"/srv/zso"
GAME = Identity(System.PS2, "SLUS_209.63", "", "SAMPLE_11", Media.CD)
PSP_DISC = Identity(System.PSP, "ULUS-10041", "Sample Disc", "SAMPLE_12", Media.UMD)
PAGE = Identity(System.OTHER, "", "", "", Media.CD)
SIZE = 1468416
FINDINGS = {
    (b"", b"Cut.dax"): FileFinding(
        None, "the file is cut: its tables alone take 1112 bytes, the file has 700"
    ),
    (b"", b"Misnamed.zso"): FileFinding(
        None,
        identity=PSP_DISC,
        remarks=("it is a plain image, not packed: its name should end in .iso",),
        right_ending=".iso",
    ),
    (b"", b"Okami (Europe).zso"): FileFinding(
        Disc("ZSO", Codec.LZ4, SIZE, 2048, raw_cd=False), identity=GAME
    ),
    (b"", b"Page.iso"): FileFinding(
        None,
        identity=PAGE,
        remarks=("its content is an HTML page, not a disc image",),
        content="an HTML page",
    ),
    (b"", b"Plain.iso"): FileFinding(None, identity=GAME),
    (b"PSP", b"Patapon.cso"): FileFinding(
        Disc("CSO", Codec.DEFLATE, SIZE, 2048, raw_cd=False), identity=GAME
    ),
    (b"PSP", b"maxcso.dax"): FileFinding(
        Disc("DAX", Codec.ZLIB, SIZE, 8192, raw_cd=False), identity=GAME
    ),
}
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


def test_a_scan_cache_is_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = put("scan-cache-version4.sqlite", default_catalog_file(SOURCE))
    before = os.stat(file)
    with closing(ScanCache(file, SOURCE)) as cache:
        assert {(folder, name): found for folder, name, found in cache.findings()} == FINDINGS
        (key, finding) = cache.folder(b"PSP")[b"Patapon.cso"]
        assert key == (542098, 1796018292964601042, 1796018292964601042)
        assert cache.opl_names()[b"PSP/Patapon.cso"] == (("SLUS_209.63.Patapon.iso",) * 2)
        cache.keep(b"PSP", [(b"New.cso", key, finding)], gone=[b"Patapon.cso"])
    with closing(ScanCache(file, SOURCE)) as cache:
        assert sorted(cache.folder(b"PSP")) == [b"New.cso", b"maxcso.dax"]
    assert os.stat(file).st_ino == before.st_ino, "it was created again"
    assert caplog.records == []


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
    newer = {"slow-ms"}
    found = {one.name: getattr(parsed, one.field) for one in OPTIONS if one.name not in newer}
    assert found == {
        "layout": "opl",
        "titles": Path("/srv/titles.csv"),
        "include": ["*"],
        "exclude": ["old", 'tr"ash'],
        "allow-links-to": [Path("/mnt/disk")],
        "show-raw": True,
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
