"""The order of the rooms: import-linter's contracts in pyproject.toml, and what it cannot see."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "zsofs"
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
ONLY_IN = {
    "inotify_simple": {"system/file_watch.py", "system/inotify.py"},
    "tqdm": {"console/progress_bars.py"},
}

ONLY_THERE = {
    r'b"CD001"|\\x01CD001': {"discs/iso9660.py"},
    r"<4sIQIBB": {"formats/ciso_header.py", "cli/demo.py"},
    r"& 0x7FFFFFFF|& ~_FLAG": {"formats/ciso_header.py", "native/encoder.pyx", "native/fetch.pyx"},
    r"SYS_renameat2": {"native/fileio.pyx"},
    r'\\xff" \* 10': {"images/probe.py"},
    r"path\.samefile\(": {"system/same_file.py", "pack/input_files.py"},
}
"""What is written once: a pattern, and the modules that may have it. Native code repeats what the
index entries mean, because it decodes them without the GIL."""

MODULE_LINES, FUNCTION_LINES, CLASS_FIELDS = 400, 60, 12
"""The most of each: what a reader can keep in mind at once."""

LARGER = {
    "native/block_reader.pyx": "one read without the GIL: its C functions are static, and inlined",
    "native/chd_map.pyx": "one bit stream to entries: its C functions are static, and inlined",
    "native/codecs.pyx": "one block to its bytes, by any codec: in the same way",
    "timings.py:Timings": "one table of all waits, so that each can be found and set for a test",
    "watch/state_file.py:WatchStatus": "one object of `zsofs status --json`, field by field",
}
"""What is larger all the same, and why. An entry that is no longer needed fails the test."""


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package in *root* against the contracts."""
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def order() -> list[str]:
    """The rooms, from the lowest, as the contract lists them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    return [name.removeprefix("zsofs.") for name in reversed(layers)]


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name without `zsofs.`."""
    paths = [path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyx")]
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in paths
        if path.stem != "__init__"
    }


@cache
def imported(path: Path) -> set[str]:
    """The names of modules of zsofs that a module imports, without `zsofs.`."""
    if path.suffix == ".pyx":
        return set(re.findall(r"^\s*from zsofs\.([\w.]+) c?import", path.read_text(), re.MULTILINE))
    known = modules()
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zsofs."):
            base = (node.module or "").removeprefix("zsofs.")
            below = {f"{base}.{alias.name}" for alias in node.names} & known.keys()
            found |= below or {base}
    return found


def test_a_room_imports_only_rooms_below_it() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 6 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("formats/ziso.py", "import zsofs.vfs.node", "A room imports only rooms below it"),
        ("vfs/node.py", "import pyfuse3", "pyfuse3 in fuse/ and mount/lifecycle"),
        ("source/tree.py", "import trio", "No trio where calls may wait for a disk"),
        ("cli/demo.py", "import sqlite3", "sqlite3 in the store and the scan cache"),
    ],
)
def test_an_import_against_the_order_is_found(
    tmp_path: Path, module: str, line: str, contract: str
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "zsofs", ignore=shutil.ignore_patterns("*.so", "*.c"))
    path = tmp_path / "zsofs" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout
    assert f"{contract} BROKEN" in done.stdout


def test_cython_modules_keep_to_the_order() -> None:
    """import-linter does not read them."""
    rooms = order()
    for name, path in modules().items():
        if path.suffix == ".pyx":
            for other in imported(path):
                assert rooms.index(other.split(".")[0]) <= rooms.index(name.split(".")[0]), name


def test_every_room_is_in_the_order() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} | {
        "errors",
        "timings",
    } == set(order())


def test_architecture_shows_the_rooms_in_their_order() -> None:
    picture = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    rooms = [line.split()[0].removesuffix(".py") for line in picture.strip().splitlines()]
    assert rooms == order()[::-1]


def test_rooms_import_only_the_public_face_of_others() -> None:
    """The face of a room is `__all__` of its `__init__`, and is no larger than what others use."""
    used: dict[str, set[str]] = {}
    for name, path in modules().items():
        for other in imported(path):
            room, _, module = other.rpartition(".")
            if room and room != name.rpartition(".")[0]:
                used.setdefault(room, set()).add(module)
    for path in ROOMS:
        tree = ast.parse((path / "__init__.py").read_text())
        faces = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        room = ".".join(path.relative_to(PACKAGE).parts)
        assert ast.get_docstring(tree), room
        assert faces == [sorted(used.get(room, ()))], room


def test_some_packages_are_used_in_one_place() -> None:
    for name, path in modules().items():
        for package in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE):
            if package in ONLY_IN:
                assert str(path.relative_to(PACKAGE)) in ONLY_IN[package], name


def test_some_facts_are_written_in_one_place() -> None:
    for path in modules().values():
        for pattern, places in ONLY_THERE.items():
            if re.search(pattern, path.read_text()):
                assert str(path.relative_to(PACKAGE)) in places, (path, pattern)


def fields(node: ast.ClassDef) -> set[str]:
    """The names that a class declares in its body, or that its methods set on `self`."""
    declared = {
        one.target.id
        for one in node.body
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and "ClassVar" not in ast.unparse(one.annotation)
    }
    return declared | {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and isinstance(one.value, ast.Name)
        and one.value.id == "self"
    }


def oversized(name: str, text: str) -> Iterator[str]:
    """What is too large in a module: its name, or that of a class or function in it."""
    if text.count("\n") > MODULE_LINES:
        yield name
    for node in ast.walk(ast.parse(text)) if name.endswith(".py") else ():
        if isinstance(node, ast.ClassDef) and len(fields(node)) > CLASS_FIELDS:
            yield f"{name}:{node.name}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{name}:{node.name}"


def test_modules_classes_and_functions_are_small() -> None:
    found = {
        one
        for path in PACKAGE.rglob("*.py*")
        if path.suffix in (".py", ".pyx")
        for one in oversized(str(path.relative_to(PACKAGE)), path.read_text())
    }
    assert found - LARGER.keys() == set()
    assert LARGER.keys() - found == set(), "no longer needed"


def test_what_is_too_large_is_found() -> None:
    many = "".join(f"        self.x{number} = self.y = 1\n" for number in range(CLASS_FIELDS))
    lines = "    pass\n" * FUNCTION_LINES
    text = f"class A:\n    def f(self):\n{many}\nasync def g():\n{lines}"
    assert list(oversized("a.py", text)) == ["a.py:A", "a.py:g"]
    assert (
        list(oversized("a.py", text.replace("self.y", "other.y").replace(lines, lines[9:]))) == []
    )
    assert list(oversized("a.pyx", "\n" * (MODULE_LINES + 1))) == ["a.pyx"]
