"""Waits in tests, benchmarks and scripts have an end: a hang is a failure, not an endless run."""

import ast
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.mounting import opened

ROOT = Path(__file__).parents[2]
PYTHON = [path for name in ("tests", "bench", "release") for path in (ROOT / name).rglob("*.py")]
SCRIPTS = [ROOT / "bootstrap.sh", ROOT / ".ci" / "run"]

WAITS = {"wait", "join", "communicate"}
"""Methods of processes, threads and events that wait without a limit if they get no argument."""

ENDLESS = re.compile(r"sleep infinity|tail -f|flock [0-9]|until .*; do|while .*; do .*sleep")
"""What waits without a limit in a line of shell, unless `timeout` bounds it."""


def waits(path: Path) -> Iterator[int]:
    """Lines in which Python waits without a limit; what is awaited has trio's cancel scopes."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    awaited = [node.value for node in nodes if isinstance(node, ast.Await)]
    blocks = [each.context_expr for each in nodes if isinstance(each, ast.withitem)]
    for node in nodes:
        if isinstance(node, ast.Call) and node not in awaited:
            name = ast.unparse(node.func).rpartition(".")[2]
            bare = not node.args and not node.keywords
            # The end of such a block waits, too: ends.spawned is the one that is bounded.
            if (name in WAITS and bare) or (name == "Popen" and node in blocks):
                yield node.lineno


def test_python_waits_with_a_limit() -> None:
    assert [f"{path}:{line}" for path in PYTHON for line in waits(path)] == []


def test_shell_waits_with_a_limit() -> None:
    found = [
        line
        for path in [*SCRIPTS, *PYTHON]
        for line in path.read_text().splitlines()
        if ENDLESS.search(line) and "timeout " not in line and "ENDLESS" not in line
    ]
    assert found == []


def test_another_start_that_does_not_end(tmp_path: Path) -> None:
    """Here `timeout` gives up at once, as it does after 15 minutes."""
    shutil.copy(ROOT / "bootstrap.sh", tmp_path)
    (tmp_path / "zsofs/native").mkdir(parents=True)
    sources = (f"zsofs/native/a.{ending}" for ending in ("pyx", "pxd", "h"))
    for name in ("pyproject.toml", *sources):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/timeout").write_text("#!/bin/sh\nexit 124\n")
    (tmp_path / "bin/timeout").chmod(0o755)
    with opened(tmp_path / "pyproject.toml") as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = subprocess.run(
            [tmp_path / "bootstrap.sh", "--version"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
        )
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [
            "zsofs: waiting for another build to finish",
            "zsofs: another build has been running for 15 minutes; stop it, then run the"
            " command again",
        ],
    )
