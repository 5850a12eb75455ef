"""Walks without following symlinks, and paths that are resolved by hand."""

import os
from pathlib import Path

import pytest

from zsofs.system.nofollow import STEP, PathWalk, link_target, opened_below


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def resolved(path: str, links: dict[str, str], start: str = "/") -> tuple[str, bool, list[str]]:
    """The path that a walk ends at, whether that was reached as a parent, and all steps."""
    walk = PathWalk(start.encode(), path.encode())
    steps = []
    for step in walk:
        steps.append(step.decode())
        if (target := links.get(step.decode())) is None:
            walk.enter(step)
        elif not walk.follow(target.encode()):
            raise RecursionError(step)
    return walk.here.decode(), walk.is_parent, steps


@pytest.mark.parametrize(
    ("path", "links", "here", "is_parent"),
    [
        ("/a/b", {}, "/a/b", False),
        ("//a/./b/", {}, "/a/b", False),
        ("/a/../b", {}, "/b", False),
        ("/a/b/..", {}, "/a", True),
        ("/../..", {}, "/", True),
        ("/a/b", {"/a": "c/d"}, "/c/d/b", False),
        ("/a/b", {"/a": "/c"}, "/c/b", False),
        ("/a/b", {"/a/b": "../c"}, "/c", False),
        ("/a/b", {"/a/b": "/"}, "/", True),
        ("/a", {"/a": "."}, "/", False),
        ("/a", {"/a": "b", "/b": "c"}, "/c", False),
    ],
)
def test_where_a_path_leads(path: str, links: dict[str, str], here: str, is_parent: bool) -> None:
    assert resolved(path, links)[:2] == (here, is_parent)


def test_a_ring_of_symlinks_ends() -> None:
    with pytest.raises(RecursionError):
        resolved("/a", {"/a": "b", "/b": "a"})


def test_forty_symlinks_are_followed() -> None:
    links = {f"/{number}": str(number + 1) for number in range(40)}
    assert resolved("/0", links)[0] == "/40"


def test_what_was_not_resolved() -> None:
    walk = PathWalk(b"/", b"a//b/../c")
    for step in walk:
        assert walk.unresolved(step) == b"/a/b/../c"
        break


def test_a_symlink_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    before = descriptors()
    with pytest.raises(NotADirectoryError):
        opened_below(os.open(tmp_path, STEP), [b"link", b"below"])
    fd = opened_below(os.open(tmp_path, STEP), [b"link"])
    assert link_target(fd) == b"folder"
    os.close(fd)
    fd = opened_below(os.open(tmp_path, STEP), [b"folder", b"below"])
    assert link_target(fd) is None
    assert os.path.samestat(os.fstat(fd), (tmp_path / "folder" / "below").stat())
    os.close(fd)
    assert descriptors() == before


def test_a_walk_that_is_stopped_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    before, seen = descriptors(), []

    def stop(name: bytes, fd: int) -> None:
        seen.append((name, os.fstat(fd).st_ino))
        if name == b"b":
            raise PermissionError

    with pytest.raises(PermissionError):
        opened_below(os.open(tmp_path, STEP), [b"a", b"b", b"c"], stop)
    inodes = (tmp_path / "a").stat().st_ino, (tmp_path / "a" / "b").stat().st_ino
    assert seen == [(b"a", inodes[0]), (b"b", inodes[1])]
    assert descriptors() == before


def test_missing_directories_are_made(tmp_path: Path) -> None:
    os.close(opened_below(os.open(tmp_path, STEP), [b"a", b"b"], make=True))
    assert (tmp_path / "a" / "b").is_dir()
