"""Options and help of `zsofs service`."""

from zsofs.cli import mount_args, pack_args, watch_args
from zsofs.cli.command_parser import Commands, add_command

_DESCRIPTION = """\
Installs mounts and watches as systemd services, which start at boot and restart after a failure;
lists and removes them.
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

With --watch, installs `zsofs watch` instead: SOURCE is the inbox, and MOUNTPOINT the library. It
runs as the owner of the library, or as the user that --setuid names, and can write only to the
directories that are given. Its unit has the command line.
"""

_INSTALL_EXAMPLES = """\
examples:
  zsofs service install games /srv/zso /srv/iso --allow-other   system service, as root
  zsofs service install --user games ~/zso ~/iso                user service
  zsofs service install --watch arrivals /srv/inbox /srv/zso    pack what arrives in /srv/inbox
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
        commands, "service", "run mounts as systemd services", _DESCRIPTION, _EXAMPLES
    )
    actions = service.add_subparsers(metavar="ACTION", dest="action", required=True)
    install = add_command(
        actions, "install", "install a mount as a service", _INSTALL_DESCRIPTION, _INSTALL_EXAMPLES
    )
    install.add_argument("name", metavar="NAME", help="service name: letters, digits, _ . -")
    install.add_argument(
        "source", metavar="SOURCE", help="directory with the discs; with --watch, the inbox"
    )
    install.add_argument(
        "mount_point", metavar="MOUNTPOINT", help="mount point; with --watch, the library"
    )
    install.add_argument(
        "--watch",
        action="store_true",
        help="install a watch, with the options of `zsofs watch`, instead of a mount",
    )
    listing = add_command(
        actions, "list", "list services", "Lists the zsofs services.\n", _LIST_EXAMPLES
    )
    remove = add_command(
        actions,
        "remove",
        "remove a service",
        "Stops the service NAME, and removes it with its config, its caches and its state.\n",
        _REMOVE_EXAMPLES,
    )
    remove.add_argument("name", metavar="NAME", help="service name")
    for action in (install, listing, remove):
        action.add_argument(
            "--user", action="store_true", help="user service instead of a system service"
        )
    mount_args.add_options(install)
    pack_args.add_preset(install)
    watch_args.add_options(install)
