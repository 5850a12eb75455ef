"""How the parents of CHDs are found, and what stays open for them."""

import gc
import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.chd_writer import PARENT_HERE, PLAIN, Hunk, chd
from tests.support.packed import open_disc
from zsofs.errors import InputError
from zsofs.images.input_image import original
from zsofs.reading.descriptor_budget import DescriptorBudget

_DATA = random.Random(3).randbytes(8 * 2048)


class _Opens:
    """The names that this process opens while it counts; an audit hook cannot be removed."""

    def __init__(self) -> None:
        self.names: list[str] | None = None
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[object, ...]) -> None:
        if self.names is not None and event == "open":
            self.names.append(str(args[0]))

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        names: list[str] = []
        self.names = names
        try:
            yield names
        finally:
            self.names = None


_OPENS = _Opens()


def parent(data: bytes = _DATA) -> bytes:
    hunks = [Hunk(PLAIN, data[at : at + 2048]) for at in range(0, len(data), 2048)]
    return chd(hunks, hunk_size=2048, unit_size=2048, codecs=[b"zlib"], image=data)


def child(of: bytes, number: int = 0) -> bytes:
    """A child that has its last hunk for itself."""
    own = number.to_bytes(4, "big") * 512
    return chd(
        [Hunk(PARENT_HERE)] * 7 + [Hunk(PLAIN, own)],
        hunk_size=2048,
        unit_size=2048,
        codecs=[b"zlib"],
        image=_DATA[:-2048] + own,
        parent_sha1=of[84:104].hex(),
    )


def settle() -> None:
    """Wait until a change sets other times than those of now."""
    time.sleep(0.05)


def descriptors() -> int:
    gc.collect()  # what earlier tests have left in exceptions
    return len(os.listdir("/proc/self/fd"))


def test_the_headers_of_a_directory_are_read_once(tmp_path: Path) -> None:
    """Not once for each child: 2,000 children took more than a minute."""
    first = parent()
    (tmp_path / "parent.chd").write_bytes(first)
    for number in range(60):
        (tmp_path / f"child{number}.chd").write_bytes(child(first, number))
    settle()
    with _OPENS.counted() as names:
        for number in range(60):
            with original(str(tmp_path / f"child{number}.chd")) as image:
                assert image.read(0, 2048) == _DATA[:2048]
    headers = [name for name in names if name.startswith("child")]
    assert len(headers) == 60  # their own are opened by their paths
    assert sum(name == "parent.chd" for name in names) <= 2 * 60 + 1


def test_children_without_their_parent_read_no_header_again(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"child{number}.chd").write_bytes(child(parent(), number))
    settle()
    with _OPENS.counted() as names:
        for number in range(60):
            with (
                pytest.raises(InputError, match="it needs its parent"),
                original(str(tmp_path / f"child{number}.chd")),
            ):
                pass
    assert sum(name.startswith("child") for name in names) == 60


@pytest.mark.parametrize("in_place", [False, True])
def test_a_parent_that_arrives_is_found(tmp_path: Path, in_place: bool) -> None:
    """Also if it has the name of a file that was there, and was read."""
    first = parent()
    (tmp_path / "child.chd").write_bytes(child(first))
    if in_place:
        (tmp_path / "parent.chd").write_bytes(parent(_DATA[::-1]))
    settle()
    for _ in range(2):
        with (
            pytest.raises(InputError, match="it needs its parent"),
            original(str(tmp_path / "child.chd")),
        ):
            pass
    settle()
    with (tmp_path / "parent.chd").open("r+b" if in_place else "wb") as file:
        file.write(first)
    settle()
    with original(str(tmp_path / "child.chd")) as image:
        assert image.read(0, 14336) == _DATA[:14336]


def test_a_parent_that_was_replaced_is_not_used(tmp_path: Path) -> None:
    first = parent()
    (tmp_path / "child.chd").write_bytes(child(first))
    (tmp_path / "parent.chd").write_bytes(first)
    settle()
    with original(str(tmp_path / "child.chd")):
        pass
    (tmp_path / "parent.chd").write_bytes(parent(_DATA[::-1]))
    with (
        pytest.raises(InputError, match="it needs its parent"),
        original(str(tmp_path / "child.chd")),
    ):
        pass
    (tmp_path / "other.chd").write_bytes(first)
    with original(str(tmp_path / "child.chd")) as image:
        assert image.read(0, 2048) == _DATA[:2048]


def chain(folder: Path, length: int) -> Path:
    """A child with so many parents in a row."""
    data = parent()
    (folder / "0.chd").write_bytes(data)
    for number in range(1, length + 1):
        data = child(data, number)
        (folder / f"{number}.chd").write_bytes(data)
    return folder / f"{length}.chd"


def test_parents_are_closed_with_the_content(tmp_path: Path) -> None:
    """And not when its memory is freed, which may be on the event loop."""
    path = chain(tmp_path, 3)
    before = descriptors()
    disc = open_disc(path)
    assert disc.descriptors == 4
    assert descriptors() == before + 4
    disc.close()
    assert descriptors() == before


def test_parents_count_as_open_files(tmp_path: Path) -> None:
    path = chain(tmp_path, 9)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (90, allowed[1]))
    try:
        budget = DescriptorBudget()  # 45
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    before = descriptors()
    discs = [budget.open(open_disc, path) for _ in range(4)]
    with pytest.raises(OSError, match="41 discs are open"):
        budget.open(open_disc, path)
    assert descriptors() == before + 40
    budget.close(discs.pop())
    discs.append(budget.open(open_disc, path))
    for disc in discs:
        budget.close(disc)
    assert descriptors() == before
