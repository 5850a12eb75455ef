"""Programs that are killed while they ask the mount for something."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.ends import spawned
from tests.support.mounting import open_files
from tests.support.rounds import rounds
from zsofs.mount.control.client import ask

PROGRAMS = 6

KILLER = """
import os, random, signal, sys, time

path, rounds, programs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(rounds):
    children = []
    for _ in range(programs):
        child = os.fork()
        if not child:
            while True:
                os.statvfs(path)
        children.append(child)
    time.sleep(random.uniform(0.003, 0.02))
    for child in children:
        os.kill(child, signal.SIGKILL)
        time.sleep(random.uniform(0, 0.002))
    for child in children:
        os.waitpid(child, 0)
    print(number, flush=True)
    sys.stdin.readline()
"""
"""Nobody asks the mount for anything after the last one was killed: that would wake it up."""


def check_killed_programs(made: Path, rounds: int) -> None:
    """The daemon answers on its socket after each round in which programs were killed."""
    command = [sys.executable, "-c", KILLER, str(made), str(rounds), str(PROGRAMS)]
    with spawned(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None
        try:
            for number in range(rounds):
                assert killer.stdout.readline() == f"{number}\n"
                ask(os.fsencode(made), "status")
                killer.stdin.write("\n")
                killer.stdin.flush()
        except BaseException:
            os.killpg(killer.pid, signal.SIGKILL)
            raise


def test_a_killed_program_does_not_stop_the_daemon(source: Path, mount: MountMaker) -> None:
    """Its request may be withdrawn after the daemon was told of it, and before it is read."""
    made = mount(source)
    check_killed_programs(made.path, rounds(50, 200))
    assert not made.log_lines("request loop")


@pytest.mark.system
def test_ten_thousand_killed_programs(source: Path, mount: MountMaker) -> None:
    """Twelve thousand, in 2,000 rounds; nothing of them stays in memory."""
    made = mount(source)
    check_killed_programs(made.path, 200)
    before = memory(made.daemon.pid)
    check_killed_programs(made.path, 2000)
    assert memory(made.daemon.pid) < before + (8 << 20)


def memory(process: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "other",
    [
        "import pyfuse3; from zsofs.cli import main",  # before the wrappers
        "from zsofs.cli import main; from zsofs.fuse import receive; receive.load()\n"
        "import pyfuse3; pyfuse3.__version__ = '3.99'",
    ],
    ids=["wrappers not in effect", "unknown version"],
)
def test_a_pyfuse3_that_is_not_known_is_used_as_it_is(
    source: Path, mount: MountMaker, other: str
) -> None:
    (source / "Picture.jpg").write_bytes(b"picture" * 10000)
    code = f"{other}\nimport sys; sys.exit(main.main())"
    made = mount(source, command=(sys.executable, "-c", code))
    assert (made.path / "Picture.jpg").read_bytes() == b"picture" * 10000
    assert len(made.log_lines("is not supported")) == 1
    assert not does_not_block(made.daemon.pid)


def test_the_descriptor_does_not_block(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    assert does_not_block(made.daemon.pid)
    assert not made.log_lines("is not supported")


def does_not_block(daemon: int) -> bool:
    """Whether a daemon's descriptor of /dev/fuse has O_NONBLOCK."""
    (fd,) = (fd for fd, path in open_files(daemon).items() if path == "/dev/fuse")
    said = Path(f"/proc/{daemon}/fdinfo/{fd}").read_text()
    found = re.search(r"^flags:\t([0-7]+)$", said, re.M)
    assert found is not None
    return bool(int(found[1], 8) & os.O_NONBLOCK)
