"""The commands of docs/nas.md, with a NAS that goes away: real servers, on the loopback."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import Document
from tests.support.mounting import DATA, wait_until
from tests.system.discs import MANIFEST
from tests.system.machine import Machine, debian

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("nas")]  # they share a machine

ISO = "/srv/iso"
EXPORT = "export/zso"
NAMES = ("ziso-py.zso", "maxcso.dax")
# Too large for what a network mount fetches of a file that is only looked into.
BIG = "Big.iso"
BIG_BYTES = 48 << 20
SMB_CONF = """\
[global]
disable spoolss = yes
[games]
path = /export
"""
PACKAGES = ("samba", "openssh-server", "libnfs-utils")
RCLONE = "SMB, by rclone"
SSHFS = "SSH, by sshfs"
LATE = "A NAS that is off when this machine starts"
SERVING = "Serving the mount to others"
AUTOFS = Path("/dev/autofs")
"""What systemd mounts on access with; not every kernel has it."""


class Nas:
    """The machine of the document, which is its own NAS as well.

    Attributes:
        machine: it.
        document: what is done with it.
        wanted: what each disc is to have.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.document = Document("nas.md")
        self.wanted: dict[str, str] = {}
        with (machine.root / "etc/hosts").open("a") as hosts:
            hosts.write("127.0.0.1 nas\n")
        machine.run("useradd", "--create-home", "reader")
        (machine.root / EXPORT).mkdir(parents=True)
        for name in NAMES:
            self.put(name)
        self.put_big()
        machine.run("apt-get", "install", "-y", "--no-install-recommends", *PACKAGES)
        (machine.root / "etc/samba/smb.conf").write_text(SMB_CONF)
        machine.run("smbpasswd", "-s", "-a", "reader", given=b"secret\nsecret\n")
        machine.run("systemctl", "restart", "smbd", "ssh")

    def put(self, name: str) -> None:
        """Somebody copies a packed disc to the NAS."""
        shutil.copy(DATA / name, self.machine.root / EXPORT / name)
        self.wanted[Path(name).stem + ".iso"] = MANIFEST[name]["sha1"]

    def put_big(self) -> None:
        """Large, and other bytes each time, so that nobody has read any of it."""
        data = os.urandom(BIG_BYTES)
        (self.machine.root / EXPORT / BIG).write_bytes(data)
        self.wanted[BIG] = hashlib.sha1(data).hexdigest()

    def try_read(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Read a disc, as somebody else than who serves it; for a minute at most."""
        command = ("timeout", "--kill-after=1", "60", "sha1sum", f"{ISO}/{name}")
        return self.machine.try_run("setpriv", "--reuid=65534", *command)

    def is_whole(self) -> bool:
        """Whether all discs are there, and their bytes are right."""
        found = set(self.machine.run("ls", ISO).split())
        return found == set(self.wanted) and all(
            self.try_read(name).stdout[:40] == digest for name, digest in self.wanted.items()
        )

    def state(self) -> str:
        said = json.loads(self.machine.run("zsofs", "status", "--json", ISO))
        return str(said["source_state"])

    def reloaded(self) -> bool:
        """Have the mount look; whether it is whole then."""
        self.machine.run("zsofs", "reload", ISO)
        return self.is_whole()

    def refuses(self, name: str) -> bool:
        """Whether a disc gives an error while the NAS is away, rather than no answer."""
        done = self.try_read(name)
        assert done.returncode != 124, "the reader waits without end"
        return "Input/output error" in done.stderr

    def follow(self, heading: str, number: int) -> str:
        """Run one frame of commands of a section."""
        return self.machine.run("sh", "-ec", self.document.commands(heading)[number])


@pytest.fixture(scope="module")
def nas(tmp_path_factory: pytest.TempPathFactory, with_zsofs: tuple[Path, ...]) -> Iterator[Nas]:
    folder = tmp_path_factory.mktemp("nas")
    devices = {str(AUTOFS): AUTOFS} if AUTOFS.exists() else {}
    with debian(folder, *with_zsofs, devices=devices) as machine:
        yield Nas(machine)


@pytest.fixture
def smb(nas: Nas) -> Iterator[Nas]:
    """With the first way of the document; removed as it says."""
    said = nas.follow(RCLONE, 0)
    assert "the service runs as the user me" in said
    yield nas
    nas.follow(RCLONE, 1)
    is_taken_away(nas)


@pytest.fixture
def ssh(nas: Nas) -> Iterator[Nas]:
    """With the second way of the document; removed as it says."""
    machine = nas.machine
    nas.follow(SSHFS, 0)
    machine.run("install", "-d", "-o", "reader", "-m", "700", "/home/reader/.ssh")
    keys = ("/root/.ssh/nas.pub", "/home/reader/.ssh/authorized_keys")
    machine.run("install", "-o", "reader", "-m", "600", *keys)
    said = nas.follow(SSHFS, 1)
    assert "the service runs as the user me" in said
    yield nas
    nas.follow(SSHFS, 2)
    is_taken_away(nas)


def is_taken_away(nas: Nas) -> None:
    mounts = nas.machine.run("cat", "/proc/self/mountinfo")
    assert " /srv/nas " not in mounts
    assert f" {ISO} " not in mounts
    assert "/srv/nas" not in (nas.machine.root / "etc/fstab").read_text()
    assert not list((nas.machine.root / "etc/systemd/system").glob("rclone*"))


def test_smb_by_rclone(smb: Nas) -> None:
    machine = smb.machine
    wait_until(smb.is_whole, "the discs")
    smb.put("ciso-py.cso")
    wait_until(smb.reloaded, "the new disc", 60)
    smb.put_big()
    wait_until(lambda: str(BIG_BYTES) in machine.run("ls", "-l", ISO), "it", 60)
    machine.run("systemctl", "stop", "smbd")
    assert set(machine.run("ls", ISO).split()) == set(smb.wanted)
    wait_until(lambda: smb.refuses(BIG), "the error", 60)
    machine.run("systemctl", "start", "smbd")
    wait_until(smb.reloaded, "the NAS to be back", 60)
    # rclone itself is killed: what it leaves behind is cleared away.
    machine.run("systemctl", "kill", "--signal=KILL", "rclone-nas")
    wait_until(smb.is_whole, "rclone to be back", 60)
    # It starts while the NAS is off.
    machine.run("systemctl", "stop", "smbd")
    machine.try_run("systemctl", "restart", "rclone-nas")
    machine.run("systemctl", "start", "smbd")
    wait_until(smb.is_whole, "the NAS to be there", 60)


def test_rclone_without_its_cache(smb: Nas) -> None:
    unit = smb.machine.root / "etc/systemd/system/rclone-nas.service"
    text = unit.read_text()
    assert text.count("--vfs-cache-mode full") == 1
    unit.write_text(text.replace("--vfs-cache-mode full", "--vfs-cache-mode off"))
    smb.machine.run("systemctl", "daemon-reload")
    smb.machine.run("systemctl", "restart", "rclone-nas")
    wait_until(smb.reloaded, "the discs", 60)


def test_ssh_by_sshfs(ssh: Nas) -> None:
    machine = ssh.machine
    wait_until(ssh.is_whole, "the discs")
    ssh.put("maxcso-2048.zso")
    wait_until(ssh.reloaded, "the new disc", 60)
    # It hangs up, and nobody answers.
    ssh.put_big()
    wait_until(lambda: ssh.state() == "there", "it")
    machine.run("systemctl", "stop", "ssh")
    machine.try_run("pkill", "-KILL", "sshd")
    assert set(machine.run("ls", ISO).split()) == set(ssh.wanted)
    wait_until(lambda: ssh.refuses(BIG), "the error", 60)
    machine.run("systemctl", "start", "ssh")
    wait_until(ssh.reloaded, "the NAS to be back", 60)
    # It takes connections, and says nothing any more.
    ssh.put_big()
    machine.run("pkill", "-STOP", "sshd")
    try:
        assert set(machine.run("ls", ISO).split()) == set(ssh.wanted)
        wait_until(lambda: ssh.refuses(BIG), "the error", 60)
        assert ssh.refuses(BIG)
    finally:
        machine.run("pkill", "-CONT", "sshd")
    wait_until(ssh.reloaded, "the NAS to be back", 60)


@pytest.mark.skipif(not AUTOFS.exists(), reason="the kernel of this machine has no autofs")
def test_a_nas_that_is_there_later(ssh: Nas) -> None:
    machine = ssh.machine
    wait_until(ssh.is_whole, "the discs")
    ssh.follow(LATE, 0)
    wait_until(ssh.is_whole, "the discs")
    machine.run("systemctl", "stop", "zsofs@games", "ssh")
    machine.try_run("pkill", "-KILL", "sshd")
    machine.run("systemctl", "stop", "srv-nas.mount")
    machine.run("systemctl", "start", "zsofs@games")
    assert ssh.state() == "not there yet"
    assert "No medium found" in machine.try_run("ls", ISO).stderr
    wait_until(lambda: failures(machine) > 10, "more failures than systemd takes by itself", 60)
    machine.run("systemctl", "start", "ssh")
    wait_until(ssh.is_whole, "the NAS to be there", 60)
    ssh.follow(LATE, 1)
    wait_until(ssh.is_whole, "the discs")


def failures(machine: Machine) -> int:
    """How often the NAS could not be mounted."""
    said = machine.run("journalctl", "--output=cat", "--unit=srv-nas.mount")
    return said.count("Failed to mount")


def test_sshfs_does_not_know_nofail(nas: Nas) -> None:
    """As the document says; when it does, the document can recommend it."""
    words = ("mount.fuse.sshfs", "reader@nas:/export", "/mnt", "-o", "nofail")
    assert "unknown option" in nas.machine.try_run(*words).stderr


def test_nfs_by_ganesha(nas: Nas) -> None:
    machine = nas.machine
    machine.run("zsofs", "service", "install", "games", f"/{EXPORT}", ISO, "--allow-other")
    nas.follow(SERVING, 0)
    wait_until(lambda: served(nas) == nas.wanted, "the discs", 60)
    machine.run("systemctl", "restart", "zsofs@games")
    wait_until(lambda: served(nas) == nas.wanted, "the discs of the new mount", 60)
    machine.run("systemctl", "stop", "nfs-ganesha")
    machine.run("zsofs", "service", "remove", "games")
    assert nas.document.not_run() == ([] if AUTOFS.exists() else [LATE])


def served(nas: Nas) -> dict[str, str]:
    """What each disc has for a client of NFS."""
    found = {}
    for name in nas.wanted:
        script = f"nfs-cat 'nfs://127.0.0.1/games/{name}?version=4' | sha1sum"
        found[name] = nas.machine.try_run("timeout", "20", "sh", "-c", script).stdout[:40]
    return found
