"""Packages made from the one under test."""

import re
import subprocess
from pathlib import Path


def repacked(deb: Path, scratch: Path, target: Path) -> str:
    """Make the same package once more with a higher version, and return that."""
    subprocess.run(["dpkg-deb", "-R", deb, scratch], check=True)
    control = scratch / "DEBIAN/control"
    text = control.read_text()
    version = re.search(r"^Version: (.+)$", text, re.M)
    assert version is not None
    newer = f"{version[1]}.1"
    control.write_text(text.replace(version[0], f"Version: {newer}"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", scratch, target], check=True)
    return newer
