"""The process that decodes archives, with RARs made by RAR itself."""

import os
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.archives import RAR_DATA, archive
from zsofs.archives.decoder import decoder
from zsofs.archives.kinds import HEAD, kind_of
from zsofs.errors import DamagedError, ZsofsError

TEXT = 0xC5B7E6A2
"""CRC-32 of stest1.txt."""

BIG, SMALL = (205000, 0x509AD74C), (2050, 0xD08A1F86)


def files_in(*paths: Path, next_name: str = "") -> dict[str, tuple[int, int] | str]:
    """Size and CRC-32 of the files in an archive, or why they cannot be read."""
    found: dict[str, tuple[int, int] | str] = {}
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open("rb")) for path in paths]
        fds = [file.fileno() for file in opened]
        kind = kind_of(os.pread(fds[0], HEAD, 0))
        assert kind is not None
        sizes = [os.fstat(fd).st_size for fd in fds]
        source = stack.enter_context(decoder(kind, fds, sizes, next_name))
        for member in source.members():
            name = os.fsdecode(member.name)
            if member.problem:
                found[name] = member.problem
                continue
            source.take()
            content = bytearray(member.head)
            piece = bytearray(1000)
            while count := source.read_into(memoryview(piece)):
                content += piece[:count]
                if count < len(piece):
                    break
            found[name] = len(content), zlib.crc32(content)
    return found


@pytest.mark.parametrize(
    "parts",
    [
        ("rar3-old.rar", "rar3-old.r00", "rar3-old.r01"),
        ("rar5-vols.part1.rar", "rar5-vols.part2.rar", "rar5-vols.part3.rar"),
    ],
)
def test_volumes(parts: tuple[str, ...]) -> None:
    paths = [RAR_DATA / name for name in parts]
    assert files_in(*paths) == {"vols/bigfile.txt": BIG, "vols/smallfile.txt": SMALL}
    with pytest.raises(DamagedError, match=r"x\.rar is missing: its last volume says"):
        files_in(*paths[:2], next_name="x.rar")


@pytest.mark.parametrize("name", ["rar5-crc", "rar5-blake", "rar5-solid"])
def test_rar_5(name: str) -> None:
    found = files_in(RAR_DATA / f"{name}.rar")
    assert set(found.values()) == {(2048, TEXT)}


def test_names_and_directories() -> None:
    for name in ("rar3-subdirs.rar", "rar5-subdirs.rar"):
        assert files_in(RAR_DATA / name) == {
            "sub/dir1/file1.txt": (6, 0xE229F704),
            "sub/dir2/file2.txt": (6, 0xC904A4C7),
            "sub/with space/long fn.txt": (8, 0x71B7247D),
            "sub/üȵĩöḋè/file.txt": (5, 0x2FEC89C1),
        }


def test_links_are_not_followed() -> None:
    link = "it is a link or a special file, not a file"
    found = files_in(RAR_DATA / "rar3-symlink-unix.rar")
    assert (found["data_link"], found["random_link"]) == (link, link)
    found = files_in(RAR_DATA / "rar5-hlink.rar")
    assert found["stest1.txt"] == (2048, TEXT)
    assert found["stest2.txt"] == link


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("rar3-solid", "it is a solid archive of RAR 3 or 4"),
        ("rar3-comment-psw", "it is encrypted"),
        ("rar3-comment-hpsw", "its list of files is encrypted"),
        ("rar15-comment", r"it is packed as RAR 1\.5 did"),
        ("rar2-unix-owner", r"it is packed as RAR 2\.0 did"),
        ("rar5-psw", "it is encrypted"),
        ("rar5-hpsw", "its list of files is encrypted"),
    ],
)
def test_what_is_not_read(name: str, why: str) -> None:
    with pytest.raises(ZsofsError, match=f"^{why}.*extract it"):
        files_in(RAR_DATA / f"{name}.rar")


@pytest.mark.parametrize("name", ["rar3-old", "rar5-blake", "rar5-crc"])
def test_a_flipped_byte_of_a_rar(tmp_path: Path, name: str) -> None:
    """libarchive does not compare the checksum of what is stored."""
    rest = [RAR_DATA / f"rar3-old.r0{number}" for number in (0, 1)] if name == "rar3-old" else []
    good = (RAR_DATA / f"{name}.rar").read_bytes()
    for at in (len(good) // 3, len(good) // 2):
        (tmp_path / "x.rar").write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(DamagedError):
            files_in(tmp_path / "x.rar", *rest)


def test_the_process_can_write_no_file_and_ends_with_its_reader(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", "stored.zip", {"Big": os.urandom(8 << 20)})
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD))
        assert kind is not None
        with decoder(kind, [file.fileno()], [path.stat().st_size], "") as source:
            next(source.members())
            pid = source._process.pid
            limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
            size, memory = (
                next(line for line in limits if line.startswith(start)).split()
                for start in ("Max file size", "Max address space")
            )
            assert size[3] == "0"
            assert int(memory[3]) == 256 << 20
    assert not Path(f"/proc/{pid}").exists()
