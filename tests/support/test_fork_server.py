"""What is forked behaves as what is executed, so that tests may use the one for the other."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.ends import spawned
from tests.support.fork_server import in_scripts
from tests.support.mounting import DATA, ZSOFS, in_time, mounted, names, status_of, wait_until
from tests.support.namespaces import LET_GO

FORKED = (sys.executable, "-m", "tests.support.described")
EXECUTED = ("env", *FORKED)
ROOT = Path(__file__).parents[2]


def both(*words: str, **others: Any) -> "list[subprocess.CompletedProcess[bytes]]":
    """Run it in both ways."""
    commands = ([*command, *words] for command in (FORKED, EXECUTED))
    chosen: dict[str, Any] = {"capture_output": True, "cwd": ROOT} | others
    return [subprocess.run(command, check=False, **chosen) for command in commands]


def told(done: "subprocess.CompletedProcess[bytes]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    environment = found["environment"]
    environment.pop("_", None)
    return found


def check_alike(*words: str, **others: Any) -> dict[str, Any]:
    forked, executed = both(*words, **others)
    assert (forked.returncode, forked.stderr) == (executed.returncode, executed.stderr)
    assert told(forked) == told(executed)
    return told(forked)


def test_a_plain_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "one\nof \udcff two lines")
    found = check_alike("3", "a word", "", "ä")
    assert found["words"] == ["3", "a word", "", "ä"]
    assert found["parent"] == os.getpid()
    assert found["environment"]["A_VARIABLE"] == "one\nof \udcff two lines"
    assert list(found["descriptors"]) == ["0", "1", "2"]
    assert found["name"] == "__main__"


def test_an_environment_a_mask_and_a_session() -> None:
    given = {name: os.environ[name] for name in os.environ if name.startswith(("PY", "L", "COV"))}
    found = check_alike("0", env=given | {"ONLY": "this"}, umask=0o027, start_new_session=True)
    assert found["environment"].keys() >= {"ONLY"}
    assert "HOME" not in found["environment"]
    assert found["leads"] == [True, True]
    assert int(found["status"]["Umask"], 8) == 0o027


def test_groups_descriptors_and_input(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("text")
    with (tmp_path / "input").open() as file, open(os.devnull) as nothing:
        kept = os.dup2(nothing.fileno(), 77)
        try:
            found = check_alike("0", stdin=file, pass_fds=[kept], process_group=0)
        finally:
            os.close(kept)
    assert list(found["descriptors"]) == ["0", "1", "2", "77"]
    assert found["leads"] == [False, True]


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE])
def test_signals_that_are_ignored_or_blocked(number: signal.Signals) -> None:
    with ignoring(number):
        check_alike("0")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        check_alike("0")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        subprocess.run([*FORKED, "0"], cwd=tmp_path / "none", check=False)


def test_a_terminal() -> None:
    said = []
    for command in (FORKED, EXECUTED):
        ours, theirs = pty.openpty()
        with spawned([*command, "0"], stdin=theirs, stdout=theirs, stderr=theirs) as child:
            os.close(theirs)
            text = b""
            while b"\n" not in text:
                text += os.read(ours, 1 << 16)
        assert child.returncode == 0
        os.close(ours)
        said.append(json.loads(text))
        said[-1]["environment"].pop("_", None)
        places = said[-1].pop("descriptors")  # other tests may take the number of a terminal
        assert len(set(places.values())) == 1
        assert places["0"].startswith("/dev/pts/")
    assert [stream[3] for stream in said[0]["streams"]] == [True, True, True]
    assert said[0] == said[1]


@pytest.mark.parametrize("end", ["0", "7", "in words", "signal"])
def test_ends(end: str) -> None:
    check_alike(end)


def test_an_error_that_nobody_catches() -> None:
    for done in both("error"):
        assert done.returncode == 1
        assert done.stderr.startswith(b"Traceback")
        assert done.stderr.endswith(b"ValueError: an error\n")


def test_what_a_fork_cannot_do_is_executed() -> None:
    for others in (
        {"env": os.environ | {"PYTHONHASHSEED": "1"}},
        {"preexec_fn": lambda: None},
        {"close_fds": False},
    ):
        forked, executed = both("0", **others)
        assert told(forked)["environment"] == told(executed)["environment"]


def test_the_server_is_left_by_its_children(tmp_path: Path) -> None:
    """A daemon in the background is nobody's child, and no zombie of ours when it ends."""
    point = tmp_path / "mnt"
    done = subprocess.run([*ZSOFS, "mount", "-q", DATA, point], check=False)
    assert done.returncode == 0
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert all(os.fsencode(point) not in command_line(child) for child in children)
    assert subprocess.run([*ZSOFS, "umount", point], check=False).returncode == 0


def test_a_fork_of_this_process_has_its_own_children() -> None:
    """The server's are children of pytest, for which such a fork could not wait."""

    def check() -> None:
        done = subprocess.run([*FORKED, "3"], capture_output=True, cwd=ROOT, check=False)
        assert (done.returncode, told(done)["parent"]) == (3, os.getpid())

    in_time(check)


@pytest.mark.parametrize("user", [0, 65534])
@pytest.mark.usefixtures("as_root", "another_user")
def test_another_user(user: int) -> None:
    found = check_alike("0", user=user, group=54321, extra_groups=[54321, 54322], umask=0o077)
    assert found["status"]["Groups"].split() == ["54321", "54322"]
    assert found["status"]["Uid"].split() == [str(user)] * 4
    assert found["owner"] == [user, 54321]


# In scripts


DESCRIBED = "tests.support.described"


def run_in_script(words: tuple[str, ...], command: tuple[str, ...], end: str) -> tuple[Any, ...]:
    """Whether a shell's command was forked, and how it ended; what it errs and tells.

    Args:
        words: the shell's command line, behind which the command follows.
        command: what it is to run.
        end: how that ends.
    """
    done = subprocess.run(
        [*words, *command, end, "two words"], capture_output=True, cwd=ROOT, check=False
    )
    shell, _, text = done.stdout.partition(b"\n")
    said = json.loads(text)
    said["environment"].pop("_", None)
    return said.pop("parent") != int(shell), done.returncode, done.stderr, said


def scripted(*words: str, end: str = "3") -> dict[str, Any]:
    """Compare what a shell runs in both ways; tell what it was, and whether it was forked."""
    is_forked, *found = run_in_script(words, in_scripts(DESCRIBED), end)
    assert [False, *found] == list(run_in_script(words, FORKED, end))
    return {"forked": is_forked, **found[-1]}


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", f'echo $$; {script}; "$@"; exit', "sh")


@pytest.mark.parametrize("end", ["0", "7", "signal"])
def test_a_script_with_another_state(tmp_path: Path, end: str) -> None:
    lines = f"umask 027; ulimit -n 100; trap '' HUP; export A='b c' HOME={tmp_path}"
    found = scripted(*shell(lines), end=end)
    assert found["forked"]
    assert found["environment"]["A"] == "b c"
    assert found["words"] == [end, "two words"]


@pytest.mark.parametrize("before", ["export PYTHONHASHSEED=77", "exec 5< /dev/null", "exec <&-"])
def test_a_script_whose_command_a_fork_would_not_equal(before: str) -> None:
    assert not scripted(*shell(before))["forked"]


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_a_script_with_its_own_mounts(tmp_path: Path) -> None:
    inner = tmp_path / "mnt" / "inner"
    inner.parent.mkdir()
    lines = f"{LET_GO}\nmount -t tmpfs none {inner.parent}; mkdir {inner}; cd {inner}"
    words = ("unshare", "--mount", *shell(lines))
    is_forked, _, _, found = run_in_script(words, in_scripts(DESCRIBED), "0")
    assert is_forked
    assert found["directory"] == str(inner)
    assert not inner.exists()


@pytest.mark.usefixtures("as_root", "another_user")
def test_a_script_of_another_user() -> None:
    words = ("setpriv", "--reuid=65534", "--regid=54321", "--groups=54321,54322")
    found = scripted(*words, *shell(":"))
    assert found["forked"]
    assert found["status"]["Groups"].split() == ["54321", "54322"]
    assert found["owner"] == [65534, 54321]
    assert not scripted("setpriv", "--bounding-set=-chown", *shell(":"))["forked"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_what_a_script_has_started(number: signal.Signals) -> None:
    command = [*in_scripts(DESCRIBED), "wait"]
    with spawned(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["parent"] != process.pid
        process.send_signal(number)
        assert process.wait(60) == -number
        ended, _, _ = select.select([process.stdout], [], [], 60)
        assert ended, "the command runs on"
        assert process.stdout.read() == b""


def command_line(process: str) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


# The real start, as users have it. Other tests have it by way of a shell or of mount(8).


def test_a_mount_that_is_executed(tmp_path: Path) -> None:
    with mounted(DATA, tmp_path / "mnt", command=("env", *ZSOFS)) as made:
        assert (made.path / "ps2.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
        assert status_of(made)["ok"]
        os.kill(made.daemon.pid, signal.SIGHUP)
        wait_until(made.is_alive, "the mount")
        assert "ps2.iso" in names(made.path)


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["mount", "--help"],
        ["list", str(DATA)],
        ["list", "--json", str(DATA)],
        ["info", str(DATA / "ps2.iso")],
        ["verify", "--no-cache", str(DATA / "maxcso.dax")],
        ["status", "/nowhere"],
        ["umount", "/nowhere"],
        ["reload", "/nowhere"],
        ["pack", "/nowhere"],
        ["unpack", "-q", str(DATA / "ziso-py.zso"), "-o", "-"],
        ["mount", "/nowhere", "/nowhere"],
        ["nonsense"],
        ["service", "list"],
    ],
)
def test_commands_that_are_executed(words: list[str]) -> None:
    forked, executed = (
        subprocess.run([*command, *words], capture_output=True, check=False)
        for command in (ZSOFS, ("env", *ZSOFS))
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        executed.returncode,
        executed.stdout,
        executed.stderr,
    )
