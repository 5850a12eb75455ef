"""What differs in two builds of the same archive: ``./bootstrap.sh release --twice`` reports it."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import IO

_LENGTH = 1 << 20
"""Bytes that are read at once."""


def differences(first: Path, second: Path) -> list[str]:
    """Return how the contents of two archives differ, a line for each file in them.

    Args:
        first: a ``.tar.*``, ``.deb``, ``.whl`` or other file.
        second: the same file, built again.
    """
    before, after = _members(first), _members(second)
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            lines.append(f"{name}: only in the first build")
        elif name not in before:
            lines.append(f"{name}: only in the second build")
        elif before[name] != after[name]:
            lines.append(f"{name}: {_how(before[name], after[name])}")
    if not lines and first.read_bytes() != second.read_bytes():
        lines.append("its files are the same; their order or compression differs")
    return lines


def _how(before: tuple[str, str], after: tuple[str, str]) -> str:
    if before[0] != after[0]:
        return "other content"
    return f"other attributes: {before[1]}, then {after[1]}"


def _members(path: Path) -> dict[str, tuple[str, str]]:
    """Return the checksum and the attributes of each file in an archive, by name."""
    if path.suffix == ".whl":
        return _of_zip(path)
    if path.suffix == ".deb":
        words = ["dpkg-deb", "--fsys-tarfile", str(path)]
        unpacked = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=300).stdout
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            return _of_tar(archive)
    if ".tar" in path.suffixes:
        with tarfile.open(path) as archive:
            return _of_tar(archive)
    with path.open("rb") as file:
        return {"content": (_sum(file), "")}


def _of_zip(path: Path) -> dict[str, tuple[str, str]]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            with archive.open(item) as file:
                dated = "-".join(map(str, item.date_time))
                found[item.filename] = _sum(file), f"mode {item.external_attr >> 16:o}, {dated}"
    return found


def _of_tar(archive: tarfile.TarFile) -> dict[str, tuple[str, str]]:
    found = {}
    for item in archive:
        file = archive.extractfile(item) if item.isreg() else None
        attributes = f"mode {item.mode:o}, owner {item.uid}:{item.gid}, time {item.mtime:.0f}"
        found[item.name] = _sum(file) if file else item.linkname, attributes
    return found


def _sum(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    while part := file.read(_LENGTH):
        found.update(part)
    return found.hexdigest()
