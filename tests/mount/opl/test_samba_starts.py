"""Boot traces through Samba: OPL reads 8 KiB at a time through one handle of the server.

They run with --system.
"""

import functools
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import writers
from tests.support.hanging import hanging_disk
from tests.support.mounting import Mount, mounted, opened, status_of, timed, wait_until
from tests.support.packed import zsofs
from tests.support.samba import SHARE, documented, serving
from tests.support.smb1 import Console

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("samba")]

USER = "games"
_READ = 8 << 10
_SIZE = 32 << 20
_FILES = [place * (256 << 10) for place in random.Random(2).sample(range(_SIZE >> 18), 100)]
_FILE = 64 << 10


@functools.cache
def _image() -> bytes:
    return writers.half_noise(_SIZE)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of the share can reach."""
    with tempfile.TemporaryDirectory(prefix="zsofs-samba-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def started(console: Console, path: str) -> None:
    handle = console.open_in_game(path)
    for place in _FILES:
        for offset in range(place, place + _FILE, _READ):
            assert console.read(handle, offset, _READ) == _image()[offset : offset + _READ]
    console.close_file(handle)


def preloaded(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = status_of(mount)["preload"]
    return found


def test_the_second_start_of_a_console_is_read_ahead(
    as_root: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    source = folder / "source"
    (source / "DVD").mkdir(parents=True)
    image = source / "DVD" / "SLUS_200.01.Game.iso"
    image.write_bytes(_image())
    zsofs("pack", "--any", "--for", "opl", image)
    image.unlink()
    command = timed(trace_check=0.05, trace_length=0.1, disc_idle=1.0)
    options = ("--allow-other", "--uid", USER, "--gid", USER, "--umask", "022")
    with (
        # Of which nobody can say what is in memory: it may have to be read.
        hanging_disk(source, folder / "disk") as disk,
        mounted(disk.path, folder / "mount", *options, command=command) as mount,
    ):
        shown = mount.path / "DVD" / image.name
        wait_until(shown.exists, "the disc to be complete")
        configuration = documented(mount.path, USER)
        with serving(folder / "samba", configuration) as samba, Console(samba.port) as console:
            console.connect(SHARE)
            started(console, f"\\DVD\\{image.name}")
            wait_until(lambda: preloaded(mount)["stored_starts"] >= 1, "the start to be stored")
            time.sleep(1.5)  # the console is off for so long
            with opened(shown) as fd:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            started(console, f"\\DVD\\{image.name}")
            found = preloaded(mount)
            assert found["followed_starts"] >= 1
            assert found["fetched_bytes"] > 0
            assert found["wasted_bytes"] <= 0.2 * found["fetched_bytes"]
