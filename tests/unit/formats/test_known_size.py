"""A disc whose index a scan has checked is opened without reading the end of the index again."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support import writers
from zsofs.errors import DamagedError
from zsofs.formats.containers import identify

WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "ziso.py": writers.ziso_py,
    "maxcso zso": writers.maxcso_zso,
    "zstd": writers.zstd_ziso,
    "zlib": writers.zlib_zso,
    "cso": writers.maxcso_cso1,
    "cso2": writers.maxcso_cso2,
    "danixu": writers.danixu,
    "ciso.py": writers.ciso_py,
    "dax": writers.dax,
    "zsoz": writers.zsoz,
}

_BLOCKS = 5000
"""So many that the end of the index is not in what the header is read with."""


class Source:
    """A file that says what was read of it."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.furthest = 0
        self._data = data

    def read_at(self, offset: int, size: int) -> bytes:
        found = self._data[offset : offset + size]
        self.furthest = max(self.furthest, offset + len(found))
        return found


@pytest.mark.parametrize("rest", [0, 1, 700])
@pytest.mark.parametrize("name", WRITERS)
def test_it_has_the_same_geometry(name: str, rest: int) -> None:
    image = bytes(_BLOCKS * 2048 + rest)
    data = WRITERS[name](image)
    scanned = identify(Source(data))
    assert scanned is not None
    source = Source(data)
    assert identify(source, scanned.size) == scanned
    if name != "zsoz":  # its last block ends exactly where the index says
        assert source.furthest <= 4096


def test_the_seal_is_not_read_again() -> None:
    data = writers.zsoz(bytes(_BLOCKS * 2048))
    scanned = identify(Source(data + b"any other data"))
    assert scanned is not None
    source = Source(data + b"any other data")
    found = identify(source, scanned.size)
    assert found is not None
    assert replace(found, remarks=scanned.remarks) == scanned
    assert source.furthest <= 24 + 4 * (_BLOCKS + 1)


def test_a_file_shorter_than_its_index_is_damaged_nevertheless() -> None:
    data = writers.ziso_py(bytes(_BLOCKS * 2048))
    with pytest.raises(DamagedError, match="its index alone needs"):
        identify(Source(data[: 4 * _BLOCKS]), _BLOCKS * 2048)
