"""The commands of docs/pcsx2.md, as a user, and what emulators do with the discs.

No emulator of these consoles is part of Debian 12. In their place, real tools and a reader that
does as they do; the sandbox is Flatpak's own, with an app of the emulator's name in it.
"""

import shutil

import pytest

from tests.support.documents import Document
from tests.support.mounting import DATA, wait_until
from tests.system.discs import MANIFEST
from tests.system.machine import Machine

pytestmark = pytest.mark.system

DISCS = {"PS2/Game.iso": "ps2.iso", "PSP/Game.iso": "psp.iso"}
PACKED = {"PS2/Game.zso": "ziso-py.zso", "PSP/Game.zso": "zstd-2048.zso"}

# Positional reads of one to sixteen sectors by several threads, beside a map of the file.
READER = """
import concurrent.futures, mmap, os, random, sys
shown, plain = sys.argv[1], open(sys.argv[2], "rb").read()
assert os.path.getsize(shown) == len(plain)
disc = os.open(shown, os.O_RDONLY)
def read(seed):
    at = random.Random(seed)
    for _ in range(400):
        begin = at.randrange(len(plain) // 2048) * 2048
        size = at.randrange(1, 17) * 2048
        assert os.pread(disc, size, begin) == plain[begin : begin + size], begin
with concurrent.futures.ThreadPoolExecutor(4) as threads:
    list(threads.map(read, range(4)))
with mmap.mmap(disc, 0, prot=mmap.PROT_READ) as seen:
    assert seen[:] == plain
"""

# An app without anything but a shell, and the runtime that it says it is for.
APP = """
cd && mkdir -p fp/runtime/usr/bin fp/runtime/usr/etc fp/runtime/files fp/app/files fp/app/export
cd fp
for program in sh ls sha1sum; do
    cp -L /usr/bin/$program runtime/usr/bin/
    for library in $(ldd /usr/bin/$program | grep -o '/lib[^ ]*'); do
        install -D $library runtime/usr$library
    done
done
of='runtime=org.kde.Platform/x86_64/1\nsdk=org.kde.Platform/x86_64/1\n'
printf "[Runtime]\nname=org.kde.Platform\n$of" >runtime/metadata
flatpak build-export --runtime repo runtime 1
for id in net.pcsx2.PCSX2 org.ppsspp.PPSSPP; do
    printf "[Application]\nname=$id\n${of}command=sh\n" >app/metadata
    flatpak build-export repo app stable
done
flatpak --user remote-add --no-gpg-verify here repo
flatpak --user install -y --noninteractive here net.pcsx2.PCSX2 org.ppsspp.PPSSPP
"""


def run(machine: Machine, command: str) -> str:
    """Run commands as the user."""
    return machine.run("sh", "-ec", f"cd\n{command}", user="me")


def see(machine: Machine, app: str) -> dict[str, str]:
    """What each disc has for an app in its sandbox."""
    script = f"cd ~/games/iso 2>/dev/null && sha1sum -- {' '.join(DISCS)}"
    said = machine.try_run("flatpak", "run", app, "-c", script, user="me")
    return {line[42:]: line[:40] for line in said.stdout.splitlines()}


def test_all_of_it(installed: Machine) -> None:
    machine, document = installed, Document("pcsx2.md")
    packages = ("flatpak", "genisoimage", "p7zip-full")
    machine.run("apt-get", "install", "-y", "--no-install-recommends", *packages)
    machine.run("loginctl", "enable-linger", "me")
    for place, name in PACKED.items():
        path = machine.root / "home/me/zso" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / name, path)
    machine.run("chown", "-R", "me:", "/home/me/zso")
    by_hand, service = document.commands("The mount")
    said = run(machine, by_hand)
    assert all(name in said for name in ("SLUS_209.63", *DISCS))
    wait_until(
        lambda: machine.try_run("test", "-S", "/run/user/1000/systemd/private").returncode == 0,
        "systemd",
    )
    said = run(machine, service)
    assert "the service games is installed and runs" in said
    said = run(machine, "".join(document.commands("What an emulator does with a disc")))
    assert "BOOT2 = cdrom0:\\SLUS_209.63;1" in said
    assert "DATA/MOVIE.PSS" in said
    assert "/PSP_GAME/PARAM.SFO" in said
    for place, name in DISCS.items():
        shutil.copy(DATA / name, machine.root / "srv" / name)
        words = ("python3", "-c", READER, f"/home/me/games/iso/{place}", f"/srv/{name}")
        machine.run(*words, user="me")
    machine.run("sh", "-ec", APP, user="me")
    apps = ("net.pcsx2.PCSX2", "org.ppsspp.PPSSPP")
    assert [see(machine, app) for app in apps] == [{}, {}]
    run(machine, "".join(document.commands("Flatpak")))
    wanted = {place: MANIFEST[PACKED[place[:-3] + "zso"]]["sha1"] for place in DISCS}
    assert [see(machine, app) for app in apps] == [wanted, wanted]
    # Another user sees nothing of it, as nobody said --allow-other.
    assert machine.try_run("ls", "/home/me/games/iso").returncode != 0
    assert document.not_run() == []
    run(machine, "zsofs service remove --user games")
