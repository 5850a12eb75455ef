"""The words of the command line: commands, options, help. What they do is in cli/main.py."""

import argparse
import sys
from collections.abc import Sequence

from zsofs import __version__
from zsofs.cli import mount_args, pack_args, service_args, verify_args
from zsofs.cli.arg_types import add_allow_links_to
from zsofs.cli.command_parser import CommandParser, Commands, add_command, without_aliases
from zsofs.errors import UsageError

_DESCRIPTION = """\
Shows a folder of compressed PS2 and PSP discs (.zso, .cso, .chd, .dax) as plain .iso files.
"""

_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso       show the discs in ~/zso as .iso files in ~/iso
  zsofs mount --demo            mount a small sample disc in ~/zsofs-demo, without a game
  zsofs list ~/zso              what discs there are in a folder
  zsofs status                  how the mounts are doing
  zsofs umount ~/iso            take the mount down
  zsofs pack ~/games -o ~/zso   pack the discs of a folder
  zsofs unpack Game.zso         make a plain image of one again
  zsofs info Game.zso           all that is to know of a disc
  zsofs verify ~/zso            check discs, and say which ones they are

`zsofs COMMAND --help` explains one command.
"""

_UMOUNT_DESCRIPTION = """\
Takes down mounts that `zsofs mount` made. Returns when their daemons have ended and the directories
that `zsofs mount` made are removed; waits at most 10 seconds. A mount that is in use stays, and the
message names what uses it. `fusermount3 -u` takes a mount down too, and does not wait.
"""

_UMOUNT_EXAMPLES = """\
examples:
  zsofs umount ~/iso          take the mount down
  zsofs umount --lazy ~/iso   although a program still has a disc open
  zsofs umount games          the mount of the config games.toml
"""

_RELOAD_DESCRIPTION = """\
Has a mount look at all of its source again now. It sees changes by itself; this is for those that
the system does not report, such as on a network share, when you do not want to wait for them.
"""

_RELOAD_EXAMPLES = """\
examples:
  zsofs reload ~/iso   show what has just been added on the server
"""

_STATUS_DESCRIPTION = """\
Says how a mount is doing: its source, discs, readers, cache, and files that are not shown as
discs. Without MOUNTPOINT it does so for each of your mounts; for root, for those of all users.
"""

_STATUS_EXAMPLES = """\
examples:
  zsofs status                 all of your mounts; as root everybody's
  zsofs status ~/iso           one of them
  zsofs status --json ~/iso    for programs: one object; without MOUNTPOINT a list of them
"""

_LIST_DESCRIPTION = """\
Lists the discs in a folder: what a mount of it shows, from which file, and what is inside. A
mount point does as well as a source.
"""

_LIST_EXAMPLES = """\
examples:
  zsofs list ~/zso           the discs in a folder
  zsofs list ~/iso           those that a mount shows
  zsofs list --json ~/zso    for programs
"""

_EXIT_CODES = """\
exit codes:
  0  done
  1  a bug in zsofs
  2  the command line, or a config, is wrong
  3  the source folder, or a file that an option names, is missing or cannot be used
  4  the mount point cannot be used
  5  the system does not let us mount (no FUSE, or no right to it)
  6  a mount could not be taken down
  7  no mount answers there
  8  something could not be read, packed, unpacked or printed; the messages say what
  9  `zsofs verify` found something bad
  10  `zsofs verify` found nothing bad, but not every disc in the DATs
  11  systemd could not do it, or there is no such service
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What a command line asks for; ``command`` is the name of the command.

    Args:
        arguments: the command line, or None for that of this process.

    Raises:
        UsageError: it makes no sense.
        SystemExit: it asked for help or the version, which is printed.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(without_aliases(words))
    if options.command == "mount":
        mount_args.check(options)
    elif options.command in ("pack", "unpack"):
        pack_args.check(options)
    elif options.command == "verify":
        verify_args.check(options)
    elif options.command == "service" and options.action == "install":
        options.values = mount_args.said_options(options)
        mount_args.check_together(options.values)
        if options.user and "setuid" in options.values:
            raise UsageError("--setuid is of use only to root; leave it or --user away")
    return options


def parser() -> argparse.ArgumentParser:
    """All commands with their options: what ``--help``, the manual and completion are made from."""
    whole = CommandParser(
        prog="zsofs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"zsofs {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", dest="command", required=True)
    mount_args.add(commands)
    _add_umount(commands)
    _add_reload(commands)
    _add_status(commands)
    _add_list(commands)
    pack_args.add_pack(commands)
    pack_args.add_unpack(commands)
    verify_args.add_info(commands)
    verify_args.add_verify(commands)
    service_args.add(commands)
    return whole


def _add_umount(commands: Commands) -> None:
    umount = add_command(
        commands,
        "umount",
        "take a mount down",
        _UMOUNT_DESCRIPTION,
        _UMOUNT_EXAMPLES,
        usage="zsofs umount [--lazy] MOUNTPOINT|NAME...",
    )
    umount.add_argument(
        "mount_points",
        nargs="+",
        metavar="MOUNTPOINT",
        help="mount point, or name of the config that was mounted",
    )
    umount.add_argument(
        "--lazy",
        action="store_true",
        help="detach it at once, although it is in use; readers get errors",
    )


def _add_reload(commands: Commands) -> None:
    reload = add_command(
        commands,
        "reload",
        "have a mount look at its source again now",
        _RELOAD_DESCRIPTION,
        _RELOAD_EXAMPLES,
    )
    reload.add_argument("mount_point", metavar="MOUNTPOINT", help="where the discs are shown")


def _add_status(commands: Commands) -> None:
    status = add_command(
        commands,
        "status",
        "say how mounts are doing",
        _STATUS_DESCRIPTION,
        _STATUS_EXAMPLES,
    )
    status.add_argument(
        "mount_point", metavar="MOUNTPOINT", nargs="?", help="only this mount (default: all)"
    )
    status.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_list(commands: Commands) -> None:
    listing = add_command(
        commands,
        "list",
        "list the discs in a folder",
        _LIST_DESCRIPTION,
        _LIST_EXAMPLES,
    )
    listing.add_argument("path", metavar="SOURCE|MOUNTPOINT", help="a folder with discs")
    add_allow_links_to(listing, "a source")
    listing.add_argument("--json", action="store_true", help="print JSON, for programs")
