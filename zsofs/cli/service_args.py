"""Options and help of `zsofs service`."""

import argparse

from zsofs.cli import mount_args, pack_args, watch_args
from zsofs.cli.command_parser import CommandParser, Commands, add_command
from zsofs.errors import UsageError

_DESCRIPTION = """\
Installs mounts, watches and the web page as systemd services, which start at boot and restart after
a failure; lists and removes them.
"""

_EXAMPLES = """\
examples:
  zsofs service install games /srv/zso /srv/iso --allow-other
  zsofs service install --watch arrivals /srv/inbox /srv/zso --delete-source
  zsofs service list
  zsofs service remove games
"""

_INSTALL_DESCRIPTION = """\
Installs a mount as the service NAME, starts it, and enables it at boot. It runs as the owner of
SOURCE, or as the user that --setuid names. Its config is /etc/zsofs/NAME.toml; with --user,
~/.config/zsofs/NAME.toml.

With --watch, installs `zsofs watch` instead: SOURCE is the inbox, and MOUNTPOINT the library; with
--in-place, SOURCE is the library, and there is no MOUNTPOINT. It runs as the owner of the library,
or as the user that --setuid names, and can write only to the directories that are given. Its unit
has the command line.

With --web, installs the web page as the service zsofs-web.
"""

_INSTALL_EXAMPLES = """\
examples:
  zsofs service install games /srv/zso /srv/iso --allow-other   system service, as root
  zsofs service install --user games ~/zso ~/iso                user service
  zsofs service install --watch arrivals /srv/inbox /srv/zso    pack what arrives in /srv/inbox
  zsofs service install --user --web                            web page of your mounts
"""

_LIST_EXAMPLES = """\
examples:
  zsofs service list           system services
  zsofs service list --user    your user services
"""

_REMOVE_EXAMPLES = """\
examples:
  zsofs service remove games           a system service, as root
  zsofs service remove --user games    a user service
"""


def add(commands: Commands) -> None:
    """Add `zsofs service`."""
    service = add_command(
        commands, "service", "run mounts and watches as systemd services", _DESCRIPTION, _EXAMPLES
    )
    actions = service.add_subparsers(metavar="ACTION", dest="action", required=True)
    install, remove = _add_install(actions), _add_remove(actions)
    listing = add_command(
        actions, "list", "list services", "Lists the zsofs services.\n", _LIST_EXAMPLES
    )
    for action in (install, listing, remove):
        action.add_argument(
            "--user", action="store_true", help="user service instead of a system service"
        )
    of_mount = install.add_argument_group(
        "options of a mount",
        "With --watch and --web, --setuid applies too; with --web, also --view-group.",
    )
    mount_args.add_options(of_mount)
    of_watch = install.add_argument_group("options of a watch (--watch)")
    pack_args.add_preset(of_watch)
    watch_args.add_options(of_watch)


def _add_install(actions: Commands) -> CommandParser:
    install = add_command(
        actions,
        "install",
        "install a service",
        _INSTALL_DESCRIPTION,
        _INSTALL_EXAMPLES,
        usage="zsofs service install [OPTIONS] NAME SOURCE MOUNTPOINT\n"
        "       zsofs service install --watch [OPTIONS] NAME INBOX LIBRARY\n"
        "       zsofs service install --web [OPTIONS]",
    )
    install.add_argument(
        "name", metavar="NAME", nargs="?", help="service name: letters, digits, _ . -"
    )
    install.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="directory with the discs; with --watch, the inbox",
    )
    install.add_argument(
        "mount_point",
        metavar="MOUNTPOINT",
        nargs="?",
        help="mount point; with --watch, the library",
    )
    install.add_argument(
        "--web",
        action="store_true",
        help="install the web page for the mounts of a user instead: this user's with --user, else"
        " of the user that --setuid names",
    )
    install.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="with --web: IP address and port of the page (default: 127.0.0.1:8467)",
    )
    install.add_argument(
        "--host",
        metavar="NAME",
        action="append",
        default=[],
        help="with --web: further host name of the page, such as that of a reverse proxy; the page"
        " then asks for the token (may be repeated)",
    )
    install.add_argument(
        "--watch",
        action="store_true",
        help="install a watch, with the options of `zsofs watch`, instead of a mount",
    )
    return install


def _add_remove(actions: Commands) -> CommandParser:
    remove = add_command(
        actions,
        "remove",
        "remove a service",
        "Stops the service NAME, and removes it with its config, its caches and its state.\n",
        _REMOVE_EXAMPLES,
        usage="zsofs service remove [--user] NAME | --web",
    )
    remove.add_argument("name", metavar="NAME", nargs="?", help="service name")
    remove.add_argument("--web", action="store_true", help="remove the web page instead")
    return remove


def check(options: argparse.Namespace) -> None:
    """Check which arguments of `install` and `remove` are given.

    Raises:
        UsageError: there is one too few or too many.
    """
    needed = ["name"] if options.action == "remove" else ["name", "source", "mount_point"]
    if options.action == "install" and options.in_place:
        needed.remove("mount_point")
    given = [name for name in needed if getattr(options, name) is not None]
    if options.action == "install" and options.web and options.watch:
        raise UsageError("--web and --watch cannot be combined")
    if options.web and given:
        raise UsageError("--web takes no NAME; the service of the web page is zsofs-web")
    if not options.web and len(given) < len(needed):
        shown = ", ".join(name.upper().replace("_", "") for name in needed[len(given) :])
        raise UsageError(
            f"the following arguments are required: {shown}; see: zsofs service"
            f" {options.action} --help"
        )
    if options.action == "install" and not options.web:
        for name, value in (("listen", options.listen), ("host", options.host)):
            if value:
                raise UsageError(f"--{name} is only for the web page; add --web")
