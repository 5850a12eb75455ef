"""All that is released: ``./bootstrap.sh release`` makes it in ``dist/``, with checksums."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from release import compare, container, environment
from zsofs import __version__

_ROOT = Path(__file__).parent.parent
_DIST = _ROOT / "dist"
_NAME = f"zsofs-{__version__}"
_CHECKSUMS = "SHA256SUMS"


def main() -> int:
    """Build everything or some of it, once or twice; print the names with their sizes."""
    program = "./bootstrap.sh release"
    parser = argparse.ArgumentParser(program, description=main.__doc__, allow_abbrev=False)
    parser.add_argument(
        "--twice", action="store_true", help="build again, and report the files that differ"
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help=f"build only these, in this order: {', '.join(_STEPS)}; a wheel is made of the sdist",
    )
    arguments = parser.parse_args()
    for unknown in set(arguments.what) - set(_STEPS):
        parser.error(f"{unknown!r} is none of {', '.join(_STEPS)}")
    os.environ["SOURCE_DATE_EPOCH"] = str(environment.date())
    os.environ["PYTHONHASHSEED"] = "1"
    made = (_build_twice if arguments.twice else _build)(arguments.what)
    (_DIST / _CHECKSUMS).write_text("".join(f"{sum_}  {name}\n" for name, sum_ in made.items()))
    for name in (*made, _CHECKSUMS):
        print(f"{(_DIST / name).stat().st_size / 1e6:8.1f} MB  dist/{name}")
    return 0


def _build_twice(only: Sequence[str]) -> dict[str, str]:
    """Build again, report what differs, and return the checksums of the second build."""
    with tempfile.TemporaryDirectory(dir=_DIST.parent, prefix=".first-") as directory:
        first = _build(only)
        for name in first:
            shutil.move(_DIST / name, directory)
        again = _build(only)
        differing = sorted(name for name in first if first[name] != again.get(name))
        same = len(first) - len(differing)
        _say(f"{same} of {len(first)} files are the same when they are built again")
        for name in differing:
            _say(f"differs: {name}")
            for line in compare.differences(Path(directory) / name, _DIST / name):
                _say(f"  {line}")
    return again


def _build(only: Sequence[str]) -> dict[str, str]:
    """Build everything; return the SHA-256 of each file that was made, by its name.

    Args:
        only: names of the steps; all of them if it is empty.
    """
    _DIST.mkdir(exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in _DIST.iterdir()}
    steps = {name: step for name, step in _STEPS.items() if name in only or not only}
    if not only and (lacking := container.lacking()):
        _say(f"there is no container image: {lacking}")
        del steps["container"]
    for number, (what, make) in enumerate(steps.values(), 1):
        _say(f"step {number} of {len(steps)}: {what}")
        make()
    made = [path for path in sorted(_DIST.iterdir()) if before.get(path) != path.stat().st_mtime_ns]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}


def _say(text: str) -> None:
    print(f"zsofs: {text}", file=sys.stderr, flush=True)


def _module(name: str) -> None:
    _run(sys.executable, "-m", f"release.{name}")


def _run(*words: str | Path, **environment: str) -> None:
    """Run a command; its output is shown only if it fails.

    Args:
        words: the program and its arguments.
        environment: additional environment variables.

    Raises:
        SystemExit: it fails.
    """
    done = subprocess.run(
        words,
        cwd=_ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}zsofs: the release could not be built; see above")


def _sdist() -> None:
    """Build it, and pack it again with the date of the sources: setuptools writes that of today."""
    _module("sdist")
    target = _DIST / f"{_NAME}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="zsofs-sdist-") as directory:
        _run("tar", "-xf", target, "-C", directory)
        _pack(Path(directory) / _NAME, target)


def _pack(tree: Path, target: Path) -> None:
    date = f"--mtime=@{os.environ['SOURCE_DATE_EPOCH']}"
    same = ("--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu", date)
    modes = "--mode=u+rwX,go+rX,go-w"
    program = "gzip -9n" if target.suffix == ".gz" else "xz -9e -T1"
    _run("tar", f"--use-compress-program={program}", *same, modes, "-cf", target,
         "-C", tree.parent, tree.name)  # fmt: skip


def _wheel() -> None:
    """Build it from the source distribution, whose man pages it has.

    Debug information and build IDs would name the directory in which it is built.
    """
    flags = {"CFLAGS": "-g0", "LDFLAGS": "-Wl,--strip-all,--build-id=none"}
    with tempfile.TemporaryDirectory(prefix="zsofs-wheel-") as directory:
        _run("tar", "-xf", _DIST / f"{_NAME}.tar.gz", "-C", directory)
        _run(
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--outdir",
            _DIST,
            Path(directory) / _NAME,
            **flags,
        )


def _documentation() -> None:
    with tempfile.TemporaryDirectory(prefix="zsofs-docs-") as directory:
        tree = Path(directory) / f"{_NAME}-docs"
        doctrees = Path(directory) / "doctrees"
        _run(sys.executable, "-m", "sphinx", "-W", "-q", "-d", doctrees, _ROOT / "docs", tree)
        (tree / ".buildinfo").unlink(missing_ok=True)
        _pack(tree, _DIST / f"{tree.name}.tar.xz")


def _changes() -> None:
    """Write the section of CHANGELOG.md for this version.

    Raises:
        SystemExit: there is none.
    """
    text = (_ROOT / "CHANGELOG.md").read_text()
    pattern = rf"^## {re.escape(__version__)}\b.*\n((?:(?!## ).*\n?)*)"
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"zsofs: CHANGELOG.md has no section for version {__version__}")
    (_DIST / f"{_NAME}-changes.md").write_text(found[0].strip() + "\n")


_STEPS: dict[str, tuple[str, Callable[[], object]]] = {
    "sdist": ("the source distribution", _sdist),
    "wheel": ("the wheel", _wheel),
    "deb": ("the Debian package", lambda: _module("deb")),
    "portable": ("the portable build", lambda: _module("portable")),
    "docs": ("the documentation", _documentation),
    "changes": ("the changes of this version", _changes),
    "container": ("the container image", lambda: _module("container")),
}


if __name__ == "__main__":
    raise SystemExit(main())
