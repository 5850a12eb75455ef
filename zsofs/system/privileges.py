"""Serving as another user: privileged steps come first, then privileges are dropped."""

import ctypes
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from zsofs.errors import UsageError
from zsofs.system.xdg import service_folder

_SET_DUMPABLE = 4
_SET_NO_NEW_PRIVS = 38  # prctl(2)

_CACHES = Path("/var/cache/zsofs")
_OF_A_SESSION = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")


@dataclass(frozen=True, slots=True)
class Account:
    """A user account.

    Attributes:
        name: user name.
        user: number of the user.
        group: number of the primary group.
        groups: numbers of all groups.
        home: path of the home directory, which need not exist.
    """

    name: str
    user: int
    group: int
    groups: tuple[int, ...]
    home: str


def account(user: int) -> Account:
    """Return the account with that number, for a process that can switch to it.

    Raises:
        UsageError: this process is not root, or the account does not exist.
    """
    if os.geteuid() != 0:
        raise UsageError("only root can mount for another user; omit --setuid, or use sudo")
    try:
        return _account(pwd.getpwuid(user))
    except KeyError:
        raise UsageError(f"--setuid: unknown user {user}") from None


def account_of(user: int) -> Account:
    """Return the account with that number, for root; one without a home if it does not exist."""
    try:
        return _account(pwd.getpwuid(user))
    except KeyError:
        return Account(str(user), user, user, (user,), "/")


def _account(found: pwd.struct_passwd) -> Account:
    groups = set(os.getgrouplist(found.pw_name, found.pw_gid))
    return Account(found.pw_name, found.pw_uid, found.pw_gid, tuple(sorted(groups)), found.pw_dir)


def cache_folder(user: int) -> Path:
    """Return the cache directory for mounts that root creates for a user."""
    return _CACHES / str(user)


def make_folders(who: Account | None) -> None:
    """As root, create the directories for socket, cache and log of a mount of *who*.

    A directory that cannot be created is omitted, as for a user without a home directory.
    Nothing is done for root or None.
    """
    if who is None or who.user == 0:
        return
    for folder in (service_folder(who.user), cache_folder(who.user)):
        with suppress(OSError):
            folder.parent.mkdir(mode=0o755, exist_ok=True)
        with suppress(OSError):
            folder.mkdir(mode=0o700)
            os.chown(folder, who.user, who.group)


def remove_folders(user: int) -> None:
    """Remove the directories of :func:`make_folders` that are empty."""
    for folder in (service_folder(user), cache_folder(user)):
        for path in (folder / "zsofs", folder, folder.parent):
            with suppress(OSError):
                path.rmdir()


@contextmanager
def acting_as(who: Account | None) -> Iterator[None]:
    """Access the file system as *who* within the context; no effect for None."""
    if who is None:
        yield
        return
    groups, environment = os.getgroups(), dict(os.environ)
    try:
        _be_at_home(who)
        with _telling(who):
            os.setgroups(who.groups)
            os.setegid(who.group)
            os.seteuid(who.user)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        with suppress(PermissionError):  # they were not changed then
            os.setgroups(groups)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _telling(who: Account) -> Iterator[None]:
    """Report that this root cannot switch users, as in some containers."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"root cannot change to the user {who.name}: {error.strerror}; to serve as root,"
            " use: --setuid root"
        ) from None


def _be_at_home(who: Account) -> None:
    for name in _OF_A_SESSION:
        os.environ.pop(name, None)
    os.environ.update(HOME=who.home, USER=who.name, LOGNAME=who.name)


def become(who: Account) -> None:
    """Switch to *who* permanently: drop all privileges, and set no_new_privs.

    Raises:
        UsageError: the system does not permit it.
    """
    _be_at_home(who)
    if os.access(cache_folder(who.user), os.F_OK):
        os.environ["XDG_CACHE_HOME"] = str(cache_folder(who.user))
    library = ctypes.CDLL(None, use_errno=True)
    with _telling(who):
        os.setgroups(who.groups)
        os.setresgid(who.group, who.group, who.group)
        os.setresuid(who.user, who.user, who.user)
        # Own our files in /proc again: sockets are reached by /proc/self/fd.
        for word in ((_SET_NO_NEW_PRIVS, 1), (_SET_DUMPABLE, 1)):
            if library.prctl(*(ctypes.c_ulong(number) for number in (*word, 0, 0, 0))) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
