"""What is printed may not arrive: nobody reads it, the disk is full, or the stream is closed."""

import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounting import DATA, ZSOFS, names
from tests.support.packed import zsofs

FULL = "zsofs: the output cannot be written: No space left on device\n"


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Two discs, and a damaged one."""
    folder = tmp_path / "discs"
    folder.mkdir()
    shutil.copy(DATA / "ps2.iso", folder / "A.iso")
    shutil.copy(DATA / "psp.iso", folder / "B.iso")
    (folder / "0-bad.zso").write_bytes((DATA / "ziso-py.zso").read_bytes()[:-100])
    return folder


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe that nobody reads."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


def environment() -> dict[str, str]:
    """As users have it: what is printed waits in a buffer."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run(*words: str | Path, **streams: int) -> "subprocess.CompletedProcess[str]":
    """Run zsofs; what is not said of its streams is kept."""
    chosen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*ZSOFS, *map(str, words)], text=True, check=False, env=environment(), **chosen
    )


def with_closed(redirections: str, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *ZSOFS, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment())


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_batch_goes_on_when_nobody_reads(
    discs: Path, unread: int, options: tuple[str, ...]
) -> None:
    """As in `zsofs pack … | head -1`: all is done, and the exit code is that of it all."""
    for words, code in (
        (("pack", discs / "A.iso", discs / "B.iso"), 0),
        (("pack", "--force", discs / "A.iso", discs / "none", discs / "B.iso"), 8),
        (("verify", discs), 9),
        (("verify", discs / "A.iso", discs / "none"), 8),
        (("verify", discs / "A.iso", discs / "B.iso"), 0),
    ):
        done = run(*words, *options, stdout=unread)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert "Broken pipe" not in done.stderr
        assert run(*words, *options, stdout=unread, stderr=unread).returncode == code
        assert {"A.zso", "B.zso"} <= set(names(discs))


def test_the_same_beside_bars(discs: Path, unread: int) -> None:
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb")), closing(os.fdopen(theirs, "rb")):
        words = ("pack", discs / "A.iso", discs / "none", discs / "B.iso")
        assert run(*words, stdout=unread, stderr=theirs).returncode == 8
        assert {"A.zso", "B.zso"} <= set(names(discs))
        assert run("verify", discs, stdout=unread, stderr=theirs).returncode == 9


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_batch_goes_on_when_the_disk_of_its_list_is_full(
    discs: Path, options: tuple[str, ...]
) -> None:
    with open("/dev/full", "wb") as full:
        where = full.fileno()
        done = run("pack", discs / "A.iso", discs / "B.iso", *options, stdout=where)
        assert (done.returncode, done.stderr) == (8, FULL)
        assert {"A.zso", "B.zso"} <= set(names(discs))
        done = run("verify", discs / "A.iso", discs / "B.iso", *options, stdout=where)
        assert (done.returncode, done.stderr) == (8, FULL)
        done = run("verify", discs, *options, stdout=where)
        assert (done.returncode, done.stderr) == (9, f"{FULL}zsofs: 1 of 5 files is bad\n")
        done = run("pack", discs / "none", "-q", stdout=where, stderr=where)
        assert done.returncode == 8
        assert run("verify", discs / "0-bad.zso", stdout=where, stderr=where).returncode == 9


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_other_commands_say_that_the_disk_is_full(discs: Path, options: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        for words in (("info", discs / "A.iso", discs / "B.iso"), ("list", discs), ("status",)):
            done = run(*words, *options, stdout=full.fileno())
            assert (done.returncode, done.stderr) == (8, FULL)
            both = run(*words, *options, stdout=full.fileno(), stderr=full.fileno())
            assert both.returncode == 8
        for asked in (("--help",), ("pack", "--help"), ("--version",)):
            done = run(*asked, stdout=full.fileno())
            assert (done.returncode, done.stderr) == (8, FULL)
        done = run("info", discs / "none", *options, stderr=full.fileno())
        assert done.returncode == 8
        assert run("mount", "none", "none", stderr=full.fileno()).returncode == 3


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(discs: Path, redirections: str) -> None:
    """As cron and services may start it."""
    for words, code in (
        (("pack", discs / "A.iso", discs / "none"), 8),
        (("verify", discs), 9),
        (("info", discs / "A.iso"), 0),
        (("list", discs), 0),
        (("mount", "none", "none"), 3),
    ):
        done = with_closed(redirections, *words)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
    assert "A.zso" in names(discs)


def test_an_image_for_a_closed_output(discs: Path) -> None:
    """To nowhere is not where it was to go."""
    zsofs("pack", discs / "A.iso")
    done = with_closed(">&-", "unpack", discs / "A.zso", "-o", "-")
    assert done.returncode == 8
    assert done.stderr == (
        f"zsofs: {discs}/A.zso: standard output is closed; give an output file with -o\n"
    )
    with open("/dev/full", "wb") as full:
        done = run("unpack", discs / "A.zso", "-o", "-", stdout=full.fileno())
    assert (done.returncode, done.stderr) == (
        8,
        f"zsofs: {discs}/A.zso: No space left on device\n",
    )
