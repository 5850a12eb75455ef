"""What opening a disc that a scan has found reads of its file."""

import os
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from tests.support import writers
from zsofs.images.content_check import ContentCheck
from zsofs.images.probe import probe
from zsofs.images.source_file import OpenSource
from zsofs.source.shown_part import open_content
from zsofs.system.file_watch import FileWatch

_BLOCKS = 20_000
"""Their index is longer than what is read with the header."""


class Source(OpenSource):
    """A source file whose reads are listed."""

    reads: ClassVar[list[tuple[int, int]]] = []

    def read_at(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return super().read_at(offset, size)


def test_one_place_of_a_disc_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Game.zso"
    path.write_bytes(writers.ziso_py(bytes(2048 * _BLOCKS)))
    fd = os.open(path, os.O_RDONLY)
    status = os.fstat(fd)
    source = Source.of(fd, status)
    disc = probe(source)
    assert disc is not None
    Source.reads.clear()
    watch = FileWatch(status.st_ctime_ns, None, alone=False, dated=True)
    check = ContentCheck(fd, status, watch, lambda: None)
    with closing(open_content("Game.zso", 1, source, disc, None, check)) as content:
        assert content.size == 2048 * _BLOCKS
        assert Source.reads == [(0, 64 << 10)]
