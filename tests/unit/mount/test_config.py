"""Configs: options in a file; the command line has precedence; errors name the line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fork_server import in_scripts
from tests.support.mounting import DATA, unmount
from tests.support.namespaces import LET_GO
from zsofs.cli.parser import parse
from zsofs.errors import UsageError
from zsofs.mount import config
from zsofs.mount.options import OPTIONS
from zsofs.system import xdg


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where configs lie, for this process."""
    made = tmp_path / "etc"
    made.mkdir()
    monkeypatch.setattr(xdg, "system_folder", lambda: made)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return made


BOTH = 'source = "/srv/zso"\nmountpoint = "/srv/iso"\n'


def refused(folder: Path, text: str) -> str:
    (folder / "games.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        parse(["mount", "games"])
    return str(caught.value)


def test_a_config_says_all_that_the_command_line_can(folder: Path) -> None:
    (folder / "games.toml").write_text(
        BOTH
        + """\
# a comment
layout = "opl"
titles = "/srv/titles.csv"
include = ["*.zso", "a/*"]
exclude = []
allow-links-to = ["/srv/roms", "~/more"]
show-raw = true
cd = "tracks"
cache-size = "256M"
threads = 8
read-ahead = 1048576
slow-ms = 100
no-preload = true
keep-awake = "auto"
view-group = "root"
writable = true
new-discs = true
allow-other = true
uid = 12
gid = "root"
umask = "027"
setuid = "root"
nofail = true
verbose = true
quiet = false
log-file = "~/zsofs.log"
"""
    )
    parsed = parse(["mount", "games"])
    assert parsed.paths == ["/srv/zso", "/srv/iso"]
    assert (parsed.layout, parsed.titles) == ("opl", Path("/srv/titles.csv"))
    assert (parsed.include, parsed.exclude) == (["*.zso", "a/*"], [])
    assert parsed.allow_links_to == [Path("/srv/roms"), Path("~/more").expanduser()]
    assert parsed.cd == "tracks"
    assert (parsed.show_raw, parsed.writable, parsed.allow_other) == (True, True, True)
    assert (parsed.cache_size, parsed.threads, parsed.read_ahead) == (256 << 20, 8, 1 << 20)
    assert (parsed.slow_ms, parsed.new_discs) == (100, True)
    assert (parsed.slow_ms, parsed.no_preload, parsed.keep_awake) == (100, True, "auto")
    assert parsed.view_group == 0
    assert (parsed.uid, parsed.gid, parsed.umask, parsed.setuid) == (12, 0, 0o027, 0)
    assert (parsed.nofail, parsed.verbose, parsed.quiet) == (True, True, False)
    assert parsed.log_file == Path("~/zsofs.log").expanduser()
    said = (folder / "games.toml").read_text()
    assert all(f"\n{option.name} = " in said for option in OPTIONS), "every option is tried here"


def test_a_service_is_told_where_its_files_lie(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever folder `service install` was called in."""
    monkeypatch.chdir(tmp_path)
    words = [
        "--layout",
        "opl",
        "--titles",
        "titles.csv",
        "--log-file",
        "zsofs.log",
    ]
    options = parse(["service", "install", "games", "zso", "iso", *words])
    values = {name.replace("_", "-"): str(value) for name, value in options.values.items()}
    (folder / "games.toml").write_text(config.text_of("/srv/zso", "/srv/iso", values))
    parsed = parse(["mount", "games"])
    assert parsed.titles == tmp_path / "titles.csv"
    assert parsed.log_file == tmp_path / "zsofs.log"


def test_a_service_is_refused_what_its_mount_would_be() -> None:
    words = ["service", "install", "games", "/srv/zso", "/srv/iso"]
    with pytest.raises(UsageError, match="--new-discs requires --writable"):
        parse([*words, "--new-discs"])
    with pytest.raises(UsageError, match="--titles requires --layout opl"):
        parse([*words, "--titles", "titles.csv"])
    with pytest.raises(UsageError, match="--verbose and --quiet"):
        parse([*words, "-o", "verbose,quiet"])


def test_the_command_line_wins(folder: Path) -> None:
    (folder / "games.toml").write_text(
        BOTH + 'cache-size = "1G"\nlayout = "opl"\ninclude = ["a"]\nwritable = true\nthreads = 2\n'
    )
    words = ["--cache-size", "2M", "-o", "layout=plain,ro", "--include", "b", "games"]
    parsed = parse(["mount", *words])
    assert (parsed.cache_size, parsed.layout, parsed.include) == (2 << 20, "plain", ["b"])
    assert parsed.writable is False
    assert parsed.threads == 2


def test_what_is_wrong_is_told_with_its_line(folder: Path) -> None:
    path = folder / "games.toml"
    assert f"{path}, line 3: chache-size: unknown option" in refused(
        folder, BOTH + 'chache-size = "1G"\n'
    )
    assert f"{path}, line 4: cache-size: 'big' is not a size" in refused(
        folder, BOTH + '# cache-size is wrong\ncache-size = "big"\n'
    )
    assert "line 3: threads: '65' is not a number from 1 to 64" in refused(
        folder, BOTH + "threads = 65\n"
    )
    assert "line 3: threads: True is not text" in refused(folder, BOTH + "threads = true\n")
    assert "line 3: umask: 18 is not text such as" in refused(folder, BOTH + "umask = 18\n")
    assert "line 3: writable: 'yes' is neither true nor false" in refused(
        folder, BOTH + 'writable = "yes"\n'
    )
    assert "line 3: include: '*.zso' is not a list" in refused(folder, BOTH + 'include="*.zso"\n')
    assert "line 4: games: unknown option" in refused(folder, BOTH + "\n[games]\nthreads = 4\n")
    assert "line 3: allow_other: unknown option; it is written allow-other in a config" in refused(
        folder, BOTH + "allow_other = true\n"
    )
    assert "line 5: cache: unknown option" in refused(
        folder, BOTH + 'cache-size = "1G"\n\ncache = "1G"\n'
    )
    assert "at line 2, column" in refused(folder, 'source = "/a"\nthreads = \n')
    assert "line 1: source: 'zso' is not an absolute path" in refused(folder, 'source = "zso"\n')
    assert 'lacks the line: mountpoint = "/a/directory"' in refused(folder, 'source = "/a"\n')
    assert "--titles requires --layout opl" in refused(folder, BOTH + 'titles = "/a"\n')
    assert "--verbose and --quiet" in refused(folder, BOTH + "verbose = true\nquiet = true\n")
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        parse(["mount", "games"])


HOSTILE = {
    "a huge number": (f"threads = {'9' * 5000}", "has a number with too many digits"),
    "a huge number in hexadecimal": (f"threads = 0x{'9' * 50_000}", "0x… is too large"),
    "a large number": ("threads = 99999999999999999999999999", "99999999999999999999999999 is too"),
    "a huge number elsewhere": (f"layout = 0x{'9' * 50_000}", "0x… is not text"),
    "a huge number in a list": (f"include = [0x{'9' * 50_000}]", "0x… is not text"),
    "an unknown key": (f"x = 0x{'9' * 50_000}", "unknown option"),
    "lists": (f"include = {'[' * 20_000}{']' * 20_000}", "brackets that are nested too deeply"),
    "tables": (f"x = {'{x=' * 10_000}1{'}' * 10_000}", "brackets that are nested too deeply"),
    "a long key": (f"{'.'.join('a' * 20_000)} = 1", "has a key with more than 100 dots"),
    "a long key in a table": (f"x = {{{'.'.join('a' * 20_000)} = 1}}", "more than 100 dots"),
    "a long word": (f'layout = "{"x" * 60_000}"', "is not a layout"),
    "a long file": ("# x\n" * 100_000, "cannot be read: it has more than 64 KiB"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_config_is_refused_in_a_sentence(folder: Path, what: str) -> None:
    text, why = HOSTILE[what]
    message = refused(folder, BOTH + text + "\n")
    assert why in message
    assert "\n" not in message
    assert "Exceeds the limit" not in message


def test_a_hostile_config_ends_the_command_with_exit_code_2(tmp_path: Path) -> None:
    configs = tmp_path / "config" / "zsofs"
    configs.mkdir(parents=True)
    (configs / "games.toml").write_text(f"{BOTH}threads = {'9' * 5000}\n")
    os.mkfifo(configs / "pipe.toml")
    (configs / "zero.toml").symlink_to("/dev/zero")
    code = (
        "import sys; from pathlib import Path; from zsofs.system import xdg\n"
        "from zsofs.cli.main import main\n"
        "xdg.system_folder = lambda: Path(sys.argv[1])\n"
        "sys.exit(main(['mount', sys.argv[2]]))"
    )
    for name in ("games", "pipe", "zero"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(configs), name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("option", ["--threads", "--cache-size", "--umask", "--uid", "--gid"])
def test_numbers_of_thousands_of_digits_on_the_command_line(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with pytest.raises((UsageError, SystemExit)) as caught:
        parse(["mount", "/a", "/b", option, "9" * 5000])
    said = str(caught.value) + capsys.readouterr().err
    assert "Exceeds the limit" not in said


def test_names_that_are_none(folder: Path) -> None:
    with pytest.raises(UsageError, match=rf"no such config: (\S+ or )?{folder}/games.toml"):
        parse(["mount", "games"])
    for name in ("-x", ".hidden", "a@b", "a b", ""):
        with pytest.raises(UsageError, match="is not a valid config name"):
            config.check_name(name)


def test_a_users_own_config_comes_before_the_systems(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config" / "zsofs" / "games.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    (folder / "games.toml").touch()
    (folder / "more.toml").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert config.find("games") == own
    assert config.find("more") == folder / "more.toml"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert config.find("games") == folder / "games.toml"


@pytest.mark.parametrize("path", ["/srv/zso", '/a"b\\c', "/tab\tnew\nline", "/\N{SNOWMAN}'s"])
def test_what_is_written_is_read(folder: Path, path: str) -> None:
    values = {"layout": "opl", "writable": True, "exclude": ['a"*', "b"], "cache-size": "1G"}
    (folder / "games.toml").write_text(config.text_of(path, "/srv/iso", values))
    found = config.load(folder / "games.toml")
    assert found == {
        "source": path,
        "mountpoint": "/srv/iso",
        "layout": "opl",
        "writable": True,
        "exclude": ['a"*', "b"],
        "cache_size": 1 << 30,
    }
    with pytest.raises(UsageError, match="not valid UTF-8"):
        config.text_of("/\udcff", "/srv/iso", {})


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_mount_by_name(tmp_path: Path, source: Path) -> None:
    """For real, from /etc/zsofs of a private mount namespace."""
    (source / "Game.zso").write_bytes((DATA / "ziso-py.zso").read_bytes())
    etc, point = tmp_path / "etc", tmp_path / "iso"
    (etc / "zsofs").mkdir(parents=True)
    (etc / "zsofs" / "games.toml").write_text(config.text_of(str(source), str(point), {}))
    script = tmp_path / "run.sh"
    script.write_text(
        f"""set -e
{LET_GO}
mount -t overlay -o lowerdir={etc}:/etc none /etc || mount --bind {etc} /etc
cd /
{" ".join(in_scripts())} mount games
ls {point}
{" ".join(in_scripts())} umount {point}
"""
    )
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", str(script)], capture_output=True, text=True, check=False
        )
    finally:
        unmount(point)
    assert done.returncode == 0, done.stderr
    assert "Game.iso" in done.stdout.splitlines()
