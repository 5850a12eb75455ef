"""Changes of the change time of open files that no file watch explains."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zsofs.errors import SourceTouchedError
from zsofs.images.content_check import ContentCheck
from zsofs.system.file_watch import FileWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Game.zso"
    path.write_bytes(b"disc")
    return path


@pytest.fixture
def check(file: Path) -> Iterator[ContentCheck]:
    """The check of a file that cannot be watched, as on a network share."""
    fd = os.open(file, os.O_RDONLY)
    status = os.fstat(fd)
    watch = FileWatch(status.st_ctime_ns, None, alone=False, dated=True)
    yield ContentCheck(fd, status, watch, lambda: None)
    os.close(fd)


def renamed(file: Path, name: str) -> Path:
    time.sleep(0.05)  # a change time of its own, which is settled soon
    new = file.rename(file.with_name(name))
    time.sleep(0.05)
    return new


def verdicts(check: ContentCheck, *reads: SourceTouchedError) -> list[bool | None]:
    """Judge reads that were in progress at once: all are judged before the first is explained."""
    asked = [(check.verdict(touched), check.known) for touched in reads]
    return [
        check.is_explained(touched, known) if verdict is None else verdict
        for touched, (verdict, known) in zip(reads, asked, strict=True)
    ]


def test_reads_at_once_are_all_explained_by_one_rename(file: Path, check: ContentCheck) -> None:
    renamed(file, "Other.zso")
    assert verdicts(check, check.look(), check.look()) == [True, True]
    assert verdicts(check, check.look()) == [True]


def test_a_rename_while_an_earlier_one_is_explained(file: Path, check: ContentCheck) -> None:
    other = renamed(file, "Other.zso")
    before = check.look()
    renamed(other, "Third.zso")
    assert verdicts(check, before) == [True]
    assert verdicts(check, check.look()) == [True]


def test_a_name_that_is_set_after_the_change_time(
    file: Path, check: ContentCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(0.05)
    os.chmod(file, file.stat().st_mode)  # sets the change time alone
    monkeypatch.setattr(time, "sleep", lambda _: file.rename(file.with_name("Other.zso")))
    assert verdicts(check, check.look()) == [True]


def test_a_write_is_not_explained(file: Path, check: ContentCheck) -> None:
    before = file.stat()
    time.sleep(0.05)
    file.write_bytes(b"DISC")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verdicts(check, check.look(), check.look()) == [False, False]
