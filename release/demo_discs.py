"""The sample disc of ``zsofs mount --demo``: ``python -m release.demo_discs`` writes it again.

The files are kept in ``zsofs/cli/demo_discs``, so that zsofs needs no library for them at run time.
"""

import io
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from unittest import mock

import pycdlib

DISCS = Path(__file__).parent.parent / "zsofs/cli/demo_discs"

_SECTOR = 2048
_SERIAL = "SLUS_000.00"
_MADE = 1_767_225_600.0
"""The date of everything on the disc, in seconds since 1970: 2026-01-01, 0:00 UTC."""

_PACKED = {"Sample (LZ4).zso": "console", "Sample (Zstandard).zso": "mount"}
"""Files that ``zsofs pack`` writes, and the purpose (``--for``) of each."""

_CSO = "Sample (deflate).cso"


def main(target: Path = DISCS) -> None:
    """Write the packed files into the directory *target*, replacing those that are there."""
    image = make_image()
    with tempfile.TemporaryDirectory() as directory:
        plain = Path(directory, "Sample.iso")
        plain.write_bytes(image)
        for name, purpose in _PACKED.items():
            words = ("pack", "--quiet", "--force", "--for", purpose, "-o", target / name, plain)
            subprocess.run([sys.executable, "-m", "zsofs", *words], check=True)
    (target / _CSO).write_bytes(_cso(image))


def make_image() -> bytes:
    """Return an ISO 9660 image laid out like a PS2 disc: SYSTEM.CNF names the program to boot.

    It is the same for each call, whatever the time and the time zone.
    """
    readme = "A sample disc made by zsofs. There is no game on it.\r\n" * 400
    files = {
        "/SYSTEM.CNF;1": f"BOOT2 = cdrom0:\\{_SERIAL};1\r\nVER = 1.00\r\nVMODE = NTSC\r\n".encode(),
        f"/{_SERIAL};1": b"\x7fELF" + bytes(60_000),
        "/README.TXT;1": readme.encode(),
        "/DATA.BIN;1": b"".join(struct.pack("<I", n * n & 0xFFFFFFFF) for n in range(10_000)),
    }
    image = io.BytesIO()
    # pycdlib dates everything by these two.
    with (
        mock.patch("time.time", return_value=_MADE),
        mock.patch("time.localtime", side_effect=time.gmtime),
    ):
        disc = pycdlib.PyCdlib()
        disc.new(interchange_level=1, sys_ident="PLAYSTATION", vol_ident="ZSOFS_SAMPLE")
        for path, content in files.items():
            disc.add_fp(io.BytesIO(content), len(content), path)
        disc.write_fp(image)
        disc.close()
    return image.getvalue()


def _cso(image: bytes) -> bytes:
    """Return *image* as a CSO of version 1 (as ciso 1.02 writes it): deflate in blocks of 2 KiB."""
    blocks = [image[at : at + _SECTOR] for at in range(0, len(image), _SECTOR)]
    header = struct.pack("<4sIQIBBxx", b"CISO", 24, len(image), _SECTOR, 1, 0)
    offset = len(header) + 4 * (len(blocks) + 1)
    index, stored = [], []
    for block in blocks:
        packed = zlib.compress(block, 9, wbits=-15)
        is_shorter = len(packed) < len(block)
        stored.append(packed if is_shorter else block)
        index.append(offset if is_shorter else offset | 1 << 31)
        offset += len(stored[-1])
    index.append(offset)
    return b"".join((header, struct.pack(f"<{len(index)}I", *index), *stored))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
