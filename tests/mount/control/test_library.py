"""The library of a mount: all discs with what the caches know of them, in pages."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_activity import (
    IMAGE,
    hanging_read,
    of,
    sample_on_hanging_disk,
    summary,
)
from tests.mount.control.test_status import runtime as runtime
from tests.support import writers
from tests.support.mounting import DATA, Mount, timed, wait_until
from tests.unit.cli.test_messages import run
from tests.unit.discs.test_identify import PSP_FILES
from tests.unit.discs.test_identify import made as made_image
from zsofs.errors import ControlError
from zsofs.mount.control.activity import MAX_PAGE, PROTOCOL
from zsofs.mount.control.client import ask_each
from zsofs.mount.control.library import LibraryDisc, LibraryPage, ask_library
from zsofs.mount.library_survey import Library, _merged, disc_of

PACKED = writers.maxcso_zso(IMAGE[:65536], block_size=2048)
FAST = timed(library_check=0.05, quiet_file=0.1)


def library(made: Mount, since: int = 0) -> tuple[dict[str, LibraryDisc], LibraryPage]:
    pages = list(ask_library(of(made), since))
    return {one.disc: one for page in pages for one in page.discs}, pages[-1]


def complete(made: Mount) -> tuple[dict[str, LibraryDisc], LibraryPage]:
    wait_until(lambda: library(made)[1].complete, "the list of discs")
    return library(made)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(DATA / "maxcso-2048.zso", folder / "Game.zso")
    (folder / "Plain.iso").write_bytes(IMAGE)
    (folder / "Bad.zso").write_bytes(b"no disc at all" * 100)
    (folder / "notes.txt").write_text("no disc")
    return folder


def test_it_lists_every_disc_with_its_form_and_what_is_wrong(
    mount: MountMaker, source: Path
) -> None:
    made = mount(source, command=FAST)
    found, page = complete(made)
    assert (page.protocol, page.total, page.more) == (PROTOCOL, 3, False)
    assert set(found) == {"Game.zso", "Plain.iso", "Bad.zso"}
    game, plain, bad = found["Game.zso"], found["Plain.iso"], found["Bad.zso"]
    assert (game.state, game.reason, game.form.container) == ("compressed", "", "ZSO")
    assert (game.form.codec, game.form.block_size) == ("lz4", 2048)
    assert game.form.stored_bytes == (source / "Game.zso").stat().st_size
    assert game.form.plain_bytes == (made.path / "Game.iso").stat().st_size
    assert (plain.state, plain.form.container, plain.form.codec) == ("plain", "plain", "")
    assert bad.state == "refused"
    assert bad.reason


def test_identity_and_verification_appear_when_other_commands_find_them(
    mount: MountMaker, source: Path
) -> None:
    made = mount(source, command=FAST)
    found, page = complete(made)
    assert not found["Game.zso"].identified
    assert found["Game.zso"].verified == 0
    listed = {}

    def is_identified() -> bool:  # the identity of a file that was just written is not kept
        rows = json.loads(run("list", "--json", source).stdout)
        listed.update({one["path"]: one for one in rows})
        return library(made)[0]["Game.zso"].identified

    wait_until(is_identified, "its identity")
    identity = library(made)[0]["Game.zso"].identity
    of_list = listed["Game.zso"]
    assert (identity.game_id, identity.title) == (of_list["id"], of_list["title"])
    assert (identity.platform, identity.media) == (of_list["system"], of_list["media"])
    changes, _ = library(made, page.revision)
    assert "Bad.zso" not in changes  # nothing new of it


def test_the_date_of_the_last_verification(mount: MountMaker, source: Path) -> None:
    made = mount(source, command=FAST)
    assert complete(made)[0]["Game.zso"].verified == 0

    def is_verified() -> bool:  # results of a file that was just written are not kept
        assert run("verify", source / "Game.zso").returncode == 0
        return library(made)[0]["Game.zso"].verified > 0

    wait_until(is_verified, "the result of verify")
    assert library(made)[0]["Plain.iso"].verified == 0


def test_where_a_disc_is_bad(mount: MountMaker, source: Path) -> None:
    """As the last check has found it, and only as long as the file is that one."""
    place, whole = source / "Game.zso", (source / "Game.zso").read_bytes()

    def put(content: bytes) -> None:
        place.write_bytes(content)
        os.utime(place, (1e9, 1e9))

    def shown() -> LibraryDisc:
        return library(made)[0].get("Game.zso", LibraryDisc())

    def is_found(words: tuple[str, ...]) -> bool:  # not if the file was written a moment ago
        run("verify", *words, place)
        return bool(shown().bad)

    put(whole[:-3000] + bytes(3000))
    made = mount(source, command=FAST)
    assert complete(made)[0]["Game.zso"].bad == ""
    wait_until(lambda: is_found(()), "the result of verify")
    bad = shown()
    assert "block" in bad.bad
    assert "offset" in bad.bad
    assert bad.bad_at > 1.7e9
    assert bad.verified == 0
    put(whole)  # of the same size and date, but changed since
    wait_until(lambda: not shown().bad, "the other content")

    def is_verified() -> bool:
        assert run("verify", place).returncode == 0
        return shown().verified > 0

    wait_until(is_verified, "the result of verify")
    put(whole[:-3000] + bytes(3000))
    run("verify", "--quick", place)  # it does not read the blocks: nothing new
    wait_until(lambda: not shown().verified, "the other content")
    assert shown().bad == ""
    wait_until(lambda: is_found(("--no-cache",)), "the result of verify")


def test_changes_since_a_revision_with_discs_that_are_gone(mount: MountMaker, source: Path) -> None:
    made = mount(source, command=FAST)
    _, page = complete(made)
    assert library(made, page.revision)[0] == {}
    (source / "Plain.iso").unlink()
    (source / "New.zso").write_bytes(writers.maxcso_zso(IMAGE, block_size=2048))
    wait_until(lambda: {"Plain.iso", "New.zso"} <= library(made, page.revision)[0].keys(), "both")
    changes, later = library(made, page.revision)
    assert changes["Plain.iso"].gone
    assert not changes["New.zso"].gone
    assert later.instance == page.instance
    assert later.total == 3


def test_pages_have_at_most_100_discs(mount: MountMaker, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    for number in range(205):
        folder = source / "below" if number % 2 else source
        (folder / f"Game {number:03}.zso").write_bytes(PACKED)
    made = mount(source, command=FAST)
    complete(made)
    pages = list(ask_library(of(made), 0))
    assert [len(page.discs) for page in pages] == [100, 100, 5]
    assert [page.more for page in pages] == [True, True, False]
    names = [one.disc for page in pages for one in page.discs]
    assert len(set(names)) == len(names) == pages[0].total
    request = {"command": "library", "protocol": PROTOCOL, "since": 0, "limit": MAX_PAGE + 1}
    ((_, reply),) = ask_each([of(made)], request)
    assert isinstance(reply, ControlError)


def test_filters_and_the_opl_layout_apply(mount: MountMaker, source: Path) -> None:
    (source / "Handheld.cso").write_bytes(writers.ciso_py(made_image(PSP_FILES)))
    made = mount(source, "--exclude", "Bad.*", "--layout", "opl", command=FAST)
    found, _ = complete(made)
    assert set(found) == {"Game.zso", "Handheld.cso", "Plain.iso"}
    assert all(one.identified for one in found.values())
    psp = found["Handheld.cso"]
    assert (psp.state, psp.identity.platform) == ("left out", "PSP")
    assert "OPL" in psp.reason


def test_names_that_cannot_be_printed_come_exactly_too(mount: MountMaker, source: Path) -> None:
    name = b"Bad \xff\x1b[31mname.zso"
    shutil.copy(source / "Game.zso", source / os.fsdecode(name))
    made = mount(source, command=FAST)
    found, _ = complete(made)
    (strange,) = [one for one in found.values() if one.path]
    assert os.fsencode(strange.path) == name
    assert "\x1b" not in strange.disc


def test_it_answers_while_the_disk_hangs(tmp_path: Path, runtime: Path) -> None:
    with sample_on_hanging_disk(tmp_path) as (disk, made):
        complete(made)
        with hanging_read(disk, made.path / "Game.iso", 320 * 2048):
            wait_until(lambda: summary(made).waiting, "the read")
            found, _ = library(made)
            assert set(found) == {"Game.zso"}


def test_unchanged_discs_keep_their_revision() -> None:
    first = _merged(Library(), {"a": "1", "b": "1", "c": "1"}, 3)
    assert first.revisions == (1, 2, 3)
    second = _merged(first, {"a": "1", "b": "2", "c": "1"}, 3)
    assert second.instance == first.instance
    assert second.revisions == (1, 3, 4)
    assert second.rows == (("a", "1"), ("c", "1"), ("b", "2"))
    third = _merged(second, {"a": "1", "b": "2"}, 2)
    assert third.rows == (("a", "1"), ("b", "2"), ("c", ""))
    assert third.revisions == (1, 4, 5)
    assert disc_of(third.rows[-1])["gone"]
    back = _merged(third, {"a": "1", "b": "2", "c": "1"}, 3)
    assert back.rows == (("a", "1"), ("b", "2"), ("c", "1"))
    assert back.revisions == (1, 4, 6)


def test_too_many_gone_begin_a_new_list() -> None:
    first = _merged(Library(), {str(one): "1" for one in range(2500)}, 2500)
    second = _merged(first, {"0": "1"}, 1)
    assert second.instance != first.instance
    assert (second.revisions, second.rows) == ((1,), (("0", "1"),))
