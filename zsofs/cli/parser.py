"""The words of the command line: commands, options, help. What they do is in cli/main.py."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from zsofs import __version__
from zsofs.cli import pack_args, service_args, verify_args
from zsofs.cli.arg_types import add_allow_links_to
from zsofs.cli.command_parser import CommandParser, without_aliases
from zsofs.console.suggestions import did_you_mean
from zsofs.errors import UsageError
from zsofs.mount import config
from zsofs.mount.options import BY_NAME, OPTIONS, Option, words_for_help

_DESCRIPTION = """\
Shows a folder of compressed PS2 and PSP discs (.zso, .cso, .dax) as plain .iso files.
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

_MOUNT_DESCRIPTION = """\
Shows every compressed disc in the folder SOURCE, and in all folders below it, as a plain .iso
file in MOUNTPOINT. Everything else in SOURCE is shown as it is. Nothing can be changed through
the mount, unless you say --writable; discs never can. Returns when the mount can be used.

NAME is that of a config, /etc/zsofs/NAME.toml or ~/.config/zsofs/NAME.toml, which has SOURCE as
source, MOUNTPOINT as mountpoint, and options under their long names. Options given here win.
"""

_MOUNT_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso                      the usual case
  zsofs mount --allow-other /srv/zso /srv/iso  for a share: Samba's users may read too
  zsofs mount --layout opl /srv/zso /srv/ps2   folders and names as Open PS2 Loader wants them
  zsofs mount --layout opl --writable --allow-other /srv/zso /srv/ps2
                                               the same as a share that OPL also writes to
  zsofs mount --exclude old ~/zso ~/iso        without the folder old
  zsofs mount --cache-size 256M ~/zso ~/iso    for discs with large blocks and many readers
  zsofs mount -f -v ~/zso ~/iso                stay in the terminal and say what happens
  zsofs mount games                            what the config games.toml says
  zsofs mount --demo                           a sample disc that zsofs makes, in ~/zsofs-demo

Take the mount down with `zsofs umount MOUNTPOINT`.
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

# Words that mount(8) and fstab hand on and that change nothing here: the mount is read-only unless
# `writable` is said, and always without devices and set-user-id programs.
_IGNORED_OPTIONS = frozenset(
    """ro rw defaults auto noauto _netdev comment user nouser users owner noowner group nogroup
    dev nodev suid nosuid exec noexec sync async dirsync atime noatime diratime nodiratime
    relatime norelatime strictatime nostrictatime lazytime nolazytime iversion noiversion
    mand nomand symfollow nosymfollow silent loud""".split()  # noqa: SIM905 - as strings it is long
)

_FIELDS = frozenset(option.field for option in OPTIONS)


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
        _complete_mount(options)
        _check_mount(options)
    elif options.command in ("pack", "unpack"):
        pack_args.check(options)
    elif options.command == "verify":
        verify_args.check(options)
    elif options.command == "service" and options.action == "install":
        options.values = _said(options)
        _check_together(options.values)
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
    _add_mount(commands)
    _add_umount(commands)
    _add_reload(commands)
    _add_status(commands)
    _add_list(commands)
    pack_args.add_pack(commands)
    pack_args.add_unpack(commands)
    verify_args.add_info(commands)
    verify_args.add_verify(commands)
    service_args.add(commands, _add_options)
    return whole


def _add_mount(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    mount = commands.add_parser(
        "mount",
        help="show a folder of compressed discs as plain .iso files",
        usage="zsofs mount [OPTIONS] SOURCE MOUNTPOINT\n       zsofs mount [OPTIONS] --demo"
        " [MOUNTPOINT]\n       zsofs mount [OPTIONS] NAME",
        description=_MOUNT_DESCRIPTION,
        epilog=_MOUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mount.set_defaults(announce=True)
    mount.add_argument("paths", nargs="*", metavar="SOURCE MOUNTPOINT", help=argparse.SUPPRESS)
    mount.add_argument(
        "--demo", action="store_true", help="mount a small sample disc instead of a folder"
    )
    mount.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the terminal until unmounted"
    )
    _add_options(mount)


def _add_mount_words(mount: CommandParser) -> None:
    mount.add_argument(
        "-o",
        dest="mount_options",
        metavar="OPT,OPT",
        action="append",
        default=[],
        help=f"the options of this list as mount(8) writes them: {words_for_help()}; ro and"
        " its other usual words are accepted",
    )


def _add_options(mount: CommandParser) -> None:
    """The options of the table; where one is not said, nothing is kept of it."""
    loudness = mount.add_mutually_exclusive_group()
    for option in OPTIONS:
        words = [option.short] if option.short else []
        words.append("--" + option.name)
        common = {"default": argparse.SUPPRESS, "help": option.help}
        if option.short:
            loudness.add_argument(*words, action="store_true", **common)  # type: ignore[arg-type]
        elif option.is_flag:
            mount.add_argument(*words, action="store_true", **common)  # type: ignore[arg-type]
        else:
            mount.add_argument(
                *words,
                metavar=option.metavar,
                type=_told(option.parse),
                choices=option.choices or None,
                action="append" if option.repeated else "store",
                **common,  # type: ignore[arg-type]
            )

    _add_mount_words(mount)


def _told(parse: Callable[[str], object]) -> Callable[[str], object]:
    """The same, so that argparse says what is wrong with a value."""

    def parse_or_tell(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_or_tell


def _add_umount(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    umount = commands.add_parser(
        "umount",
        help="take a mount down",
        usage="zsofs umount [--lazy] MOUNTPOINT|NAME...",
        description=_UMOUNT_DESCRIPTION,
        epilog=_UMOUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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


def _add_reload(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    reload = commands.add_parser(
        "reload",
        help="have a mount look at its source again now",
        description=_RELOAD_DESCRIPTION,
        epilog=_RELOAD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reload.add_argument("mount_point", metavar="MOUNTPOINT", help="where the discs are shown")


def _add_status(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    status = commands.add_parser(
        "status",
        help="say how mounts are doing",
        description=_STATUS_DESCRIPTION,
        epilog=_STATUS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument(
        "mount_point", metavar="MOUNTPOINT", nargs="?", help="only this mount (default: all)"
    )
    status.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_list(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    listing = commands.add_parser(
        "list",
        help="list the discs in a folder",
        description=_LIST_DESCRIPTION,
        epilog=_LIST_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listing.add_argument("path", metavar="SOURCE|MOUNTPOINT", help="a folder with discs")
    add_allow_links_to(listing, "a source")
    listing.add_argument("--json", action="store_true", help="print JSON, for programs")


def _complete_mount(options: argparse.Namespace) -> None:
    """Fold config, options and the words of ``-o`` into one; what was said last counts."""
    said = _said(options)
    read_only = "ro" in _words(options)
    values = {option.field: option.first() for option in OPTIONS}
    if len(options.paths) == 1 and not options.demo and "/" not in options.paths[0]:
        values |= config.load(config.find(options.paths[0]))
        options.paths = [values.pop("source"), values.pop("mountpoint")]
        values["writable"] = values["writable"] and not read_only
    for name, value in (values | said).items():
        setattr(options, name, value)


def _words(options: argparse.Namespace) -> list[str]:
    return ",".join(options.mount_options).split(",")


def _said(options: argparse.Namespace) -> dict[str, object]:
    """What the command line says of options, by field; what ``-o`` says counts as said last."""
    words = _words(options)
    said = {name: value for name, value in vars(options).items() if name in _FIELDS}
    for name, value in _mount_words(words):
        option = BY_NAME[name]
        said[option.field] = [*_list(said.get(option.field)), value] if option.repeated else value
    if "ro" in words and said.get("writable"):
        raise UsageError("a mount is ro or writable, not both; leave one of the words away")
    return said


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mount_words(words: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Name and value of each option among the words of ``-o``."""
    # First of all: with it, mount(8) of Debian 13 hands on all that the table says of the mount.
    if "remount" in words:
        raise UsageError(
            "a zsofs mount cannot be changed while it is mounted (remount); unmount it with"
            " zsofs umount, then mount it again with other options"
        )
    for word in words:
        name, equals, text = word.partition("=")
        option = BY_NAME.get(name.replace("_", "-"))
        if option is not None and option.is_flag and not equals:
            yield option.name, True
        elif option is not None and not option.is_flag and equals:
            try:
                yield option.name, option.parse(text)
            except ValueError as error:
                raise UsageError(f"-o {word}: {error}") from None
        elif name and not _is_for_others(name):
            hint = _hint(name, option, equals)
            raise UsageError(f"unknown mount option {word!r}{hint}; see: zsofs mount --help")


def _hint(name: str, option: Option | None, equals: str) -> str:
    """What may be meant by a word of ``-o`` that is not known so."""
    if option is None:
        return did_you_mean(name, [*(one.field for one in OPTIONS), *_IGNORED_OPTIONS])
    if equals:
        return f" (did you mean {option.field}? It takes no value)"
    return f" (did you mean {option.field}={option.example}?)"


def is_known(word: str) -> bool:
    """Whether a word of ``-o`` is one that mount takes, whatever its value."""
    name, equals, _ = word.partition("=")
    option = BY_NAME.get(name.replace("_", "-"))
    return _is_for_others(name) if option is None else option.is_flag != bool(equals)


def _is_for_others(word: str) -> bool:
    """Whether a word of ``-o`` is meant for mount(8) or systemd, or says what is so anyway."""
    return word in _IGNORED_OPTIONS or word.startswith(("x-", "X-"))


def _check_mount(options: argparse.Namespace) -> None:
    if len(options.paths) not in ((0, 1) if options.demo else (2,)):
        wanted = (
            "one folder, MOUNTPOINT"
            if options.demo
            else "two folders, SOURCE and MOUNTPOINT, or the name of a config"
        )
        raise UsageError(f"mount takes {wanted}; see: zsofs mount --help")
    if options.demo and options.writable:
        raise UsageError("--writable needs a SOURCE of yours; leave it away with --demo")
    if options.demo and options.setuid is not None:
        raise UsageError("--setuid needs a SOURCE of yours; leave it away with --demo")
    _check_together(vars(options))


def _check_together(values: Mapping[str, object]) -> None:
    """Make sure that values of options, by field, make sense beside each other."""
    if values.get("verbose") and values.get("quiet"):
        raise UsageError("a mount is verbose or quiet, not both; leave one of the words away")
    if values.get("titles") is not None and values.get("layout") != "opl":
        raise UsageError(
            "--titles is of use only with --layout opl; add that, or leave --titles away"
        )
