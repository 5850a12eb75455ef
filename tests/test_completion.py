"""Completion in bash, as bash itself does it."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from release import commands, completion

# What readline does: find the function, give it the words, take its answers.
ASK = """
source "$1"; shift
[[ $(complete -p zsofs) == "complete -F _zsofs zsofs" ]] || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_zsofs zsofs "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "zsofs"
    path.write_text(completion.bash())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("zso", "zso old", "iso"):
        (tmp_path / name).mkdir()
    (tmp_path / "zso.csv").touch()
    return tmp_path


def complete(script: Path, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    done = subprocess.run(
        ["bash", "--norc", "-uc", ASK, "bash", script, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return sorted(done.stdout.splitlines())


def test_commands(script: Path, folder: Path) -> None:
    every = sorted(command.words[1] for command in commands.zsofs().commands)
    assert complete(script, folder, "zsofs", "") == sorted(["--help", "--version", *every])
    assert complete(script, folder, "zsofs", "umo") == ["umount"]
    assert complete(script, folder, "zsofs", "bogus-") == []


@pytest.mark.parametrize("command", list(commands.zsofs().walk()), ids=lambda c: " ".join(c.words))
def test_every_option(script: Path, folder: Path, command: commands.Command) -> None:
    flags = [flag for option in command.options for flag in option.flags]
    offered = complete(script, folder, *command.words, "-")
    assert offered == sorted([*flags, "--help"])


def test_options_after_others(script: Path, folder: Path) -> None:
    said = ("zsofs", "mount", "--demo", "--layout", "opl", "-v")
    assert complete(script, folder, *said, "--read") == ["--read-ahead"]
    assert complete(script, folder, "zsofs", "umount", "--l") == ["--lazy"]


def test_folders(script: Path, folder: Path) -> None:
    assert complete(script, folder, "zsofs", "mount", "") == ["iso", "zso", "zso old"]
    assert complete(script, folder, "zsofs", "mount", "zso", "i") == ["iso"]
    assert complete(script, folder, "zsofs", "list", "zs") == ["zso", "zso old"]
    assert complete(script, folder, "zsofs", "umount", "mount") == []


def test_values(script: Path, folder: Path) -> None:
    mount = ("zsofs", "mount")
    assert complete(script, folder, *mount, "--layout", "") == ["opl", "plain"]
    assert complete(script, folder, *mount, "--layout", "=", "o") == ["opl"]
    assert complete(script, folder, *mount, "--layout", "=") == ["opl", "plain"]
    assert complete(script, folder, *mount, "--titles", "zso.") == ["zso.csv"]
    assert complete(script, folder, *mount, "--cache-size", "") == []
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert me in complete(script, folder, *mount, "--uid", me[:2])


def test_bash_offers_it_when_tab_is_pressed(script: Path, folder: Path) -> None:
    """A real terminal: what is typed in part comes out whole."""
    typed = f"source {script}; cd {folder}\n zsofs stat\t --js\t is\t\n exit\n"
    done = subprocess.run(
        ["script", "-qefc", "bash --norc --noprofile -i", "/dev/null"],
        input=typed.encode(),
        capture_output=True,
        check=False,
        timeout=30,
        env={**os.environ, "TERM": "dumb", "PS1": "$ "},
    )
    assert b"zsofs status --json" in done.stdout.replace(b"  ", b" "), done.stdout
    assert b"iso/" in done.stdout, done.stdout
