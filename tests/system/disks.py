"""Disks for a machine: made outside of it, for a container has no loop devices of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.machine import Machine

# In a container systemd leaves out what fstab says of disks, by one sign: a /sys that cannot be
# written. On a machine of its own it can.
_FSTAB_GENERATOR = """\
#!/bin/sh
exec unshare --mount sh -c '
mount -t tmpfs tmpfs /sys
exec /lib/systemd/system-generators/systemd-fstab-generator "$@"' sh "$@"
"""


@contextmanager
def attached(image: Path) -> Iterator[Path]:
    """The block device that shows a file as a disk."""
    done = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    )
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def have_disks(machine: Machine) -> None:
    """Let a machine treat disks in its fstab as one does that is no container."""
    generator = machine.root / "etc/systemd/system-generators/systemd-fstab-generator"
    generator.parent.mkdir(parents=True, exist_ok=True)
    generator.write_text(_FSTAB_GENERATOR)
    generator.chmod(0o755)
    # The check of a disk is bound to its unit, which udev makes; there is no udev in a container.
    check = (machine.root / "lib/systemd/system/systemd-fsck@.service").read_text()
    (machine.root / "etc/systemd/system/systemd-fsck@.service").write_text(
        check.replace("\nBindsTo=%i.device\n", "\n")
    )
    machine.run("systemctl", "daemon-reload")
