"""What people are told when something cannot be done: one sentence, and a documented exit code."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.support.mounting import DATA, ZSOFS, mounted, open_to_others, unmount
from tests.support.namespaces import LET_GO
from zsofs import __version__, errors
from zsofs.cli.parser import parse
from zsofs.discs.cd_forms import CdForm
from zsofs.errors import ZsofsError
from zsofs.mount.options import CD_FORMS
from zsofs.pack.presets import OTHER_NAMES, PURPOSES

ROOT = Path(__file__).parents[3]


def run(*arguments: object, **others: object) -> "subprocess.CompletedProcess[str]":
    if "user" in others:  # who cannot write where coverage is counted
        others["env"] = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*ZSOFS, *map(str, arguments)], capture_output=True, text=True, check=False, **others
    )


def refused(code: int, *arguments: object, **others: object) -> str:
    """The one sentence of a command that must fail with *code*."""
    done = run(*arguments, **others)
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("zsofs: ")
    return lines[0]


AS_HELPER = """
import sys; from zsofs.cli.main import main; sys.argv[0] = 'mount.zsofs'; sys.exit(main())"""


@pytest.mark.parametrize("words", [[*ZSOFS, "mount", "-f"], [sys.executable, "-c", AS_HELPER]])
def test_the_reason_of_an_end_is_an_error_in_the_journal(tmp_path: Path, words: list[str]) -> None:
    """`journalctl -p err` has it."""
    gone, journal = tmp_path / "gone", tmp_path / "journal"
    with journal.open("wb") as stream:
        there = os.fstat(stream.fileno())
        environment = os.environ | {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        subprocess.run(
            [*words, gone, tmp_path / "iso"], stderr=stream, env=environment, check=False
        )
    assert journal.read_text() == f"<3>zsofs: the source directory {gone} does not exist\n"


def test_version_and_help() -> None:
    assert run("--version").stdout == f"zsofs {__version__}\n"
    assert "examples:" in run("--help").stdout
    said = run("mount", "--help").stdout
    for option in ("--cache-size", "--threads", "--allow-other", "-o ", "-v", "-q", "--log-file"):
        assert option in said
    for option in ("--layout", "--titles", "--include", "--exclude", "--show-raw"):
        assert option in said
    for option in ("--writable", "--uid", "--gid", "--umask"):
        assert option in said
    assert "--lazy" in run("umount", "--help").stdout
    assert "--json" in run("status", "--help").stdout
    assert "--json" in run("list", "--help").stdout
    for command in ("mount", "umount", "reload", "status", "list", "pack", "unpack"):
        assert "examples:" in run(command, "--help").stdout
        assert f"\n    {command} " in run("--help").stdout


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--version"], {"argparse", "dataclasses", "logging", "pathlib"}),
        (["--help"], {"trio", "pyfuse3", "zsofs.native.block_reader", "zsofs.discs"}),
    ],
)
def test_what_is_said_at_once_imports_little(words: list[str], heavy: set[str]) -> None:
    code = f"import sys; before = set(sys.modules); sys.argv[1:] = {words}\n"
    code += "from zsofs.cli import main\ntry: main.main()\nexcept SystemExit: pass\n"
    code += f"print(sorted({heavy} & sys.modules.keys() - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("zsofs.watch.worker", {"tqdm", "inotify_simple", "importlib.metadata", "trio"}),
        ("zsofs.inspection.info", {"tqdm", "inotify_simple", "importlib.metadata", "trio"}),
        # What only reports of a mount need comes when the mount is served.
        (
            "zsofs.mount.lifecycle",
            {"zsofs.mount.reports", "zsofs.inspection", "zsofs.pack", "zsofs.discs.dat"},
        ),
        ("zsofs.archives.worker", {"zipfile", "hashlib", "subprocess", "logging"}),
    ],
)
def test_a_process_imports_what_it_uses(module: str, heavy: set[str]) -> None:
    """Its start is most of the time that a small disc or archive takes."""
    code = "import sys; before = set(sys.modules)\n"  # coverage may have been imported
    code += f"import {module}; print(sorted({heavy} & sys.modules.keys() - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_python_starts_without_modules_of_an_editable_installation() -> None:
    """The finder of setuptools imports as many as the interpreter does; a .pth file has a path."""
    code = "import sys; print([name for name in sys.modules if name.startswith('__editable__')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("words", [(), ("--purge",)])
def test_only_a_portable_installation_is_uninstalled(words: tuple[str, ...]) -> None:
    done = run("uninstall", *words)
    assert done.returncode == 2
    assert "remove the Debian package with: sudo apt purge zsofs" in done.stderr


def test_values_that_the_command_line_repeats() -> None:
    """It does not import the modules that define them."""
    assert ("auto", *(form.value for form in CdForm)) == CD_FORMS
    said = run("pack", "--help").stdout
    *others, last = [*PURPOSES, *OTHER_NAMES]
    assert f"preset or device: {', '.join(others)} or {last};" in " ".join(said.split())


def test_every_exit_code_is_in_help() -> None:
    """From which the table in the documentation is made (tests/docs/test_build.py)."""
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ZsofsError)
    }
    said = run("--help").stdout
    for code in codes:
        assert f"\n  {code}  " in said


def test_a_command_line_that_makes_no_sense(tmp_path: Path) -> None:
    assert "--help" in refused(2)
    assert "mont" in refused(2, "mont")
    assert "two directories" in refused(2, "mount", tmp_path)
    assert "one directory" in refused(2, "mount", "--demo", tmp_path, tmp_path)
    assert "'12Q'" in refused(2, "mount", "--cache-size", "12Q", tmp_path, tmp_path)
    assert "'0'" in refused(2, "mount", "--threads", "0", tmp_path, tmp_path)
    assert "'bogus=1'" in refused(2, "mount", "-o", "ro,bogus=1", tmp_path, tmp_path)
    assert "'x'" in refused(2, "mount", "-o", "threads=x", tmp_path, tmp_path)
    assert "not allowed with" in refused(2, "mount", "-v", "-q", tmp_path, tmp_path)
    assert "MOUNTPOINT" in refused(2, "reload")
    assert "SOURCE|MOUNTPOINT" in refused(2, "list")
    assert "unrecognized" in refused(2, "status", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--layout", "OPL"], "argument --layout: 'OPL' is not a layout; use plain or opl"),
        (["-o", "layout="], "-o layout=: '' is not a layout"),
        (["--include", ""], "argument --include: '' is a pattern that cannot match anything"),
        (["-o", "ro,exclude=/"], "-o exclude=/: '/' is a pattern that cannot match anything"),
        (["--uid", "nobody-here"], "argument --uid: unknown user 'nobody-here'"),
        (["-o", "gid=nobody-here"], "-o gid=nobody-here: unknown group 'nobody-here'"),
        (["--gid", "4294967295"], "argument --gid: '4294967295' is not a number up to 4294967294"),
        (["--umask", "8"], "argument --umask: '8' is not a umask such as 022"),
        (["-o", "umask=01234"], "-o umask=01234: '01234' is not a umask such as 022"),
        (["-o", "ro,writable"], "ro and writable cannot be combined"),
        (["--writable", "-o", "ro"], "ro and writable cannot be combined"),
        (["-o", "writable=yes"], "unknown mount option 'writable=yes'"),
        (["--titles", "", "--layout", "opl"], "argument --titles: '' is not a path"),
        (["--titles", "titles.csv"], "--titles requires --layout opl"),
        (["-o", "titles=titles.csv"], "--titles requires --layout opl"),
        (["--layout", "opl", "--titles", "x", "-o", "layout=plain"], "requires --layout opl"),
        (["-o", "show_raw=1"], "unknown mount option 'show_raw=1'"),
    ],
)
def test_what_is_to_be_shown_makes_no_sense(tmp_path: Path, words: list[str], why: str) -> None:
    assert why in refused(2, "mount", *words, tmp_path, tmp_path)


def test_what_is_to_be_shown() -> None:
    """As mount(8) writes it, and as options; of patterns all count, of others the last."""
    words = ["--layout", "opl", "--titles", "a.csv", "--include", "*.zso", "--include", "a/*"]
    parsed = parse(["mount", *words, "--exclude", "b", "--show-raw", "source", "point"])
    assert parsed.layout == "opl"
    assert parsed.titles == Path.cwd() / "a.csv"
    assert parsed.include == ["*.zso", "a/*"]
    assert parsed.exclude == ["b"]
    assert parsed.show_raw is True
    words = ["-o", "titles=/a.csv,layout=opl,include=*.zso,show_raw", "-o", "include=a/*,exclude=b"]
    parsed = parse(["mount", "--include", "c", "--layout", "plain", *words, "source", "point"])
    assert parsed.layout == "opl"
    assert parsed.titles == Path("/a.csv")
    assert parsed.include == ["c", "*.zso", "a/*"]
    assert parsed.exclude == ["b"]
    assert parsed.show_raw is True
    parsed = parse(["mount", "source", "point"])
    assert (parsed.layout, parsed.titles) == ("plain", None)
    assert (parsed.include, parsed.exclude, parsed.show_raw) == ([], [], False)


def test_who_may_change_what() -> None:
    words = ["--writable", "--uid", "root", "--gid", "12", "--umask", "002"]
    parsed = parse(["mount", *words, "source", "point"])
    assert (parsed.writable, parsed.uid, parsed.gid, parsed.umask) == (True, 0, 12, 0o002)
    parsed = parse(["mount", "-o", "rw,writable,uid=7,gid=root,umask=77", "source", "point"])
    assert (parsed.writable, parsed.uid, parsed.gid, parsed.umask) == (True, 7, 0, 0o077)
    parsed = parse(["mount", "-o", "rw", "source", "point"])
    assert (parsed.writable, parsed.uid, parsed.gid, parsed.umask) == (False, None, None, None)


def test_the_sample_disc_is_not_writable(tmp_path: Path) -> None:
    assert "needs a SOURCE" in refused(2, "mount", "--demo", "--writable", tmp_path / "mnt")


@pytest.mark.usefixtures("as_root", "another_user")
def test_a_source_that_may_not_be_written(tmp_path: Path) -> None:
    source, home = tmp_path / "source", tmp_path / "home"
    source.mkdir(mode=0o755)
    home.mkdir()
    os.chown(home, 65534, 65534)
    open_to_others(tmp_path)
    words = ("mount", "--writable", source, home / "mnt")
    said = refused(3, *words, user=65534, group=65534, cwd=ROOT)
    assert "is not writable" in said


def test_sources_that_cannot_be(tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    (tmp_path / "file").touch()
    assert "does not exist" in refused(3, "mount", tmp_path / "none", point)
    assert "not a directory" in refused(3, "mount", tmp_path / "file", point)
    assert not point.exists()


@pytest.mark.parametrize("words", [["list", "."], ["mount", ".", "mnt"], ["status", "mnt"]])
def test_in_a_directory_that_was_deleted(tmp_path: Path, words: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$0" && rmdir "$0" && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, gone, *ZSOFS, *words], capture_output=True, text=True, check=False
    )
    expected = "the current directory no longer exists; change to another one with: cd /"
    assert (done.returncode, done.stderr) == (3, f"zsofs: {expected}\n")


def test_files_that_may_lie_on_a_disk_that_is_late(source: Path, tmp_path: Path) -> None:
    """A service tries again, unless the exit code is 2: then it never comes right by itself."""
    titles, point = tmp_path / "disk" / "titles.csv", tmp_path / "mnt"
    (tmp_path / "file").touch()
    mount = ("mount", "-f", "--nofail", "--layout", "opl")
    said = refused(3, *mount, "--titles", titles, source, point)
    assert f"the list of titles {titles} cannot be read" in said
    said = refused(3, *mount, "--log-file", tmp_path / "file" / "log", source, point)
    assert f"the log file {tmp_path}/file/log cannot be written" in said
    titles.parent.mkdir()
    titles.write_text("no title\n")
    said = refused(2, *mount, "--titles", titles, source, point)
    assert "line 1: expected an id" in said
    assert not point.exists()
    for unit in (ROOT / "systemd").glob("*/*.service"):
        assert "\nRestartPreventExitStatus=2\n" in unit.read_text()


@pytest.mark.usefixtures("as_root", "another_user")
def test_a_source_that_may_not_be_read(tmp_path: Path) -> None:
    source, home = tmp_path / "source", tmp_path / "home"
    source.mkdir(mode=0o700)
    home.mkdir()
    os.chown(home, 65534, 65534)
    open_to_others(tmp_path)
    said = refused(3, "mount", source, home / "mnt", user=65534, group=65534, cwd=ROOT)
    assert "cannot be read: Permission denied" in said


@pytest.mark.parametrize("below", ["zsofs", "."])
def test_a_mount_point_over_the_sockets_of_mounts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    """The daemon would wait for itself where it removes its own."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(runtime)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "link"))
    said = refused(4, "mount", source, runtime / below)
    assert (
        f"lies over {tmp_path / 'link' / 'zsofs'}, which holds the control sockets of running"
        " mounts"
    ) in said
    assert list(runtime.iterdir()) == []
    with mounted(source, runtime / "zsofs-mount"), mounted(source, runtime / "zsofs" / "mnt"):
        pass


@pytest.mark.usefixtures("as_root")
def test_a_mount_point_over_the_sockets_of_another_user() -> None:
    """Nothing is made there."""
    said = refused(4, "mount", "--setuid", "nobody", "/usr/share", "/run/zsofs-65534/zsofs")
    assert (
        "lies over /run/zsofs-65534/zsofs, which holds the control sockets of running mounts"
    ) in said


def test_mount_points_that_cannot_be(source: Path, tmp_path: Path) -> None:
    full, inside = tmp_path / "full", source / "inside"
    (full / "something").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert "is not empty" in refused(4, "mount", source, full)
    assert "is not a directory" in refused(4, "mount", source, tmp_path / "file")
    assert "is the source directory itself" in refused(4, "mount", source, source)
    assert "inside the source" in refused(4, "mount", source, inside)
    assert not inside.exists()
    assert "inside the mount point" in refused(4, "mount", source, tmp_path)
    above = tmp_path / "not there"
    assert f"create that with: mkdir -p '{above}'" in refused(4, "mount", source, above / "b")
    link = tmp_path / "link"
    link.symlink_to(source)
    assert "is the source directory itself" in refused(4, "mount", source, link)


def test_already_mounted(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    said = refused(4, "mount", source, made.path)
    assert "already mounted" in said
    assert f"zsofs umount {made.path}" in said


@pytest.mark.usefixtures("as_root", "another_user")
def test_umount_of_somebody_elses(source: Path, mount: MountMaker) -> None:
    made = mount(source, "--allow-other")
    open_to_others(made.path.parent)
    said = refused(6, "umount", made.path, user=65534, group=65534, cwd=ROOT)
    assert "belongs to another user" in said
    assert made.is_alive()


def test_nobody_listens(source: Path, tmp_path: Path) -> None:
    """The mount is made although no process reads its output."""
    point = tmp_path / "mnt"
    words = shlex.join([*ZSOFS, "mount", str(source), str(point)])
    try:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {words} | true"], capture_output=True, check=False
        )
        assert done.stderr == b""
        assert os.path.ismount(point)
    finally:
        unmount(point)


def test_umount_of_what_is_not_ours(tmp_path: Path) -> None:
    assert "nothing is mounted" in refused(6, "umount", tmp_path)
    assert "not zsofs but proc" in refused(6, "umount", "/proc")


@pytest.mark.usefixtures("as_root", "another_user", "own_mounts")
def test_no_fuse_device_or_no_right_to_it(source: Path, tmp_path: Path) -> None:
    """In a private mount namespace, where /dev/fuse can be hidden."""
    script = tmp_path / "run.sh"
    words = shlex.join([*ZSOFS, "mount", str(source), str(tmp_path / "mnt")])
    script.write_text(f"{LET_GO}\nmount -t tmpfs none /dev\n{words}\n")
    done = subprocess.run(
        ["unshare", "-m", "sh", str(script)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 5
    assert "/dev/fuse does not exist" in done.stderr
    script.write_text(
        f"{LET_GO}\nmount -t tmpfs none /dev\nmknod -m 600 /dev/fuse c 10 229\n"
        f"setpriv --reuid 65534 --regid 65534 --clear-groups {words}\n"
    )
    open_to_others(tmp_path, source)
    done = subprocess.run(
        ["unshare", "-m", "sh", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 5
    assert "no permission to open /dev/fuse" in done.stderr


@pytest.mark.usefixtures("as_root", "another_user", "own_mounts")
def test_what_users_lack(source: Path, tmp_path: Path) -> None:
    """fusermount3 missing, and user_allow_other missing, as another user in a private namespace."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    open_to_others(tmp_path, source)
    (tmp_path / "fuse.conf").write_text("#user_allow_other\n")
    script = tmp_path / "run.sh"

    def attempt(path: str, prelude: str, *arguments: str) -> str:
        words = shlex.join([*ZSOFS, "mount", *arguments, str(source), str(home / "mnt")])
        script.write_text(
            f"{LET_GO}\nmount -t tmpfs none /dev\nmknod -m 666 /dev/fuse c 10 229\n"
            f"mknod -m 666 /dev/null c 1 3\n{prelude}\n"
            "exec setpriv --reuid 65534 --regid 65534 --clear-groups"
            f" /usr/bin/env PATH={path} {words}\n"
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", str(script)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 5, done.stderr
        return done.stderr

    assert "fusermount3" in attempt("/nowhere", "")
    hide = f"mount --bind {tmp_path / 'fuse.conf'} /etc/fuse.conf"
    said = attempt(os.environ["PATH"], hide, "--allow-other")
    assert "user_allow_other" in said
    assert "/etc/fuse.conf" in said


def test_odd_characters_in_the_source_name(tmp_path: Path) -> None:
    names = [
        b"with,comma",
        b"back\\slash",
        "\N{SNOWMAN} caf\xe9".encode(),
        b"\xff\xfe",
        b"new\nline",
    ]
    for number, name in enumerate(names):
        source = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        source.mkdir()
        shutil.copy(DATA / "ziso-py.zso", source / "Game.zso")
        with mounted(source, tmp_path / f"mnt{number}") as made:
            assert os.listdir(made.path) == ["Game.iso"]


def test_a_log_on_a_full_disk_says_nothing_elsewhere(tmp_path: Path) -> None:
    code = "import logging, pathlib, sys\nfrom zsofs.console import logging_setup\n"
    code += "logging_setup.to_file(pathlib.Path('/dev/full'), 10)\nlogging.warning('lost')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == ""


def test_a_log_file_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(3, "mount", "--log-file", tmp_path / "file" / "log", source, tmp_path / "mnt")
    assert "cannot be written" in said


def test_a_log_file_that_is_a_disc_or_the_list_of_titles(source: Path, tmp_path: Path) -> None:
    """A log would be appended to it."""
    titles, disc, point = tmp_path / "titles.csv", tmp_path / "Game.zso", tmp_path / "mnt"
    titles.write_text("SLUS-20963,Final Fantasy XII\n")
    shutil.copy(DATA / "ziso-py.zso", disc)
    link = tmp_path / "link"
    link.symlink_to(titles)
    mount = ("mount", "--layout", "opl", "--titles", titles)
    for path in (disc, titles, link):
        before = path.read_bytes()
        said = refused(3, *mount, "--log-file", path, source, point)
        assert "has the name of a disc image or is the --titles file" in said
        assert path.read_bytes() == before
    assert not point.exists()


@pytest.mark.parametrize("command", ["pack", "unpack", "verify"])
def test_a_cache_that_cannot_be_written_is_a_warning(command: str, tmp_path: Path) -> None:
    """The command does its work; the warning has the form of all messages."""
    cache = tmp_path / "cache"
    cache.touch()  # no directory can be made there
    disc = tmp_path / "Game.iso"
    shutil.copy(DATA / "ps2.iso", disc)
    words = [command, disc]
    if command == "unpack":
        assert run("pack", disc, "-q").returncode == 0
        words = [command, tmp_path / "Game.zso", "-o", tmp_path / "Game.bin"]
    done = run(*words, env=os.environ | {"XDG_CACHE_HOME": str(cache)})
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if "the cache " in line]
    assert lines
    assert all(line.startswith("zsofs: WARNING: the cache ") for line in lines), done.stderr
