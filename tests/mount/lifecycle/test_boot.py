"""A PC boots from the mounted disc: a whole machine with a real BIOS is the reader."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.boot_image import EXIT_CODE, EXIT_PORT, SECTOR, make_boot_image
from tests.support.mounting import Mount, mounted

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("boot")]  # they share a mount

PACKED: dict[str, writers.Writer] = {
    "ziso_py.zso": writers.ziso_py,
    "maxcso-16384.zso": partial(writers.maxcso_zso, block_size=16384, shift=1),
    "danixu-shifted.zso": partial(writers.danixu, shift=2),
    "zstd.zso": writers.zstd_ziso,
    "zsoz-65536.zso": partial(writers.zsoz, block_size=65536),
    "ciso_py.cso": writers.ciso_py,
    "maxcso-v2.cso": writers.maxcso_cso2,
    "maxcso.dax": writers.dax,
}


@dataclass
class Discs:
    """The bootable image in many containers, mounted, and what it is to say.

    Attributes:
        mount: of the folder with the containers.
        plain: the image as it is.
        line: what a right disc says.
    """

    mount: Mount
    plain: Path
    line: str


@pytest.fixture(scope="module")
def discs(module_path: Path) -> Iterator[Discs]:
    base = module_path
    source = base / "source"
    source.mkdir()
    image, sectors, expected = make_boot_image(base / "image", 6_000_000)
    (base / "plain.iso").write_bytes(image)
    for name, write in PACKED.items():
        (source / name).write_bytes(write(image))
    wrong = bytearray(image)
    wrong[sectors[40] * SECTOR + 1234] ^= 1
    (source / "wrong.zso").write_bytes(writers.ziso_py(bytes(wrong)))
    with mounted(source, base / "mnt") as mount:
        yield Discs(mount, base / "plain.iso", f"{expected:08x} zsofs boot ok")


def boot(disc: Path, cache: str = "writeback") -> str:
    """The line that a machine says when it has booted from *disc* and ended by itself."""
    machine_type = ("-machine", "pc", "-accel", "tcg", "-m", "64")
    bare = ("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
    ports = ("-serial", "stdio", "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1")
    drive = f"file={disc},format=raw,media=cdrom,readonly=on,cache={cache}"
    machine = subprocess.run(
        ["qemu-system-x86_64", *machine_type, *bare, *ports, "-boot", "d", "-drive", drive],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    assert machine.returncode == EXIT_CODE, (machine.stdout, machine.stderr)
    # Without a screen the BIOS may write to the serial port too.
    lines = re.findall(r"(?:[0-9a-f]{8} )?zsofs boot .*", machine.stdout)
    assert len(lines) == 1, machine.stdout
    return str(lines[0])


def test_the_plain_disc_boots(discs: Discs) -> None:
    assert boot(discs.plain) == discs.line


@pytest.mark.parametrize("name", PACKED)
def test_a_mounted_disc_boots(discs: Discs, name: str) -> None:
    assert boot(discs.mount.path / (Path(name).stem + ".iso")) == discs.line


@pytest.mark.parametrize("name", ["ziso_py.zso", "zstd.zso", "maxcso.dax"])
def test_a_mounted_disc_boots_by_direct_reads(discs: Discs, name: str) -> None:
    shown = discs.mount.path / (Path(name).stem + ".iso")
    assert boot(shown, cache="none") == discs.line


def test_a_disc_with_one_wrong_bit_is_told(discs: Discs) -> None:
    line = boot(discs.mount.path / "wrong.iso")
    assert line.endswith(" zsofs boot bad")
    assert line[:8] != discs.line[:8]
