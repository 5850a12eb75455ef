"""Serving as another user: what root's rights are needed for is done first, then they are gone."""

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
    """A user of this system, as far as rights go.

    Attributes:
        name: of the user.
        user: number of the user.
        group: number of its first group.
        groups: numbers of all its groups.
        home: path of its home folder, which need not exist.
    """

    name: str
    user: int
    group: int
    groups: tuple[int, ...]
    home: str


def account(user: int) -> Account:
    """The account with that number, for a process that may become it.

    Raises:
        UsageError: this process is not root's, or there is no such account.
    """
    if os.geteuid() != 0:
        raise UsageError("only root can mount for another user; omit --setuid, or use sudo")
    try:
        return _account(pwd.getpwuid(user))
    except KeyError:
        raise UsageError(f"--setuid: unknown user {user}") from None


def account_of(user: int) -> Account:
    """The account with that number, for root; of a number without a name one without a home."""
    try:
        return _account(pwd.getpwuid(user))
    except KeyError:
        return Account(str(user), user, user, (user,), "/")


def _account(found: pwd.struct_passwd) -> Account:
    groups = set(os.getgrouplist(found.pw_name, found.pw_gid))
    return Account(found.pw_name, found.pw_uid, found.pw_gid, tuple(sorted(groups)), found.pw_dir)


def cache_folder(user: int) -> Path:
    """Where the catalogs of mounts lie that root made for a user."""
    return _CACHES / str(user)


def make_folders(who: Account | None) -> None:
    """As root, make what a mount of *who* has no right to make: for socket, catalog and log.

    What cannot be made the mount is without, as one of somebody who has no home. Root has its own.
    Nothing is made for None.
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
    """Remove what :func:`make_folders` made, where nothing is in it."""
    for folder in (service_folder(user), cache_folder(user)):
        for path in (folder / "zsofs", folder, folder.parent):
            with suppress(OSError):
                path.rmdir()


@contextmanager
def acting_as(who: Account | None) -> Iterator[None]:
    """Reach and make files as *who* would, and be root again afterwards; nothing for None."""
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
        with suppress(PermissionError):  # then they are what they were
            os.setgroups(groups)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _telling(who: Account) -> Iterator[None]:
    """Say it in words if this root may not become other users, as in some containers."""
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
    """Be *who* for good: no root's right is left, and no program started from here gains any.

    Raises:
        UsageError: the system does not let this process.
    """
    _be_at_home(who)
    if os.access(cache_folder(who.user), os.F_OK):
        os.environ["XDG_CACHE_HOME"] = str(cache_folder(who.user))
    library = ctypes.CDLL(None, use_errno=True)
    with _telling(who):
        os.setgroups(who.groups)
        os.setresgid(who.group, who.group, who.group)
        os.setresuid(who.user, who.user, who.user)
        # Our own files in /proc belong to us again: sockets are reached by /proc/self/fd.
        for word in ((_SET_NO_NEW_PRIVS, 1), (_SET_DUMPABLE, 1)):
            if library.prctl(*(ctypes.c_ulong(number) for number in (*word, 0, 0, 0))) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
