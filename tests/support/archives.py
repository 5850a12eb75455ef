"""Archives for tests, made by the real programs; RARs, which no free program makes, by models."""

import struct
import subprocess
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

RAR_DATA = Path(__file__).parent.parent / "data" / "rar"
"""Files of the test suite of rarfile, whose license is beside them."""


def run(*words: str | Path, cwd: Path) -> None:
    subprocess.run(list(map(str, words)), cwd=cwd, check=True, capture_output=True, timeout=120)


def _put(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return list(files)


def _with(*words: str) -> Callable[[Path, Path, list[str]], None]:
    def make(archive: Path, folder: Path, names: list[str]) -> None:
        run(*words, archive, *names, cwd=folder)

    return make


def _tar(flag: str) -> Callable[[Path, Path, list[str]], None]:
    def make(archive: Path, folder: Path, names: list[str]) -> None:
        run("tar", f"-c{flag}f", archive, *names, cwd=folder)

    return make


MAKERS: dict[str, Callable[[Path, Path, list[str]], None]] = {
    "7z": _with("7z", "a", "-bd", "-t7z"),
    "stored.7z": _with("7z", "a", "-bd", "-t7z", "-mx0"),
    "ppmd.7z": _with("7z", "a", "-bd", "-t7z", "-m0=ppmd"),
    "bzip2.7z": _with("7z", "a", "-bd", "-t7z", "-m0=bzip2"),
    "deflate.7z": _with("7z", "a", "-bd", "-t7z", "-m0=deflate"),
    "delta.7z": _with("7z", "a", "-bd", "-t7z", "-m0=delta:4", "-m1=lzma"),
    "zip": _with("zip", "-q"),
    "stored.zip": _with("zip", "-q", "-0"),
    "lzma.zip": _with("7z", "a", "-bd", "-tzip", "-mm=lzma"),
    "tar": _tar(""),
    "tar.gz": _tar("z"),
    "tar.xz": _tar("J"),
    "tar.bz2": _tar("j"),
    "tar.zst": _with("tar", "--zstd", "-cf"),
}

STREAMS: dict[str, tuple[str, ...]] = {
    "gz": ("gzip",),
    "bz2": ("bzip2",),
    "xz": ("xz",),
    "zst": ("zstd", "-q", "--rm"),
}


def archive(target: Path, way: str, files: Mapping[str, bytes]) -> Path:
    """Make an archive of files, which are written to a directory beside it first."""
    if way in RARS:
        target.write_bytes(RARS[way](files))
        return target
    folder = target.parent / f"files of {target.name}"
    folder.mkdir()
    MAKERS[way](target, folder, _put(folder, files))
    run("rm", "-r", folder, cwd=target.parent)
    return target


def compressed(folder: Path, name: str, way: str, content: bytes) -> Path:
    """Make a compressed file beside where its content was."""
    (folder / name).write_bytes(content)
    run(*STREAMS[way], name, cwd=folder)
    return folder / f"{name}.{way}"


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _block_5(*fields: int | bytes) -> bytes:
    data = b"".join(_number(one) if isinstance(one, int) else one for one in fields)
    data = _number(len(data)) + data
    return struct.pack("<I", zlib.crc32(data)) + data


def rar5(files: Mapping[str, bytes]) -> bytes:
    """A RAR 5 archive of stored files."""
    out = b"Rar!\x1a\x07\x01\x00" + _block_5(1, 0, 0)
    for name, content in files.items():
        crc = struct.pack("<I", zlib.crc32(content))
        text = name.encode()
        out += _block_5(2, 2, len(content), 4, len(content), 0o100644, crc, 0, 1, len(text), text)
        out += content
    return out + _block_5(5, 0, 0)


def _block_3(kind: int, flags: int, fields: bytes) -> bytes:
    data = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(data) & 0xFFFF) + data


def rar3(files: Mapping[str, bytes], *, version: int = 20) -> bytes:
    """A RAR archive of stored files, as RAR 3 and 4 make it."""
    out = b"Rar!\x1a\x07\x00" + _block_3(0x73, 0, bytes(6))
    for name, content in files.items():
        fields = struct.pack(
            "<IIBIIBBHI",
            len(content),
            len(content),
            3,
            zlib.crc32(content),
            0x5A000000,
            version,
            0x30,
            len(name.encode()),
            0o100644,
        )
        out += _block_3(0x74, 0x8000, fields + name.encode()) + content
    return out + _block_3(0x7B, 0x4000, b"")


RARS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {"rar3": rar3, "rar5": rar5}
"""Further ways for :func:`archive`."""
