"""`zsofs service install --web`: the web page as a systemd service, sandboxed."""

import argparse
import grp
from collections.abc import Sequence
from pathlib import Path

from zsofs.console.stdio import say
from zsofs.errors import ServiceError, UsageError, reason
from zsofs.mount import service_users
from zsofs.mount.service import without_view
from zsofs.mount.systemd_units import MARK, Manager, is_ours, program, write
from zsofs.system.privileges import Account, account, acting_as, cache_folder
from zsofs.system.xdg import user_folder
from zsofs.web.access import Listen, checked_host, parse_listen
from zsofs.web.tokens import read_or_make

NAME = "zsofs-web.service"

_UNIT = """\
[Unit]
Description=Web page of zsofs
Documentation=man:zsofs-web(1)
After=network.target

[Service]
ExecStart={program} web --listen {listen}{hosts}
{user}{group}Restart=on-failure
RestartSec=2s
# Not with an address or a token file that cannot be used.
RestartPreventExitStatus=2
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

_SANDBOX = """\
CapabilityBoundingSet=
# Mounts that are made later are visible, because systemd lets them propagate.
ProtectSystem=strict
ProtectHome=read-only
# What `zsofs list` finds of discs, and `zsofs verify`.
ReadWritePaths=-{cache} -{service_cache}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
KeyringMode=private
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
    manager.call("restart", NAME)
    user = service_users.name_of(who)
    say(f"the web page of the mounts of {user} is at {listen.url()}")
    say(f"its token is in {token_file}")
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
    cache = "" if who is None else f"{who.home}/.cache/zsofs"
    return _UNIT.format(
        program=program(),
        listen=f"{shown}:{listen.port}",
        hosts="".join(f" --host {name}" for name in hosts),
        user="" if who is None else f"User={who.name}\n",
        sandbox=""
        if who is None
        else _SANDBOX.format(cache=cache.replace("%", "%%"), service_cache=cache_folder(who.user)),
        group=f"SupplementaryGroups={group}\n" if group else "",
        target="default.target" if who is None else "multi-user.target",
    )


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
    try:
        file.unlink()
    except OSError as error:
        raise ServiceError(f"the service file {file} cannot be removed: {reason(error)}") from None
    manager.call("daemon-reload")
    say("the service of the web page is removed; its token file stays")
    return 0
