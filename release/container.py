"""The container image: ``./bootstrap.sh container`` makes it of the portable build in ``dist/``."""

import gzip
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release import environment
from zsofs import __version__

_ROOT = Path(__file__).parent.parent
_ENGINES = ("podman", "buildah", "docker")


def engine() -> str | None:
    """Return the program that builds images here and works, or None."""
    for name in _ENGINES:
        if shutil.which(name):
            done = subprocess.run([name, "info"], capture_output=True, check=False)
            if not done.returncode:
                return name
    return None


def lacking() -> str | None:
    """Return why no image can be built here, or None."""
    program = engine()
    if program is None:
        return f"none of {', '.join(_ENGINES)} works here"
    base = _base()
    for words in ((program, "inspect", "--type", "image", base), (program, "pull", base)):
        if not subprocess.run(words, capture_output=True, check=False).returncode:
            return None
    return f"{program} cannot pull {base}; the environment variable BASE names another base image"


def _base() -> str:
    """Return the base image: that of the Containerfile, unless ``BASE`` names another one."""
    found = re.search(r"^ARG BASE=(\S+)$", (_ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert found is not None
    return os.environ.get("BASE") or found[1]


def main() -> int:
    """Build the image with the first engine found; print the archive that has it.

    The environment variable ``BASE`` names another base image than that of the Containerfile.
    """
    why = lacking()
    program = engine()
    if why is not None or program is None:
        raise SystemExit(f"zsofs: the container image cannot be built: {why}")
    machine = platform.machine()
    if not (_ROOT / "dist" / f"zsofs-{__version__}-{machine}.tar.xz").exists():
        raise SystemExit("zsofs: the container has the portable build; run ./bootstrap.sh portable")
    tag = "zsofs:latest"  # what compose.yaml names
    words = [program, "build", "--tag", tag, "--file", "Containerfile"]
    words += ["--build-arg", f"VERSION={__version__}", "--build-arg", f"BASE={_base()}"]
    if program != "docker":  # its own format is the only one that has a health check
        words += ["--format", "docker", "--isolation", os.environ.get("ISOLATION", "chroot")]
        words += ["--timestamp", str(environment.date())]
    subprocess.run([*words, "."], cwd=_ROOT, check=True, stdout=sys.stderr)
    target = _ROOT / "dist" / f"zsofs-{__version__}-container-{machine}.tar.gz"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".container-") as directory:
        archive = Path(directory) / "image.tar"
        save = ["push", tag, f"docker-archive:{archive}:{tag}"]
        if program == "docker":
            save = ["save", "--output", str(archive), tag]
        subprocess.run([program, *save], check=True, stdout=sys.stderr)
        packed = Path(directory) / "image.tar.gz"
        with archive.open("rb") as source, gzip.GzipFile(packed, "wb", 9, mtime=0) as file:
            shutil.copyfileobj(source, file)
        packed.replace(target)
    print(target)
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    loader = "docker" if program == "docker" else "podman"  # buildah cannot load an archive
    print(f"Load it with: {loader} load --input {target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
