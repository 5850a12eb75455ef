"""The commands of docs/inbox.md, on a Debian that boots: kills, a power cut, and what remains."""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import writers
from tests.support.disks import MIB
from tests.support.documents import Document
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of, left_in
from tests.system.machine import Machine, debian

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("inbox")]

INBOX, ZSO = "/srv/games/inbox", "/srv/games/zso"
SERVICE = "zsofs-watch-arrivals.service"
IMAGE = writers.disc(2 * MIB, ["text", "mixed"], 1)


@cache
def big_image() -> bytes:
    """A disc that takes long to pack; made when it is needed, not whenever tests are collected."""
    return writers.disc(48 * MIB, ["text", "mixed", "noise"], 2)


class Box:
    """The machine of the document.

    Attributes:
        machine: it.
        document: what is done with it.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.document = Document("inbox.md")

    @property
    def inbox(self) -> Path:
        """The inbox, from outside."""
        return self.machine.root / INBOX[1:]

    @property
    def library(self) -> Path:
        """The library, from outside."""
        return self.machine.root / ZSO[1:]

    def follow(self, heading: str) -> str:
        """Run all commands of a section; returns what they printed."""
        return "".join(
            [
                self.machine.run("sh", "-ec", f"cd /root\n{command}")
                for command in self.document.commands(heading)
            ]
        )

    def put(self, name: str, image: bytes) -> None:
        """Copy a disc to the inbox, as the user whose inbox it is."""
        (self.machine.root / "var/tmp" / name).write_bytes(image)
        self.machine.run("chown", "me:", f"/var/tmp/{name}")
        self.machine.run("cp", f"/var/tmp/{name}", f"{INBOX}/", user="me")

    def status(self) -> dict[str, Any]:
        """What the watch says about itself."""
        found: dict[str, Any] = json.loads(self.machine.run("zsofs", "status", "--json", INBOX))
        return found

    def has_packed(self, name: str) -> bool:
        """Whether the watch says so: it hears of it after the original has gone."""
        results = [(one["path"], one["state"]) for one in self.status()["results"]]
        return (f"{INBOX}/{name}", "packed") in results

    def is_seen_packing(self, name: str) -> bool:
        """Have a large disc packed; return whether that is seen: a look may take longer itself."""
        self.put(f"{name}.iso", big_image())
        is_packing = False

        def has_begun() -> bool:
            nonlocal is_packing
            is_packing = self.status()["state"] == "packing"
            return is_packing or not (self.inbox / f"{name}.iso").exists()

        wait_until(has_begun, "the job", 60)
        return is_packing

    def put_until_packing(self, name: str) -> str:
        """Have large discs packed until one is seen to be; returns its name."""
        for number in range(5):
            one = f"{name} {number}"
            if self.is_seen_packing(one):
                return one
            self.wait_for_packed(one, big_image())
        raise AssertionError("each job has ended before it was seen")

    def is_active(self) -> bool:
        """Whether the service runs."""
        return self.machine.try_run("systemctl", "is-active", "-q", SERVICE).returncode == 0

    def wait_for_packed(self, name: str, image: bytes) -> None:
        """Wait until a disc is in the library, and its original has gone."""
        wait_until(lambda: not (self.inbox / f"{name}.iso").exists(), name, 120)
        assert image_of(self.library / f"{name}.zso") == image
        shown = f"/srv/iso/{name}.iso"  # a moment later, if the scan takes long
        wait_until(lambda: self.machine.try_run("test", "-e", shown).returncode == 0, shown)
        read = self.machine.run("sha1sum", shown).split()[0]
        given = subprocess.run(["sha1sum"], input=image, capture_output=True, check=True)
        assert read == given.stdout.decode().split()[0]


@pytest.fixture(scope="module")
def box(with_zsofs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine on which the document was followed up to the watch."""
    with debian(tmp_path_factory.mktemp("inbox"), *with_zsofs) as machine:
        made = Box(machine)
        made.follow("The directories")
        made.follow("The mount")
        printed = made.follow("The watch")
        assert "the service runs as the user me" in printed
        yield made


def test_the_recipe(box: Box) -> None:
    (box.machine.root / "root/Game.iso").write_bytes(IMAGE)
    printed = box.follow("Copy a game")
    assert INBOX in printed
    # root has copied it: the watch is not its owner, so it was packed after 60 seconds.
    box.wait_for_packed("Game", IMAGE)
    assert box.document.not_run() == []
    wait_until(lambda: box.has_packed("Game.iso"), "the result")


def test_an_archive_in_the_sandbox(box: Box, tmp_path: Path) -> None:
    (tmp_path / "Ico.iso").write_bytes(IMAGE)
    subprocess.run(["7z", "a", "-bd", "Ico.7z", "Ico.iso"], cwd=tmp_path, check=True)
    box.put("Ico.7z", (tmp_path / "Ico.7z").read_bytes())
    wait_until(lambda: not (box.inbox / "Ico.7z").exists(), "the archive", 60)
    assert image_of(box.library / "Ico.zso") == IMAGE


def test_a_kill(box: Box) -> None:
    """systemd starts it again, and the disc is packed."""
    name = box.put_until_packing("Killed")
    box.machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
    wait_until(box.is_active, "the restart", 60)
    box.wait_for_packed(name, big_image())
    assert left_in(box.library) == []


def test_a_power_cut(box: Box) -> None:
    is_cut = False
    for number in range(5):  # a job may end between the look at its state and the cut
        name = box.put_until_packing(f"Cut {number}")
        box.machine.cut_power()
        if is_cut := (box.inbox / f"{name}.iso").exists():
            assert (box.inbox / f"{name}.iso").read_bytes() == big_image()
        box.machine.boot()
        wait_until(box.is_active, "the service", 60)
        box.wait_for_packed(name, big_image())
        assert left_in(box.library) == []
        if is_cut:
            break
    assert is_cut


def test_the_sandbox(box: Box) -> None:
    """Its exposure, and that it is the user who packs."""
    words = ("systemd-analyze", "security", "--no-pager", SERVICE)
    rating = box.machine.run(*words).split("Overall exposure level")[1].split()
    exposure = float(next(word for word in rating if word.replace(".", "").isdigit()))
    assert exposure <= 3.5
    owner = box.machine.run("stat", "-c", "%U", f"{ZSO}/Ico.zso").strip()
    assert owner == "me"


def test_a_user_service(box: Box) -> None:
    machine = box.machine
    machine.linger("me")
    machine.run("mkdir", "/home/me/inbox", "/home/me/zso", user="me")
    words = ("arrivals", "/home/me/inbox", "/home/me/zso", "--move-source", "/home/me/done")
    machine.run("mkdir", "/home/me/done", user="me")
    machine.run("zsofs", "service", "install", "--user", "--watch", *words, user="me")
    (machine.root / "var/tmp/Own.iso").write_bytes(IMAGE)
    machine.run("cp", "/var/tmp/Own.iso", "/home/me/inbox/", user="me")
    home = machine.root / "home/me"
    wait_until((home / "done/Own.iso").exists, "the move", 60)
    assert image_of(home / "zso/Own.zso") == IMAGE
    assert "watch of /home/me/inbox" in machine.run("zsofs", "status", user="me")
    assert "arrivals" in machine.run("zsofs", "service", "list", "--user", user="me")
    machine.run("zsofs", "service", "remove", "--user", "arrivals", user="me")
    assert "watch of /home/me/inbox" not in machine.run("zsofs", "status", user="me")


def test_list_and_remove(box: Box) -> None:
    listed = box.machine.run("zsofs", "service", "list")
    assert "arrivals" in listed
    assert "games" in listed
    again = box.machine.try_run("zsofs", "service", "install", "arrivals", ZSO, "/srv/other")
    assert (again.returncode, "is a watch" in again.stderr) == (2, True)
    box.machine.run("zsofs", "service", "remove", "arrivals")
    assert not box.is_active()
    assert "arrivals" not in box.machine.run("zsofs", "service", "list")
    for folder in ("lib", "cache"):
        assert not (box.machine.root / "var" / folder / "zsofs-watch/arrivals").exists()
    assert names(box.inbox) == []
