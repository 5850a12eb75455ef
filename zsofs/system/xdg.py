"""Base directories of a user's own files, by the XDG Base Directory Specification.

Root is given only what belongs to root: sudo may hand on the environment of another user, who could
put symlinks there for root to write through.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.errors import UsageError


def base_directory(variable: str, default: str) -> Path | None:
    """The directory that a variable names, else a default one in the home directory.

    Args:
        variable: name of an environment variable, such as ``XDG_CACHE_HOME``.
        default: the directory that stands for it, relative to the home directory.

    Returns:
        The directory, which may be missing; None for a user without a home directory.
    """
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute() and _is_ours(given):
        return given
    homes = [os.environ.get("HOME", "")]
    with suppress(KeyError):
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    for home in map(Path, homes):
        if home.is_absolute() and _is_ours(home):
            return home / default
    return None


def _is_ours(path: Path) -> bool:
    """Whether root may use a directory, or the nearest one above it that exists; others may any."""
    if os.geteuid() != 0:
        return True
    for one in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            return one.stat().st_uid == 0
    return False


def runtime_folders(user: int) -> list[Path]:
    """Folders in memory for the sockets of a user's mounts, the best first.

    They may go when the user logs out. One that belongs to somebody else is left out: ``sudo``
    may hand on the user's environment to root. Those of another user are not looked at here.
    """
    bases = [Path("/run")] if user == 0 else [service_folder(user), Path("/run/user") / str(user)]
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if user == os.geteuid() and given.is_absolute():
        bases.insert(0, given)
    ours = user == os.geteuid()
    return [base / "zsofs" for base in dict.fromkeys(bases) if not ours or _owner(base) == user]


def service_folder(user: int) -> Path:
    """What root makes for the mounts that it makes for a user, who need not be logged in."""
    return Path(f"/run/zsofs-{user}")


def folders(user: int) -> list[Path]:
    """Every folder where the sockets of a user's mounts may lie, the best first."""
    return runtime_folders(user) + state_folders(user)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def state_folders(user: int) -> list[Path]:
    """The folder on a disk where a user's logs lie, and sockets if nowhere else; or none."""
    if user == os.geteuid():
        state = base_directory("XDG_STATE_HOME", ".local/state")
    else:
        home = ""
        with suppress(KeyError):
            home = pwd.getpwuid(user).pw_dir
        state = Path(home) / ".local" / "state" if os.path.isabs(home) else None
    return [state / "zsofs"] if state is not None else []


@contextmanager
def opened(folder: Path, user: int) -> Iterator[int]:
    """Descriptor of a folder with the sockets of *user*, who must own it.

    Raises:
        OSError: it is not there, or somebody else's.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid != user:
            raise PermissionError(f"{folder} belongs to another user")
        yield fd
    finally:
        os.close(fd)


def cache_folder() -> Path | None:
    """Return the directory of zsofs's caches; None for a user without a home directory."""
    base = base_directory("XDG_CACHE_HOME", ".cache")
    return None if base is None else base / "zsofs"


def system_folder() -> Path:
    """Where the configs of the whole system lie."""
    return Path("/etc/zsofs")


def user_folder() -> Path:
    """Where this user's own configs lie.

    Raises:
        UsageError: this user has no home folder.
    """
    given = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "zsofs"
    except RuntimeError:
        raise UsageError("this user has no home directory, and therefore no configs") from None
