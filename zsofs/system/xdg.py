"""Base directories of a user, by the XDG Base Directory Specification.

As root, only directories owned by root are used: sudo may pass on the environment of another user,
who could place symlinks there for root to write through.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zsofs.errors import UsageError


def base_directory(variable: str, default: str) -> Path | None:
    """Return the directory that a variable names, or the default in the home directory.

    Args:
        variable: name of an environment variable, such as ``XDG_CACHE_HOME``.
        default: default directory, relative to the home directory.

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
    """Return whether root may use a directory, by the owner of its nearest existing parent.

    Other users may use any.
    """
    if os.geteuid() != 0:
        return True
    for one in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            return one.stat().st_uid == 0
    return False


def runtime_folders(user: int) -> list[Path]:
    """Return the directories in memory for the sockets of a user's mounts, in order of preference.

    They may disappear when the user logs out. A directory of another user is omitted: ``sudo`` may
    pass on the user's environment to root. Those of another *user* are not checked here.
    """
    bases = [Path("/run")] if user == 0 else [service_folder(user), Path("/run/user") / str(user)]
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if user == os.geteuid() and given.is_absolute():
        bases.insert(0, given)
    ours = user == os.geteuid()
    return [base / "zsofs" for base in dict.fromkeys(bases) if not ours or _owner(base) == user]


def service_folder(user: int) -> Path:
    """Return the runtime directory that root creates for mounts of a user not logged in."""
    return Path(f"/run/zsofs-{user}")


def folders(user: int) -> list[Path]:
    """Return all directories that may have sockets of a user's mounts, in order of preference."""
    return runtime_folders(user) + state_folders(user)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def state_folders(user: int) -> list[Path]:
    """Return the state directory of a user for logs, and for sockets as a fallback; or none."""
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
    """Yield a descriptor of a directory with the sockets of *user*, who must own it.

    Raises:
        OSError: it is missing, or belongs to another user.
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
    """Return the directory of the system configs."""
    return Path("/etc/zsofs")


def user_folder() -> Path:
    """Return the directory of this user's configs.

    Raises:
        UsageError: this user has no home directory.
    """
    given = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "zsofs"
    except RuntimeError:
        raise UsageError("this user has no home directory, and therefore no configs") from None
