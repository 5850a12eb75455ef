"""A view of root's mounts for a group: what its members see, what they cannot do, and others."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.mount.control.test_activity import read_by_another
from tests.mount.control.test_status import runtime as runtime
from tests.support.mounting import DATA, ZSOFS, Mount, mounted, open_to_others, wait_until
from tests.support.pages import mount_number, served
from tests.unit.cli.test_messages import refused
from zsofs.mount.control.protocol import socket_name
from zsofs.system.view_folders import remove_view_folders, view_folder

NOBODY, MEMBER, GROUP = 65534, 1234, 54321
READING = ("activity", "discs", "disc", "slow-reads", "library")
OTHERS = ("status", "reload", "umount", "", None, ["activity"], "activity ")
pytestmark = [
    pytest.mark.usefixtures("as_root"),
    pytest.mark.xdist_group("view"),  # they have one group, and see all mounts of it
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(DATA / "maxcso-16384.zso", folder / "Game.zso")
    os.chown(folder / "Game.zso", NOBODY, NOBODY)
    (folder / "covers").mkdir()
    (folder / "covers/Game.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    open_to_others(tmp_path, folder)
    return folder


@pytest.fixture(params=["root", "nobody"])
def viewed(
    request: pytest.FixtureRequest, tmp_path: Path, source: Path, runtime: Path
) -> Iterator[tuple[Mount, Path]]:
    """A mount that root or another user serves, and the socket of its view."""
    user = {"root": 0, "nobody": NOBODY}[request.param]
    words = ("--setuid", request.param, "--allow-other", "--view-group", str(GROUP))
    try:
        with mounted(source, tmp_path / "mnt", *words) as made:
            place = view_folder(user, GROUP) / socket_name(os.fsencode(made.path))
            wait_until(place.exists, "the socket")
            yield made, place
    finally:
        remove_view_folders(user)
    assert not place.parent.exists()


def as_user(user: int, *words: object, groups: tuple[int, ...] = ()) -> dict[str, Any]:
    """The reply of a command that another user runs: exit code, output, errors."""
    environment = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    done = subprocess.run(
        [*ZSOFS, *map(str, words)],
        env=environment | {"HOME": "/"},
        user=user,
        group=user,
        extra_groups=groups,
        capture_output=True,
        text=True,
        check=False,
    )
    return {"code": done.returncode, "said": done.stdout, "errors": done.stderr}


def ask(place: Path, request: dict[str, object]) -> dict[str, Any]:
    """What the socket replies to a request."""
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(20)
        line.connect(str(place))
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("rb") as file:
            found: dict[str, Any] = json.loads(file.readline())
            return found


def test_a_view_answers_what_is_read_and_nothing_else(viewed: tuple[Mount, Path]) -> None:
    made, place = viewed
    read_by_another(made.path / "Game.iso", 0)
    for command in READING:
        found = ask(place, {"command": command, "protocol": 1, "disc": "Game.zso"})
        assert found["ok"] is True, found
    for other in OTHERS:
        found = ask(place, {"command": other, "protocol": 1, "mount": str(made.path)})
        assert found["ok"] is False, found
        assert "nothing more" in found["error"], found
    assert "supports version" in ask(place, {"command": "activity", "protocol": 2})["error"]


@pytest.mark.usefixtures("another_user")
def test_members_see_a_mount_and_cannot_change_it(viewed: tuple[Mount, Path]) -> None:
    made, _ = viewed
    read_by_another(made.path / "Game.iso", 0)
    groups = (GROUP,)
    (one,) = json.loads(as_user(MEMBER, "top", "--once", "--json", groups=groups)["said"])
    assert (one["mount_point"], one["reads"]["counts"]["requests"]) == (str(made.path), 1)
    (one,) = json.loads(
        as_user(MEMBER, "top", "--once", "--json", made.path, groups=groups)["said"]
    )
    assert [disc["disc"] for disc in one["discs"]] == ["Game.zso"]
    assert str(made.path) in as_user(MEMBER, "metrics", groups=groups)["said"]
    for words in (("reload", made.path), ("status", made.path)):
        done = as_user(MEMBER, *words, groups=groups)
        assert done["code"] != 0
        assert "belongs to another user" in done["errors"]
    assert as_user(MEMBER, "status", groups=groups)["said"] == "nothing is mounted\n"


@pytest.mark.usefixtures("another_user")
def test_others_see_nothing(viewed: tuple[Mount, Path]) -> None:
    made, place = viewed
    assert json.loads(as_user(MEMBER, "top", "--once", "--json")["said"]) == []
    done = as_user(MEMBER, "top", "--once", made.path)
    assert "belongs to another user" in done["said"]
    script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    found = subprocess.run(
        ["/usr/bin/env", "python3", "-c", script, place],
        user=MEMBER,
        group=MEMBER,
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in found.stderr
    status = place.parent.stat()
    assert (status.st_gid, status.st_mode & 0o7777) == (GROUP, 0o750)


@pytest.mark.usefixtures("another_user")
def test_the_page_of_a_member(viewed: tuple[Mount, Path], tmp_path: Path) -> None:
    made, place = viewed
    read_by_another(made.path / "Game.iso", 0)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, MEMBER, MEMBER)
    with served(home, user=MEMBER, groups=(GROUP,)) as page:
        number = mount_number(page, made.path)
        with page.events() as states:
            (one,) = next(states)["mounts"]
        assert (one["own"], one["error"]) == (False, "")
        assert one["activity"]["reads"]["counts"]["requests"] == 1
        where = f"mount={number}&disc=Game.zso"
        found = page.ask(f"/api/disc?{where}").json()
        assert found["reads"]["disc"]["disc"] == "Game.zso"
        # Another user could name any file: it would be opened with the rights of the page's user.
        is_roots = place.parent.name.startswith("0-")
        assert ("size" in found["image"]) is is_roots, found
        assert page.ask(f"/cover?{where}").status == (200 if is_roots else 404)
        page.log_in()
        verify = json.dumps({"mount": number, "disc": "Game.zso"}).encode()
        assert page.ask("/api/verify", "POST", verify).status == (200 if is_roots else 403)
        found = page.ask("/api/reload", "POST", json.dumps({"mount": number}).encode())
        assert (found.status, b"belongs to another user" in found.body) == (502, True)
        with page.events() as states:
            kinds = {job["kind"] for job in next(states)["jobs"]}
            assert "identify" not in kinds  # that is for the user of the mount


@pytest.mark.usefixtures("another_user")
def test_only_root_shows_a_mount_to_a_group(tmp_path: Path, source: Path) -> None:
    done = as_user(NOBODY, "mount", "--view-group", GROUP, source, tmp_path / "mnt")
    assert done["code"] == 2
    assert "only root can show a mount to a group" in done["errors"]
    assert "unknown group" in refused(2, "mount", "--view-group", "no-such-group", source, "/mnt")
