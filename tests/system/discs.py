"""Discs in a machine, what is to be read of them, and all the files that it has."""

import json
import re
import shutil
from pathlib import Path

from tests.support.mounting import DATA
from tests.system.machine import Machine

# What a package manager and its machine write for themselves, whatever is installed.
_NOISE = re.compile(r"/(proc|sys|dev|run|tmp|var/(cache|log|tmp|lib/(apt|dpkg|systemd)))(/|$)")
MANIFEST = json.loads((DATA / "manifest.json").read_text())


def fill(machine: Machine, folder: str, owner: str = "root") -> dict[str, str]:
    """Put discs into a new folder of a machine.

    Returns:
        The checksum of what each name in the mount is to have.
    """
    (machine.root / folder[1:]).mkdir(parents=True)
    wanted = {}
    for name in ("ziso-py.zso", "maxcso.dax"):
        shutil.copy(DATA / name, machine.root / folder[1:] / name)
        wanted[Path(name).stem + ".iso"] = MANIFEST[name]["sha1"]
    machine.run("chown", "-R", f"{owner}:", folder)
    return wanted


def sums(machine: Machine, folder: str, user: str = "") -> dict[str, str]:
    """Checksum of each file in a folder, as a program in the machine reads it."""
    said = machine.run("sh", "-c", f"cd {folder} && sha1sum -- *", user=user)
    return {line[42:]: line[:40] for line in said.splitlines()}


def files(machine: Machine) -> set[str]:
    """All that is in the machine's file system, with kind, rights and owner."""
    done = machine.try_run("find", "/", "-xdev", "-printf", r"%p\t%y %m %U:%G %l\n")
    for line in done.stderr.splitlines():
        # A mount that is another user's alone; a file of the system that goes meanwhile.
        assert line.endswith(("Permission denied", "No such file or directory")), line
    return {line for line in done.stdout.splitlines() if not _NOISE.match(line.partition("\t")[0])}
