"""The words of the command line: commands, options, help. What they do is in cli.py."""

import argparse
import grp
import pwd
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from zsofs import __version__, pack_arguments, verify_arguments
from zsofs.errors import UsageError
from zsofs.values import size

_DESCRIPTION = """\
Shows a folder of compressed PS2 and PSP discs (.zso, .cso, .dax) as plain .iso files.
"""

_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso       show the discs in ~/zso as .iso files in ~/iso
  zsofs mount --demo ~/iso      the same with a small sample disc, if you have no game at hand
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
  zsofs mount --demo ~/iso                     a sample disc that zsofs makes itself

Take the mount down with `zsofs umount MOUNTPOINT`.
"""

_UMOUNT_EXAMPLES = """\
examples:
  zsofs umount ~/iso          take the mount down
  zsofs umount --lazy ~/iso   although a program still has a disc open
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
discs. Without MOUNTPOINT it does so for each of your mounts.
"""

_STATUS_EXAMPLES = """\
examples:
  zsofs status                 all of your mounts
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
  2  the command line is wrong
  3  the source folder is missing or cannot be read
  4  the mount point cannot be used
  5  the system does not let us mount (no FUSE, or no right to it)
  6  a mount could not be taken down
  7  no mount answers there
  8  something could not be read, packed or unpacked; the messages say what
  9  `zsofs verify` found something bad
  10  `zsofs verify` found nothing bad, but not every disc in the DATs
"""

# Words that mount(8) and fstab hand on and that change nothing here: the mount is read-only unless
# `writable` is said, and always without devices and set-user-id programs.
_IGNORED_OPTIONS = frozenset(
    """ro rw defaults auto noauto nofail _netdev user nouser users owner group dev nodev suid
    nosuid exec noexec sync async atime noatime diratime nodiratime relatime norelatime
    strictatime silent loud""".split()  # noqa: SIM905 - a list of thirty strings reads worse
)

_LAST_OWNER = (1 << 32) - 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything else in zsofs does."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What a command line asks for; ``command`` is the name of the command.

    Args:
        arguments: the command line, or None for that of this process.

    Raises:
        UsageError: it makes no sense.
        SystemExit: it asked for help or the version, which is printed.
    """
    options = _parser().parse_args(arguments)
    if options.command == "mount":
        _apply_mount_options(options)
        _check_mount(options)
    elif options.command in ("pack", "unpack"):
        pack_arguments.check(options)
    elif options.command == "verify":
        verify_arguments.check(options)
    return options


def _parser() -> _Parser:
    parser = _Parser(
        prog="zsofs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zsofs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    _add_mount(commands)
    _add_umount(commands)
    _add_reload(commands)
    _add_status(commands)
    _add_list(commands)
    pack_arguments.add_pack(commands)
    pack_arguments.add_unpack(commands)
    verify_arguments.add_info(commands)
    verify_arguments.add_verify(commands)
    return parser


def _add_mount(commands: "argparse._SubParsersAction[_Parser]") -> None:
    mount = commands.add_parser(
        "mount",
        help="show a folder of compressed discs as plain .iso files",
        usage="zsofs mount [OPTIONS] SOURCE MOUNTPOINT\n       zsofs mount [OPTIONS] --demo"
        " MOUNTPOINT",
        description=_MOUNT_DESCRIPTION,
        epilog=_MOUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mount.add_argument("paths", nargs="*", metavar="SOURCE MOUNTPOINT", help=argparse.SUPPRESS)
    mount.add_argument(
        "--demo", action="store_true", help="mount a small sample disc instead of a folder"
    )
    mount.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the terminal until unmounted"
    )
    _add_what_is_shown(mount)
    _add_limits(mount)
    _add_rights(mount)
    mount.add_argument(
        "-o",
        dest="mount_options",
        metavar="OPT,OPT",
        action="append",
        default=[],
        help="the options of this list as mount(8) writes them: allow_other, layout=opl,"
        " titles=PATH, include=GLOB, exclude=GLOB, show_raw, cache-size=64M, threads=4,"
        " read-ahead=512K, writable, uid=N, gid=N, umask=022, log-file=PATH; ro, nofail and its"
        " other usual words are accepted",
    )
    loudness = mount.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", help="log more")
    loudness.add_argument("-q", "--quiet", action="store_true", help="log errors only")
    mount.add_argument(
        "--log-file",
        metavar="PATH",
        help="log to this file (default in the background: one named after the mount point in"
        " ~/.local/state/zsofs)",
    )


def _add_what_is_shown(mount: _Parser) -> None:
    mount.add_argument(
        "--layout",
        metavar="LAYOUT",
        type=_layout,
        default="plain",
        help="plain: names and folders as in SOURCE; opl: as Open PS2 Loader wants them"
        " (default: plain)",
    )
    mount.add_argument(
        "--titles",
        metavar="FILE",
        type=_path,
        help="titles for --layout opl: lines `ID,Title`, or a DAT with serials",
    )
    mount.add_argument(
        "--include",
        metavar="GLOB",
        type=_pattern,
        action="append",
        default=[],
        help="show only discs and files whose path inside SOURCE matches, or whose name if GLOB has"
        " no /; may be repeated",
    )
    mount.add_argument(
        "--exclude",
        metavar="GLOB",
        type=_pattern,
        action="append",
        default=[],
        help="leave out files and folders that match, in the same way; may be repeated",
    )
    mount.add_argument(
        "--show-raw",
        action="store_true",
        help="show the packed file too, beside its .iso",
    )


def _add_limits(mount: _Parser) -> None:
    mount.add_argument(
        "--cache-size",
        metavar="SIZE",
        type=size,
        default=64 << 20,
        help="memory for decoded blocks, as in 64M or 1G (default: 64M)",
    )
    mount.add_argument(
        "--threads",
        metavar="N",
        type=_threads,
        default=4,
        help="how many reads may wait for one disk at a time (default: 4)",
    )
    mount.add_argument(
        "--read-ahead",
        metavar="SIZE",
        type=size,
        default=512 << 10,
        help="how far the kernel reads ahead of a sequential reader; only root can change it from"
        " the system's 128K (default: 512K)",
    )


def _add_rights(mount: _Parser) -> None:
    mount.add_argument(
        "--writable",
        action="store_true",
        help="let everything that is no disc be changed through the mount, and new files and"
        " folders be made: it goes to SOURCE; discs stay as they are",
    )
    mount.add_argument(
        "--allow-other",
        action="store_true",
        help="let other users use the mount too, such as a Samba server's",
    )
    mount.add_argument(
        "--uid",
        metavar="USER",
        type=_user,
        help="show all files as this user's, by number or name; new ones are, if root serves",
    )
    mount.add_argument("--gid", metavar="GROUP", type=_group, help="the same for the group")
    mount.add_argument(
        "--umask",
        metavar="OCTAL",
        type=_umask,
        help="show all files with the rights that this leaves of 666, folders of 777, whatever"
        " those in SOURCE are, as in 022",
    )


def _add_umount(commands: "argparse._SubParsersAction[_Parser]") -> None:
    umount = commands.add_parser(
        "umount",
        help="take a mount down",
        description="Takes down a mount that `zsofs mount` made. `fusermount3 -u` does it too.",
        epilog=_UMOUNT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    umount.add_argument("mount_point", metavar="MOUNTPOINT", help="where the discs are shown")
    umount.add_argument(
        "--lazy",
        action="store_true",
        help="detach it at once, although it is in use; readers get errors",
    )


def _add_reload(commands: "argparse._SubParsersAction[_Parser]") -> None:
    reload = commands.add_parser(
        "reload",
        help="have a mount look at its source again now",
        description=_RELOAD_DESCRIPTION,
        epilog=_RELOAD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reload.add_argument("mount_point", metavar="MOUNTPOINT", help="where the discs are shown")


def _add_status(commands: "argparse._SubParsersAction[_Parser]") -> None:
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


def _add_list(commands: "argparse._SubParsersAction[_Parser]") -> None:
    listing = commands.add_parser(
        "list",
        help="list the discs in a folder",
        description=_LIST_DESCRIPTION,
        epilog=_LIST_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listing.add_argument("path", metavar="SOURCE|MOUNTPOINT", help="a folder with discs")
    listing.add_argument("--json", action="store_true", help="print JSON, for programs")


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def _user(text: str) -> int:
    try:
        return _owner_number(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no user {text!r} here") from None


def _group(text: str) -> int:
    try:
        return _owner_number(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no group {text!r} here") from None


def _owner_number(text: str) -> int:
    number = int(text[:20])
    if number > _LAST_OWNER:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number up to {_LAST_OWNER}")
    return number


def _umask(text: str) -> int:
    if re.fullmatch(r"0?[0-7]{1,3}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an umask such as 022")
    return int(text, 8)


def _layout(text: str) -> str:
    if text not in ("plain", "opl"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a layout; say plain or opl")
    return text


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("'' is not a path")
    return Path(text).absolute()  # the daemon changes its folder


def _pattern(text: str) -> str:
    if not text.strip("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is a pattern that matches nothing")
    return text


def _apply_mount_options(options: argparse.Namespace) -> None:
    """Fold the words of ``-o`` into the options they stand for; the last one said counts."""
    values: dict[str, Callable[[str], object]] = {
        "layout": _layout,
        "titles": _path,
        "include": lambda text: [*options.include, _pattern(text)],
        "exclude": lambda text: [*options.exclude, _pattern(text)],
        "cache-size": size,
        "threads": _threads,
        "read-ahead": size,
        "uid": _user,
        "gid": _group,
        "umask": _umask,
        "log-file": str,
    }
    words = ",".join(options.mount_options).split(",")
    if "ro" in words and (options.writable or "writable" in words):
        raise UsageError("a mount is ro or writable, not both; leave one of the words away")
    for word in words:
        name, equals, value = word.partition("=")
        name = name.replace("_", "-") if name != "_netdev" else name
        if name in ("allow-other", "show-raw", "writable") and not equals:
            setattr(options, name.replace("-", "_"), True)
        elif name in values and equals:
            try:
                setattr(options, name.replace("-", "_"), values[name](value))
            except argparse.ArgumentTypeError as error:
                raise UsageError(f"-o {word}: {error}") from None
        elif name and name not in _IGNORED_OPTIONS and not name.startswith("x-"):
            raise UsageError(f"unknown mount option {word!r}; see: zsofs mount --help")


def _check_mount(options: argparse.Namespace) -> None:
    expected = 1 if options.demo else 2
    if len(options.paths) != expected:
        wanted = "one folder, MOUNTPOINT" if options.demo else "two folders, SOURCE and MOUNTPOINT"
        raise UsageError(f"mount takes {wanted}; see: zsofs mount --help")
    if options.demo and options.writable:
        raise UsageError("--writable needs a SOURCE of yours; leave it away with --demo")
    if options.titles is not None and options.layout != "opl":
        raise UsageError(
            "--titles is of use only with --layout opl; add that, or leave --titles away"
        )
