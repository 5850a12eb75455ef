"""The portable build: ``./bootstrap.sh portable`` makes it in ``dist/``.

It is a directory with Python and all libraries but glibc, made by PyInstaller. It runs where glibc
is as new as on the system that builds: Debian 12.
"""

import gzip
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from release import bundled_licenses, completion, environment, man_pages, reduced_libarchive
from release.deb import guide
from zsofs import __version__

_FILES = Path(__file__).parent / "portable_files"
_ROOT = Path(__file__).parent.parent
_OLDEST_GLIBC = (2, 36)
"""That of Debian 12; programs that are built with a newer one do not start there."""

_PROGRAM = Path("program/zsofs")
"""What PyInstaller makes; ``zsofs`` beside its directory is a script that checks glibc first."""

_SCRIPTS = {"launch.sh": "zsofs", "install.sh": "install.sh", "uninstall.sh": "uninstall.sh"}
"""The scripts, with their names in the build."""

# What Python's own modules import in case it is wanted, and zsofs never does.
_EXCLUDED = (
    "tkinter", "unittest", "pydoc", "doctest", "pdb", "lib2to3", "distutils", "setuptools", "pip",
    "curses", "readline",
    "zstandard._cffi", "zstandard.backend_cffi",
)  # fmt: skip


def main() -> int:
    """Make the archive and the self-extracting one; prints where they are."""
    os.umask(0o022)
    _check_system()
    dated = environment.date()
    os.environ.update(SOURCE_DATE_EPOCH=str(dated), PYTHONHASHSEED="1")
    machine = platform.machine()
    name = f"zsofs-{__version__}-{machine}"
    targets = [_ROOT / "dist" / f"{name}{ending}" for ending in (".tar.xz", ".run")]
    targets[0].parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="zsofs-portable-") as directory:
        scratch = Path(directory)
        packages = environment.build(scratch / "stage", Path("/usr/lib/zsofs"))
        tree = _freeze(scratch, packages)
        shutil.rmtree(scratch / "stage/usr/lib/zsofs/bin")
        bundled_licenses.write(tree, packages, scratch / "builder")
        _add_documents(tree)
        _add_scripts(tree, machine, dated)
        tree = tree.rename(scratch / name)
        _set_modes(tree, dated)
        _archive(tree, targets[0], dated)
        self_extracting(tree, targets[1], dated)
        print(f"unpacked: {_megabytes(tree):.1f} MB", file=sys.stderr)
    for target in targets:
        print(target)
        print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    print(f"Install it with: sh {targets[1]}", file=sys.stderr)
    return 0


def _check_system() -> None:
    """Check that what is built here runs on all systems that are supported.

    Raises:
        SystemExit: the C library of this system is too new.
    """
    found = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    if tuple(map(int, re.findall(r"\d+", found))) != _OLDEST_GLIBC:
        needed = ".".join(map(str, _OLDEST_GLIBC))
        raise SystemExit(
            f"zsofs: the portable build is made on Debian 12, with glibc {needed}; this system has"
            f" {found or 'another C library'}; run ./bootstrap.sh portable in a Debian 12, for"
            " example one that debootstrap makes"
        )


def _freeze(scratch: Path, packages: Path) -> Path:
    """Make one directory of zsofs, Python and the libraries; return it.

    Args:
        scratch: an empty directory for what this needs.
        packages: the packages of zsofs, built.
    """
    python = _builder(scratch)
    modules = [*_modules(packages, "zsofs"), *_modules(packages, "pyfuse3"), *_imported(packages)]
    data = [*_data(packages), *packages.glob("pyfuse3-*.dist-info/METADATA")]  # its version
    words: list[str | Path] = [
        *("--onedir", "--name", _PROGRAM.name, "--contents-directory", "lib", "--strip", "--noupx"),
        *("--noconfirm", "--log-level", "WARN", "--paths", packages),
        *("--distpath", scratch / "frozen", "--workpath", scratch / "work"),
        *("--specpath", scratch, "--add-binary", f"{reduced_libarchive.link(scratch)}:."),
        *(word for module in modules for word in ("--hidden-import", module)),
        *(word for path in data for word in ("--add-data", _place(path, packages))),
        *(word for module in _EXCLUDED for word in ("--exclude-module", module)),
    ]
    # Not -I, which ignores PYTHONHASHSEED: the order of base_library.zip is that of a set.
    os.environ.pop("PYTHONPATH", None)
    _run(python, "-P", "-s", "-m", "PyInstaller", *words, _FILES / "start.py")
    tree = scratch / "tree"
    tree.mkdir()
    return (scratch / "frozen" / _PROGRAM.name).rename(tree / _PROGRAM.parent).parent


def _builder(scratch: Path) -> Path:
    """Make an environment with PyInstaller and nothing else; return its Python."""
    place = scratch / "builder"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    _run(f"/usr/bin/python{version}", "-I", "-m", "venv", "--without-pip", place)
    python = place / "bin" / "python"
    pip = (sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--python", python)
    _run(*pip, "install", "--quiet", "--group", f"{_ROOT / 'pyproject.toml'}:portable")
    return python


def _modules(packages: Path, name: str) -> Iterator[str]:
    """Yield the modules of a package: PyInstaller does not see what compiled ones import."""
    for path in sorted((packages / name).rglob("*")):
        module = path.name.partition(".")[0]
        if path.suffix not in (".py", ".so") or "-" in module:
            continue
        words = [*path.relative_to(packages).parent.parts, module]
        yield ".".join(words[:-1] if module in ("__init__", "__main__") else words)


def _data(packages: Path) -> Iterator[Path]:
    """Yield the files of zsofs that are not modules: units, discs of the demo, the web page."""
    for path in sorted((packages / "zsofs").rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".so") and path.name != "py.typed":
            yield path


def _place(path: Path, packages: Path) -> str:
    return f"{path}:{path.parent.relative_to(packages)}"


def _imported(packages: Path) -> Iterator[str]:
    """Yield the modules that a mount imports, found by importing its program."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        " import zsofs.mount.server, zsofs.cli.dispatch, zsofs.web.command;"
        " print(*sorted(sys.modules))"
    )
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    said = _run(python, "-I", "-S", "-B", "-c", code, packages)
    yield from (name for name in said.split() if name != "__main__" and "zsofs" not in name)


def _add_documents(tree: Path) -> None:
    share = tree / "share"
    for name, page in man_pages.pages().items():
        _write(share / f"man/man{name[-1]}/{name}.gz", gzip.compress(page.encode(), 9, mtime=0))
    for name, script in completion.SCRIPTS.items():
        place = name.removeprefix("usr/share/").replace("vendor-completions", "site-functions")
        _write(share / place, script().encode())
    for path in guide():
        _write(tree / "doc" / path.name, path.read_bytes())
    shutil.copy(_ROOT / "LICENSE", tree / "LICENSE")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _add_scripts(tree: Path, machine: str, dated: int) -> None:
    glibc = ".".join(map(str, needed_glibc(tree)))
    build = f"{__version__}-{time.strftime('%Y%m%d%H%M%S', time.gmtime(dated))}"
    known = {"BUILD": build, "GLIBC": glibc, "MACHINE": machine, "SIZE": f"{_megabytes(tree):.0f}"}
    for source, name in _SCRIPTS.items():
        text = (_FILES / source).read_text()
        for key, value in known.items():
            text = text.replace(f"@{key}@", value)
        (tree / name).write_text(text)


def needed_glibc(tree: Path) -> tuple[int, ...]:
    """Return the newest version of glibc that a program or library in *tree* asks for."""
    pattern = re.compile(rb"\bGLIBC_(\d+(?:\.\d+)+)\b")
    found = {match for path in binaries(tree) for match in pattern.findall(path.read_bytes())}
    return max(tuple(map(int, version.split(b"."))) for version in found)


def binaries(tree: Path) -> Iterator[Path]:
    """Yield the programs and libraries in *tree*."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _set_modes(tree: Path, dated: int) -> None:
    programs = {tree / _PROGRAM, *(tree / name for name in _SCRIPTS.values())}
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path in programs
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (dated, dated), follow_symlinks=False)


def _archive(tree: Path, target: Path, dated: int) -> None:
    words = ("--sort=name", "--owner=0", "--group=0", "--numeric-owner", f"--mtime=@{dated}")
    os.environ["XZ_OPT"] = "-9e -T1"  # the same bytes on any number of cores
    unfinished = target.with_name(target.name + ".new")
    _run("tar", "--xz", *words, "-cf", unfinished, "-C", tree.parent, tree.name)
    unfinished.replace(target)


def self_extracting(tree: Path, target: Path, dated: int) -> None:
    """Make the program that unpacks the tree and installs it.

    It is started with ``sh``, because the directory for temporary files may be mounted noexec;
    it is compressed with gzip, because a small system may have no xz.
    """
    unfinished = target.with_name(target.name + ".new")
    packed = f"--sort=name --owner=0 --group=0 --numeric-owner --mtime=@{dated}"
    packaged = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(dated))
    made = tree.with_name(target.name)
    # Names without directories, because makeself writes its command into the file. It gives gzip
    # the level as `-c9n`: without `n`, gzip writes the time.
    _run(
        *("makeself", "--quiet", "--gzip", "--complevel", "9n", "--nox11", "--noprogress"),
        *("--sha256", "--tar-quietly", "--tar-extra", packed, "--packaging-date", packaged),
        *(tree.name, made.name, f"zsofs {__version__}", "sh", "./install.sh"),
        directory=tree.parent,
    )
    shutil.move(made, unfinished)
    unfinished.chmod(0o755)
    unfinished.replace(target)


def _megabytes(tree: Path) -> float:
    return sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file()) / 1e6


def _run(*words: str | Path, directory: Path | None = None) -> str:
    """Return what a command prints; its messages are shown only if it fails.

    Raises:
        SystemExit: it fails.
    """
    done = subprocess.run(
        [str(word) for word in words],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}zsofs: {words[0]} failed; see above")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
