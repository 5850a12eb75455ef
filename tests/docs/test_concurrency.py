"""docs/dev/concurrency.md names what exists: tests, classes, functions, modules without await.

Everything between backticks is the name of a test, a file, a class, one of its members, or an entry
of :data:`WORDS`.
"""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "zsofs"
DOCUMENT = ROOT / "docs" / "dev" / "concurrency.md"
WORDS = {"await", "list", "trio.Lock"}


def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def named(text: str) -> list[str]:
    """What stands between backticks, outside of the picture."""
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def members(kind: ast.ClassDef) -> set[str]:
    """Methods, properties and attributes of a class."""
    found: set[str] = set()
    for node in ast.walk(kind):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def classes() -> dict[str, set[str]]:
    """The members of each class of zsofs; those of native code count as named in their modules."""
    found: dict[str, set[str]] = {}
    for path in (PACKAGE).rglob("*.py"):
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(members(node))
    for path in (PACKAGE).rglob("*.pyx"):
        for name in re.findall(r"^cdef class (\w+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, set())
    return found


def written_tests() -> Counter[str]:
    """How many tests there are of each name."""
    return Counter(
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_everything_that_is_named_is_there() -> None:
    known, written = classes(), written_tests()
    wrong = []
    for name in named(DOCUMENT.read_text()):
        kind, _, member = name.partition(".")
        is_there = (
            name in WORDS
            or written[name] == 1
            or (name.endswith(".py") and any((top / name).exists() for top in (ROOT, PACKAGE)))
            or (kind in known and (not member or member in known[kind]))
        )
        if not is_there:
            wrong.append(name)
    assert wrong == []


def test_every_claim_names_a_test() -> None:
    text = DOCUMENT.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "held by |" not in line]
    steps = re.findall(r"^\d\. \*\*.*?(?=^\d\. |\Z)", text, re.MULTILINE | re.DOTALL)
    journals = re.findall(r"^\*\*.*?(?=^$)", text, re.MULTILINE | re.DOTALL)
    assert len(rows) > 30
    assert len(steps) == 9
    assert len(journals) == 2
    assert [claim for claim in (*rows, *steps, *journals) if "`test_" not in claim] == []


def test_modules_that_are_said_to_have_no_await_have_none() -> None:
    found = re.findall(
        r"^No function in these modules.*?(?=^$)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    modules = [name for name in named(found[0]) if name.endswith(".py")]
    assert len(modules) > 10
    kinds = ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith
    waiting = [
        name for name in modules for node in nodes(PACKAGE / name) if isinstance(node, kinds)
    ]
    assert waiting == []


def test_it_stays_one_page() -> None:
    assert len(DOCUMENT.read_text().splitlines()) <= 200
