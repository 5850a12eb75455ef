"""Mutants of CHDs through the kernel, built with the address and undefined-behavior sanitizers.

    python -m tests.support.fuzz_chd --mutants 100000

It is not part of the tests: 100,000 mutants take some minutes. The kernel is built in a temporary
directory, without changing that of this tree. A finding ends the run with the report of the
sanitizer and the path of the mutant, which is kept.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.cd_library import ROOT
from tests.support.chd_writer import (
    NEXT_PARENT,
    NEXT_SELF,
    PARENT,
    PARENT_HERE,
    PLAIN,
    SAME_PARENT,
    SAME_SELF,
    SELF,
    Hunk,
    chd,
)

_CHDS = ROOT / "tests" / "data" / "chd"
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_BLOCKS = 6
"""Blocks of a mutant that are read one by one: a header can claim millions."""

_GENERATED = 150
"""Generated files that mutants are made of."""


def build(target: Path) -> None:
    """Build the package with sanitizers in *target*."""
    ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / "zsofs", target / "zsofs", ignore=ignored)
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for module in described["tool"]["setuptools"]["ext-modules"]:
        if not module["name"].startswith("zsofs.native."):
            continue
        (source,) = module["sources"]
        made = target / Path(source).with_suffix(".c")
        subprocess.run(
            [sys.executable, "-m", "cython", "-3", source, "-o", str(made)],
            cwd=target,
            check=True,
        )
        libraries = [f"-l{name}" for name in module.get("libraries", ())]
        command = [
            *("cc", "-shared", "-fPIC", "-g", "-O1", "-pthread", *_SANITIZERS),
            f"-I{sysconfig.get_path('include')}",
            f"-I{target / 'zsofs' / 'native'}",
            *(str(made), "-o", str(target / Path(source).with_suffix(suffix)), *libraries),
        ]
        subprocess.run(command, check=True)


def library(name: str) -> str:
    done = subprocess.run(
        ["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def generated(chance: random.Random) -> bytes:
    """A CHD whose map has the right checksum, and leads anywhere."""
    hunk_size = chance.choice((16, 512, 2048, 4096, 19584))
    unit_size = chance.choice((hunk_size, 1 if hunk_size < 2448 else hunk_size // 2))
    if hunk_size == 19584:
        unit_size = 2448
    hunks = []
    for _ in range(chance.choice((1, 3, 40, 300, 700))):
        kind = chance.choice(
            (0, 1, 2, PLAIN, SELF, SAME_SELF, NEXT_SELF, PARENT, PARENT_HERE, SAME_PARENT)
            + (NEXT_PARENT,)
        )
        data = chance.randbytes(16) * (hunk_size // 16)
        hunks.append(Hunk(kind, data, chance.choice((0, 1, 2, chance.randrange(1 << 24)))))
    return chd(
        hunks,
        hunk_size=hunk_size,
        unit_size=unit_size,
        codecs=[b"zlib", b"zstd", b"huff"],
        image=b"x",
        parent_sha1=chance.choice(("", PARENT_SHA1)),
        skewed=chance.random() < 0.5,
    )


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few changes: half of them in the header or the map, where each bit matters."""
    made = bytearray(data)
    map_at = int.from_bytes(data[40:48], "big")
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        where = chance.random()
        if where < 0.2:
            at = chance.randrange(min(124, len(made)))
        elif where < 0.5 and map_at < len(made):
            at = chance.randrange(map_at, min(map_at + 4096, len(made)))
        else:
            at = chance.randrange(len(made))
        change = chance.random()
        if change < 0.5:
            made[at] ^= 1 << chance.randrange(8)
        elif change < 0.7:
            made[at] = chance.randrange(256)
        elif change < 0.85:
            width = chance.choice((1, 2, 4))
            value = chance.choice(_EXTREMES) & ((1 << 8 * width) - 1)
            made[at : at + width] = value.to_bytes(width, "big")
        elif change < 0.95:
            length = chance.randrange(1, 64)
            source = chance.randrange(len(made))
            made[at : at + length] = made[source : source + length]
        else:
            del made[at + 1 :]
    return bytes(made)


def read_all(path: Path, chance: random.Random) -> None:
    """Read a mutant as the commands and a mount do."""
    from zsofs.discs.cd_image import as_bin
    from zsofs.errors import InputError, ZsofsError
    from zsofs.images.input_image import original
    from zsofs.native.block_reader import ASK
    from zsofs.native.chd_map import drop_idle_maps

    with suppress(InputError, ZsofsError, MemoryError), original(str(path)) as image:
        if image.geometry is None or image.reader is None:
            return
        for each in (image, image.as_hunks()) if image.geometry.chd else (image,):
            geometry, reader = each.geometry, each.reader
            assert geometry is not None
            assert reader is not None
            count = min(geometry.block_count, _BLOCKS)
            numbers = [*range(count), *(chance.randrange(max(geometry.block_count, 1)),)]
            for number in numbers[: geometry.block_count]:
                size = min(geometry.block_size, geometry.size - number * geometry.block_size)
                out = bytearray(size)
                with suppress(ZsofsError):
                    reader.read(each.source.fd, number, 1, out, chance.choice((ASK, 0)))
            with suppress(ZsofsError):
                each.read(0, min(each.size, 1 << 18))
            if chance.random() < 0.1:
                drop_idle_maps()
        if image.tracks:
            disc = as_bin(image)
            disc.read(0, min(disc.size, 1 << 17))


def run(folder: Path, mutants: int, seed: int) -> None:
    """Read so many mutants; called in the process with the sanitized kernel."""
    import zsofs.native.chd_map as kernel

    assert str(folder) in str(kernel.__file__)
    from zsofs.native.block_reader import start_helpers

    start_helpers()
    discs = folder / "discs"
    discs.mkdir()
    (discs / "parent.chd").write_bytes((_CHDS / "dvd-default.chd").read_bytes())
    files = [path.read_bytes() for path in sorted(_CHDS.glob("*.chd"))]
    for number in range(_GENERATED):
        files.append(generated(random.Random(f"{seed} generated {number}")))
        (discs / "mutant.chd").write_bytes(files[-1])
        read_all(discs / "mutant.chd", random.Random(number))
    path = discs / "mutant.chd"
    begin = time.monotonic()
    for number in range(mutants):
        chance = random.Random(f"{seed} {number}")
        path.unlink(missing_ok=True)  # ext4 takes 5 ms to replace the content of a file
        path.write_bytes(mutated(chance.choice(files), chance))
        read_all(path, chance)
        if number % 1000 == 999:
            took = time.monotonic() - begin
            print(f"{number + 1:,} of {mutants:,} mutants in {took:.0f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz_chd", description=__doc__, allow_abbrev=False)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None:
        run(chosen.folder, chosen.mutants, chosen.seed)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="fuzz-chd-"))
    build(folder)
    environment = os.environ | {
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that buffers of Python have borders as well
        "PYTHONPATH": f"{folder}:{ROOT}",
    }
    command = [sys.executable, "-P", "-m", "tests.support.fuzz_chd", "--in", str(folder)]
    command += ["--mutants", str(chosen.mutants), "--seed", str(chosen.seed)]
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    if done.returncode:
        print(f"finding: {folder / 'discs' / 'mutant.chd'}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print("nothing was found")
    return 0


PARENT_SHA1 = (_CHDS / "dvd-default.chd").read_bytes()[84:104].hex()

if __name__ == "__main__":
    sys.exit(main())
