"""A small sample disc, for those who have no game at hand: an ISO 9660 image, packed three ways."""

import io
import os
import shlex
import shutil
import struct
import zlib
from collections.abc import Callable

import lz4.block
import pycdlib
import zstandard

_SECTOR = 2048
_SERIAL = "SLUS_000.00"

_PROGRAMS = ("7z", "7zz", "isoinfo")
"""What may be there to look into a disc image, the best first."""

_ARGUMENTS = {"isoinfo": "-l -i"}


def default_mount_point() -> str:
    """Return where the sample disc is mounted if no mount point is given."""
    return os.path.expanduser("~/zsofs-demo")


def what_to_try(point: str) -> str:
    """Return commands to try on the mount at *point*, of programs that are installed."""
    point = shlex.quote(point)
    lines = [
        "",
        "Three copies of one small disc, packed as LZ4 ZSO, Zstandard ZSO and CSO. Try:",
        f"  ls -l {point}",
        f"  sha1sum {point}/*.iso",
    ]
    program = next((name for name in _PROGRAMS if shutil.which(name)), None)
    if program is not None:
        lines.append(f'  {program} {_ARGUMENTS.get(program, "l")} {point}/"Sample (LZ4).iso"')
    return "\n".join([*lines, ""])


def fill_demo_folder(folder: str) -> None:
    """Make the sample disc and put the three packed copies into *folder*."""
    os.chmod(folder, 0o755)  # as the mount shows it, so that --allow-other means something
    image = _make_image()
    lz4_block = _plain_if_no_shorter(
        lambda block: bytes(lz4.block.compress(block, mode="high_compression", store_size=False))
    )
    zstd_block = _plain_if_no_shorter(zstandard.ZstdCompressor(level=9).compress)
    deflate_block = _plain_if_no_shorter(lambda block: zlib.compress(block, 9, wbits=-15))
    for name, magic, pack in (
        ("Sample (LZ4).zso", b"ZISO", lz4_block),
        ("Sample (Zstandard).zso", b"ZISO", zstd_block),
        ("Sample (deflate).cso", b"CISO", deflate_block),
    ):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(_container(magic, image, pack))


def _make_image() -> bytes:
    """A valid ISO 9660 image laid out like a PS2 disc: SYSTEM.CNF names the program to boot."""
    readme = "A sample disc made by zsofs. There is no game on it.\r\n" * 400
    files = {
        "/SYSTEM.CNF;1": f"BOOT2 = cdrom0:\\{_SERIAL};1\r\nVER = 1.00\r\nVMODE = NTSC\r\n".encode(),
        f"/{_SERIAL};1": b"\x7fELF" + bytes(60_000),
        "/README.TXT;1": readme.encode(),
        "/DATA.BIN;1": b"".join(struct.pack("<I", n * n & 0xFFFFFFFF) for n in range(60_000)),
    }
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=1, sys_ident="PLAYSTATION", vol_ident="ZSOFS_SAMPLE")
    for path, content in files.items():
        disc.add_fp(io.BytesIO(content), len(content), path)
    image = io.BytesIO()
    disc.write_fp(image)
    disc.close()
    return image.getvalue()


def _plain_if_no_shorter(
    compress: Callable[[bytes], bytes],
) -> Callable[[bytes], tuple[bytes, bool]]:
    """*compress* as a function that says whether it packed the block or left it plain."""

    def pack(block: bytes) -> tuple[bytes, bool]:
        packed = compress(block)
        return (packed, True) if len(packed) < len(block) else (block, False)

    return pack


def _container(magic: bytes, image: bytes, pack: Callable[[bytes], tuple[bytes, bool]]) -> bytes:
    """*image* as a ZISO or CISO file of 2 KiB blocks without alignment."""
    blocks = [pack(image[at : at + _SECTOR]) for at in range(0, len(image), _SECTOR)]
    header = struct.pack("<4sIQIBBxx", magic, 24, len(image), _SECTOR, 1, 0)
    offset = len(header) + 4 * (len(blocks) + 1)
    index = []
    for stored, is_packed in blocks:
        index.append(offset if is_packed else offset | 1 << 31)
        offset += len(stored)
    index.append(offset)
    return b"".join((header, struct.pack(f"<{len(index)}I", *index), *(b[0] for b in blocks)))
