"""Faults while something is changed through the mount: each costs one call, and loses nothing."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.reading.test_faults import (
    FAULTY,
    Faults,
    faults,
    force_getattr,
    some_errors,
    wait_for_fault,
)
from tests.support.faulty import ERRORS, WRITABLE_HANDLERS
from tests.support.mounting import wait_until

__all__ = ["faults"]  # a fixture

TEXT = b"as it was" * 1000


def with_open(flags: int, act: Callable[[int], object]) -> Callable[[Path], None]:
    """Open the file and act on it; closing it is no part of the test."""

    def provoke(folder: Path) -> None:
        fd = os.open(folder / "file", flags)
        try:
            act(fd)
        finally:
            with suppress(OSError):
                os.close(fd)

    return provoke


def provoke_create(folder: Path) -> None:
    os.close(os.open(folder / "new", os.O_CREAT | os.O_WRONLY))


def provoke_flush(folder: Path) -> None:
    os.close(os.open(folder / "file", os.O_WRONLY))


def provoke_release(folder: Path) -> None:
    os.close(os.open(folder / "file", os.O_RDONLY))


def provoke_fsyncdir(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


CASES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "getattr": (force_getattr, ("Inodes.node", "Inodes.may_change", "Appearance.attributes")),
    "setattr": (
        lambda folder: os.chmod(folder / "file", 0o600),
        ("Inodes.node", "SourceWriter.set_attributes", "Inodes.take_status", "PlainView.outdate"),
    ),
    "create": (
        provoke_create,
        ("Inodes.folder", "PlainView.place", "WorkerThreads.run", "SourceWriter.create",
         "Inodes.put", "PlainView.did", "Inodes.remember", "Appearance.attributes"),
    ),
    "mknod": (
        lambda folder: os.mknod(folder / "new", stat.S_IFREG | 0o600),
        ("SourceWriter.create", "Inodes.put", "LiveFile.close"),
    ),
    "mkdir": (
        lambda folder: os.mkdir(folder / "new"),
        ("Inodes.folder", "SourceWriter.make_folder", "Inodes.put", "PlainView.did"),
    ),
    "symlink": (lambda folder: os.symlink("x", folder / "new"), ()),
    "link": (lambda folder: os.link(folder / "file", folder / "new"), ()),
    "unlink": (
        lambda folder: os.unlink(folder / "file"),
        ("Inodes.folder", "SourceWriter.remove_file", "Inodes.remove", "PlainView.did"),
    ),
    "rmdir": (
        lambda folder: os.rmdir(folder / "inner"),
        ("SourceWriter.remove_folder", "Inodes.remove", "PlainView.did"),
    ),
    "rename": (
        lambda folder: os.rename(folder / "file", folder / "new"),
        ("Inodes.folder", "SourceWriter.rename", "Inodes.move", "PlainView.did"),
    ),
    "open": (
        provoke_flush,
        ("Inodes.node", "SourceWriter.open", "Inodes.take_status"),
    ),
    "read": (with_open(os.O_RDONLY, lambda fd: os.pread(fd, 100, 0)), ("LiveFile.read_now",)),
    "write": (
        with_open(os.O_WRONLY, lambda fd: os.pwrite(fd, b"new", 0)),
        ("LiveFile.write", "WorkerThreads.run", "Inodes.take_status", "PlainView.outdate"),
    ),
    "flush": (provoke_flush, ("LiveFile.flush", "WorkerThreads.run")),
    "fsync": (with_open(os.O_WRONLY, os.fsync), ("LiveFile.sync", "WorkerThreads.run")),
    "fsyncdir": (provoke_fsyncdir, ("SourceWriter.sync_folder", "Listings.folder")),
    "release": (provoke_release, ("LiveFile.close", "WorkerThreads.run")),
}  # fmt: skip
UNANSWERED = ("release",)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def are_alike(one: Path, other: Path) -> bool:
    with suppress(OSError):  # a listing may be older than what it lists
        return contents(one) == contents(other)
    return False


def test_all_handlers_are_provoked() -> None:
    assert set(CASES) == set(WRITABLE_HANDLERS)


@pytest.mark.parametrize("handler", [name for name, (_, targets) in CASES.items() if targets])
def test_a_fault_costs_one_call(
    source: Path, mount: MountMaker, faults: Faults, handler: str
) -> None:
    provoke, targets = CASES[handler]
    cases = [(target, error) for n, target in enumerate(targets) for error in some_errors(n)]
    for number in range(len(cases)):
        folder = source / f"case{number}"
        (folder / "inner").mkdir(parents=True)
        (folder / "file").write_bytes(TEXT)
    made = mount(source, "--writable", command=FAULTY)
    for number, (target, error) in enumerate(cases):
        folder, real = made.path / f"case{number}", source / f"case{number}"
        assert contents(folder) == {"inner": None, "file": TEXT}
        with faults.on(handler, target, error) as fault:
            if handler in UNANSWERED:
                provoke(folder)
                wait_for_fault(faults, fault)
            else:
                with pytest.raises(OSError) as caught:
                    provoke(folder)
                assert caught.value.errno == ERRORS[error][1], fault
                assert fault in faults.done()
        assert made.is_alive(), fault
        # Nothing is lost, and what the mount shows is what is there.
        wait_until(lambda: are_alike(folder, real), fault)  # noqa: B023
        if handler not in ("unlink", "rename", "write"):
            assert (real / "file").read_bytes() == TEXT
        (folder / "after").write_bytes(b"after")
        assert (real / "after").read_bytes() == b"after"
