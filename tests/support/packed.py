"""Packing and unpacking for tests: the real command, in a process of its own or in this one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.mounting import ZSOFS
from zsofs.images.input_image import original
from zsofs.images.open_image import DiscImage
from zsofs.images.probe import geometry_of, probe
from zsofs.images.source_file import OpenSource


def zsofs(
    *words: str | Path, code: int = 0, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run zsofs, in the environment *env* if it is given, and check its exit code."""
    done = subprocess.run(
        [*ZSOFS, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
        env=env,
        timeout=300,
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def reports(*words: str | Path, code: int = 0) -> list[dict[str, Any]]:
    """The objects that zsofs prints with ``--json``."""
    return [json.loads(line) for line in zsofs(*words, "--json", code=code).stdout.splitlines()]


def open_disc(path: Path) -> DiscImage:
    """A packed disc as a mount has it open, until it is closed."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    source = OpenSource.of(fd, os.fstat(fd))
    disc = probe(source)
    assert disc is not None
    return DiscImage(path.name, 1, source, geometry_of(source, disc))


def image_of(path: Path, *, as_it_is: bool = False) -> bytes:
    """The whole plain image in a file, decoded by the package."""
    with original(str(path), as_it_is=as_it_is) as image:
        out = bytearray(image.size)
        if out:
            image.read_into(0, memoryview(out))
        return bytes(out)


def left_in(folder: Path) -> list[str]:
    """Names of what was not finished in a folder."""
    return [path.name for ending in ("part", "replaced") for path in folder.rglob(f".*.{ending}")]


if __name__ == "__main__":
    sys.exit("this is for tests to import")
