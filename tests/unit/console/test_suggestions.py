"""Words are taken literally, and what is misspelt is answered with what may be meant."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.mounting import ZSOFS, names
from tests.support.printed import ROOT
from tests.unit.cli.test_messages import refused, run
from zsofs import __version__
from zsofs.cli.command_parser import CommandParser
from zsofs.cli.parser import parser
from zsofs.console.suggestions import did_you_mean
from zsofs.mount.options import OPTIONS

IMAGE = writers.disc(98304, ["text", "noise"], 2)
MOUNT = ("mount", "/nowhere", "/nowhere")


def every_parser() -> list[CommandParser]:
    found, left = [], [parser()]
    while left:
        one = left.pop()
        assert isinstance(one, CommandParser)
        found.append(one)
        commands = one._commands()
        left += list(commands.choices.values()) if commands is not None else []
    return found


def test_no_parser_takes_abbreviations() -> None:
    every = every_parser()
    assert len(every) == 19
    for one in every:
        assert not one.allow_abbrev
    rooms = (ROOT / name for name in ("zsofs", "bench", "release", "tests"))
    for path in itertools.chain.from_iterable(room.rglob("*.py") for room in rooms):
        for line in path.read_text().splitlines():
            if "argparse.ArgumentParser(" in line and "class " not in line:
                assert "allow_abbrev=False" in line or path == Path(__file__), path


@pytest.mark.parametrize("word", ["--d", "--de", "--delete", "--delete-sourc", "-delete-source"])
def test_an_abbreviation_deletes_nothing(tmp_path: Path, word: str) -> None:
    (tmp_path / "Game.iso").write_bytes(IMAGE)
    said = refused(2, "pack", word, tmp_path / "Game.iso")
    assert said == (
        f"zsofs: unrecognized arguments: {word} (did you mean --delete-source?);"
        " see: zsofs pack --help"
    )
    assert names(tmp_path) == ["Game.iso"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("pack", "--dry-run", "x"), "--measure?); see: zsofs pack --help"),
        (("pack", "--mesure"), "--measure?); see: zsofs pack --help"),
        (("pack", "-force", "x"), "--force?); see: zsofs pack --help"),
        (("pack", "-output=y", "x"), "--output?); see: zsofs pack --help"),
        (("pack", "--for", "consle", "x"), "console?); see: zsofs pack --help"),
        (("pack", "--for=consol", "x"), "console?); see: zsofs pack --help"),
        (("pack", "--codec", "zst", "x"), "zstd?); see: zsofs pack --help"),
        (("unpack", "--overwrite", "x"), "--force?); see: zsofs unpack --help"),
        (("verify", "--no_cache", "x"), "--no-cache?); see: zsofs verify --help"),
        (("status", "--jsn"), "--json?); see: zsofs status --help"),
        (("umount", "--lasy", "x"), "--lazy?); see: zsofs umount --help"),
        (("pck", "x"), "pack?); see: zsofs --help"),
        (("unmunt", "x"), "umount?); see: zsofs --help"),
        (("check", "x"), "verify?); see: zsofs --help"),
        (("--versio",), "--version?); see: zsofs --help"),
        (("service", "uninstall", "x"), "remove?); see: zsofs service --help"),
        (("service", "list", "--usr"), "--user?); see: zsofs service list --help"),
        ((*MOUNT, "--write"), "--writable?); see: zsofs mount --help"),
        ((*MOUNT, "--layout", "OPL"), "opl?); see: zsofs mount --help"),
        ((*MOUNT, "-o", "ro,alow_other"), "allow_other?); see: zsofs mount --help"),
        ((*MOUNT, "-o", "layout=olp"), "opl?)"),
        ((*MOUNT, "-o", "cache_size"), "cache_size=64M?); see: zsofs mount --help"),
        ((*MOUNT, "-o", "writable=1"), "writable? It takes no value); see: zsofs mount --help"),
        ((*MOUNT, "-o", "noatme"), "noatime?); see: zsofs mount --help"),
    ],
)
def test_what_is_misspelt(words: tuple[str, ...], meant: str) -> None:
    assert refused(2, *words).endswith(f"(did you mean {meant}")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('chache-size = "8M"', "cache-size"),
        ('mount_point = "/x"', "mountpoint"),
        ("writeable = true", "writable"),
    ],
)
def test_keys_of_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, meant: str
) -> None:
    from zsofs.errors import UsageError
    from zsofs.mount import config

    file = tmp_path / "games.toml"
    file.write_text(f'source = "/a"\nmountpoint = "/b"\n{line}\n')
    with pytest.raises(UsageError, match=rf"line 3: .*\(did you mean {meant}\?\)"):
        config.load(file)


def test_nothing_is_suggested_where_nothing_is_near(tmp_path: Path) -> None:
    assert "did you mean" not in refused(2, "pack", "--qqqqqq", tmp_path)
    assert "did you mean" not in refused(2, "frobnicate")
    assert did_you_mean("", ["a"]) == ""
    assert did_you_mean("x", []) == ""


def test_fstab_words() -> None:
    """Through the helper that mount(8) runs."""
    code = "import sys\nfrom zsofs.cli.main import main\n"
    code += "sys.argv[0] = 'mount.zsofs'; sys.exit(main())"
    words = [sys.executable, "-c", code, "/a", "/b", "-o", "ro,writabel"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown mount option 'writabel' (did you mean writable?)" in done.stderr


def test_zsofs_alone_lists_its_commands() -> None:
    for words, count in (((), 15), (("service",), 3)):
        done = run(*words)
        assert done.returncode == 2
        lines = done.stdout.splitlines()
        assert len(lines) == count
        assert all(line.startswith("  ") and len(line.split(maxsplit=1)) == 2 for line in lines)
        see = " ".join(("zsofs", *words, "--help"))
        assert done.stderr == f"zsofs: no command given; see: {see}\n"
    assert "  pack       pack disc images into .zso or .cso files" in run().stdout


def test_names_that_commands_have_elsewhere(tmp_path: Path) -> None:
    assert run("help").stdout == run("--help").stdout
    assert run("help", "pack").stdout == run("pack", "--help").stdout
    assert run("help", "service", "install").stdout == run("service", "install", "--help").stdout
    assert run("version").stdout == f"zsofs {__version__}\n"
    assert run("unmount", "--help").stdout == run("umount", "--help").stdout
    assert refused(6, "unmount", tmp_path) == refused(6, "umount", tmp_path)


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_an_output_that_is_given_as_for_cp(tmp_path: Path, command: str) -> None:
    """Nothing is packed beside the inputs, where nobody wants it."""
    games = tmp_path / "games"
    games.mkdir()
    (games / "Game.iso").write_bytes(IMAGE)
    out = tmp_path / "zso2"
    assert refused(2, command, games, out).endswith(
        f"{out} does not exist (did you mean -o {out}?); see: zsofs {command} --help"
    )
    assert names(games) == ["Game.iso"]
    words = [*ZSOFS, command, str(games / "Game.iso"), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 8, "a file that is missing does not stop the others"
    assert f"No such file or directory (did you mean -o {out}/?)" in done.stderr
    missing = tmp_path / "Missing.iso"
    done = subprocess.run(
        [*ZSOFS, "pack", games, missing], capture_output=True, text=True, check=False
    )
    assert done.returncode == 8, "a disc that is missing does not stop the others"
    assert f"{missing}: it cannot be opened" in done.stderr


def test_bench_takes_no_abbreviations() -> None:
    words = [sys.executable, "-m", "bench", "--siz", "none"]  # it would start with a good value
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --siz none" in done.stderr


def test_every_option_is_suggested_for_its_own_name() -> None:
    for option in OPTIONS:
        wrong = option.name[:-1] + "_"
        assert option.field in did_you_mean(wrong, [one.field for one in OPTIONS])
