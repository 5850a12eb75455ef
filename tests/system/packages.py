"""Packages made from the one under test."""

import subprocess
from pathlib import Path

from zsofs import __version__


def repacked(deb: Path, scratch: Path, target: Path) -> str:
    """Make the same package once more with a higher version, and return that."""
    subprocess.run(["dpkg-deb", "-R", deb, scratch], check=True)
    control = scratch / "DEBIAN/control"
    newer = f"{__version__}+newer"
    control.write_text(control.read_text().replace(f": {__version__}\n", f": {newer}\n"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", scratch, target], check=True)
    return newer
