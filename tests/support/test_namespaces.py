"""Namespaces of tests hold no mounts of other tests, which would not end."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]

EXEMPT = {
    "mount/following/test_following.py",  # in a user namespace, where nothing can be unmounted
}


def own_mounts(path: Path) -> Iterator[int]:
    """Lines with a command line of `unshare` that copies the table of mounts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple):
            words = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            if words[:1] == ["unshare"] and {"-m", "--mount"} & set(words):
                yield node.lineno


def lets_go(path: Path) -> int:
    """How often a module uses LET_GO."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return sum(isinstance(node, ast.Name) and node.id == "LET_GO" for node in nodes)


def test_namespaces_let_go_of_the_mounts_of_other_tests() -> None:
    held = []
    for path in sorted(TESTS.rglob("*.py")):
        name = str(path.relative_to(TESTS))
        lines = list(own_mounts(path))
        if name not in EXEMPT and lines and not lets_go(path):
            held.append(f"{name}:{lines[0]}")
    assert held == []
