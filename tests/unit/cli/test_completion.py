"""Completion in bash, zsh and fish, as the shells themselves do it."""

import os
import pwd
import shlex
import subprocess
from pathlib import Path

import pytest

from release import commands, completion
from tests.conftest import MountMaker

# What readline does: find the function, give it the words, take its answers.
BASH = """
source "$1"; shift
[[ $(complete -p zsofs) == "complete -F _zsofs zsofs" ]] || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_zsofs zsofs "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\\n' "${COMPREPLY[@]}"
"""

# zsh completes nowhere but in a line that is being edited. What is offered there goes to a file.
ZSH = """
fpath=($SCRIPTS $fpath) PROMPT=
autoload -Uz compinit && compinit -C -u -d $DUMP
compadd() {
    if [[ ${@[1,(i)(-|--)]} != *-[OAD]* ]]; then
        local -a offered
        builtin compadd -O offered "$@"
        (( $#offered )) && print -rl -- $offered >>$OFFERED
    fi
    builtin compadd "$@"
}
zle-line-init() {
    BUFFER=$LINE CURSOR=$#LINE
    zle complete-word
    exit
}
zle -N zle-line-init
"""
FISH = "source $argv[1]; complete -C $argv[2]"
EVERY = list(commands.zsofs().walk())


class Shell:
    """A shell that completes in a folder with two sources, a mount point and a file."""

    def __init__(self, name: str, scratch: Path, shared: Path) -> None:
        """Create it; in *shared*, zsh keeps which of its hundreds of functions completes what."""
        self.name = name
        self.scratch = scratch
        self.dump = shared / "zcompdump"
        self.folder = scratch / "folder"
        for below in ("zso", "zso old", "iso"):
            (self.folder / below).mkdir(parents=True)
        (self.folder / "zso.csv").touch()
        self.script = scratch / {"bash": "zsofs", "fish": "zsofs.fish", "zsh": "_zsofs"}[name]
        self.script.write_text(getattr(completion, name)())

    def complete(self, *words: str) -> list[str]:
        """What it offers for the last of these words."""
        offered = {"bash": self._bash, "fish": self._fish, "zsh": self._zsh}[self.name](words)
        return sorted({one.rstrip("/").replace("\\ ", " ") for one in offered})

    def _bash(self, words: tuple[str, ...]) -> list[str]:
        parts = list(words[:-1])
        begin, equals, rest = words[-1].partition("=")  # which bash takes for words of their own
        parts += [begin, equals, rest] if rest else [begin, equals] if equals else [begin]
        return self._said("bash", "--norc", "-uc", BASH, "bash", self.script, *parts).splitlines()

    def _fish(self, words: tuple[str, ...]) -> list[str]:
        said = self._said(
            "fish", "--no-config", "-c", FISH, self.script, shlex.join(words[:-1]) + f" {words[-1]}"
        )
        offered = [line.partition("\t")[0] for line in said.splitlines()]
        # fish 4 also prints candidates that contain the word elsewhere. Its menu shows these only
        # if no candidate begins with the word.
        offered = [one for one in offered if one.startswith(words[-1])] or offered
        return [one.partition("=")[2] if "=" in words[-1] else one for one in offered]

    def _zsh(self, words: tuple[str, ...]) -> list[str]:
        offered = self.scratch / "offered"
        offered.write_text("")
        (self.scratch / ".zshrc").write_text(ZSH)
        places = {"ZDOTDIR": self.scratch, "SCRIPTS": self.scratch}
        places |= {"OFFERED": offered, "DUMP": self.dump}
        line = shlex.join(words[:-1]) + f" {words[-1]}"
        typed = {"TERM": "dumb", "LINE": line, **{key: str(path) for key, path in places.items()}}
        self._said("script", "-qec", "zsh -d -i || :", "/dev/null", **typed)
        return offered.read_text().splitlines()

    def _said(self, *command: str | Path, **environment: str) -> str:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.scratch), **environment},
        )
        assert (done.stderr, done.returncode) == ("", 0)
        return done.stdout


@pytest.fixture(params=["bash", "fish", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, module_path: Path) -> Shell:
    return Shell(request.param, tmp_path, module_path)


def test_commands(shell: Shell) -> None:
    offered = shell.complete("zsofs", "")
    assert {command.words[1] for command in EVERY[0].commands} == set(offered) - {
        "--help",
        "--version",
    }
    assert shell.complete("zsofs", "umo") == ["umount"]
    assert shell.complete("zsofs", "bogus-") == []
    assert shell.complete("zsofs", "service", "r") == ["remove"]


@pytest.mark.parametrize("command", EVERY, ids=lambda command: " ".join(command.words))
def test_every_option(shell: Shell, command: commands.Command) -> None:
    flags = [flag for option in command.options for flag in option.flags]
    assert shell.complete(*command.words, "-") == sorted([*flags, "--help"])


def test_options_after_others(shell: Shell) -> None:
    said = ("zsofs", "mount", "--demo", "--layout", "opl", "-v")
    assert shell.complete(*said, "--read") == ["--read-ahead"]
    assert shell.complete("zsofs", "umount", "--l") == ["--lazy"]


def test_folders(shell: Shell) -> None:
    assert shell.complete("zsofs", "mount", "") == ["iso", "zso", "zso old"]
    assert shell.complete("zsofs", "mount", "zso", "i") == ["iso"]
    assert shell.complete("zsofs", "list", "zs") == ["zso", "zso old"]
    assert shell.complete("zsofs", "umount", "no-such") == []


def test_mounts_that_are_there(shell: Shell, mount: MountMaker, source: Path) -> None:
    made = mount(source)
    for command in ("umount", "status", "reload"):
        assert str(made.path) in shell.complete("zsofs", command, str(made.path)[:-2])
    assert shell.complete("zsofs", "umount", "is") == ["iso"]


def test_services_that_are_there(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = shell.scratch / "config"
    (configs / "zsofs").mkdir(parents=True)
    for name in ("games", "movies.toml", "gamma.txt"):
        (configs / "zsofs" / f"{name}.toml".replace(".txt.toml", ".txt")).touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(configs))
    assert shell.complete("zsofs", "service", "remove", "ga") == ["games"]
    assert "games" in shell.complete("zsofs", "service", "remove", "--user", "")
    for command in ("umount", "status", "reload", "top", "metrics", "web"):
        assert shell.complete("zsofs", command, "ga") == ["games"]


def test_files(shell: Shell) -> None:
    for command in ("pack", "unpack", "info", "verify"):
        assert shell.complete("zsofs", command, "zso") == ["zso", "zso old", "zso.csv"]
    assert shell.complete("zsofs", "pack", "zso", "-o", "i") == ["iso"]


def test_values(shell: Shell) -> None:
    mount = ("zsofs", "mount")
    assert shell.complete(*mount, "--layout", "") == ["opl", "plain"]
    assert shell.complete(*mount, "--layout=o") == ["opl"]
    assert shell.complete(*mount, "--layout=") == ["opl", "plain"]
    assert shell.complete(*mount, "--titles", "zso.") == ["zso.csv"]
    assert shell.complete(*mount, "--cache-size", "") == []
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert me in shell.complete(*mount, "--uid", me[:2])


def test_what_is_hidden_is_not_offered(shell: Shell) -> None:
    assert shell.complete("zsofs", "pack", "--no-") == ["--no-verify"]


def test_fish_says_what_everything_is(tmp_path: Path) -> None:
    script = tmp_path / "zsofs.fish"
    script.write_text(completion.fish())
    for command in EVERY:
        line = " ".join([*command.words, "-"])
        words: list[str | Path] = ["fish", "--no-config", "-c", FISH, script, line]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        wanted = {f"{flag}\t{option.text}" for option in command.options for flag in option.flags}
        assert wanted <= set(said)


@pytest.mark.parametrize(
    ("shell", "ask", "place"),
    [
        ("fish", "string join \\n $fish_complete_path", "usr/share/fish/vendor_completions.d"),
        ("zsh", "print -l $fpath", "usr/share/zsh/vendor-completions"),
    ],
)
def test_shells_look_where_the_package_puts_it(shell: str, ask: str, place: str) -> None:
    said = subprocess.run([shell, "-c", ask], capture_output=True, text=True, check=True)
    assert f"/{place}" in said.stdout.splitlines()
    assert [name for name in completion.SCRIPTS if name.startswith(f"{place}/")]


def test_bash_offers_it_when_tab_is_pressed(tmp_path: Path) -> None:
    """A real terminal: what is typed in part comes out whole."""
    shell = Shell("bash", tmp_path, tmp_path)
    typed = f"source {shell.script}; cd {shell.folder}\n zsofs stat\t --js\t is\t\n exit\n"
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
