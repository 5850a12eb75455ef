"""The commands of docs/media-box.md, on a Debian that boots with a disk of its own."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.disks import MIB, make_disk
from tests.support.documents import Document
from tests.support.mounting import DATA, wait_until
from tests.system import image
from tests.system.conftest import USER
from tests.system.discs import MANIFEST
from tests.system.disks import attached, have_disks
from tests.system.machine import Machine, debian
from tests.system.packages import repacked

pytestmark = pytest.mark.system

DISK = "/dev/disk/by-label/GAMES"
ISO = "/srv/games/iso"
GAMES = "zsofs@games.service"
NAMES = ("ziso-py.zso", "maxcso.dax")
# A media server as far as it matters here: it keeps what it found when it was started, looks again
# now and then, and has a table of mounts of its own, by what its unit takes from it.
JELLYFIN = """\
[Unit]
Description=A media server
[Service]
RuntimeDirectory=jellyfin
WorkingDirectory=/run/jellyfin
RuntimeMaxSec=900
ExecStart=sh -c 'ls /srv/games/iso >first; while sleep 0.2; do ls /srv/games/iso >now; done'
PrivateTmp=yes
ProtectSystem=strict
[Install]
WantedBy=multi-user.target
"""
# Docker's own words, by the engine that runs without a daemon and can do so inside a container.
DOCKER = '#!/bin/sh\nexec podman "$@"\n'
CONTAINERS = '[containers]\ncgroups = "disabled"\nnetns = "none"\n'
IMAGE = """\
cd /
programs='bin/sh bin/ls bin/cat bin/sleep bin/sha1sum'
libraries=$(ldd $programs | grep -o '/lib[^ ]*' | sort -u | sed 's|^/||')
tar -chf - $programs $libraries | podman import - debian:12
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A new disk with ext4, labelled as in the document."""
    command = ("mkfs.ext4", "-q", "-F", "-L", "GAMES")
    with attached(make_disk(tmp_path / "disk", 64 * MIB, *command)) as device:
        yield device


class Box:
    """The machine of the document.

    Attributes:
        machine: it.
        document: what is done with it.
        wanted: what each disc is to have.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.document = Document("media-box.md")
        self.wanted = {Path(name).stem + ".iso": MANIFEST[name]["sha1"] for name in NAMES}

    def do(self, command: str) -> str:
        """Run commands where the document is followed."""
        return self.machine.run("sh", "-ec", f"cd /root/zsofs\n{command}")

    def follow(self, heading: str) -> str:
        """Run all commands of a section; returns what they said."""
        return "".join([self.do(command) for command in self.document.commands(heading)])

    def put_discs(self) -> None:
        for name in NAMES:
            shutil.copy(DATA / name, self.machine.root / "root" / name)
            self.do(f"cp /root/{name} /srv/disk/zso")

    def is_whole(self) -> bool:
        """Whether every disc can be read, by somebody else than who serves it."""
        script = f"cd {ISO} && timeout 5 sha1sum -- *"
        said = self.machine.try_run("setpriv", "--reuid=65534", "sh", "-c", script).stdout
        return {line[42:]: line[:40] for line in said.splitlines()} == self.wanted

    @contextmanager
    def reading(self, script: str) -> Iterator[None]:
        """While this runs in the machine."""
        words = ("systemd-run", "--quiet", "--unit=reader", f"--setenv=FOLDER={ISO}")
        self.machine.run(*words, "sh", "-c", script)
        wait_until(lambda: json.loads(self.do(f"zsofs status --json {ISO}"))["readers"], "it")
        try:
            yield
        finally:
            self.machine.run("systemctl", "stop", "reader")

    def state(self) -> str:
        return str(json.loads(self.do(f"zsofs status --json {ISO}"))["source_state"])

    def container(self, name: str, script: str) -> "subprocess.CompletedProcess[str]":
        return self.machine.try_run("docker", "exec", name, "sh", "-c", script)

    def run_container(self, name: str, words: str) -> None:
        self.do(f"docker run -d --name {name} -v {words} debian:12 sleep 900")

    def container_is_whole(self, name: str) -> bool:
        said = self.container(name, "cd /games/iso && sha1sum -- *").stdout
        return {line[42:]: line[:40] for line in said.splitlines()} == self.wanted


def test_all_of_it(deb: Path, disk: Path, tmp_path: Path) -> None:
    # A device can be added to a container only while it is off.
    # The machine's own file system is an overlay, on which podman makes no other.
    (tmp_path / "containers").mkdir()
    devices = {DISK: disk, "/var/lib/containers": tmp_path / "containers"}
    with debian(tmp_path / "machine", image.system(), devices=devices) as machine:
        follow_all_of_it(Box(machine), deb, tmp_path)


def follow_all_of_it(box: Box, deb: Path, scratch: Path) -> None:
    machine = box.machine
    machine.run(*USER)
    (machine.root / "root/zsofs/dist").mkdir(parents=True)
    shutil.copy(deb, machine.root / "root/zsofs/dist")
    box.follow("Install")
    have_disks(machine)
    box.follow("The disk")
    assert machine.run("findmnt", "-no", "FSTYPE", "/srv/disk") == "ext4\n"
    said = box.follow("The service")
    assert "the service runs as the user me" in said
    box.put_discs()
    wait_until(box.is_whole, "the discs")
    looks_as_told(box)
    others_are_told_of_it(box)
    containers(box)
    out_and_in_again(box)
    power_cuts(box)
    an_update(box, deb, scratch)
    box.follow("Remove everything")
    mounts = machine.run("cat", "/proc/self/mountinfo")
    assert "fuse.zsofs" not in mounts
    assert " /srv/disk " not in mounts
    assert "GAMES" not in (machine.root / "etc/fstab").read_text()
    assert box.document.not_run() == []


def looks_as_told(box: Box) -> None:
    listing, *_ = said = box.follow("Look").split("\n\n")
    assert all(name in listing for name in box.wanted), said
    assert "active (running)" in "".join(said)
    wait_until(lambda: 'Status: "2 discs, 0 readers' in box.follow("Look"), "the line", 30)
    (shown,) = box.document.blocks("Look", "")
    wait_until(lambda: labels(box.do(f"zsofs status {ISO}")) == labels(shown), "the same facts")
    for line in shown.splitlines()[:5]:
        assert line in box.do(f"zsofs status {ISO}")


def labels(status: str) -> list[str]:
    """The first word of each line."""
    return re.findall(r"^\s*\S+", status, re.M)


def others_are_told_of_it(box: Box) -> None:
    (box.machine.root / "etc/systemd/system/jellyfin.service").write_text(JELLYFIN)
    box.follow("Programs that use the mount")
    box.do("systemctl enable --now jellyfin")
    wait_until(lambda: found_by_jellyfin(box, "first") == set(box.wanted), "the media server")
    # As at the start of the system: both at once, and the mount is the slower one.
    box.do(f"systemctl stop jellyfin {GAMES}; systemctl start jellyfin")
    wait_until(lambda: found_by_jellyfin(box, "first") == set(box.wanted), "the media server")
    before = box.do("systemctl show --value --property=MainPID jellyfin")
    wait_until(lambda: found_by_jellyfin(box, "now") == set(box.wanted), "its second look")
    box.do("systemctl restart " + GAMES)
    box.do("rm /run/jellyfin/now")
    wait_until(lambda: found_by_jellyfin(box, "now") == set(box.wanted), "the media server")
    assert box.do("systemctl show --value --property=MainPID jellyfin") == before


def found_by_jellyfin(box: Box, when: str) -> set[str]:
    return set(box.machine.try_run("cat", f"/run/jellyfin/{when}").stdout.split())


def containers(box: Box) -> None:
    machine = box.machine
    machine.run("apt-get", "install", "-y", "--no-install-recommends", "podman", "crun")
    (machine.root / "usr/local/bin/docker").write_text(DOCKER)
    (machine.root / "usr/local/bin/docker").chmod(0o755)
    (machine.root / "etc/containers/containers.conf").write_text(CONTAINERS)
    machine.run("sh", "-ec", IMAGE)
    assert set(box.follow("Containers").split()) >= set(box.wanted)
    rows = box.document.table("Containers")
    words = [row[0].partition(" ")[2] for row in rows]
    assert len(words) == 3
    assert words[0] in box.document.blocks("Containers", "sh")[0]
    for number, word in enumerate(words):
        box.run_container(f"after-{number}", word)
        assert box.container_is_whole(f"after-{number}")
    box.do("systemctl stop " + GAMES)
    for number, word in enumerate(words[:2]):
        box.run_container(f"before-{number}", word)
    box.machine.try_run(
        "sh", "-c", f"docker run -d --name before-2 -v {words[2]} debian:12 sleep 999"
    )
    box.do("systemctl start " + GAMES)
    wait_until(lambda: box.container_is_whole("before-0"), "the discs in the container")
    seen = [box.container_is_whole(f"before-{number}") for number in range(3)]
    assert seen == [True, False, False], rows
    seen = [box.container_is_whole(f"after-{number}") for number in range(3)]
    assert seen == [True, False, False], rows
    said = box.container("after-2", "ls /games/iso").stderr
    assert "Transport endpoint is not connected" in said
    box.do("docker rm -f -t 0 $(docker ps -q --filter name=-)")


def out_and_in_again(box: Box) -> None:
    heading = "Taking the disk out, and putting it in again"
    out, in_again = box.document.commands(heading)
    box.do(out)
    wait_until(lambda: box.state() == "away", "the disk to be missed")
    assert set(box.do(f"ls {ISO}").split()) == set(box.wanted)
    assert box.do(f"zsofs status {ISO}").splitlines()[1].strip() in box.document.sections()[heading]
    assert not box.is_whole()
    box.do(in_again)
    wait_until(box.is_whole, "the disk to be back")
    # Pulled out while a disc is read: what systemd does when a disk is no more.
    with box.reading("exec 3<$FOLDER/maxcso.iso; sleep 900"):
        assert "target is busy" in box.machine.try_run("sh", "-c", out).stderr
        assert "maxcso.dax" in box.do(f"zsofs status {ISO}")
        box.do("umount --lazy /srv/disk")
        wait_until(lambda: box.state() == "away", "the disk to be missed")
    box.do(in_again)
    wait_until(box.is_whole, "the disk to be back")
    # Without udev this can only be looked at: the names are those that systemd has.
    (shown,) = box.document.blocks(heading, "")
    assert box.do(f"systemd-escape --path --suffix=device {DISK}").strip() in shown
    assert box.do("systemctl show --value --property=FragmentPath srv-disk.mount").strip() in shown


def power_cuts(box: Box) -> None:
    machine, here = box.machine, dict(box.machine.devices)
    machine.cut_power()
    machine.boot()
    assert box.is_whole()
    wait_until(lambda: found_by_jellyfin(box, "first") == set(box.wanted), "the media server")
    machine.cut_power()
    # The disk is in the machine, and has no name yet: it is plugged in when it gets one.
    machine.devices = {"/dev/later": here.pop(DISK), **here}
    machine.boot("srv-disk.mount", "systemd-fsck@dev-disk-by\\x2dlabel-GAMES.service")
    assert " /srv/disk " not in machine.run("cat", "/proc/self/mountinfo")
    assert box.do(f"systemctl is-active {GAMES}") == "active\n"
    assert box.state() == "not there yet"
    assert "No medium found" in box.machine.try_run("ls", ISO).stderr
    box.do(f"mkdir -p {Path(DISK).parent}; ln -s /dev/later {DISK}")
    box.do(box.document.commands("Taking the disk out, and putting it in again")[1])
    wait_until(box.is_whole, "the disk to be there")


def an_update(box: Box, deb: Path, scratch: Path) -> None:
    before = json.loads(box.do(f"zsofs status --json {ISO}"))["pid"]
    dist = box.machine.root / "root/zsofs/dist"
    for old in dist.iterdir():
        old.unlink()
    newer = repacked(deb, scratch / "newer", dist / "zsofs_newer_amd64.deb")
    box.follow("Updates")
    assert box.do("zsofs --version; dpkg-query -W -f '${Version}' zsofs").endswith(newer)
    wait_until(box.is_whole, "the discs")
    assert json.loads(box.do(f"zsofs status --json {ISO}"))["pid"] != before


@pytest.mark.parametrize("kind", ["exFAT", "NTFS"])
def test_disks_without_owners(with_zsofs: tuple[Path, ...], tmp_path: Path, kind: str) -> None:
    """The lines of the table, and who serves such a disk."""
    command = {"exFAT": ("mkfs.exfat", "-L", "GAMES"), "NTFS": ("true",)}[kind]
    with (
        attached(make_disk(tmp_path / "disk", 64 * MIB, *command)) as device,
        debian(tmp_path / "machine", *with_zsofs, devices={DISK: device}) as machine,
    ):
        box = Box(machine)
        fstab = machine.root / "etc/fstab"
        (line,) = [row[1] for row in box.document.table("The disk") if row[0] == kind]
        packages = ("exfat-fuse", "ntfs-3g")
        machine.run("apt-get", "install", "-y", "--no-install-recommends", *packages)
        if kind == "exFAT" and "\texfat\n" not in Path("/proc/filesystems").read_text():
            # This kernel has no exFAT; a program of the same options stands in for it.
            machine.run("ln", "-sf", "mount.exfat-fuse", "/sbin/mount.exfat")
        if kind == "NTFS":
            machine.run("mkfs.ntfs", "-F", "-Q", "-L", "GAMES", DISK)
        fstab.write_text(line + "\n")
        machine.run("mkdir", "-p", "/srv/disk", "/root/zsofs")
        machine.run("mount", "/srv/disk")
        said = box.do(box.document.commands("The service")[-1])
        assert "the service runs as the user me" in said
        box.put_discs()
        wait_until(box.is_whole, "the discs")
        assert box.do(f"stat -c %U {ISO}/maxcso.iso") == "me\n"
        assert (
            box.do(f"zsofs status {ISO}")
            .splitlines()[2]
            .endswith(" detected immediately (inotify)")
        )
        box.do("zsofs service remove games; umount /srv/disk")
