"""`./bootstrap.sh release --twice` names what differs in an archive."""

import io
import tarfile
import zipfile
from pathlib import Path

from release.compare import differences


def tar(path: Path, members: dict[str, bytes], mode: int = 0o644) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, content in members.items():
            item = tarfile.TarInfo(name)
            item.size, item.mode = len(content), mode
            archive.addfile(item, io.BytesIO(content))
    return path


def wheel(path: Path, content: str, day: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("zsofs/a.py", (2026, 1, day, 0, 0, 0)), content)
    return path


def test_archives_that_differ(tmp_path: Path) -> None:
    first = tar(tmp_path / "1.tar.xz", {"same": b"1", "content": b"1", "gone": b""})
    second = tar(tmp_path / "2.tar.xz", {"same": b"1", "content": b"2", "new": b""})
    assert differences(first, second) == [
        "content: other content",
        "gone: only in the first build",
        "new: only in the second build",
    ]


def test_attributes_and_order(tmp_path: Path) -> None:
    first = tar(tmp_path / "1.tar.xz", {"a": b"", "b": b""})
    (line, _) = differences(first, tar(tmp_path / "2.tar.xz", {"a": b"", "b": b""}, 0o600))
    owner = "owner 0:0, time 0"
    assert line == f"a: other attributes: mode 644, {owner}, then mode 600, {owner}"
    assert differences(first, tar(tmp_path / "3.tar.xz", {"b": b"", "a": b""})) == [
        "its files are the same; their order or compression differs"
    ]
    assert differences(first, tar(tmp_path / "4.tar.xz", {"a": b"", "b": b""})) == []


def test_wheels_and_other_files(tmp_path: Path) -> None:
    first = wheel(tmp_path / "1.whl", "a", 1)
    assert differences(first, wheel(tmp_path / "2.whl", "b", 1)) == ["zsofs/a.py: other content"]
    (line,) = differences(first, wheel(tmp_path / "3.whl", "a", 2))
    assert line.startswith("zsofs/a.py: other attributes: mode ")
    for name in ("1.run", "2.run"):
        (tmp_path / name).write_text(name)
    assert differences(tmp_path / "1.run", tmp_path / "2.run") == ["content: other content"]
