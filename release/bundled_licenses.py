"""The licenses of all that the portable build contains, as files beside it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from release import environment

_DOCUMENTS = Path("/usr/share/doc")
_COMMON = Path("/usr/share/common-licenses")
_PYINSTALLER = "pyinstaller"


def write(tree: Path, packages: Path, builder: Path) -> None:
    """Write ``licenses/`` in *tree*.

    Args:
        tree: the portable build.
        packages: the Python packages in it, with what they say of their licenses.
        builder: the environment that made it; PyInstaller's first stage is part of the build.

    Raises:
        SystemExit: the license of a library is not known.
    """
    target = tree / "licenses"
    target.mkdir()
    (builder_packages,) = builder.glob("lib/python3*/site-packages")
    for name, license, texts in environment.licenses(packages):
        _write(target / f"{name.replace(' ', '-')}.txt", f"{name}: {license}", texts)
    for name, license, texts in environment.licenses(builder_packages):
        if name.startswith(f"{_PYINSTALLER} "):
            _write(target / f"{name.replace(' ', '-')}.txt", f"{name}: {license}", texts)
    mentioned = set()
    for package in debian_packages(tree):
        text = (_DOCUMENTS / package / "copyright").read_text(errors="replace")
        (target / f"debian-{package}.txt").write_text(text)
        mentioned |= set(re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", text))
    for name in sorted(mentioned):
        if (_COMMON / name).exists():
            shutil.copyfile(_COMMON / name, target / f"common-{name}.txt")


def _write(path: Path, title: str, texts: list[str]) -> None:
    path.write_text("\n\n".join([title, *(text.strip() for text in texts)]) + "\n")


def debian_packages(tree: Path) -> list[str]:
    """Return the Debian packages whose libraries and Python modules are in *tree*.

    Raises:
        SystemExit: a library is of no package.
    """
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = {minor}  # its modules written in Python are in the program itself
    for path in sorted((tree / "program/lib").glob("*.so*")):
        found.add(_owner(path.name))
    return sorted(found)


def _owner(library: str) -> str:
    """Return the Debian package of a shared library, found as the linker finds it."""
    said = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    for line in said.stdout.splitlines():
        if line.strip().startswith(f"{library} "):
            real = Path(line.rpartition(" => ")[2]).resolve()
            # Packages of Debian 12 name /lib, which is a link to /usr/lib.
            for path in (str(real), str(real).removeprefix("/usr")):
                done = subprocess.run(
                    ["dpkg-query", "-S", path], capture_output=True, text=True, check=False
                )
                if not done.returncode:
                    return done.stdout.partition(":")[0]
    raise SystemExit(f"zsofs: the license of {library} is not known: no package has this library")
