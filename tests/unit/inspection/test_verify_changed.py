"""`zsofs verify` notices that a file has other bytes than it, or `zsofs pack`, knew before.

LZ4 and CSO blocks have no checksums: most changes of a byte decode without an error.
"""

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.following.test_scan_cache import cache_home as cache_home
from tests.support import writers
from tests.support.checks import dat_of, rom
from tests.support.packed import reports, zsofs
from tests.unit.inspection.test_verify import IMAGES, age, put

IMAGE = IMAGES["ps2"] + random.Random(1).randbytes(64 << 10)
"""Its last blocks cannot be compressed and are stored as they are, where nothing is noticed."""

SHA1 = hashlib.sha1(IMAGE).hexdigest()

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "ziso": writers.maxcso_zso,
    "cso": writers.maxcso_cso1,
    "plain": bytes,
}

pytestmark = pytest.mark.usefixtures("cache_home")


def decay(path: Path) -> None:
    """Change a byte that no decoder notices; size and date of the file stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-10_000] ^= 0x20
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture(params=PACKERS)
def game(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that `zsofs verify` has read before."""
    ending = "iso" if request.param == "plain" else "zso"
    path = put(tmp_path / f"Game.{ending}", PACKERS[request.param](IMAGE))
    age(path)
    (found,) = reports("verify", path)
    assert (found["state"], found["sha1"]) == ("whole", SHA1)
    return path


def test_a_byte_that_changes_on_the_disk_is_told_each_time(game: Path) -> None:
    decay(game)
    age(game)
    for _ in range(2):
        (found,) = reports("verify", game, code=9)
        assert found["state"] == "changed"
        assert SHA1 in found["reason"]
        assert found["sha1"] not in ("", SHA1)
    done = zsofs("verify", "--quiet", game, code=9)
    assert done.stdout.count("changed") == 1


def test_touch_tells_that_it_is_another_file(game: Path) -> None:
    decay(game)
    game.touch()
    age(game)
    (found,) = reports("verify", game)
    assert found["state"] == "whole"
    assert [remark for remark in found["remarks"] if SHA1 in remark]
    (found,) = reports("verify", game)
    assert (found["state"], found["remarks"]) == ("whole", [])
    assert found["read_before"]


def test_a_backup_that_is_restored_is_right_again(game: Path, tmp_path: Path) -> None:
    shutil.copy2(game, tmp_path / "backup")
    decay(game)
    zsofs("verify", game, code=9)
    shutil.copy2(tmp_path / "backup", game)
    (found,) = reports("verify", game)
    assert (found["state"], found["sha1"]) == ("whole", SHA1)


def test_another_game_under_the_same_name_is_not_called_damaged(game: Path) -> None:
    game.write_bytes(writers.maxcso_zso(IMAGES["psp"]))
    (found,) = reports("verify", game)
    assert found["state"] == "whole"
    assert len(found["remarks"]) == 1


def test_the_same_image_packed_in_another_way_is_no_change(game: Path) -> None:
    game.write_bytes(writers.zsoz(IMAGE))
    (found,) = reports("verify", game)
    assert found["remarks"] == []


def test_what_a_dat_vouches_for_has_not_changed(game: Path, tmp_path: Path) -> None:
    decay(game)
    dat = put(tmp_path / "x.dat", dat_of({"Other": [rom("x.iso", b"x")]}).encode())
    (found,) = reports("verify", "--dat", dat, game, code=9)
    assert found["state"] == "changed", "the DAT does not know it"
    put(dat, dat_of({"Game": [rom("x.iso", decayed(found["sha1"]))]}).encode())
    (found,) = reports("verify", "--dat", dat, game)
    assert found["state"] == "verified"


def decayed(sha1: str) -> bytes:
    """The image with the one changed byte, which lies near its end, that gives this SHA-1."""
    begin = len(IMAGE) - 20_000
    start = hashlib.sha1(IMAGE[:begin])
    for at in range(begin, len(IMAGE)):
        changed = bytearray(IMAGE[begin:])
        changed[at - begin] ^= 0x20
        whole = start.copy()
        whole.update(changed)
        if whole.hexdigest() == sha1:
            return IMAGE[:begin] + changed
    raise AssertionError("it is another byte that has changed")


@pytest.mark.parametrize("words", [("pack", "--codec", "lz4"), ("unpack",)])
def test_what_pack_has_written_is_known_to_verify(tmp_path: Path, words: tuple[str, ...]) -> None:
    source = put(tmp_path / "in" / "Game.cso", writers.maxcso_cso1(IMAGE))
    target = tmp_path / ("Game.zso" if words[0] == "pack" else "Game.iso")
    zsofs(*words, source, "-o", target)
    (found,) = reports("verify", target)
    assert (found["state"], found["read_before"]) == ("whole", False)
    decay(target)
    (found,) = reports("verify", target, code=9)
    assert found["state"] == "changed"
    assert SHA1 in found["reason"]


def test_measuring_remembers_nothing(tmp_path: Path, cache_home: Path) -> None:
    source = put(tmp_path / "Game.iso", IMAGE)
    zsofs("pack", "--measure", source)
    assert not list(cache_home.rglob("*.sqlite"))
