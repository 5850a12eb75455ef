"""A source that contains its own mount, directly or by way of others: it is never entered."""

import errno
import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.ends import spawned
from tests.support.mounting import (
    DATA,
    mounted,
    names,
    status_of,
    timed,
    wait_until,
    waits_for_fuse,
)
from tests.support.namespaces import run_in_namespace
from tests.support.rounds import rounds
from zsofs.source.mount_cycles import find_cycles
from zsofs.source.roots import Roots
from zsofs.system.mountinfo import Mounted

in_namespace = pytest.mark.usefixtures("as_root", "own_mounts")

PS2 = DATA / "ziso-py.zso"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with two sources, a and b, each with a disc."""
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(PS2, tmp_path / name / f"{name}.zso")
    return tmp_path


OWN = ("0:50", "/m", "/s")
"""Device, mount point and source of the mount whose source is looked at."""

TABLES: dict[str, tuple[list[tuple[str, str, str]], set[str]]] = {
    "nothing in it": ([], set()),
    "its own mount": ([("0:50", "/s/x", "/s")], {"x"}),
    "a name that only begins the same": ([("0:50", "/sx", "/s")], set()),
    "its own mount, covered": ([("0:50", "/s/x", "/s"), ("0:9", "/s/x", "none")], set()),
    "another mount": ([("0:51", "/s/x", "/t")], set()),
    "a mount that contains this one": ([("0:51", "/s/x", "/t"), ("0:50", "/t/y/z", "/s")], {"x"}),
    "a ring of three": (
        [("0:51", "/s/a/x", "/t"), ("0:52", "/t/x", "/u"), ("0:50", "/u/x", "/s")],
        {"a/x"},
    ),
    "a ring elsewhere": (
        [("0:51", "/s/x", "/t"), ("0:52", "/t/x", "/u"), ("0:51", "/u/x", "/t")],
        set(),
    ),
    "a mount of a directory of this one": ([("0:51", "/s/x", "/m/part")], {"x"}),
    "two of one source": ([("0:51", "/s/x", "/s")], set()),
    "covered by itself": ([("0:50", "/s", "/s")], {""}),
    "covered by a mount of this mount": ([("0:51", "/s", "/m/part")], {""}),
    "a source that is no path": ([("0:51", "/s/x", "demo")], set()),
}


@pytest.mark.parametrize("case", TABLES)
def test_what_the_table_of_mounts_tells(case: str) -> None:
    mounts, wanted = TABLES[case]
    root = Mounted(1, b"/", "8:1", "ext4", None, b"/dev/sda1")
    kinds = {"none": "tmpfs"}
    table = [
        Mounted(number, path.encode(), device, kinds.get(source, "fuse.zsofs"), 0, source.encode())
        for number, (device, path, source) in enumerate([OWN, *mounts], 2)
    ]
    found = find_cycles([root, *table], Roots(b"/s"), "0:50")
    assert set(found) == {path.encode() for path in wanted}
    assert all(found.values())


@in_namespace
@pytest.mark.parametrize("layout", ["plain", "opl"])
def test_a_source_with_its_own_mount_bound_into_it(folder: Path, layout: str) -> None:
    """Also one made while the directory is open, and a bind of a directory of the mount."""
    said = run_in_namespace(
        f"""
mkdir -p $D/a/own $D/a/other/part $D/a/sub $D/m; cp $D/a/a.zso $D/a/sub/s.zso
$Z mount -q --layout {layout} $D/a $D/m
exec 5< $D/m
mount --bind $D/m $D/a/own
mount --bind $D/m/. $D/a/other/part
find $D/m -maxdepth 9 | wc -l
for i in $(seq 20); do
    ls $D/m/own 2> /dev/null | grep -q . || break; sleep 0.2
done
echo [own]; list $D/m/own; echo [part]; list $D/m/other/part
echo [list]; $Z list $D/m | tail -3
$Z status --json $D/m > $D/status; echo "status $?"
umount $D/a/own
for i in $(seq 50); do
    $Z status --json $D/m | grep -q '"own"' || break; sleep 0.2
done
$Z status --json $D/m | grep -c '"own"'
exec 5<&-; umount $D/a/other/part
timeout 30 $Z umount $D/m; echo "umount $?"
""",
        folder,
    )
    parts = said.split("[own]\n")[1]
    assert parts.startswith("exit 0\n[part]\nexit 0\n[list]\n"), said
    assert "own: shown empty: it is a mount of this source directory itself" in parts
    assert "other/part: shown empty: it is a mount of this source directory itself" in parts
    assert parts.endswith("status 0\n0\numount 0\n"), said
    status = json.loads((folder / "status").read_text())
    assert [row["path"] for row in status["shown_empty"]] == ["own", "other/part"]


@in_namespace
def test_a_mount_point_that_lies_in_the_source_by_another_path(folder: Path) -> None:
    """As where the source is also bound to another place, and mounts are shared."""
    said = run_in_namespace(
        """
mkdir -p $D/top/disk/zso $D/top/home; cp $D/a/a.zso $D/top/disk/zso
mount --bind $D/top $D/top && mount --make-shared $D/top
mount --bind $D/top/disk/zso $D/top/home
$Z mount -q $D/top/disk/zso $D/top/home/iso; echo "mount $?"
list $D/top/home/iso; list $D/top/home/iso/iso
$Z status $D/top/home/iso | grep -A1 entered; $Z umount $D/top/home/iso; echo "umount $?"
""",
        folder,
    )
    assert said.startswith("mount 0\na.iso\niso\nexit 0\nexit 0\n")
    assert "iso  shown empty: it is a mount of this source directory itself" in said
    assert said.endswith("umount 0\n")


@in_namespace
@pytest.mark.parametrize("length", (2, 3, 5)[: rounds(2, 3)])
def test_a_ring_of_mounts(folder: Path, length: int) -> None:
    """Each mount point lies in the source of the next."""
    said = run_in_namespace(
        f"""
for i in $(seq {length}); do mkdir $D/s$i; cp $D/a/a.zso $D/s$i/d$i.zso; done
for i in $(seq {length}); do $Z mount -q $D/s$i $D/s$((i % {length} + 1))/m; done
for i in $(seq {length}); do
    timeout -s KILL 40 find $D/s$i | wc -l; list $D/s$i/m/m
    timeout -s KILL 40 $Z list $D/s$i | tail -1
    $Z status --json $D/s$((i % {length} + 1))/m > $D/status$i
done
for i in $(seq {length}); do timeout 30 $Z umount --lazy $D/s$((i % {length} + 1))/m; done
""",
        folder,
    )
    assert said.count("exit 0") == length, said
    assert said.count("  m: shown empty: the mount of ") == length, said
    for number in range(1, length + 1):
        status = json.loads((folder / f"status{number}").read_text())
        assert [row["path"] for row in status["shown_empty"]] == ["m"]


@in_namespace
def test_a_mount_over_other_mounts_lists_their_discs(folder: Path) -> None:
    """Where there is no ring: also a mount of a source that lies in another mount."""
    said = run_in_namespace(
        """
mkdir -p $D/all/x $D/all/y $D/b/sub $D/part $D/m; cp $D/a/a.zso $D/b/sub/s.zso
$Z mount -q $D/a $D/all/x; $Z mount -q $D/b $D/all/y; $Z mount -q $D/all $D/m
list $D/m/x; list $D/m/y; list $D/m/y/sub; $Z list $D/m | grep -c iso
sha1sum < $D/m/y/b.iso; sha1sum < $D/all/y/b.iso
$Z mount -q $D/m/y/sub $D/part; list $D/part
for m in part m all/y all/x; do $Z umount $D/$m; done; echo "umount $?"
""",
        folder,
    )
    first, second = (line for line in said.splitlines() if line.endswith("  -"))
    assert first == second
    assert said.startswith("a.iso\nexit 0\nb.iso\nsub\nexit 0\ns.iso\nexit 0\n3\n"), said
    assert said.endswith("s.iso\nexit 0\numount 0\n"), said


@in_namespace
def test_a_ring_that_no_table_of_mounts_shows(folder: Path) -> None:
    """Of three mounts in two namespaces, each with names of its own for the sources."""
    said = run_in_namespace(
        r"""
mkdir -p $D/shared $D/here $D/there
mount --bind $D/shared $D/shared; mount --make-shared $D/shared
for i in 1 2 3; do mkdir -p $D/shared/s$i/m; cp $D/a/a.zso $D/shared/s$i/d$i.zso; done
cat > $D/there.sh << END
mount -t tmpfs none $D/there
for i in 2 3; do mkdir $D/there/s\$i; mount --bind $D/shared/s\$i $D/there/s\$i; done
$Z mount -q $D/there/s2 $D/shared/s1/m; $Z mount -q $D/there/s3 $D/shared/s2/m
touch $D/ready; for i in \$(seq 600); do [ -e $D/end ] && break; sleep 0.1; done
$Z umount --lazy $D/shared/s1/m; $Z umount --lazy $D/shared/s2/m
END
unshare -m --propagation unchanged bash $D/there.sh > $D/there.log 2>&1 &
for i in $(seq 200); do [ -e $D/ready ] && break; sleep 0.1; done
mount -t tmpfs none $D/here; mkdir $D/here/s1; mount --rbind $D/shared/s1 $D/here/s1
$Z mount -q $D/here/s1 $D/shared/s3/m
for i in 1 2 3; do timeout -s KILL 40 find $D/shared/s$i -name '*.iso' | wc -l; done
for i in 1 2 3; do $Z status $D/shared/s$i/m > $D/status$i; done
$Z umount --lazy $D/shared/s3/m; touch $D/end; wait %2
""",
        folder,
    )
    # Which of the three gives way depends on who is asked first; two do if they ask each other at
    # the same moment.
    told = [(folder / f"status{number}").read_text() for number in (1, 2, 3)]
    ways = sum("the mount there leads back to this mount" in text for text in told)
    shown = {1: ["1", "2", "3"], 2: ["1", "1", "2"]}
    assert sorted(said.split()) == shown.get(ways), (said, told)


IMPATIENT = timed(queue=2.0, quiet_file=0.1)


def test_requests_do_not_queue_forever_for_a_file_system_of_fuse(
    source: Path, tmp_path: Path
) -> None:
    """It may show our own mount, and wait for the request that waits for it."""
    for name in ("one", "two"):
        (tmp_path / "inner" / name).mkdir(parents=True)
        shutil.copy(PS2, tmp_path / "inner" / name / "Game.zso")
        (tmp_path / "inner" / name / "notes.txt").touch()  # what has only discs is listed already
    (source / "slow").mkdir()
    with (
        mounted(tmp_path / "inner", source / "slow") as slow,
        mounted(source, tmp_path / "mnt", "--threads", "1", command=IMPATIENT) as made,
    ):
        # Or its looks would have the only thread.
        wait_until(lambda: status_of(made)["discs"] == 2, "the discs")
        wait_until(lambda: not status_of(made)["counting"], "the count")
        assert names(made.path / "slow") == ["one", "two"]
        os.kill(slow.daemon.pid, signal.SIGSTOP)
        with ExitStack() as stack:
            words = ["ls", made.path / "slow" / "one"]
            waiting = stack.enter_context(spawned(words, stdout=subprocess.PIPE))
            stack.callback(os.kill, slow.daemon.pid, signal.SIGCONT)
            wait_until(lambda: waits_for_fuse(made), "the first one to have the only thread")
            second = stack.enter_context(
                spawned(
                    ["ls", made.path / "slow" / "two"],
                    stderr=subprocess.PIPE,
                    env=os.environ | {"LC_ALL": "C"},
                )
            )
            stack.callback(os.kill, slow.daemon.pid, signal.SIGCONT)
            assert os.strerror(errno.ETIMEDOUT).encode() in second.communicate(timeout=60)[1]
            assert status_of(made)["ok"]
            assert waiting.poll() is None
            os.kill(slow.daemon.pid, signal.SIGCONT)
            assert waiting.communicate(timeout=60)[0] == b"Game.iso\nnotes.txt\n"
        wait_until(lambda: _lists(made.path / "slow" / "two"), "the other directory")


def _lists(path: Path) -> bool:
    try:
        return names(path) == ["Game.iso", "notes.txt"]
    except OSError:
        return False
