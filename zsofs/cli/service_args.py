"""The words of `zsofs service`."""

from zsofs.cli import mount_args
from zsofs.cli.command_parser import Commands, add_command

_DESCRIPTION = """\
Makes services of mounts, which systemd starts with the system and starts again if they fail;
lists them, and takes them away.
"""

_EXAMPLES = """\
examples:
  zsofs service install games /srv/zso /srv/iso --allow-other
  zsofs service list
  zsofs service remove games
"""

_INSTALL_DESCRIPTION = """\
Makes a service NAME of a mount, starts it now, and has it started with the system. It is served as
the user who owns SOURCE, unless --setuid says who. Its config is /etc/zsofs/NAME.toml, or with
--user ~/.config/zsofs/NAME.toml.
"""

_INSTALL_EXAMPLES = """\
examples:
  zsofs service install games /srv/zso /srv/iso --allow-other   for all, as root
  zsofs service install --user games ~/zso ~/iso                for you alone
"""

_LIST_EXAMPLES = """\
examples:
  zsofs service list           those of the system
  zsofs service list --user    your own
"""

_REMOVE_EXAMPLES = """\
examples:
  zsofs service remove games           one of the system, as root
  zsofs service remove --user games    one of your own
"""


def add(commands: Commands) -> None:
    """Add `zsofs service`."""
    service = add_command(commands, "service", "have systemd keep a mount", _DESCRIPTION, _EXAMPLES)
    actions = service.add_subparsers(metavar="ACTION", dest="action", required=True)
    install = add_command(
        actions, "install", "make a service of a mount", _INSTALL_DESCRIPTION, _INSTALL_EXAMPLES
    )
    install.add_argument("name", metavar="NAME", help="what it is called: letters, digits, _ . -")
    install.add_argument("source", metavar="SOURCE", help="the folder with the packed discs")
    install.add_argument("mount_point", metavar="MOUNTPOINT", help="where the discs are shown")
    listing = add_command(actions, "list", "list services", "Lists the services.\n", _LIST_EXAMPLES)
    remove = add_command(
        actions,
        "remove",
        "take a service away",
        "Stops the service NAME, and removes it, its config, and what it kept.\n",
        _REMOVE_EXAMPLES,
    )
    remove.add_argument("name", metavar="NAME", help="what it is called")
    for action in (install, listing, remove):
        action.add_argument(
            "--user", action="store_true", help="a service of this user's own, not of the system"
        )
    mount_args.add_options(install)
