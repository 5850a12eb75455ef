"""Signals that come while a mount starts its daemon: none is lost between the two processes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ends import spawned
from tests.support.mounting import DATA, open_to_others, wait_until
from zsofs.system.mountinfo import mounted_at

ROOT = Path(__file__).parents[3]

# Ctrl-C at the moment of each fork(2), so that the child is told to end as early as can be. It has
# a handler in Python, as coverage has one: the interpreter clears such signals in a new child.
INTERRUPTED = """
import os, signal, sys, time
from zsofs.system import daemonize
os.register_at_fork(before=lambda: signal.raise_signal(signal.SIGINT))
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
def run(ready):
    time.sleep(5)
    print("the child was not told", flush=True)
    return 0
for _ in range(30):
    try:
        daemonize.start(run)
        print("the command was not told", flush=True)
    except KeyboardInterrupt:
        pass
"""

# A child that takes half a second between two of its first statements, after which the keeper no
# longer sees what the child does with a signal; and a keeper that waits without a limit.
SLOW_CHILD = """
import os, signal, sys, time
from zsofs.cli.main import main
from zsofs.timings import Timings, use
os.register_at_fork(after_in_child=lambda: (signal.set_wakeup_fd(-1), time.sleep(0.5)))
use(Timings(keeper_detach=3600.0))
sys.exit(main())
"""


def test_ctrl_c_while_the_daemon_is_forked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("as_root", "another_user")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_while_the_keeper_forks(source: Path, tmp_path: Path, number: int) -> None:
    shutil.copy(DATA / "maxcso-16384.zso", source / "Game.zso")
    point = tmp_path / "mnt"
    point.mkdir()
    open_to_others(tmp_path, source, point)
    words = [sys.executable, "-c", SLOW_CHILD, "mount", "-f", "--setuid", "nobody", source, point]
    with spawned(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as keeper:
        children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
        wait_until(lambda: keeper.poll() is not None or children.read_text(), "the child")
        os.kill(keeper.pid, number)
        said, _ = keeper.communicate(timeout=60)
    assert mounted_at(os.fsencode(point)) is None, said
    assert (keeper.returncode, said) == (0, b"")
