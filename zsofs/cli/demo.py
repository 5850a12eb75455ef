"""The sample disc of `zsofs mount --demo`: an ISO 9660 image in three packed forms."""

import os
import shlex
import shutil

_DISCS = os.path.join(os.path.dirname(__file__), "demo_discs")
"""Directory of the packed files; ``release/demo_discs.py`` creates them."""

_PROGRAMS = ("7z", "7zz", "isoinfo")
"""Programs that list the contents of a disc image, in order of preference."""

_ARGUMENTS = {"isoinfo": "-l -i"}


def default_mount_point() -> str:
    """Return the default mount point of the sample disc."""
    return os.path.expanduser("~/zsofs-demo")


def what_to_try(point: str) -> str:
    """Return commands to try on the mount at *point*, using programs that are installed."""
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

    The copy remains usable for as long as the mount exists, even if zsofs is removed or upgraded.
    """
    os.chmod(folder, 0o755)  # the mode that the mount reports, so that --allow-other has an effect
    for name in os.listdir(_DISCS):
        shutil.copyfile(os.path.join(_DISCS, name), os.path.join(folder, name))
