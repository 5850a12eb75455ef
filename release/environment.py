"""A Python environment with zsofs and all that it uses, for one directory of the target system."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "zsofs")
# What nothing uses at run time: the sources of the kernel, tests, and what pip notes for itself
# (with paths of the building machine in it).
_USELESS = (
    "zsofs/*/*.pyx", "zsofs/*/*.pxd", "zsofs/*/*.pyi", "zsofs/*/*.h", "trio/_tests", "attr/*.pyi",
    "attrs/*.pyi", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json", "tqdm/completion.sh", "tqdm/tqdm.1",
)  # fmt: skip
_START = """\
#!{python} -I
from zsofs.cli.main import main

raise SystemExit(main())
"""


def date() -> int:
    """Return when the sources were last changed, in seconds; now, if nothing says so."""
    said = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, check=False
    )
    return int(os.environ.get("SOURCE_DATE_EPOCH") or said.stdout or time.time())


def build(stage: Path, place: Path) -> Path:
    """Make the environment.

    It is of the system's own Python, which must be there on the target in the same minor version.

    Args:
        stage: the directory that stands for ``/`` of the target.
        place: where the environment will be, as in ``/usr/lib/zsofs``.

    Returns:
        The directory in *stage* that has the packages.
    """
    inside = stage / place.relative_to("/")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = inside / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    (inside / "bin").mkdir()
    # What venv would make, without the paths of this machine.
    (inside / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    )
    (inside / "bin" / "python3").symlink_to(f"../../../bin/python{version}")
    _install(packages)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for pattern in _USELESS:
        for path in packages.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for cache in packages.rglob("__pycache__"):
        shutil.rmtree(cache)
    for library in packages.rglob("*.so*"):
        subprocess.run(["strip", "--strip-unneeded", library], check=True)
    start = inside / "bin" / "zsofs"
    start.write_text(_START.format(python=place / "bin" / "python3"))
    start.chmod(0o755)
    return packages


def _install(packages: Path) -> None:
    """Build zsofs from a copy, as the build leaves files beside the sources."""
    source = packages / "source"
    source.mkdir()
    for name in _SOURCES:
        origin = ROOT / name
        if origin.is_dir():
            built = shutil.ignore_patterns("*.c", "*.so", "__pycache__")
            shutil.copytree(origin, source / name, ignore=built)
        elif origin.exists():
            shutil.copy(origin, source / name)
    # The system's Python, as what it builds has to fit that of the target.
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    pip = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--python", python]
    options = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    # Debug information has the directory of the build, and the linker's build ID is made from it.
    options["CFLAGS"] = f"{os.environ.get('CFLAGS', '')} -g0"
    done = subprocess.run(
        [*pip, "install", "--no-compile", "--target", packages, f"{source}[web]"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | options,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nzsofs: the environment could not be built; see above")
    shutil.rmtree(source)


def licenses(packages: Path) -> list[tuple[str, str, list[str]]]:
    """What is in an environment beside zsofs, and its licenses; sorted.

    Returns:
        For each package its name with the version, the name of its license, and the texts that
        come with it.
    """
    found = []
    for package in importlib.metadata.distributions(path=[str(packages)]):
        if package.name == "zsofs":
            continue
        data = package.metadata.json
        kinds = [
            line.rpartition(" :: ")[2] for line in data.get("classifier", ()) if "License" in line
        ]
        license = data.get("license_expression") or data.get("license") or ", ".join(kinds)
        name = package.name.replace("-", "_")
        (information,) = packages.glob(f"{name}-{package.version}.dist-info")
        texts = [
            path.read_text()
            for path in sorted(information.rglob("*"))
            if path.is_file() and path.name.upper().startswith(("LICEN", "COPYING"))
        ]
        found.append(
            (
                f"{package.name} {package.version}",
                str(license or "see below").partition("\n")[0],
                texts,
            )
        )
    return sorted(found)
