"""A mount that is told to end while everything in it changes and is asked for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import mounted

FILES = 4000
ROUNDS = 4

GROW = """
import sys, time
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.write(b"x")
        time.sleep(0.001)
"""

ASK = """
import os, sys
number = 0
while True:
    number += 1
    try:
        os.stat(sys.argv[1] if len(sys.argv) < 3 else f"{sys.argv[1]}{number % 999}")
    except FileNotFoundError:
        pass
    except OSError:
        break
"""


@pytest.mark.system
def test_a_busy_mount_can_be_ended(source: Path, tmp_path: Path) -> None:
    """Its threads tell the kernel of changes, and wait for look-ups that it still has to answer."""
    for number in range(FILES):
        (source / f"{number}.txt").touch()
    for number in range(ROUNDS):
        with mounted(source, tmp_path / f"mnt{number}") as made:
            made.may_end = True
            assert len(os.listdir(made.path)) >= FILES
            growing, absent = source / "growing.dat", made.path / "absent"
            commands = [[GROW, str(growing)], [ASK, str(made.path / "growing.dat")]]
            commands += [[ASK, str(absent), "many"]] * 3
            programs = [
                subprocess.Popen([sys.executable, "-c", *command], stderr=subprocess.DEVNULL)
                for command in commands
            ]
            try:
                with pytest.raises(subprocess.TimeoutExpired):
                    programs[1].wait(2)
                made.daemon.send_signal(signal.SIGTERM)
                assert made.daemon.wait(20) == 0
            finally:
                for program in programs:
                    program.kill()
                for program in programs:
                    program.wait(20)
