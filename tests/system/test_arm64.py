"""zsofs for arm64, built and used under the emulation of qemu-user; only with --thorough.

It takes the better part of an hour, and qemu-user-static. Its handler of programs is registered
with the flag F, so that it works in a root directory without qemu, and is unregistered afterwards.
"""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import DATA, ZSOFS
from tests.support.rounds import rounds
from tests.system.conftest import ROOT
from tests.system.discs import MANIFEST
from tests.system.minimal import APT, changed, inside, system
from tests.system.test_debian13 import TO_BUILD
from tests.system.test_install import clone_to
from zsofs import __version__

QEMU = shutil.which("qemu-aarch64-static")
pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("arm64"),
    pytest.mark.timeout(7200),
    pytest.mark.skipif(rounds(0, 1) == 0, reason="takes most of an hour; run with --thorough"),
    pytest.mark.skipif(QEMU is None, reason="needs qemu-user-static"),
]

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_HANDLER = "zsofs-tests-aarch64"
# The first 20 bytes of a 64-bit ELF program or library for AArch64, and which bits of them count.
_MAGIC = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
_MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe" + r"\xff" * 3


@pytest.fixture(scope="module")
def emulated() -> Iterator[None]:
    """Have the kernel run programs for arm64 with qemu."""
    if not (_BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], check=True)
    (_BINFMT / "register").write_text(f":{_HANDLER}:M::{_MAGIC}:{_MASK}:{QEMU}:F")
    try:
        yield
    finally:
        (_BINFMT / _HANDLER).write_text("-1")


@pytest.fixture(scope="module")
def installed(emulated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root directory of an arm64 Debian 12 in which the package was built and installed."""
    place = tmp_path_factory.mktemp("arm64")
    sources = place / "sources"
    clone_to(sources)
    # The source distribution has the man pages, which would take long under emulation.
    for path in ROOT.glob("zsofs/*/*.so"):
        shutil.copy(path, sources / path.relative_to(ROOT))
    subprocess.run([sys.executable, "-m", "release.sdist"], cwd=sources, check=True)
    (sdist,) = (sources / "dist").glob("*.tar.gz")
    base = system("bookworm", TO_BUILD, architecture="arm64")
    with changed(place / "system", base) as root:
        subprocess.run(["tar", "-xf", sdist, "-C", root / "root"], check=True)
        os.mknod(root / "dev/fuse", stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
        said = inside(root, f"cd zsofs-{__version__}; ./bootstrap.sh deb", seconds=6000)
        assert "_arm64.deb\n" in said
        inside(root, f"{APT} update; {APT} install ./zsofs-*/dist/*.deb", seconds=1200)
        shutil.copytree(DATA, root / "root/data")
        yield root


def test_it_is_for_arm64(installed: Path) -> None:
    assert inside(installed, "dpkg --print-architecture; zsofs --version") == (
        f"arm64\nzsofs {__version__}\n"
    )


def test_every_format_is_read(installed: Path) -> None:
    """What is unpacked has the checksum of the disc, for each container and codec."""
    for kind in ("zso", "cso", "dax"):
        said = inside(installed, f"zsofs unpack data/*.{kind} -o {kind}/; cd {kind}; sha1sum *.iso")
        found = {line[42:]: line[:40] for line in said.splitlines() if line.endswith(".iso")}
        names = {name for name in MANIFEST if name.endswith(f".{kind}")}
        assert found == {Path(name).stem + ".iso": MANIFEST[name]["sha1"] for name in names}


def test_chds_are_verified_as_here(installed: Path) -> None:
    """All codecs of CHDs, with the SHA-1s of their headers."""
    script = "zsofs verify chd/cd*.chd chd/dvd*.chd 2>&1 || :"
    here = shlex.join(ZSOFS) + script.removeprefix("zsofs")
    wanted = subprocess.run(
        ["sh", "-c", f"cd {DATA} && {here}"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert wanted.count(": sealed") >= 8
    assert inside(installed, f"cd data; {script}", seconds=600) == wanted


def test_what_is_packed_is_read_here(installed: Path, tmp_path: Path) -> None:
    """All cores pack; a program of this machine's architecture reads the file."""
    for preset, ending in (("mount", "zso"), ("console", "zso"), ("psp", "cso")):
        name = f"{preset}.{ending}"
        inside(installed, f"zsofs pack data/ps2.iso --any --for {preset} -o {name}", seconds=600)
        packed = shutil.copy(installed / f"root/{name}", tmp_path)
        out = tmp_path / f"{preset}.iso"
        subprocess.run([*ZSOFS, "unpack", packed, "-o", out], cwd=ROOT, check=True)
        assert out.read_bytes() == (DATA / "ps2.iso").read_bytes()


def test_mounted(installed: Path) -> None:
    said = inside(
        installed,
        "zsofs mount --demo demo; zsofs status --json >status; sha1sum demo/*.iso;"
        " mkdir zso; cp data/ziso-py.zso data/maxcso.dax zso; sleep 3; zsofs mount zso iso;"
        " cd iso; sha1sum *.iso; dd if=ziso-py.iso bs=1M status=none | cmp - ../data/ps2.iso;"
        " cd ..; zsofs umount iso; zsofs umount demo",
    )
    sums = [line.split()[0] for line in said.splitlines() if line.endswith(".iso")]
    assert len(set(sums[:3])) == 1
    assert sums[3:] == [MANIFEST[name]["sha1"] for name in ("maxcso.dax", "ziso-py.zso")]
    (one,) = json.loads((installed / "root/status").read_text())
    assert one["mount_point"] == "/root/demo"
