"""Directories of sockets by which members of a group see what is read in mounts of root.

Root creates one for each user who serves and each group: ``/run/zsofs-view/USER-GROUP``, which that
user owns, and which only that group can enter.
"""

import os
from contextlib import suppress
from pathlib import Path

_VIEWS = Path("/run/zsofs-view")


def view_folder(user: int, group: int) -> Path:
    """Return the directory for mounts that *user* serves, for a view of *group*."""
    return _VIEWS / f"{user}-{group}"


def make_view_folder(user: int, group: int) -> None:
    """As root, create that directory. If it cannot be, the mount is without a view."""
    folder = view_folder(user, group)
    with suppress(OSError):
        with suppress(FileExistsError):
            _VIEWS.mkdir()
            _VIEWS.chmod(0o755)  # whatever the umask
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        os.chown(folder, user, group)
        folder.chmod(0o750)


def remove_view_folders(user: int) -> None:
    """As root, remove the directories for mounts that *user* serves, if they are empty."""
    for folder in (*view_folders_of(user), _VIEWS):
        with suppress(OSError):
            folder.rmdir()


def view_folders_of(user: int) -> list[Path]:
    """Return the directories for mounts that *user* serves and that this process may enter."""
    try:
        names = sorted(os.listdir(_VIEWS))
    except OSError:
        return []
    found = [_VIEWS / name for name in names if name.startswith(f"{user}-")]
    return [folder for folder in found if os.access(folder, os.X_OK, effective_ids=True)]
