"""Argument parser: all commands, options and help texts; cli/dispatch.py runs the commands."""

import argparse
import sys
from collections.abc import Callable, Sequence

from zsofs import __version__
from zsofs.cli import (
    activity_args,
    mount_args,
    pack_args,
    service_args,
    verify_args,
    watch_args,
    web_args,
)
from zsofs.cli.arg_types import add_allow_links_to, add_cd
from zsofs.cli.command_parser import CommandParser, Commands, add_command, without_aliases
from zsofs.cli.help_format import HelpFormatter
from zsofs.errors import UsageError

_DESCRIPTION = """\
Shows a directory of compressed PS2 and PSP discs (.zso, .cso, .chd, .dax) as plain .iso files.
"""

_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso       show the discs in ~/zso as .iso files in ~/iso
  zsofs mount --demo            mount a small sample disc at ~/zsofs-demo
  zsofs list ~/zso              list the discs in a directory
  zsofs status                  show the state of your mounts
  zsofs top                     show what is read, and why it was slow
  zsofs metrics                 print counters for Prometheus
  zsofs web                     show library and reads in a browser
  zsofs umount ~/iso            unmount
  zsofs pack ~/games -o ~/zso/  pack the discs in a directory
  zsofs unpack Game.zso         convert a packed disc to a plain image
  zsofs watch ~/inbox -o ~/zso  pack what arrives in a directory
  zsofs info Game.zso           show details of a disc image
  zsofs verify ~/zso            check discs and identify them

Run `zsofs COMMAND --help` for details of a command.
"""

_UMOUNT_DESCRIPTION = """\
Unmounts mounts of zsofs. Returns when their daemons have exited and the mount points that
`zsofs mount` created are removed; waits at most 10 seconds in total. A mount that is in use is not
unmounted; the message names the programs that use it. `fusermount3 -u` also unmounts, without
waiting.
"""

_UMOUNT_EXAMPLES = """\
examples:
  zsofs umount ~/iso          unmount
  zsofs umount --lazy ~/iso   unmount even if a program has a disc open
  zsofs umount games          unmount the mount of the config games.toml
"""

_RELOAD_DESCRIPTION = """\
Makes a mount scan its whole source again now. A mount detects changes by itself; use this command
if the system does not report them (for example on a network share) and you do not want to wait.
"""

_RELOAD_EXAMPLES = """\
examples:
  zsofs reload ~/iso   show files that were just added on the server
  zsofs reload games   the mount of the config games.toml
"""

_STATUS_DESCRIPTION = """\
Shows the state of a mount: source, discs, readers, cache, and files that are not shown as discs;
or of `zsofs watch`: queue, current file, speed and last results. Without an argument, shows all
your mounts and watches; as root, the mounts of all users and the watches of all services.
"""

_STATUS_EXAMPLES = """\
examples:
  zsofs status                 all your mounts and watches
  zsofs status ~/iso           one mount
  zsofs status games           the mount of the config or service games
  zsofs status ~/inbox         the watches of an inbox or library
  zsofs status --json ~/iso    JSON: one object; without an argument, a list of objects
"""

_LIST_DESCRIPTION = """\
Lists the discs in a directory as a mount would show them: name, source file, container, sizes and
disc ID. The argument is a source directory or a mount point, or the name of the config of a mount.
"""

_LIST_EXAMPLES = """\
examples:
  zsofs list ~/zso           the discs in a directory
  zsofs list ~/iso           the discs that a mount shows
  zsofs list games           the same by the name of its config, games.toml
  zsofs list --json ~/zso    JSON: a list of objects
"""

_UNINSTALL_DESCRIPTION = """\
Removes a portable installation (that of `sh zsofs-VERSION-x86_64.run`), after its services are
removed and its mounts have ended. Prints which configs, logs and caches stay, and the command that
removes them. Discs and their directories are not touched.

Other installations are removed by what installed them: `sudo apt purge zsofs` for the Debian
package, `./bootstrap.sh uninstall` in the clone, `pipx uninstall zsofs`.
"""

_UNINSTALL_EXAMPLES = """\
examples:
  zsofs uninstall           remove zsofs; keep configs, logs and caches
  zsofs uninstall --purge   remove those too
"""

_EXIT_CODES = """\
exit codes:
  0  success
  1  internal error (a bug in zsofs)
  2  invalid command line or config
  3  the source directory, or a file that an option names, is missing or unusable
  4  the mount point is unusable
  5  the system does not permit the mount (no FUSE, or no permission)
  6  a mount could not be unmounted
  7  no mount responds at the given path
  8  something could not be read, packed, unpacked or printed; the messages have the details
  9  `zsofs verify` found a bad disc
  10  `zsofs verify` found no bad disc, but a disc that is not in the DATs
  11  systemd reported an error, or the service does not exist
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; ``command`` in the result is the name of the command.

    Args:
        arguments: the command line; None: the arguments of this process.

    Raises:
        UsageError: the command line is invalid.
        SystemExit: after printing help or the version.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    words = without_aliases(words)
    options = parser(words[0] if words else "").parse_args(words)
    if options.command == "mount":
        mount_args.check(options)
    elif options.command in ("pack", "unpack"):
        pack_args.check(options)
    elif options.command == "verify":
        verify_args.check(options)
    elif options.command == "service" and options.action != "list":
        service_args.check(options)
    if options.command == "service" and options.action == "install":
        options.values = mount_args.given_options(options)
        mount_args.check_together(options.values)
        watch_args.check_service(options)
        if options.user and "setuid" in options.values:
            raise UsageError("--setuid and --user cannot be combined; --setuid is only for root")
        if options.user and "view_group" in options.values:
            raise UsageError(
                "--view-group and --user cannot be combined; --view-group is only for root"
            )
    return options


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands: the source of ``--help``, manual and completion.

    Args:
        command: the name of the only command to be parsed, which is built in a seventh of the time;
            any other word: all commands.
    """
    whole = CommandParser(
        prog="zsofs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + "\n" + _EXIT_CODES,
        formatter_class=HelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"zsofs {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", dest="command", required=True)
    adders: dict[str, Callable[[Commands], object]] = {
        "mount": mount_args.add,
        "umount": _add_umount,
        "reload": _add_reload,
        "status": _add_status,
        "top": activity_args.add_top,
        "metrics": activity_args.add_metrics,
        "web": web_args.add,
        "list": _add_list,
        "pack": pack_args.add_pack,
        "unpack": pack_args.add_unpack,
        "watch": watch_args.add,
        "info": verify_args.add_info,
        "verify": verify_args.add_verify,
        "service": service_args.add,
        "uninstall": _add_uninstall,
    }
    for add in [adders[command]] if command in adders else adders.values():
        add(commands)
    return whole


def _add_umount(commands: Commands) -> None:
    umount = add_command(
        commands,
        "umount",
        "unmount",
        _UMOUNT_DESCRIPTION,
        _UMOUNT_EXAMPLES,
        usage="zsofs umount [--lazy] MOUNTPOINT|NAME...",
    )
    umount.add_argument(
        "mount_points",
        nargs="+",
        metavar="MOUNTPOINT|NAME",
        help="mount point, or name of its config",
    )
    umount.add_argument(
        "--lazy",
        action="store_true",
        help="detach the mount now, even if it is in use; readers get errors",
    )


def _add_reload(commands: Commands) -> None:
    reload = add_command(
        commands,
        "reload",
        "scan the source of a mount again now",
        _RELOAD_DESCRIPTION,
        _RELOAD_EXAMPLES,
    )
    reload.add_argument(
        "mount_point", metavar="MOUNTPOINT|NAME", help="mount point, or name of its config"
    )


def _add_status(commands: Commands) -> None:
    status = add_command(
        commands,
        "status",
        "show the state of mounts",
        _STATUS_DESCRIPTION,
        _STATUS_EXAMPLES,
    )
    status.add_argument(
        "mount_point",
        metavar="MOUNTPOINT|NAME|INBOX|LIBRARY",
        nargs="?",
        help="show only this mount (mount point, or name of its config), or the watches of this"
        " directory (default: all)",
    )
    status.add_argument("--json", action="store_true", help="print JSON")


def _add_list(commands: Commands) -> None:
    listing = add_command(
        commands,
        "list",
        "list the discs in a directory",
        _LIST_DESCRIPTION,
        _LIST_EXAMPLES,
    )
    listing.add_argument(
        "path",
        metavar="SOURCE|MOUNTPOINT|NAME",
        help="source directory, mount point, or name of its config",
    )
    add_allow_links_to(listing, "a source")
    add_cd(listing)
    listing.add_argument("--json", action="store_true", help="print JSON")


def _add_uninstall(commands: Commands) -> None:
    uninstall = add_command(
        commands,
        "uninstall",
        "remove a portable installation",
        _UNINSTALL_DESCRIPTION,
        _UNINSTALL_EXAMPLES,
    )
    uninstall.add_argument(
        "--purge", action="store_true", help="remove configs, logs and caches too"
    )
