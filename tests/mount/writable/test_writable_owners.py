"""Whose files are that are made through a writable mount, who may do what with them, and programs
that care: each does in the mount what it does in a plain folder."""

import ctypes
import errno
import hashlib
import mmap
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.reading.test_clients import run
from tests.support.disks import MIB, make_disk, take_down
from tests.support.mounting import ZSOFS, mounted, names, opened, wait_until
from tests.support.namespaces import LET_GO
from zsofs.system.mountinfo import mounted_at

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class User:
    """A user and the groups it is in, the first one its own."""

    uid: int
    groups: tuple[int, ...]
    umask: int = 0o022

    def run(
        self, folder: Path, script: str, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a shell script as this user.

        By setpriv: with *user*, `subprocess` would copy the whole table of pages of pytest first.
        """
        user = f"--reuid={self.uid} --regid={self.groups[0]} --groups="
        words = ["setpriv", *(user + ",".join(map(str, self.groups))).split()]
        return subprocess.run(
            [*words, "sh", "-c", f"cd {folder} && {{\n{script}\n}}"],  # where root may not go
            umask=self.umask,
            cwd="/", capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "LC_ALL": "C.UTF-8"} | variables,
        )  # fmt: skip


ALICE = User(54321, (54321, 54400))
BOB = User(54322, (54322, 54400))
EVE = User(54323, (54323,))
ADMIN = User(0, (0,))
NOBODY = User(65534, (65534, 54400))  # whose name fusermount3 asks for


@pytest.fixture
def open_folder(as_root: None) -> Iterator[Path]:
    """A folder that every user can walk into, which pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def content_of(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else ""


def described(root: Path, *, dates: bool = False) -> dict[str, tuple[object, ...]]:
    """All that is below *root*: rights, owner, group, content, and the date if that is wanted."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        about = (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content_of(path))
        found[str(path.relative_to(root))] = (*about, status.st_mtime_ns if dates else None)
    return found


# Root serves: a folder of the mount and a plain one are to be alike


@dataclass
class Twins:
    """A folder in the mount, the same in the source, and a plain one to compare them with."""

    shown: Path
    below: Path
    plain: Path

    def each(self, act: Callable[[Path], object]) -> None:
        """Do the same in both, by root, in the source."""
        act(self.below)
        act(self.plain)

    def both(self, user: User, script: str, **variables: str) -> str:
        """Run a script in both; it has to say the same. Returns what that is."""
        ours, theirs = (
            user.run(folder, script, **variables) for folder in (self.shown, self.plain)
        )
        assert (ours.returncode, ours.stdout, ours.stderr) == (
            theirs.returncode,
            theirs.stdout,
            theirs.stderr,
        ), script
        return theirs.stdout + theirs.stderr

    def check(self, *, dates: bool = False) -> dict[str, tuple[object, ...]]:
        """Both are alike now, and so is the source; returns what is in them."""
        wanted = described(self.plain, dates=dates)
        assert described(self.shown, dates=dates) == wanted
        assert described(self.below, dates=dates) == wanted
        return wanted


@contextmanager
def twins(folder: Path, *arguments: str, mode: int = 0o1777) -> Iterator[Twins]:
    (folder / "source" / "in").mkdir(parents=True)
    (folder / "plain" / "in").mkdir(parents=True)
    for top in (folder / "source" / "in", folder / "plain" / "in"):
        top.chmod(mode)
    options = ("--writable", "--allow-other", *arguments)
    with mounted(folder / "source", folder / "mnt", *options) as made:
        pair = Twins(made.path / "in", folder / "source" / "in", folder / "plain" / "in")
        yield pair
        assert made.log_lines("internal error") == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_files_belong_to_who_makes_them(open_folder: Path, umask: int) -> None:
    user = User(ALICE.uid, ALICE.groups, umask)
    with twins(open_folder) as both:
        both.both(user, "touch file; mkdir folder folder/deeper; echo text > folder/deeper/file")
        both.both(user, "install -m 0640 file installed; mkdir -m 0710 made")
        both.both(ADMIN, "touch root; mkdir folder-of-root")
        found = both.check()
        assert found["folder/deeper/file"][:3] == (
            stat.filemode(stat.S_IFREG | 0o666 & ~umask),
            ALICE.uid,
            ALICE.groups[0],
        )


def test_files_in_setgid_folders_belong_to_its_group(open_folder: Path) -> None:
    with twins(open_folder) as both:

        def share(folder: Path) -> None:
            (folder / "shared").mkdir()
            os.chown(folder / "shared", 0, 54400)
            (folder / "shared").chmod(0o2775)

        both.each(share)
        for user in (ALICE, BOB):
            both.both(
                user,
                f"cd shared && echo text > {user.uid}.txt && mkdir {user.uid}"
                f" && touch {user.uid}/file && cp {user.uid}.txt {user.uid}/copy",
            )
        both.both(EVE, "touch shared/file")
        both.both(ADMIN, "cd shared && touch root && mkdir folder-of-root")
        found = both.check()
        assert found[f"shared/{BOB.uid}.txt"][1:3] == (BOB.uid, 54400)
        assert found[f"shared/{BOB.uid}"][:3] == ("drwxr-sr-x", BOB.uid, 54400)


def test_rights_and_owners_pass_through(open_folder: Path) -> None:
    with twins(open_folder) as both:
        both.both(ALICE, "echo text > file; mkdir folder; echo all > open; chmod 666 open")
        for user in (ALICE, BOB, EVE, ADMIN):
            for script in (
                "chmod 600 file; chmod g+w file; chmod 700 folder",
                "chmod 000 file; cat file; echo more >> file; chmod 644 file",
                "chmod 4755 file; chmod 2711 folder; chmod 644 file",
                "chgrp 54400 file; chown 54322 file; chgrp 54400 folder",
                "touch -d 2001-02-03T04:05:06.789Z file folder; touch -a -d @1 file; touch -m open",
                "echo more >> open; truncate -s 3 open; echo more >> file; truncate -s 9 file",
                "chown 54321:54321 file folder",
            ):
                both.both(user, script)
                both.check()
        both.both(ALICE, "touch -d @987654321.123456789 file open folder; stat -c %X%Y file open")
        both.check(dates=False)
        for path in (both.shown / "file", both.below / "file"):
            assert path.stat().st_mtime_ns == 987654321_123456789


def test_who_writes_to_a_set_user_id_file_takes_that_away(open_folder: Path) -> None:
    with twins(open_folder) as both:
        both.both(ALICE, "echo text > file; chmod 6777 file; echo text > cut; chmod 6777 cut")
        assert both.check()["file"][0] == "-rwsrwsrwx"
        both.both(BOB, "echo more >> file; truncate -s 1 cut")
        assert both.check()["file"][0] == "-rwxrwxrwx"


def test_sticky_folders(open_folder: Path) -> None:
    with twins(open_folder) as both:
        both.both(ALICE, "echo text > file; mkdir folder; chmod 666 file")
        said = both.both(
            BOB, "rm -f file; mv file other; rmdir folder; echo more > mine; mv mine file"
        )
        assert said.count("Operation not permitted") == 4
        both.both(BOB, "echo more >> file; rm mine; touch mine; mv mine yours")
        both.both(ALICE, "rm -f file; rmdir folder")
        assert sorted(both.check()) == [".", "yours"]


def test_one_owner_for_all(open_folder: Path) -> None:
    """As on a share: whatever the source has, and whoever makes it."""
    source = open_folder / "source"
    source.mkdir()
    (source / "old").mkdir(mode=0o700)
    (source / "old" / "file").write_text("old")
    (source / "old" / "file").chmod(0o600)
    options = ("--uid", str(ALICE.uid), "--gid", "54400", "--umask", "007")
    with mounted(source, open_folder / "mnt", "--writable", "--allow-other", *options) as made:
        done = BOB.run(made.path, "cat old/file; echo more >> old/file; mkdir new; echo x > new/f")
        assert (done.stdout, done.stderr) == ("old", "")
        denied = EVE.run(made.path, "cat old/file")
        assert "can't cd" in denied.stderr
        owner = (ALICE.uid, 54400)
        for name, mode in (("old", "drwxrwx---"), ("new", "drwxrwx---"), ("new/f", "-rw-rw----")):
            status = (made.path / name).stat()
            assert (stat.filemode(status.st_mode), status.st_uid, status.st_gid) == (mode, *owner)
        for name in ("new", "new/f"):
            status = (source / name).stat()
            assert (status.st_uid, status.st_gid) == owner
        assert (source / "old" / "file").read_text() == "oldmore\n"
        assert (source / "old" / "file").stat().st_uid == 0
        done = ADMIN.run(made.path, "chown 1 new/f || chgrp 1 new")
        assert done.stderr.count("Operation not permitted") == 2
        done = ALICE.run(made.path, "cp -p new/f new/g && mv new/g old/g && rm new/f && rmdir new")
        assert (done.returncode, done.stderr) == (0, "")
        assert names(source / "old") == ["file", "g"]


def test_a_file_that_has_just_appeared_is_opened_by_who_may(open_folder: Path) -> None:
    """The kernel still holds that there is none, so it asks us to make it."""
    source = open_folder / "source"
    source.mkdir()
    source.chmod(0o1777)
    with (
        mounted(source, open_folder / "mnt", "--writable", "--allow-other") as made,
        ThreadPoolExecutor(1) as eve,
    ):
        eve.submit(ctypes.CDLL(None).setfsuid, EVE.uid).result(300)  # it goes for the thread alone
        eve.submit(ctypes.CDLL(None).setfsgid, EVE.groups[0]).result(300)
        for number in range(20):
            path, below = made.path / f"secret{number}", source / f"secret{number}"
            assert not path.exists()
            below.touch(mode=0o600)
            with pytest.raises(PermissionError):
                eve.submit(os.open, path, os.O_CREAT | os.O_RDWR).result(300)
            path = path.with_suffix(".new")
            os.close(eve.submit(os.open, path, os.O_CREAT | os.O_RDWR, 0o600).result(300))
            assert path.stat().st_uid == EVE.uid
            os.close(eve.submit(os.open, path, os.O_CREAT | os.O_RDWR).result(300))
            path, below = path.with_suffix(".open"), below.with_suffix(".open")
            assert not path.exists()
            below.touch()
            below.chmod(0o666)
            os.close(eve.submit(os.open, path, os.O_CREAT | os.O_RDWR | os.O_TRUNC).result(300))
        assert made.log_lines("internal error") == []


SHOWN_OTHERWISE = {
    "--uid": str(ALICE.uid),
    "--gid": str(BOB.groups[1]),
    "--umask": "000",
}


@pytest.mark.parametrize("option", SHOWN_OTHERWISE)
def test_nobody_makes_a_program_run_as_an_owner_who_is_not_shown(
    open_folder: Path, option: str
) -> None:
    """Who seems to own a file of root's, or may write to one, would become root by it."""
    source = open_folder / "source"
    (source / "folder").mkdir(parents=True)
    source.chmod(0o1777)
    for name in ("changed", "appended", "cut", "emptied", "mapped"):
        (source / name).write_text("root's")
        (source / name).chmod(0o777 if name == "changed" else 0o6777)

    def rights(name: str) -> str:
        return stat.filemode((source / name).stat().st_mode)

    words = ("--writable", "--allow-other", option, SHOWN_OTHERWISE[option])
    with mounted(source, open_folder / "mnt", *words) as made:
        for mode in ("4777", "2777", "6777"):
            for user in (ALICE, ADMIN):
                user.run(made.path, f"chmod {mode} changed && chmod 2777 folder")
                assert rights("changed") == "-rwxrwxrwx"
        assert rights("folder") == "drwxrwsrwx"
        BOB.run(made.path, "echo more >> appended; truncate -s 1 cut; : > emptied")
        for name in ("appended", "cut", "emptied"):
            assert rights(name) == "-rwxrwxrwx"
            assert (source / name).stat().st_uid == 0
        with (made.path / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
            assert rights("mapped") == "-rwxrwxrwx"
            pages[0] = ord("R")
        assert (source / "mapped").read_text() == "Root's"
        before = os.umask(0)
        try:
            os.close(os.open(made.path / "new", os.O_CREAT | os.O_WRONLY, 0o6777))
            os.mknod(made.path / "node", stat.S_IFREG | 0o6777)
        finally:
            os.umask(before)
        assert rights("new") == rights("node") == "-rwxrwxrwx"
        assert made.log_lines("internal error") == []


def test_a_second_user_is_locked_out(open_folder: Path) -> None:
    source = open_folder / "source"
    source.mkdir()
    source.chmod(0o777)
    (source / "file").write_text("text")
    (source / "file").chmod(0o666)
    with mounted(source, open_folder / "mnt", "--writable") as made:
        assert ALICE.run(source, "echo more >> file").returncode == 0  # it can come so far
        for script in (
            "ls mnt",
            "cat mnt/file",
            "touch mnt/new",
            "rm -f mnt/file",
            "stat mnt/file",
        ):
            done = ALICE.run(open_folder, script)
            assert done.returncode != 0, script
            assert "Permission denied" in done.stderr
        assert names(source) == ["file"]
        assert made.is_alive()


# Programs


TREE = """
mkdir -p tree/sub/deep tree/empty
seq 1 2000 > tree/numbers.txt
seq 1 30000 > tree/sub/many
printf '#!/bin/sh\\nexit 7\\n' > tree/sub/program; chmod 750 tree/sub/program
: > tree/sub/deep/nothing; chmod 400 tree/sub/deep/nothing
touch -d 2003-04-05T06:07:08.123456789Z tree/numbers.txt tree/sub/many
touch -d 1999-01-01 tree/sub/program tree/sub/deep/nothing
chmod 2750 tree/sub/deep; touch -d 1998-01-01 tree/sub/deep tree/empty
touch -d 1997-01-01 tree/sub; touch -d 1996-01-01 tree
"""

PROGRAMS = {
    "cp -p": """
cp -pr $FROM/tree . && cp -p tree/numbers.txt copy && cp tree/sub/many plain
touch -d @5 plain""",
    "cp -a over what is there": """
cp -a $FROM/tree . && cp -af $FROM/tree . && cp -af $FROM/tree/. tree""",
    "rsync -a": """
rsync -a $FROM/tree . && rsync -ai $FROM/tree . && rsync -a --delete $FROM/tree/sub/ tree/""",
    "rsync --inplace": """
rsync -a $FROM/tree . && echo changed > tree/sub/many
rsync -a --inplace --no-whole-file $FROM/tree . && rsync -aci $FROM/tree .""",
    "tar": """
tar -C $FROM -cf - tree | tar -xpf - && tar --sort=name -cf - tree | tar -tvf - --full-time""",
    "mv": """
mkdir a b && cp -p $FROM/tree/numbers.txt a && mv a/numbers.txt b/moved && mv b a/""",
    "sed -i": """
cp -p $FROM/tree/numbers.txt f && sed -i s/1/one/ f && sed -i.bak s/2/two/ f
touch -d @5 f f.bak""",
    "ls": """
cp -pr $FROM/tree . && ls -lnR --full-time tree | grep -v ^total | awk '{ $2 = 0 } 1'""",
    "dd": """
seq 1 90000 | dd of=f bs=7k iflag=fullblock conv=fsync 2>&1 | grep -v copied
dd if=$FROM/tree/numbers.txt of=f bs=512 seek=3 conv=notrunc 2>/dev/null
touch -d @5 f; cksum f""",
    "find": """
cp -pr $FROM/tree . && find tree -newermt 2000-01-01 | sort; find tree -delete""",
    "an editor": """
cp -p $FROM/tree/numbers.txt f
(umask 077; echo new > .f.swp; mv f f~; cp .f.swp f; chmod 644 f; sync f; rm .f.swp f~)
(set -C; echo newer > f.tmp; sync f.tmp; mv f.tmp f; sync .)
touch -d @5 f""",
}


@pytest.mark.parametrize("user", [ALICE, ADMIN], ids=["a user", "root"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(open_folder: Path, name: str, user: User) -> None:
    start = open_folder / "from"
    start.mkdir()
    os.chown(start, user.uid, user.groups[0])
    assert user.run(start, TREE).stderr == ""
    with twins(open_folder) as both:
        script = f"set -e\n{PROGRAMS[name]}\nfind . ! -path . -type d -exec touch -d @7 {{}} +"
        said = both.both(user, script, FROM=str(start))
        assert not any(word in said for word in ("rror", "not permitted", "denied")), said
        os.utime(both.below, (7, 7))
        os.utime(both.plain, (7, 7))
        found = both.check(dates=True)
        assert len(found) > 1 or name == "find"


def test_git(open_folder: Path) -> None:
    with twins(open_folder) as both:
        script = """
set -e
git init -q -b main work && cd work
seq 1 5000 > numbers && mkdir sub && echo text > sub/file && git add . && git commit -qm first
echo more >> numbers && git commit -qam second && git mv sub/file sub/renamed
git commit -qm third && git checkout -q -b other HEAD~1 && git merge -q main
git gc -q && git fsck --strict && git status --porcelain && git log --format=%H%s
cd .. && git clone -q work copy && git -C copy fsck && git -C copy log --format=%H
"""
        about = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "A"), ("EMAIL", "a@b.c"), ("DATE", "1700000000 +0000"))
        }
        said = both.both(ALICE, script, GIT_CONFIG_NOSYSTEM="1", **about)
        assert said.count("third") == 1
        assert "fatal" not in said


# A user serves


@pytest.mark.usefixtures("another_user", "own_mounts")
def test_served_by_a_user(open_folder: Path) -> None:
    """With mounts of our own, in which /dev/fuse is for everyone."""
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-m", __name__, open_folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def main(folder: Path) -> int:
    """Mount as a user, and have that user and others do things."""
    run("sh", "-c", LET_GO)
    run("mount", "-t", "tmpfs", "none", "/dev")
    run("mknod", "-m", "666", "/dev/fuse", "c", "10", "229")
    run("mknod", "-m", "666", "/dev/null", "c", "1", "3")
    home, source, plain, point = (folder / name for name in ("home", "source", "plain", "mnt"))
    for path in (home, source, plain, point):
        path.mkdir()
        os.chown(path, NOBODY.uid, NOBODY.groups[0])
    variables = {f"XDG_{name}_HOME": str(home) for name in ("STATE", "CACHE")}
    words = (*ZSOFS, "mount", "-f", "--writable", str(source), str(point))
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            words, user=NOBODY.uid, group=NOBODY.groups[0], extra_groups=NOBODY.groups, cwd=ROOT,
            umask=0o077, stdout=log, stderr=log, env=os.environ | variables | {"HOME": str(home)},
        )  # fmt: skip
        try:
            wait_until(
                lambda: daemon.poll() is not None or mounted_at(os.fsencode(point)) is not None,
                "the mount",
            )
            check_served_by_a_user(Twins(point, source, plain))
        finally:
            print((folder / "log").read_text())
            NOBODY.run(folder, f"fusermount3 -u -z {point}")
            daemon.wait(10)
    return daemon.returncode


def check_served_by_a_user(both: Twins) -> None:
    both.both(NOBODY, "touch file; mkdir folder; echo text > folder/file; chmod 640 folder/file")
    both.both(NOBODY, "chgrp 54400 file; chmod 4750 file; touch -d @5 file; chown 54322 file")
    both.both(
        NOBODY, "chgrp 54322 file; mkdir -m 2770 shared; chgrp 54400 shared; chmod g+s shared"
    )
    both.both(NOBODY, "touch shared/file; mkdir shared/folder; chmod 000 folder/file")
    both.both(
        NOBODY,
        "touch w.txt; chmod 200 w.txt; echo a >> w.txt; cat w.txt; chmod 644 w.txt; cat w.txt",
    )
    both.both(NOBODY, "mkdir none; chmod 000 none; ls none; touch none/file; rmdir none")
    both.both(NOBODY, "umask 777; mkdir closed; stat -c %a closed; umask 22; rmdir closed")
    both.both(NOBODY, "echo text > s.txt; chmod 000 s.txt; mv s.txt moved.txt; rm -f moved.txt")
    both.both(NOBODY, "echo text > late; chmod 000 late; cat late; chmod 600 late; cat late")
    both.both(
        NOBODY, "umask 0; touch everyone; mkdir for-everyone; install -m 444 file only; rm -f only"
    )
    both.both(
        NOBODY, "echo text > read; chmod 444 read; echo more >> read; echo more > read; cat read"
    )
    for folder in (both.plain, both.below):
        (folder / "of-root").write_text("root")
        (folder / "of-root").chmod(0o644)
    both.both(NOBODY, "cat of-root; echo more >> of-root; chmod 666 of-root; touch -d @5 of-root")
    wanted, below = described(both.plain), described(both.below)
    assert below == wanted
    done = NOBODY.run(both.shown, "find . -exec stat -c '%n %A %u %g' {} + | sort")
    assert done.stderr == ""
    assert done.stdout == "".join(
        f"{'./' * (name != '.')}{name} {mode} {uid} {gid}\n"
        for name, (mode, uid, gid, _, _) in sorted(
            wanted.items(), key=lambda item: "./" * (item[0] != ".") + item[0]
        )
    )
    for user in (BOB, ADMIN):  # the kernel lets nobody in, not even root
        done = user.run(both.shown.parent, "ls mnt; cat mnt/everyone; touch mnt/new")
        assert done.stderr.count("Permission denied") == 3, done.stderr
        assert done.stdout == ""
    assert not (both.below / "new").exists()


# A disk that knows no owners


@pytest.mark.xdist_group("serial")
def test_a_disk_without_owners_and_rights(open_folder: Path) -> None:
    """exFAT, by its FUSE driver: a file system that takes neither chown nor chmod, and numbers its
    files anew whenever it has forgotten them."""
    image = make_disk(open_folder / "disk", 64 * MIB, "mkfs.exfat")
    source = open_folder / "source"
    source.mkdir()
    device = run("losetup", "--find", "--show", image).strip()
    try:
        run("mount.exfat-fuse", "-o", "allow_other,umask=0", device, source)
        with mounted(source, open_folder / "mnt", "--writable", "--allow-other") as made:
            done = ALICE.run(made.path, "echo text > file && mkdir folder && echo x > folder/f.cfg")
            assert (done.returncode, done.stderr) == (0, "")
            numbers: set[int] = set()
            shown = [(made.path / name).stat().st_ino for name in ("file", "folder/f.cfg")]
            for number in range(40):
                for name in ("file", "folder/f.cfg"):
                    (made.path / name).write_bytes(b"%d" % number * 5000)
                    assert (source / name).read_bytes() == b"%d" % number * 5000
                numbers.add((source / "file").stat().st_ino)
                Path("/proc/sys/vm/drop_caches").write_text("2")
                numbers.add((source / "file").stat().st_ino)
                with (made.path / "file").open("ab") as file:
                    file.write(b"end")
                os.truncate(made.path / "folder" / "f.cfg", number)
                os.utime(made.path / "file", (number, 1_600_000_000 + 2 * number))
                assert (source / "file").stat().st_mtime == 1_600_000_000 + 2 * number
                assert (source / "file").read_bytes()[-3:] == b"end"
                assert (source / "folder" / "f.cfg").stat().st_size == number
                Path("/proc/sys/vm/drop_caches").write_text("2")
                for name, stays in zip(("file", "folder/f.cfg"), shown, strict=True):
                    names((made.path / name).parent)
                    assert (made.path / name).stat().st_ino == stays
                    with opened(made.path / name) as fd:
                        assert os.fstat(fd).st_ino == stays
            assert len(numbers) > 1
            with pytest.raises(PermissionError) as caught:
                os.chown(made.path / "file", ALICE.uid, ALICE.uid)
            assert caught.value.errno == errno.EPERM
            done = ADMIN.run(
                made.path, "mv folder/f.cfg file2; mv file2 file; rm file; rmdir folder"
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert names(made.path) == names(source) == []
            done = ALICE.run(
                made.path, "cp -r /etc/skel skel && rm -r skel && seq 1 9 > a && mv a b"
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert names(made.path) == names(source) == ["b"]
            assert made.log_lines("internal error") == []
    finally:
        take_down(source)
        run("losetup", "--detach", device)


LACKING = """
import errno, pyfuse3
from zsofs.cli import main
from zsofs.fuse import write_operations
from zsofs.mount import server

class Operations(write_operations.WritableOperations):
    async def setattr(self, inode, attr, fields, fh, ctx):
        if (fields.update_mode and {lacks_rights}) or fields.update_uid or fields.update_gid:
            raise pyfuse3.FUSEError(errno.{error})
        return await super().setattr(inode, attr, fields, fh, ctx)

server.WritableOperations = Operations
main.main()
"""
"""A file system that cannot set the owner, or nor the rights either."""


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("lacks_rights", [False, True])
@pytest.mark.parametrize("error", ["EPERM", "EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_a_source_that_takes_no_owners(
    tmp_path: Path, source: Path, error: str, *, lacks_rights: bool
) -> None:
    """Whatever it says instead."""
    code = LACKING.format(error=error, lacks_rights=lacks_rights)
    command = (sys.executable, "-c", code)
    with (
        mounted(source, tmp_path / "in", "--writable", command=command) as inner,
        mounted(inner.path, tmp_path / "out", "--writable") as made,
    ):
        before = os.umask(0)
        try:
            os.close(os.open(made.path / "new", os.O_CREAT | os.O_WRONLY, 0o4755))
            os.mknod(made.path / "node", stat.S_IFREG | 0o640)
            (made.path / "folder").mkdir(0o750)
        finally:
            os.umask(before)
        (made.path / "folder" / "file").write_text("text")
        assert (source / "folder" / "file").read_text() == "text"
        found = described(source)
        assert [found[name][0] for name in ("new", "node", "folder")] == [
            "-rwxr-xr-x",
            "-rw-r-----",
            "drwxr-x---",
        ]
        assert made.log_lines("internal error") == inner.log_lines("internal error") == []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
