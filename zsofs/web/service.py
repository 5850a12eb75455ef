"""`zsofs service install --web`: the web page as a systemd service, sandboxed."""

import argparse
import grp
import os
import pwd
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from zsofs.console.stdio import say
from zsofs.errors import ServiceError, UsageError, reason
from zsofs.mount import service_users
from zsofs.mount.service import without_view
from zsofs.mount.systemd_units import MARK, Manager, is_ours, program, quoted, write
from zsofs.system.privileges import Account, account, account_of, acting_as
from zsofs.system.xdg import user_folder
from zsofs.web.access import Listen, checked_host, parse_listen, remarks
from zsofs.web.tokens import read_or_make

NAME = "zsofs-web.service"

_UNIT = """\
[Unit]
Description=Web page of zsofs
Documentation=man:zsofs-web(1)
{network}

[Service]
Type=notify
{prepare}ExecStart={program} web --listen {listen}{hosts}
{user}{group}Restart=on-failure
RestartSec=2s
# Not with an address or a token file that cannot be used.
RestartPreventExitStatus=2
TimeoutStartSec=60s
UMask=0077
Nice=5
MemoryMax=256M
TasksMax=128

# The page needs the network, the control sockets of the mounts, and to read discs.
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
MemoryDenyWriteExecute=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{sandbox}
[Install]
WantedBy={target}
"""

_ONE_ADDRESS = """\
# The address must exist, which after a boot takes a moment.
Wants=network-online.target
After=network-online.target"""

_SANDBOX = """\
CapabilityBoundingSet=
# Mounts that are made later are visible, because systemd lets them propagate.
ProtectSystem=strict
ProtectHome=read-only
# What `zsofs list` finds of discs, and `zsofs verify`. Of /var/cache, the user has one directory,
# which comes and goes with the mounts that root makes for it.
ReadWritePaths={cache} /var/cache
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
KeyringMode=private
"""


_PREPARE = """\
# A directory that is missing at the start is read-only later. Made with the rights of the user.
ExecStartPre=-+setpriv --reuid={user} --regid={group} --clear-groups mkdir -p -m 700 {cache}
"""


def run(options: argparse.Namespace) -> int:
    """Install or remove the service of the page; return the exit code.

    Raises:
        UsageError: it is no service of a user without privileges.
        ServiceError: systemd failed.
        FileError: the token file cannot be used.
    """
    manager = service_users.manager_to_change(user=options.user)
    return _install(manager, options) if options.action == "install" else _remove(manager)


def _install(manager: Manager, options: argparse.Namespace) -> int:
    who = None if manager.is_users else _account(options)
    listen = parse_listen(options.listen or "127.0.0.1:8467")
    hosts = [checked_host(name) for name in options.host]
    group = _group(options)
    token_file = _token_file(who)
    with acting_as(who):
        read_or_make(token_file)
    write(manager.folder / NAME, MARK + unit_text(listen, who, hosts, group))
    manager.call("daemon-reload")
    manager.call("enable", NAME)
    manager.begin("restart", NAME, "of the web page", "--web")
    user = service_users.name_of(who)
    say(f"the web page of the mounts of {user} is at {listen.url()}")
    for remark in remarks(listen, hosts, token_file):
        say(remark)
    if group:
        _tell_of_group(group)
    service_users.warn_of_changeable_program(manager)
    service_users.warn_of_logout(manager, user)
    return 0


def unit_text(
    listen: Listen, who: Account | None, hosts: Sequence[str] = (), group: str = ""
) -> str:
    """Return the unit of the page.

    Args:
        listen: where it is served.
        who: the user it runs as; None: a unit for this user's service manager.
        hosts: further host names of the page.
        group: name of the group of --view-group; empty for none.
    """
    shown = f"[{listen.address}]" if ":" in listen.address else listen.address
    return _UNIT.format(
        network=_ONE_ADDRESS if who and _is_late(listen) else "After=network.target",
        program=program(),
        listen=f"{shown}:{listen.port}",
        hosts="".join(f" --host {name}" for name in hosts),
        user="" if who is None else f"User={who.name}\n",
        prepare="" if who is None else _prepare(who),
        sandbox="" if who is None else _SANDBOX.format(cache=quoted(f"-{_cache(who)}")),
        group=f"SupplementaryGroups={group}\n" if group else "",
        target="default.target" if who is None else "multi-user.target",
    )


def _is_late(listen: Listen) -> bool:
    """Return whether an address may not exist yet when the system starts its services."""
    return not (listen.is_loopback or listen.is_every)


def _prepare(who: Account) -> str:
    cache = quoted(_cache(who), also="$")
    return _PREPARE.format(user=who.user, group=who.group, cache=cache)


def _cache(who: Account) -> str:
    return f"{who.home}/.cache/zsofs"


def _account(options: argparse.Namespace) -> Account:
    user = options.values.get("setuid")
    if not user:
        raise UsageError(
            "name the user whose mounts the web page shows, with --setuid USER; it does not run as"
            " root"
        )
    return account(user)


def _group(options: argparse.Namespace) -> str:
    """Return the name of the group of --view-group; empty without it.

    Raises:
        UsageError: it has no name.
    """
    number = options.values.get("view_group")
    if number is None:
        return ""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        raise UsageError(f"--view-group: unknown group {number}") from None


def _tell_of_group(group: str) -> None:
    """Print which services of root do not show their mounts to the group of the page."""
    say(f"it also shows mounts of other users that have: --view-group {group}")
    for name, file in without_view(grp.getgrnam(group).gr_gid):
        say(
            f'for the service {name}, add to {file}: view-group = "{group}"; then run:'
            f" systemctl restart zsofs@{name}"
        )


def _token_file(who: Account | None) -> Path:
    folder = user_folder() if who is None else Path(who.home) / ".config" / "zsofs"
    return folder / "web-token"


def _remove(manager: Manager) -> int:
    file = manager.folder / NAME
    if not is_ours(file):
        raise ServiceError("the web page is not installed as a service")
    manager.call("disable", "--now", NAME)
    with suppress(KeyError, OSError):  # the user is gone; the directory is in use
        _remove_cache(file.read_text())
    try:
        file.unlink()
    except OSError as error:
        raise ServiceError(f"the service file {file} cannot be removed: {reason(error)}") from None
    manager.call("daemon-reload")
    if manager.state_of(NAME)[0] == "failed":
        manager.call("reset-failed", NAME)
    say("the service of the web page is removed; its token file stays")
    return 0


def _remove_cache(unit: str) -> None:
    """Remove what a unit has prepared for its user, if it is empty."""
    named = re.search(r"^User=(.+)$", unit, re.MULTILINE)
    if named is None:
        return
    who = account_of(pwd.getpwnam(named[1]).pw_uid)
    with acting_as(who):
        os.rmdir(_cache(who))
