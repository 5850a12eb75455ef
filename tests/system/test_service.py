"""Mounts that systemd keeps, on a real one: power cuts, disks that go, what hangs, the end."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.support.mounting import wait_until
from tests.system import load
from tests.system.discs import files, fill, sums
from tests.system.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("service")]  # they share a machine

GAMES = "zsofs@games.service"
_STAMPS = ("StateChangeTimestampMonotonic", "ActiveEnterTimestampMonotonic")
_SMB_CONF = """\
[global]
map to guest = Bad User
disable spoolss = yes
[games]
path = /srv/iso
guest ok = yes
"""


class Installed:
    """A machine with a service called games; its source lies on a disk of its own.

    Attributes:
        machine: where it runs.
        wanted: what each disc in the mount is to have.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.wanted = fill(machine, "/var/disk/zso", "me")
        with (machine.root / "etc/fstab").open("a") as fstab:
            fstab.write("/var/disk /srv/disk none bind,nofail 0 0\n")
        (machine.root / "srv/disk").mkdir()
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "srv-disk.mount")
        words = ("games", "/srv/disk/zso", "/srv/iso", "--allow-other", "--cache-size", "8M")
        self.said = machine.run("zsofs", "service", "install", *words)

    def is_whole(self) -> bool:
        """Whether every disc can be read."""
        script = "cd /srv/iso && timeout 5 sha1sum -- *"
        said = self.machine.try_run("sh", "-c", script, user="me").stdout
        return {line[42:]: line[:40] for line in said.splitlines()} == self.wanted

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", GAMES).strip()

    def processes(self) -> list[int]:
        """The processes of the service, by number."""
        group = self.show("ControlGroup")
        if not group:  # it waits to be started anew
            return []
        # Without a failure: one that was found may be gone.
        find = f"cat $(find /sys/fs/cgroup -path '*{group}/cgroup.procs') || :"
        return sorted({int(pid) for pid in self.machine.run("sh", "-c", find).split()})

    def daemon(self) -> int:
        """The process that reads discs."""
        return int(self.status()["pid"])

    def status(self) -> dict[str, Any]:
        """What the mount says about itself."""
        said: dict[str, Any] = json.loads(self.machine.run("zsofs", "status", "--json", "/srv/iso"))
        return said

    def away(self) -> float:
        """For how many seconds it was not there when it was started anew, by systemd's clock."""
        wait_until(lambda: self.show("ActiveState") == "active", "it to be ready")
        end, begin = map(self.show, ("ActiveExitTimestampMonotonic", _STAMPS[1]))
        return (int(begin) - int(end)) / 1e6

    def log(self) -> str:
        """What the service, and systemd of it, have said."""
        return self.machine.run("journalctl", "-u", GAMES, "-o", "cat")

    @contextmanager
    def reading(self, script: str) -> Iterator[None]:
        """While this runs in the machine."""
        self.machine.run("systemd-run", "--quiet", "--unit=reader", "sh", "-c", script)
        try:
            yield
        finally:
            self.machine.try_run("systemctl", "stop", "reader")  # it may have ended by itself

    def send(self, signal: str, *processes: int) -> None:
        """Send a signal, where it still can be."""
        self.machine.try_run("sh", "-c", f"kill -{signal} {' '.join(map(str, processes))}")


@pytest.fixture(scope="module")
def service(installed: Machine) -> Installed:
    return Installed(installed)


def test_installing_starts_it_and_says_how_it_is(service: Installed) -> None:
    machine = service.machine
    assert "the service runs as the user me" in service.said
    assert "the service games is installed and runs" in service.said
    assert "/srv/iso\n  source   /srv/disk/zso\n" in service.said
    assert service.show("ActiveState") == "active"
    assert service.is_whole()
    wait_until(lambda: "2 discs, 0 readers" in service.show("StatusText"), "the status line", 30)
    assert machine.run("cat", "/etc/zsofs/games.toml") == (
        "# The mount point was not there before; it goes with the service.\n"
        'source = "/srv/disk/zso"\nmountpoint = "/srv/iso"\ncache-size = "8M"\n'
        'allow-other = true\nsetuid = "me"\n'
    )
    assert machine.run("stat", "-c", "%U", f"/proc/{service.daemon()}") == "me\n"
    (one,) = json.loads(machine.run("zsofs", "status", "--json"))  # root sees the mounts of all
    assert (one["mount_point"], one["pid"]) == ("/srv/iso", service.daemon())
    rows = [line.split() for line in machine.run("zsofs", "service", "list").splitlines()]
    assert rows[1] == ["games", "active", "enabled", "/srv/disk/zso", "/srv/iso"]
    again = machine.try_run("zsofs", "service", "install", "games", "/srv/disk/zso", "/srv/more")
    assert (again.returncode, "the config" in again.stderr) == (2, True)


def test_the_mount_is_seen_by_everybody(service: Installed) -> None:
    """No restriction of the unit gives it a table of mounts of its own."""
    namespaces = {
        service.machine.run("readlink", f"/proc/{pid}/ns/mnt") for pid in [1, *service.processes()]
    }
    assert len(namespaces) == 1
    assert len(service.processes()) == 2
    said = service.machine.run("cat", f"/proc/{service.daemon()}/status")
    for field, value in (("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", "0+")):
        assert re.search(rf"^{field}:\s*{value}$", said, re.M), field


def test_the_units_are_without_fault(service: Installed) -> None:
    for words in (("/lib/systemd/system",), ("--user", "/usr/lib/systemd/user")):
        unit = f"{words[-1]}/zsofs@.service"
        verify = ("env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", "--man=no")
        verify = (*verify, *words[:-1], unit)
        said = service.machine.try_run(*verify)
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_a_reload_shows_what_is_new(service: Installed) -> None:
    before = service.daemon()
    service.machine.run("systemctl", "reload", GAMES)
    wait_until(lambda: service.show("ActiveState") == "active", "its end")
    assert service.daemon() == before
    wait_until(lambda: "Reloaded " in service.log(), "the log")
    # The other way to ask for it; systemd is told the same.
    changed, started = (service.show(name) for name in _STAMPS)
    service.machine.run("zsofs", "reload", "/srv/iso")
    wait_until(lambda: service.show(_STAMPS[0]) != changed, "its begin")
    wait_until(lambda: service.show("ActiveState") == "active", "its end")
    assert service.show(_STAMPS[1]) == started


def test_the_numbers_are_those_of_a_load(service: Installed) -> None:
    """Reads that the kernel hands on as they are: every figure is known beforehand."""
    machine = service.machine
    assert service.status()["requests"] > 0  # of the tests before
    machine.run("systemctl", "restart", GAMES)
    begun_anew(service)
    reads = load.some_reads(seed=12, count=400)
    wanted = load.figures(reads)
    total = sum(wanted.values(), load.Figures())
    assert 0 < total.hits < total.lookups
    load.do(machine, "/srv/iso", reads)
    said = service.status()
    assert load.said_by(said) == replace(total, blocks=0)
    assert (said["errors"], said["readers"]) == (0, [])
    text = machine.run("zsofs", "status", "/srv/iso")
    assert f"\n  reads    400, {total.bytes / 1e6:.2f} MB in all, no errors\n" in text
    share = f"{100 * total.hits // total.lookups} % of"
    assert f", {share} {total.lookups:,} lookups hit\n" in text
    line = f"2 discs, 0 readers, {share} lookups hit"
    wait_until(lambda: service.show("StatusText") == line, "the status line", 30)
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", GAMES)
    for name, one in {"all discs": total, **wanted}.items():
        reported = (
            f"{name}: {one.requests:,} reads, {one.bytes / 1e6:,.1f} MB;"
            f" cache {one.hits:,} of {one.lookups:,} hits; {one.blocks:,} blocks decoded; "
        )
        wait_until(lambda text=reported: text in service.log(), reported)  # type: ignore[misc]
    machine.run("systemctl", "restart", GAMES)
    begun_anew(service)


def begun_anew(service: Installed) -> None:
    """Check that the numbers are those of a mount that nobody has read."""
    said = service.status()
    assert load.said_by(said) == load.Figures()
    assert said["uptime_seconds"] < 30
    text = service.machine.run("zsofs", "status", "/srv/iso")
    assert "\n  reads    0, 0 B in all, no errors\n" in text
    assert re.search(r"\n  daemon .*, running for \d+ s\n", text)
    wait_until(lambda: service.show("StatusText") == "2 discs, 0 readers", "the line", 30)


# Opens a disc three times, reads it once, and keeps its pages in memory: a kernel that takes back
# what nobody has used for some seconds (DAMON, on machines of the cloud) leaves such pages alone.
_HOLD = """
import mmap, os, time
MAP_LOCKED = 0x2000
held = [os.open('/srv/iso/maxcso.iso', os.O_RDONLY) for _ in range(3)]
pages = mmap.mmap(held[0], 0, flags=mmap.MAP_SHARED | MAP_LOCKED, prot=mmap.PROT_READ)
time.sleep(999)
"""


def test_what_the_kernel_keeps_is_counted_once(service: Installed) -> None:
    """Reads as programs do them, with the kernel's cache between; and who has a disc open."""
    read = ("timeout", "5", "sha1sum", "/srv/iso/maxcso.iso")
    with service.reading(f'exec python3 -c "{_HOLD}"'):
        wait_until(lambda: service.status()["bytes"] == len(load.IMAGE), "all of the disc")
        said = service.status()
        pid = service.machine.run("systemctl", "show", "--value", "--property=MainPID", "reader")
        assert said["readers"] == [
            {"pid": int(pid), "program": "python3", "path": "maxcso.dax", "handles": 3}
        ]
        wait_until(lambda: "2 discs, 1 reader" in service.show("StatusText"), "the line", 30)
        for _ in range(2):
            assert service.wanted["maxcso.iso"] in service.machine.run(*read, user="me")
        assert load.said_by(service.status()) == load.said_by(said)
    wait_until(lambda: service.status()["readers"] == [], "the end of the reader")
    assert service.is_whole()


def test_what_is_killed_is_back_within_five_seconds(service: Installed) -> None:
    machine = service.machine
    before = service.daemon()
    # With a pause after an error, or the reader would keep a processor busy while it is away.
    script = "timeout 900 sh -c 'while :; do cat /srv/iso/* || sleep 0.1; done' >/dev/null 2>&1"
    with service.reading(script):
        service.send("KILL", before)
        wait_until(lambda: machine.try_run("zsofs", "status", "/srv/iso").returncode == 0, "it")
        wait_until(service.is_whole, "the discs")
        assert 0 < service.away() < 5
        assert service.daemon() != before
        service.send("KILL", *service.processes())
        wait_until(service.is_whole, "the mount to be back")
        assert 0 < service.away() < 5


def test_what_hangs_is_started_anew(service: Installed) -> None:
    machine = service.machine
    drop_in = f"/run/systemd/system/{GAMES}.d"
    machine.run("mkdir", "-p", drop_in)
    machine.run("sh", "-c", f"printf '[Service]\nWatchdogSec=3s\n' >{drop_in}/sooner.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", GAMES)
    before = service.daemon()
    service.send("STOP", before)
    wait_until(lambda: before not in service.processes(), "the watchdog", 15)
    wait_until(service.is_whole, "the mount to be back", 10)
    assert service.daemon() != before
    machine.run("rm", "-r", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", GAMES)


def test_it_stops_in_time_with_an_open_reader(service: Installed) -> None:
    machine = service.machine
    with service.reading("exec timeout 900 tail -f /srv/iso/maxcso.iso >/dev/null"):
        wait_until(lambda: service.status()["readers"], "the reader")
        begin = time.monotonic()
        machine.run("systemctl", "stop", GAMES)
        assert time.monotonic() - begin < 5
        assert service.show("Result") == "success"
        assert " /srv/iso " not in machine.run("cat", "/proc/self/mountinfo")
    machine.run("systemctl", "start", GAMES)
    assert service.is_whole()


def test_an_option_that_is_changed(service: Installed) -> None:
    machine = service.machine
    config = machine.root / "etc/zsofs/games.toml"
    before = config.read_text()
    for text, megabytes in ((before.replace('"8M"', '"16M"'), 16), (before, 8)):
        config.write_text(text)
        machine.run("systemctl", "restart", GAMES)
        assert service.status()["cache"]["limit"] == megabytes << 20


def test_it_stays_down_when_it_was_taken_down(service: Installed) -> None:
    machine = service.machine
    machine.run("umount", "/srv/iso")
    wait_until(lambda: service.show("ActiveState") == "inactive", "its end", 30)
    assert service.show("Result") == "success"
    machine.run("systemctl", "start", GAMES)
    assert service.is_whole()


def test_what_hangs_stops_without_leaving_its_mount(service: Installed) -> None:
    machine = service.machine
    service.send("STOP", service.daemon())
    machine.run("systemctl", "stop", GAMES)
    assert service.show("ActiveState") != "active"
    assert " /srv/iso " not in machine.run("cat", "/proc/self/mountinfo")
    machine.run("systemctl", "reset-failed", GAMES)
    machine.run("systemctl", "start", GAMES)
    assert service.is_whole()


def test_a_disk_that_goes_and_returns(service: Installed) -> None:
    machine = service.machine
    before = service.daemon()
    machine.run("systemctl", "stop", "srv-disk.mount")
    wait_until(lambda: service.status()["source_state"] == "away", "the end of the source")
    assert service.show("ActiveState") == "active"
    assert set(machine.run("ls", "/srv/iso").split()) == set(service.wanted)
    machine.run("systemctl", "start", "srv-disk.mount")
    wait_until(service.is_whole, "the discs to be back")
    assert service.daemon() == before


def test_a_disk_that_is_late(service: Installed) -> None:
    """It is ready without it, says so, and has its discs as soon as it comes."""
    machine = service.machine
    machine.run("systemctl", "mask", "--runtime", "--now", "srv-disk.mount")
    machine.run("systemctl", "restart", GAMES)
    wait_until(
        lambda: "the source is not there yet" in service.show("StatusText"), "the status line", 30
    )
    assert service.show("ActiveState") == "active"
    assert "No medium found" in machine.try_run("ls", "/srv/iso", user="me").stderr
    before = service.daemon()
    machine.run("systemctl", "unmask", "--runtime", "srv-disk.mount")
    machine.run("systemctl", "start", "srv-disk.mount")
    wait_until(service.is_whole, "the discs")
    assert service.daemon() == before
    assert service.show("NRestarts") == "0"


def test_a_power_cut(service: Installed) -> None:
    """It comes back by itself, before smbd, which serves it."""
    machine = service.machine
    machine.run("apt-get", "install", "-y", "--no-install-recommends", "samba", "smbclient")
    (machine.root / "etc/samba/smb.conf").write_text(_SMB_CONF)
    machine.run("systemctl", "disable", "nmbd")  # it fails without a network
    machine.cut_power()
    machine.boot()
    assert service.show("ActiveState") == "active"
    assert machine.run("cat", "/proc/self/mountinfo").count(" /srv/iso ") == 1
    assert service.is_whole()

    def stamp(unit: str, name: str) -> int:
        return int(machine.run("systemctl", "show", "--value", f"--property={name}", unit))

    ready = stamp(GAMES, "ActiveEnterTimestampMonotonic")
    assert 0 < stamp("srv-disk.mount", "ActiveEnterTimestampMonotonic") < ready
    wait_until(lambda: stamp("smbd.service", "ActiveEnterTimestampMonotonic"), "smbd", 30)
    assert ready <= stamp("smbd.service", "InactiveExitTimestampMonotonic")
    machine.run("mkdir", "/root/got")
    words = ("-N", "//127.0.0.1/games", "-c", "lcd /root/got; prompt off; mget *")
    machine.run("smbclient", *words)
    assert sums(machine, "/root/got") == service.wanted


def test_removing_it_leaves_nothing(service: Installed) -> None:
    machine = service.machine
    assert "is removed" in machine.run("zsofs", "service", "remove", "games")
    for path in ("/etc/zsofs", "/srv/iso", "/var/cache/zsofs", "/run/zsofs-1000"):
        assert machine.try_run("test", "-e", path).returncode == 1, path
    assert machine.run("find", "/etc/systemd", "/run/systemd/system", "-name", "*zsofs*") == ""
    assert machine.run("systemctl", "list-units", "--all", "--plain", "-q", "zsofs@*") == ""
    assert machine.run("zsofs", "service", "list") == "no zsofs services are installed\n"
    gone = machine.try_run("zsofs", "service", "remove", "games")
    assert (gone.returncode, "no such service: games" in gone.stderr) == (11, True)
    before = files(machine)
    machine.run(
        "zsofs", "service", "install", "again", "/srv/disk/zso", "/srv/iso", "--allow-other"
    )
    assert len(files(machine) - before) >= 3
    machine.run("zsofs", "service", "remove", "again")
    assert files(machine) ^ before == set()


def test_what_cannot_be_is_said(service: Installed) -> None:
    machine = service.machine
    machine.run("sh", "-c", "mkdir -p /srv/full/x; touch /srv/disk/zso/closed.zso")
    machine.run("chmod", "600", "/srv/disk/zso/closed.zso")
    words = ("service", "install", "broken", "/srv/disk/zso", "/srv/full")
    said = machine.try_run("zsofs", *words)
    assert "me cannot read 1 file: /srv/disk/zso/closed.zso" in said.stdout
    assert said.returncode == 11
    assert "is installed but did not start: the mount point /srv/full is not empty" in said.stderr
    machine.run("zsofs", "service", "remove", "broken")
    machine.run("rm", "-r", "/srv/full", "/srv/disk/zso/closed.zso")
    words = ("service", "install", "broken", "/srv/disk/zso", "/srv/disk/iso")
    said = machine.try_run("zsofs", *words)
    assert (said.returncode, "on the file system of the source, /srv/disk," in said.stderr) == (
        2,
        True,
    )
    assert machine.try_run("test", "-e", "/etc/zsofs").returncode == 1
    denied = machine.try_run("zsofs", *words, user="me")
    assert (denied.returncode, "only root" in denied.stderr) == (2, True)


def test_a_list_of_titles_on_a_disk_that_is_late(service: Installed) -> None:
    """What the service is made from comes by and by; it is tried until it is there."""
    machine = service.machine
    machine.run("sh", "-c", "echo SLUS-20001,Title >/srv/disk/titles.csv")
    words = ("--layout", "opl", "--titles", "/srv/disk/titles.csv", "--setuid", "root")
    machine.run("zsofs", "service", "install", "games", "/srv/disk/zso", "/srv/iso", *words)
    machine.run("systemctl", "stop", GAMES)
    machine.run("systemctl", "mask", "--runtime", "--now", "srv-disk.mount")
    machine.try_run("systemctl", "start", GAMES)
    wait_until(lambda: int(service.show("NRestarts")) >= 2, "more than one try", 60)
    assert "the list of titles /srv/disk/titles.csv cannot be read" in service.log()
    machine.run("systemctl", "unmask", "--runtime", "srv-disk.mount")
    machine.run("systemctl", "start", "srv-disk.mount")
    wait_until(lambda: service.show("ActiveState") == "active", "the service", 60)
    assert set(machine.run("ls", "/srv/iso").split()) >= {"CD", "DVD"}
    machine.run("rm", "/srv/disk/titles.csv")
    machine.run("zsofs", "service", "remove", "games")
    assert machine.run("find", "/root", "-path", "*zsofs*", "-name", "*.sqlite") == ""


def test_a_config_that_was_written_by_hand(service: Installed) -> None:
    machine = service.machine
    (machine.root / "etc/zsofs").mkdir()
    text = 'source = "/srv/disk/zso"\nmountpoint = "/srv/iso"\nsetuid = "me"\n'
    (machine.root / "etc/zsofs/games.toml").write_text(text)
    machine.run("systemctl", "enable", "--now", GAMES)
    assert service.is_whole()
    rows = [line.split() for line in machine.run("zsofs", "service", "list").splitlines()]
    assert rows[1] == ["games", "active", "enabled", "/srv/disk/zso", "/srv/iso"]
    machine.run("zsofs", "service", "remove", "games")
    assert " /srv/iso " not in machine.run("cat", "/proc/self/mountinfo")


def test_a_config_that_has_no_unit(service: Installed) -> None:
    """As where zsofs is not from a package, whose unit stays."""
    machine = service.machine
    unit = "/lib/systemd/system/zsofs@.service"
    machine.run("mv", unit, "/root/unit")
    try:
        machine.run("systemctl", "daemon-reload")
        (machine.root / "etc/zsofs").mkdir()
        text = 'source = "/none"\nmountpoint = "/none/iso"\n'
        (machine.root / "etc/zsofs/hand.toml").write_text(text)
        words = ("service", "install", "hand", "/srv/disk/zso", "/srv/iso")
        said = machine.try_run("zsofs", *words).stderr
        assert "remove it with: zsofs service remove hand\n" in said
        said = machine.run("zsofs", "service", "remove", "hand")
        assert said == "the service hand is removed\n"
        assert machine.try_run("test", "-e", "/etc/zsofs").returncode == 1
        machine.run("zsofs", "service", "install", "games", *words[3:], "--allow-other")
        machine.run("rm", "/etc/systemd/system/zsofs@.service")
        machine.run("systemctl", "daemon-reload")
        machine.run("zsofs", "service", "remove", "games")
        assert " /srv/iso " not in machine.run("cat", "/proc/self/mountinfo")
        assert machine.run("find", "/etc/systemd", "-name", "*zsofs*") == ""
    finally:
        machine.run("mv", "/root/unit", unit)
        machine.run("systemctl", "daemon-reload")


def test_a_user_with_linger(service: Installed) -> None:
    machine = service.machine
    machine.linger("me")
    words = ("service", "install", "--user", "mine", "/srv/disk/zso", "/home/me/iso")
    assert "log out" not in machine.run("zsofs", *words, user="me")
    assert sums(machine, "/home/me/iso", user="me") == service.wanted
    machine.cut_power()
    machine.boot()
    wait_until(
        lambda: " /home/me/iso " in machine.run("cat", "/proc/self/mountinfo"), "the mount", 30
    )
    assert sums(machine, "/home/me/iso", user="me") == service.wanted
    listing = ("zsofs", "service", "list", "--user")
    row = "mine  active  enabled"
    wait_until(lambda: row in machine.run(*listing, user="me"), "it to be ready")
    machine.run("zsofs", "service", "remove", "--user", "mine", user="me")
    assert machine.run("find", "/home/me", "-name", "*zsofs*", "-path", "*.config*") == ""
    assert machine.run("find", "/home/me/", "-name", "*.sqlite") == ""
    assert " /home/me/iso " not in machine.run("cat", "/proc/self/mountinfo")


def test_fstab(service: Installed) -> None:
    """Whatever the order in which systemd mounts; also where the disk comes by hand."""
    machine = service.machine
    words = "fuse.zsofs nofail,allow_other,setuid=me"
    with (machine.root / "etc/fstab").open("a") as fstab:
        fstab.write(f"/srv/disk/zso /srv/iso {words} 0 0\n")
        fstab.write("/var/disk /srv/late none bind,noauto 0 0\n")
        fstab.write(f"/srv/late/zso /srv/late-iso {words},_netdev 0 0\n")
    machine.run("mkdir", "/srv/iso", "/srv/late", "/srv/late-iso")
    for _ in range(2):
        machine.run("mount", "-a")
        assert machine.run("cat", "/proc/self/mountinfo").count(" /srv/iso ") == 1
    assert service.is_whole()
    machine.cut_power()
    machine.boot()
    wait_until(service.is_whole, "the mount", 30)
    assert "No medium found" in machine.try_run("ls", "/srv/late-iso", user="me").stderr
    machine.run("mount", "/srv/late")
    wait_until(
        lambda: machine.try_run("ls", "/srv/late-iso", user="me").stdout != "", "the late discs"
    )
    assert sums(machine, "/srv/late-iso", user="me") == service.wanted
    machine.run("umount", "/srv/late-iso")
    machine.run("umount", "/srv/iso")
    assert " /srv/iso " not in machine.run("cat", "/proc/self/mountinfo")
