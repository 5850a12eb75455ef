"""A small sample disc, for those who have no game at hand: an ISO 9660 image, packed three ways."""

import os
import shlex
import shutil

_DISCS = os.path.join(os.path.dirname(__file__), "demo_discs")
"""The packed files; ``release/demo_discs.py`` writes them."""

_PROGRAMS = ("7z", "7zz", "isoinfo")
"""What may be there to look into a disc image, the best first."""

_ARGUMENTS = {"isoinfo": "-l -i"}


def default_mount_point() -> str:
    """Return where the sample disc is mounted if no mount point is given."""
    return os.path.expanduser("~/zsofs-demo")


def what_to_try(point: str) -> str:
    """Return commands to try on the mount at *point*, of programs that are installed."""
    point = shlex.quote(point)
    lines = [
        "",
        "Three copies of one small disc, packed as LZ4 ZSO, Zstandard ZSO and CSO. Try:",
        f"  ls -l {point}",
        f"  sha1sum {point}/*.iso",
    ]
    program = next((name for name in _PROGRAMS if shutil.which(name)), None)
    if program is not None:
        lines.append(f'  {program} {_ARGUMENTS.get(program, "l")} {point}/"Sample (LZ4).iso"')
    return "\n".join([*lines, ""])


def fill_demo_folder(folder: str) -> None:
    """Copy the three packed files of the sample disc into *folder*.

    A copy lasts as long as its mount, even if zsofs is removed or upgraded meanwhile.
    """
    os.chmod(folder, 0o755)  # as the mount shows it, so that --allow-other means something
    for name in os.listdir(_DISCS):
        shutil.copyfile(os.path.join(_DISCS, name), os.path.join(folder, name))
