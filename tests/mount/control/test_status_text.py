"""What `zsofs status` and `zsofs reload` print, human-readable and as JSON."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mount.control.test_control import answering, mounted
from tests.support.mounting import ZSOFS
from zsofs.cli import main
from zsofs.errors import ControlError, SourceError
from zsofs.mount.control import client, status
from zsofs.mount.control.mount_status import MountStatus
from zsofs.system.mountinfo import FILE_SYSTEM_TYPE, Mounted, mount_table

REPLY: dict[str, Any] = {
    "ok": True,
    "source": "/srv/zso",
    "mount_point": "/home/me/iso",
    "pid": 1234,
    "uptime_seconds": 273_600.5,
    "version": "0.3.0",
    "layout": "plain",
    "titles": None,
    "include": ["*"],
    "exclude": ["old", "trash"],
    "allow_links_to": [],
    "show_raw": False,
    "cd": "auto",
    "writable": False,
    "source_state": "there",
    "source_note": "",
    "following": "events",
    "discs": 1042,
    "compressed_discs": 1000,
    "plain_discs": 42,
    "counting": True,
    "refused": [
        {"path": "PSP/Patapon.cso", "reason": "the file is truncated"},
        {"path": "\N{CJK UNIFIED IDEOGRAPH-5927}\n.zso", "reason": "another console's"},
    ],
    "refused_total": 7,
    "links_not_followed": [],
    "links_not_followed_total": 0,
    "shown_empty": [],
    "left_out": [],
    "left_out_total": 0,
    "copying": 2,
    "readers": [
        {"pid": 77, "program": "smbd", "path": "Okami.iso", "handles": 2},
        {"pid": 123456, "program": "7z", "path": "PSP/\x1b[31m.iso", "handles": 1000},
    ],
    "cache": {"bytes": 63_100_000, "limit": 67_108_864, "hits": 9_999, "lookups": 12_345},
    "requests": 54_321,
    "bytes": 1_210_000_000_000,
    "errors": 1,
    "waiting": 0,
    "waiting_seconds": 0.0,
    "preload": {
        "enabled": True,
        "stored_starts": 2,
        "followed_starts": 0,
        "requests": 0,
        "fetched_bytes": 0,
        "used_bytes": 0,
        "wasted_bytes": 0,
    },
    "inodes": 1_100,
}

UNBUFFERED = "PYTHONUNBUFFERED"

BLOCK = """\
/home/me/iso
  source   /srv/zso
  changes  detected immediately (inotify)
  layout   plain
  discs    1,042 (1,000 compressed, 42 plain), 2 being copied, still counting
  cache    63.1 MB of 67.1 MB, 80 % of 12,345 lookups hit
  reads    54,321, 1.21 TB in all, 1 error
  inodes   1,100
  daemon   process 1234, zsofs 0.3.0, running for 3 d 4 h
  shown as plain files, not as discs: 7 files
    PSP/Patapon.cso  the file is truncated
    \N{CJK UNIFIED IDEOGRAPH-5927}\\n.zso         another console's
    and 5 more
  readers:
    program  process  handles  disc
    smbd          77        2  Okami.iso
    7z        123456    1,000  PSP/\\x1b[31m.iso"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Two mounts; those of others on this machine are not seen."""
    with mounted(tmp_path / "a") as first, mounted(tmp_path / "b") as second:
        ours = [one for one in mount_table() if one.path in (first, second)]
        monkeypatch.setattr(client, "mount_table", lambda: iter(ours))
        yield [first, second]


def block(reply: dict[str, Any]) -> str:
    """What is printed of a reply."""
    return status.text(MountStatus.from_json(reply))


def test_a_block_for_people() -> None:
    assert block(REPLY) == BLOCK


@pytest.mark.parametrize(
    ("waiting", "seconds", "line"),
    [
        (1, 1.0, "  waiting  1 read waits for the disk, the oldest for 1 s"),
        (1200, 83.4, "  waiting  1,200 reads wait for the disk, the oldest for 1 min"),
    ],
)
def test_reads_that_wait_for_long(waiting: int, seconds: float, line: str) -> None:
    lines = block(REPLY | {"waiting": waiting, "waiting_seconds": seconds}).splitlines()
    assert lines[7] == line
    assert len(lines) == len(BLOCK.splitlines()) + 1


def test_reads_that_wait_as_usual() -> None:
    assert block(REPLY | {"waiting": 12, "waiting_seconds": 0.9}) == BLOCK


def test_a_block_without_what_is_not_there() -> None:
    nothing = {
        "compressed_discs": 1042,
        "plain_discs": 0,
        "counting": False,
        "refused": [],
        "refused_total": 0,
        "copying": 0,
        "readers": [],
        "cache": {"bytes": 0, "limit": 0, "hits": 0, "lookups": 0},
        "errors": 0,
    }
    lines = block(REPLY | nothing).splitlines()
    assert "  discs    1,042" in lines
    assert "  cache    0 B of 0 B" in lines
    assert "  reads    54,321, 1.21 TB in all, no errors" in lines
    assert lines[-1] == "  readers: none"
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("state", "note", "line"),
    [
        ("there", "", "  source   /srv/zso"),
        ("there", "read-only", "  source   /srv/zso: read-only"),
        ("away", "", "  source   /srv/zso is currently not available"),
        ("away", "plug\nit in", "  source   /srv/zso is currently not available: plug\\nit in"),
    ],
)
def test_where_the_source_is(state: str, note: str, line: str) -> None:
    said = block(REPLY | {"source_state": state, "source_note": note})
    assert said.splitlines()[1] == line


@pytest.mark.parametrize("following", ["events", "events and polling", "polling", "a later way"])
def test_how_changes_are_seen(following: str) -> None:
    line = block(REPLY | {"following": following}).splitlines()[2]
    assert line.startswith("  changes  ")
    assert ("inotify" in line) == following.startswith("events")
    assert ("polling" in line) == following.endswith("polling")
    assert ("a later way" in line) == (following == "a later way")


def test_refused_files_that_are_all_listed_or_only_counted() -> None:
    assert "more" not in block(REPLY | {"refused_total": 2})
    assert "not as discs: 1 file\n" in block(REPLY | {"refused": [], "refused_total": 1})


def test_a_mount_that_does_not_answer() -> None:
    here = Mounted(60, b"/home/me/i\nso", "0:50", FILE_SYSTEM_TYPE, 1000)
    said = status.failure_text(here, ControlError("it is\nsilent"))
    assert said == "/home/me/i\\nso\n  it is\\nsilent"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(REPLY, ANYTHING)))
def test_a_reply_of_another_version(reply: dict[str, Any]) -> None:
    """Fields that are missing, or of another type, are no error, and print as lines."""
    said = block(reply)
    assert all(line.isprintable() or max(line) >= "\udc80" for line in said.split("\n"))
    assert ("  readers: none" in said) == ("program" not in said)


@given(ANYTHING)
def test_an_error_of_another_version(why: object) -> None:
    here = Mounted(60, b"/home/me/iso", "0:50", FILE_SYSTEM_TYPE, 1000)
    line = json.dumps({"ok": False, "error": why}).encode()
    with pytest.raises(ControlError) as caught:
        client._understood(here, line)
    lines = status.failure_text(here, caught.value).splitlines()
    assert lines[0] == "/home/me/iso"
    assert len(lines) == 2
    assert lines[1].isprintable() or max(lines[1]) >= "\udc80"


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 10**400, "1", None])
def test_numbers_of_another_version(odd: object) -> None:
    numbers = {name for name, value in REPLY.items() if type(value) in (int, float)}
    cache = dict.fromkeys(REPLY["cache"], odd)
    said = block(REPLY | dict.fromkeys(numbers, odd) | {"cache": cache, "counting": odd})
    assert "  discs    0\n  cache    0 B of 0 B\n  reads    0, 0 B in all, no errors\n" in said
    assert "process 0, zsofs 0.3.0, running for 0 s" in said


@given(ANYTHING)
def test_rows_of_another_version(anything: object) -> None:
    said = block(REPLY | {"readers": [anything], "refused": [anything], "cache": anything})
    assert "program" in said


def deep(depth: int, *inner: int) -> object:
    """Lists in lists."""
    value: object = list(inner)
    for _ in range(depth):
        value = [value]
    return value


HUGE = {
    "texts": REPLY
    | {
        "refused": [{"path": "x" * 480_000, "reason": ""}, *[{"path": "", "reason": ""}] * 2000],
        "refused_total": 0,
        "readers": [{"program": "x" * 300_000}, *[{"program": ""}] * 3000],
        "following": "x" * 10_000,
    },
    "depth": REPLY | {"source": deep(600, *[0] * 300_000)},
}


@pytest.mark.parametrize("option", ["", "--json"])
@pytest.mark.parametrize("kind", HUGE)
def test_a_reply_that_was_made_to_be_huge(points: list[bytes], kind: str, option: str) -> None:
    """Within what a reply may have; where memory is limited, as it is not for root."""

    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return HUGE[kind]

    with answering(points[0], answer):
        done = subprocess.run(
            ["prlimit", f"--as={400 << 20}", *ZSOFS, "status", *option.split(), points[0]],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) < 12_000_000
    if option:
        assert json.loads(done.stdout)["ok"] is True
    elif kind == "texts":
        lines = done.stdout.splitlines()
        assert "  shown as plain files, not as discs: 2,001 files" in lines
        assert lines.count("    and 1,981 more") == 1
        assert lines[-1] == "    and 2,501 more"
        assert max(map(len, lines)) < 5_000


def test_nothing_is_mounted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "mount_table", lambda: iter(()))
    assert main.main(["status"]) == 0
    assert capsys.readouterr().out == "nothing is mounted\n"
    assert main.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def block_at(point: bytes) -> str:
    """The block of a mount at that place: the kernel's word counts, not that of the daemon."""
    return BLOCK.replace("/home/me/iso", os.fsdecode(point), 1)


def test_one_mount(points: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return REPLY

    with answering(points[0], answer):
        assert main.main(["status", os.fsdecode(points[0])]) == 0
        assert capsys.readouterr().out == block_at(points[0]) + "\n"
        assert main.main(["status", "--json", os.fsdecode(points[0])]) == 0
        reply = json.loads(capsys.readouterr().out)
        assert reply == REPLY | {"mount_point": os.fsdecode(points[0])}


def test_all_mounts_with_one_that_does_not_answer(
    points: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return REPLY

    first, second = map(os.fsdecode, points)
    with ExitStack() as stack:
        stack.enter_context(answering(points[0], answer))
        assert main.main(["status"]) == 7
        said = capsys.readouterr()
        assert said.err == ""
        block = block_at(points[0])
        assert said.out.startswith(f"{block}\n\n{second}\n  the daemon behind {second} does not")
        assert main.main(["status", "--json"]) == 7
        replies = json.loads(capsys.readouterr().out)
        assert replies[0] == REPLY | {"mount_point": first}
        assert replies[1].keys() == {"ok", "mount_point", "error"}
        assert (replies[1]["ok"], replies[1]["mount_point"]) == (False, second)
        stack.enter_context(answering(points[1], answer))
        assert main.main(["status"]) == 0
        assert capsys.readouterr().out == f"{block}\n\n{block_at(points[1])}\n"
    assert first != second


def test_one_mount_that_does_not_answer(
    points: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.fsdecode(points[0])
    for command in ("status", "reload"):
        assert main.main([command, path]) == 7
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"zsofs: the daemon behind {path} does not answer")
        assert len(said.err.splitlines()) == 1
    assert main.main(["status", "--json", path]) == 7
    reply = json.loads(capsys.readouterr().out)
    assert reply["ok"] is False
    assert "does not answer" in reply["error"]


@pytest.mark.parametrize("options", [["status"], ["status", "--json"], ["reload"]])
def test_what_is_not_a_mount(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for path, why in ((tmp_path, "nothing is mounted at"), (Path("/proc"), "not zsofs but proc")):
        assert main.main([*options, str(path)]) == 7
        said = capsys.readouterr()
        assert said.out == ""
        assert why in said.err
        assert len(said.err.splitlines()) == 1


def test_reload(points: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        if len(asked) > 1:
            raise SourceError("the source is away")
        return {}

    with answering(points[0], answer):
        assert main.main(["reload", os.fsdecode(points[0])]) == 0
        assert capsys.readouterr() == ("", "")
        assert main.main(["reload", os.fsdecode(points[0])]) == 7
        assert capsys.readouterr().err.endswith("reported an error: the source is away\n")
    assert asked == [{"command": "reload"}] * 2


@pytest.mark.parametrize("readers", [1, 4000])
def test_who_reads_it_stops_early(points: list[bytes], readers: int) -> None:
    """As in `zsofs status | head -1`, with little and with much to say."""

    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return REPLY | {"readers": REPLY["readers"] * readers}

    with answering(points[0], answer):
        for options in ([], ["--json"]):
            read_end, write_end = os.pipe()
            os.close(read_end)
            done = subprocess.run(
                [*ZSOFS, "status", *options, points[0]],
                env={name: value for name, value in os.environ.items() if name != UNBUFFERED},
                stdout=write_end,
                stderr=subprocess.PIPE,
                check=False,
            )
            os.close(write_end)
            assert (done.returncode, done.stderr) == (0, b"")
