"""`zsofs status` and `zsofs reload` of real mounts: the numbers are those of what was done."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountMaker
from tests.mount.opl.test_opl_mount import OPL, put, put_game
from tests.mount.reading.test_faults import Readers, hanging, stopped
from tests.support import writers
from tests.support.ends import spawned
from tests.support.fork_server import in_scripts
from tests.support.mounting import (
    DATA,
    Mount,
    drop_pages,
    mounted,
    open_to_others,
    wait_until,
)
from tests.support.namespaces import LET_GO
from tests.unit.cli.test_messages import refused, run
from zsofs import __version__

ROOT = Path(__file__).parents[3]
IMAGE = writers.content(64 * 16384, ["text", "mixed", "noise"], seed=5)
BLOCK = 16384


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets of this test alone."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def state(made: Mount) -> dict[str, Any]:
    """What a mount says of itself, for programs."""
    done = run("status", "--json", made.path)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["ok"] is True
    return found


def read_direct(path: Path, offset: int, size: int) -> bytes:
    """A read that the kernel hands on as it is."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


@contextmanager
def program(path: Path, code: str) -> Iterator["subprocess.Popen[str]"]:
    """A program that opens *path* in some way, and stays until the end of this."""
    code = f"import os, sys, threading\npath = sys.argv[1]\n{code}\nprint('ready', flush=True)\n"
    code += "sys.stdin.read()"
    with spawned(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.communicate(timeout=60)


def test_a_new_mount(source: Path, mount: MountMaker) -> None:
    made = mount(source, "--cache-size", "8M", "--exclude", "old", "--include", "*", "--show-raw")
    wait_until(lambda: not state(made)["counting"], "the count")
    found = state(made)
    assert found.pop("uptime_seconds") < 60
    assert found == {
        "ok": True,
        "version": __version__,
        "source": str(source),
        "mount_point": str(made.path),
        "pid": made.daemon.pid,
        "layout": "plain",
        "titles": None,
        "include": ["*"],
        "exclude": ["old"],
        "allow_links_to": [],
        "show_raw": True,
        "cd": "auto",
        "writable": False,
        "source_state": "there",
        "source_note": "",
        "following": "events",
        "discs": 0,
        "compressed_discs": 0,
        "plain_discs": 0,
        "counting": False,
        "copying": 0,
        "refused": [],
        "refused_total": 0,
        "links_not_followed": [],
        "links_not_followed_total": 0,
        "shown_empty": [],
        "left_out": [],
        "left_out_total": 0,
        "readers": [],
        "cache": {"bytes": 0, "limit": 8 << 20, "hits": 0, "lookups": 0},
        "requests": 0,
        "bytes": 0,
        "errors": 0,
        "waiting": 0,
        "waiting_seconds": 0.0,
        "inodes": 1,
        "preload": {
            "enabled": True,
            "stored_starts": 0,
            "followed_starts": 0,
            "requests": 0,
            "fetched_bytes": 0,
            "used_bytes": 0,
            "wasted_bytes": 0,
        },
    }
    said = run("status", made.path).stdout.splitlines()
    assert said[0] == str(made.path)
    assert f"  source   {source}" in said
    assert "  cache    0 B of 8.39 MB" in said
    assert "  reads    0, 0 B in all, no errors" in said
    assert said[-1] == "  readers: none"


def test_the_numbers_are_those_of_what_was_read(source: Path, mount: MountMaker) -> None:
    put(source / "Game.zso", writers.maxcso_zso(IMAGE, block_size=BLOCK))
    put(source / "plain.bin", IMAGE)
    made = mount(source)
    requests, total = 0, 0
    for number in range(20):
        offset = number * 2 * BLOCK
        data = read_direct(made.path / "Game.iso", offset, 4096)
        assert data == IMAGE[offset : offset + 4096]
        requests, total = requests + 1, total + 4096
    found = state(made)
    assert (found["requests"], found["bytes"], found["errors"]) == (requests, total, 0)
    first = found["cache"]
    assert first["lookups"] == 20
    assert first["hits"] == 0
    assert 20 * BLOCK <= first["bytes"] <= len(IMAGE)
    for number in range(20):
        read_direct(made.path / "Game.iso", number * 2 * BLOCK + 8192, 4096)
    for size in (4096, 32768, 8192):
        read_direct(made.path / "plain.bin", 0, size)
    requests, total = requests + 23, total + 20 * 4096 + 4096 + 32768 + 8192
    found = state(made)
    assert (found["requests"], found["bytes"]) == (requests, total)
    assert found["cache"]["hits"] == 20
    assert found["cache"]["lookups"] == 40
    assert found["cache"]["bytes"] == first["bytes"]
    said = run("status", made.path).stdout
    assert f"  reads    {requests}, {total / 1000:.0f} kB in all, no errors\n" in said
    assert ", 50 % of 40 lookups hit\n" in said


def test_a_whole_disc_read_as_programs_do(source: Path, mount: MountMaker) -> None:
    put(source / "Game.zso", writers.maxcso_zso(IMAGE, block_size=2048))
    made = mount(source)
    assert (made.path / "Game.iso").read_bytes() == IMAGE
    found = state(made)
    assert found["bytes"] == len(IMAGE)
    assert found["requests"] >= len(IMAGE) >> 20
    drop_pages(made.path / "Game.iso")
    assert (made.path / "Game.iso").read_bytes() == IMAGE
    assert state(made)["bytes"] == 2 * len(IMAGE)


def test_a_damaged_block_counts_as_an_error(source: Path, mount: MountMaker) -> None:
    data = bytearray(writers.zsoz(IMAGE, block_size=BLOCK))
    data[-600:-300] = bytes(300)
    put(source / "Game.zso", bytes(data))
    made = mount(source)
    assert read_direct(made.path / "Game.iso", 0, 4096) == IMAGE[:4096]
    for count in (1, 2):
        with pytest.raises(OSError, match="Input/output error"):
            read_direct(made.path / "Game.iso", 63 * BLOCK, 4096)
        found = state(made)
        assert found["errors"] == count
        assert found["requests"] == 1 + count
    assert "in all, 2 errors\n" in run("status", made.path).stdout


def test_who_has_what_open(source: Path, mount: MountMaker) -> None:
    put(source / "rpg" / "One.zso", writers.maxcso_zso(IMAGE))
    put(source / "two.txt", b"two")
    made = mount(source)
    opened = "one = [os.open(path + '/rpg/One.iso', os.O_RDONLY) for _ in range(3)]"
    opened += "\ntwo = open(path + '/two.txt')"
    with program(made.path, opened) as first, program(made.path, opened) as second:
        found = state(made)["readers"]
        comm = Path(f"/proc/{first.pid}/comm").read_text().strip()
        assert found == [
            {"pid": pid, "program": comm, "path": path, "handles": handles}
            for path, handles in (("rpg/One.zso", 3), ("two.txt", 1))
            for pid in sorted((first.pid, second.pid))
        ]
        said = run("status", made.path).stdout.splitlines()
        assert said[-6] == "  readers:"
        assert said[-5].split() == ["program", "process", "handles", "disc"]
        assert said[-4].split() == [comm, str(found[0]["pid"]), "3", "rpg/One.zso"]
    wait_until(lambda: state(made)["readers"] == [], "the end of the readers")


def test_threads_of_one_program_are_one_reader(source: Path, mount: MountMaker) -> None:
    put(source / "One.zso", writers.maxcso_zso(IMAGE))
    made = mount(source)
    code = """
name = path + "/One.iso"
files = [open(name)]
stay = threading.Event()
def work():
    files.append(open(name))
    stay.wait()
threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
for thread in threads: thread.start()
while len(files) < 4: pass
"""
    with program(made.path, code) as reader:
        (found,) = state(made)["readers"]
        assert (found["pid"], found["handles"]) == (reader.pid, 4)


def test_discs_refused_and_copied_files(source: Path, mount: MountMaker) -> None:
    whole = writers.maxcso_zso(IMAGE)
    for number in range(3):
        put(source / str(number) / f"Game {number}.zso", whole)
    for number in range(25):
        put(source / f"Cut {number:02}.zso", whole[:20_000])
    made = mount(source)
    wait_until(lambda: not state(made)["counting"], "the count")
    found = state(made)
    assert (found["discs"], found["refused_total"], len(found["refused"])) == (3, 25, 20)
    assert {"path", "reason"} == set(found["refused"][0])
    assert all(row["reason"].startswith("the file is truncated") for row in found["refused"])
    with (source / "0" / "New.zso").open("wb") as file:
        file.write(whole)
        file.flush()
        wait_until(lambda: state(made)["copying"] == 1, "the new file")
        said = run("status", made.path).stdout
        assert "  discs    3, 1 being copied\n" in said
        assert "  shown as plain files, not as discs: 25 files\n" in said
        assert "\n    and 5 more\n" in said
    wait_until(lambda: state(made)["discs"] == 4, "the new disc")
    for path in source.glob("Cut*"):
        path.unlink()
    shutil.rmtree(source / "1")
    wait_until(lambda: state(made)["refused_total"] == 0, "the end of the cut ones")
    wait_until(lambda: state(made)["discs"] == 3, "the end of the folder")
    found = state(made)
    assert (found["discs"], found["copying"], found["refused"]) == (3, 0, [])


@pytest.mark.parametrize("options", [[], [*OPL]], ids=["plain", "opl"])
def test_the_next_mount_knows_its_discs_at_once(
    source: Path, tmp_path: Path, options: list[str]
) -> None:
    for number in range(4):
        put_game(source / "a" / str(number) / "Game.zso", number)
    put(source / "a" / "3" / "Plain.iso", (DATA / "ps2.iso").read_bytes())
    wait_until(lambda: time.time() > (source / "a/3/Game.zso").stat().st_ctime + 0.1, "its age")
    with mounted(source, tmp_path / "mnt", *options) as made:
        wait_until(lambda: state(made)["discs"] == 5, "the count")
    away = source.with_name("away")
    source.rename(away)
    with mounted(source, tmp_path / "mnt", *options, "--nofail") as made:
        wait_until(lambda: state(made)["source_state"] == "not there yet", "the first look")
        found = state(made)
        assert (found["compressed_discs"], found["plain_discs"]) == (4, 1)
        shutil.rmtree(away / "a" / "3")
        away.rename(source)
        wait_until(lambda: state(made)["discs"] == 3, "the source")


def test_an_opl_mount(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    titles = put(tmp_path / "titles.csv", b"SLUS-20001,One\n")
    for number in range(3):
        put_game(source / str(number) / "Game.zso", number)
    made = mount(source, *OPL, "--titles", str(titles))
    wait_until(lambda: state(made)["discs"] == 3, "the discs, which nobody has listed")
    found = state(made)
    assert (found["layout"], found["titles"]) == ("opl", str(titles))
    assert found["requests"] == 0
    with (made.path / "CD" / "SLUS_200.01.One.iso").open("rb"):
        (reader,) = state(made)["readers"]
        assert reader["path"] == "1/Game.zso"
    assert "  layout   opl\n" in run("status", made.path).stdout


@pytest.mark.usefixtures("as_root", "own_mounts")
def test_nothing_is_mounted() -> None:
    """In a private mount namespace, where no other mount of this machine is."""
    for option, said in (("", "nothing is mounted\n"), ("--json", "[]\n")):
        words = shlex.join([*in_scripts(), "status", *option.split()])
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", f"{LET_GO}; {words}"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert (done.stdout, done.stderr) == (said, "")


def test_where_no_mount_is(tmp_path: Path) -> None:
    for command in ("status", "reload"):
        assert "nothing is mounted at" in refused(7, command, tmp_path)
        assert "is not zsofs but proc" in refused(7, command, "/proc")
        assert "nothing is mounted at" in refused(7, command, tmp_path / "none")


def of_these(reply: str, *mounts: Mount) -> list[dict[str, Any]]:
    """The states of these mounts, among those that others of this machine have as well."""
    points = {str(made.path) for made in mounts}
    return [one for one in json.loads(reply) if one["mount_point"] in points]


def test_several_mounts(source: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        mounts = []
        for number in range(3):
            folder = tmp_path / f"source{number}"
            folder.mkdir()
            mounts.append(stack.enter_context(mounted(folder, tmp_path / f"mnt{number}")))
        found = of_these(run("status", "--json").stdout, *mounts)
        assert [one["pid"] for one in found] == [made.daemon.pid for made in mounts]
        blocks = run("status").stdout.split("\n\n")
        for made in mounts:
            assert any(block.startswith(f"{made.path}\n  source   ") for block in blocks)
        with stopped(mounts[1].daemon):
            done = run("status", "--json")
            assert done.returncode == 7
            found = of_these(done.stdout, *mounts)
            assert [one["ok"] for one in found] == [True, False, True]
            assert "does not answer within 5 seconds" in found[1]["error"]


def test_a_mount_that_does_not_answer(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    with stopped(made.daemon):
        for command in ("status", "reload"):
            said = refused(7, command, made.path)
            assert "does not answer within 5 seconds" in said
    assert run("reload", made.path).returncode == 0


def test_a_mount_whose_daemon_was_killed(source: Path, mount: MountMaker) -> None:
    made = mount(source)
    made.may_end = True
    made.daemon.kill()
    made.daemon.wait(60)
    made.daemon.returncode = 0
    said = refused(7, "status", made.path)
    assert "nothing is listening on its control socket" in said
    assert f"zsofs umount {made.path}" in said


def test_it_answers_while_the_disk_of_the_source_hangs(tmp_path: Path) -> None:
    readers = Readers()
    with hanging(tmp_path) as (made, slow_daemon, slow):
        names = os.listdir(slow)
        for name in names:
            os.stat(slow / name)
        try:
            with stopped(slow_daemon):
                for number in range(12):
                    readers.start(slow / names[number], number * 40960)
                waiting = {f"slow/{name}" for name in names}
                state(made)
                assert readers.done() == 0, "they were to hang"
                assert (made.path / "Game.iso").read_bytes() == (DATA / "ps2.iso").read_bytes()
                found = state(made)
                assert found["bytes"] == (DATA / "ps2.iso").stat().st_size
                assert found["source_state"] == "there"
                assert {reader["path"] for reader in found["readers"]} <= waiting
                assert run("reload", made.path).returncode == 0
            wait_until(lambda: readers.done() == 12, "the readers")
        finally:
            readers.kill()


def test_a_source_that_is_away(tmp_path: Path, mount: MountMaker) -> None:
    source = tmp_path / "source"
    put_game(source / "Game.zso", 1)
    made = mount(source)
    assert os.listdir(made.path) == ["Game.iso"]
    source.rename(tmp_path / "elsewhere")
    run("reload", made.path)
    wait_until(lambda: state(made)["source_state"] == "away", "the source to be missed")
    assert state(made)["source_note"] == "No such file or directory"
    said = run("status", made.path).stdout
    assert f"  source   {source} is currently not available: No such file or directory\n" in said
    (tmp_path / "elsewhere").rename(source)
    wait_until(lambda: state(made)["source_state"] == "there", "the source to be back")


@pytest.mark.usefixtures("as_root", "another_user")
def test_the_mount_of_another_user(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    made = mount(source, "--allow-other")
    open_to_others(tmp_path)
    other = {"user": 54399, "group": 54399, "cwd": ROOT}  # no other test mounts as this one
    for command in ("status", "reload", "list"):
        said = refused(7, command, made.path, **other)
        assert "belongs to another user (number 0)" in said
    assert run("status", **other).stdout == "nothing is mounted\n"
    assert made.is_alive()


@pytest.mark.usefixtures("as_root", "another_user", "own_mounts")
def test_root_may_ask_a_mount_of_a_user(source: Path, tmp_path: Path) -> None:
    """In a private mount namespace, where that user may mount and has a runtime folder."""
    open_to_others(tmp_path, source)
    put_game(source / "Game.zso", 1)
    point = tmp_path / "home" / "mnt"
    point.mkdir(parents=True)
    for folder in (point.parent, point):
        shutil.chown(folder, 65534, 65534)
    zsofs = shlex.join(in_scripts())
    user = "setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR"
    user += f" HOME={point.parent} XDG_STATE_HOME={point.parent} XDG_CACHE_HOME={point.parent}"
    script = f"""
set -e
{LET_GO}
mount -t tmpfs none /dev
mknod -m 666 /dev/fuse c 10 229
mknod -m 666 /dev/null c 1 3
mount -t tmpfs none /run
mkdir -p /run/user/65534
chown 65534:65534 /run/user/65534
{user} {zsofs} mount -q {source} {point}
{zsofs} status --json {point} || true
{user} {zsofs} status --json
{user} {zsofs} umount {point}
"""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    decoder = json.JSONDecoder()
    asked_by_root, end = decoder.raw_decode(done.stdout)
    (asked_by_the_user,) = json.loads(done.stdout[end:])
    assert asked_by_root["mount_point"] == asked_by_the_user["mount_point"] == str(point)
    assert asked_by_root["pid"] == asked_by_the_user["pid"]


@pytest.mark.usefixtures("as_root", "another_user", "own_mounts")
def test_what_a_user_put_over_a_runtime_folder_does_not_hold_root_up(
    source: Path, tmp_path: Path
) -> None:
    """A stopped mount of that user's, which never answers; another mount of the user does.

    In a private namespace of mounts and processes, which ends with the script. Where root waits for
    the stopped daemon, not even a signal helps until that has gone.
    """
    open_to_others(tmp_path, source)
    put_game(source / "Game.zso", 1)
    shutil.chown(source / "Game.zso", 65534, 65534)
    home = tmp_path / "home"
    for folder in (home, home / "mnt", home / "elsewhere"):
        folder.mkdir(mode=0o700)
        shutil.chown(folder, 65534, 65534)
    (tmp_path / "fuse.conf").write_text("user_allow_other\n")
    zsofs = shlex.join(in_scripts())
    user = "setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR"
    user += f" HOME={home} XDG_CACHE_HOME={home} XDG_STATE_HOME={home}/.local/state"
    script = f"""
set -e
{LET_GO}
mount --bind {tmp_path}/fuse.conf /etc/fuse.conf
mount --bind {tmp_path}/passwd /etc/passwd
mount -t tmpfs none /dev
mknod -m 666 /dev/fuse c 10 229
mknod -m 666 /dev/null c 1 3
mount -t tmpfs none /run
mkdir -p /run/user/65534
chown 65534:65534 /run/user/65534
{user} XDG_RUNTIME_DIR={home}/elsewhere {zsofs} mount -f -q --allow-other {source} \\
    {home}/over &
timeout 60 sh -c 'until mountpoint -q {home}/over; do sleep 0.1; done'
mkdir /run/user/65534/zsofs
mount --move {home}/over /run/user/65534/zsofs
ls /run/user/65534/zsofs >/dev/null
{user} XDG_RUNTIME_DIR=/none {zsofs} mount -q {source} {home}/mnt
kill -STOP $!
{{ sleep 30; touch {tmp_path}/held-up; kill -KILL $!; }} >/dev/null 2>&1 &
code=0
{zsofs} status --json || code=$?
{zsofs} list {home}/mnt
exit $code
"""
    passwd = Path("/etc/passwd").read_text()
    (tmp_path / "passwd").write_text(passwd.replace(":/nonexistent:", f":{home}:"))
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            script,
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert not (tmp_path / "held-up").exists()
    assert (done.returncode, done.stderr) == (7, "")
    found, end = json.JSONDecoder().raw_decode(done.stdout)
    silent, answering = found
    assert (silent["ok"], silent["mount_point"]) == (False, "/run/user/65534/zsofs")
    assert "does not answer" in silent["error"]
    assert (answering["ok"], answering["mount_point"]) == (True, f"{home}/mnt")
    assert "1 disc, " in done.stdout[end:]


def test_reload_shows_what_the_system_does_not_report(
    source: Path, tmp_path: Path, mount: MountMaker
) -> None:
    """A file that is changed under a name that it has outside of the source."""
    image = put_game(source / "Game.zso", 1)
    os.link(source / "Game.zso", tmp_path / "outside.zso")
    (source / "never").mkdir()
    made = mount(source)
    assert (made.path / "Game.iso").read_bytes() == image
    new = IMAGE[:500_000]
    (tmp_path / "outside.zso").write_bytes(writers.maxcso_zso(new, block_size=2048))
    done = run("reload", made.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_until(lambda: (made.path / "Game.iso").stat().st_size == len(new), "the new size")
    assert (made.path / "Game.iso").read_bytes() == new


def test_reload_of_an_opl_mount(source: Path, tmp_path: Path, mount: MountMaker) -> None:
    put_game(source / "a" / "Game.zso", 1)
    os.link(source / "a" / "Game.zso", tmp_path / "outside.zso")
    made = mount(source, *OPL)
    assert os.listdir(made.path / "CD") == ["SLUS_200.01.Game.iso"]
    new = put_game(tmp_path / "outside.zso", 2, dvd=True)
    assert run("reload", made.path).returncode == 0
    wait_until(lambda: os.listdir(made.path / "DVD") == ["SLUS_200.02.Game.iso"], "it")
    assert os.listdir(made.path / "CD") == []
    assert (made.path / "DVD" / "SLUS_200.02.Game.iso").read_bytes() == new


def test_the_uptime_is_that_of_the_mount(source: Path, mount: MountMaker) -> None:
    """Not that of its reports, which begin when one is asked for."""
    made = mount(source)
    since = time.monotonic()
    time.sleep(0.3)
    passed = time.monotonic() - since
    assert state(made)["uptime_seconds"] >= round(passed, 1) - 0.1
