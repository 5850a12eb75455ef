"""Who installs services, as which user they run, and what is printed about that."""

import os
import pwd
from pathlib import Path

from zsofs.console.stdio import say
from zsofs.console.tables import printable
from zsofs.errors import UsageError
from zsofs.mount.systemd_units import Manager, changed_by_others
from zsofs.system import privileges
from zsofs.system.privileges import Account


def manager_to_change(*, user: bool) -> Manager:
    """Return the service manager in which this process may change services.

    Args:
        user: that of this user instead of that of the system.

    Raises:
        UsageError: only root can do that.
        ServiceError: there is no such service manager.
    """
    if not user:
        if os.geteuid() != 0:
            raise UsageError(
                "only root can change system services; use sudo, or --user for a user service"
            )
        os.umask(0o022)  # system files are readable by everyone
    manager = Manager(user)
    manager.check()
    return manager


def owner_or(setuid: int | None, directory: str) -> Account | None:
    """Return the user of a system service; None for root.

    Args:
        setuid: number of the user that ``--setuid`` names; None without it.
        directory: its owner is the user otherwise.

    Raises:
        UsageError: the user that is named does not exist.
    """
    user = setuid
    if user is None:
        try:
            user = os.stat(directory).st_uid
            pwd.getpwuid(user)
        except (OSError, KeyError):
            return None  # an invalid directory is reported when it is read
    return privileges.account(user) if user else None


def name_of(who: Account | None) -> str:
    """Return the name of the user of a service; None: of this process."""
    return who.name if who is not None else pwd.getpwuid(os.geteuid()).pw_name


def warn_of_changeable_program(manager: Manager) -> None:
    """Print that another user can modify what root runs, if that is the case."""
    changed = None if manager.is_users else changed_by_others()
    if changed is not None:
        path, owner = changed
        say(
            f"root runs {printable(path)}, which user {owner} can modify; install zsofs"
            " system-wide, as root, with: ./bootstrap.sh install"
        )


def warn_of_logout(manager: Manager, user: str) -> None:
    """Print that a user service ends with the session of the user, if that is the case."""
    if manager.is_users and not Path(f"/var/lib/systemd/linger/{user}").exists():
        say(
            "the service stops when you log out; to keep it running: sudo loginctl"
            f" enable-linger {user}"
        )
