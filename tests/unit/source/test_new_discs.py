"""Files that clients write, when the disk reports errors."""

import os
from pathlib import Path

import pytest

from zsofs.source import writer
from zsofs.source.live_file import TimedStat, seen
from zsofs.source.new_discs import NewDiscs
from zsofs.source.ownership import NewOwner
from zsofs.source.tree import Place, SourceTree


def test_a_failed_creation_leaves_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the file, or a later disc with its inode number, would be the client's for ever."""
    new_discs = NewDiscs(enabled=True)
    files = writer.SourceWriter(SourceTree(os.fsencode(tmp_path)), new_discs)

    def failing(file: int | str) -> TimedStat:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "seen", failing)
        with pytest.raises(OSError, match="Input/output"):
            files.create(Place(b"", b"Game.iso"), os.O_WRONLY, 0o644, NewOwner(None, None))
    path = str(tmp_path / "Game.iso")
    file = new_discs.find(seen(path))
    assert file is not None
    assert not file.is_used
    os.chmod(path, 0o600)  # something else changes it: it is protected
    assert new_discs.find(seen(path)) is None


def test_an_earlier_change_whose_end_is_noted_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows an older change time: the file would look as if others had changed it since."""
    path = tmp_path / "Game.iso"
    path.touch()
    new_discs = NewDiscs(enabled=True)
    fd = os.open(path, os.O_RDONLY)
    file = new_discs.opened(fd, b"Game.iso", is_new=True)
    assert file is not None
    stat = os.stat

    def stat_before_a_change(link: str) -> os.stat_result:
        monkeypatch.setattr(os, "stat", stat)
        before = os.stat(link)
        with new_discs.changing(fd):
            while os.fstat(fd).st_ctime_ns == before.st_ctime_ns:  # the clock of files is coarse
                path.chmod(0o600)
        return before

    monkeypatch.setattr(os, "stat", stat_before_a_change)
    file.settle(fd)
    assert new_discs.find(seen(fd)) is file
    os.close(fd)
