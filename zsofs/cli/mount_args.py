"""The words of `zsofs mount`: options and help, the words of ``-o``, and what goes together."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence

from zsofs.cli.command_parser import CommandParser, Commands, add_command
from zsofs.console.suggestions import did_you_mean
from zsofs.errors import UsageError
from zsofs.mount import config
from zsofs.mount.options import BY_NAME, OPTIONS, Option, words_for_help

_DESCRIPTION = """\
Shows every compressed disc in the folder SOURCE, and in all folders below it, as a plain .iso
file in MOUNTPOINT. Everything else in SOURCE is shown as it is. Nothing can be changed through
the mount, unless you say --writable; discs never can. Returns when the mount can be used.

NAME is that of a config, /etc/zsofs/NAME.toml or ~/.config/zsofs/NAME.toml, which has SOURCE as
source, MOUNTPOINT as mountpoint, and options under their long names. Options given here win.
"""

_EXAMPLES = """\
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

# Words that mount(8) and fstab hand on and that change nothing here: the mount is read-only unless
# `writable` is said, and always without devices and set-user-id programs.
_IGNORED_OPTIONS = frozenset(
    """ro rw defaults auto noauto _netdev comment user nouser users owner noowner group nogroup
    dev nodev suid nosuid exec noexec sync async dirsync atime noatime diratime nodiratime
    relatime norelatime strictatime nostrictatime lazytime nolazytime iversion noiversion
    mand nomand symfollow nosymfollow silent loud""".split()  # noqa: SIM905 - as strings it is long
)

_FIELDS = frozenset(option.field for option in OPTIONS)


def add(commands: Commands) -> None:
    """Add `zsofs mount`."""
    mount = add_command(
        commands,
        "mount",
        "show a folder of compressed discs as plain .iso files",
        _DESCRIPTION,
        _EXAMPLES,
        usage="zsofs mount [OPTIONS] SOURCE MOUNTPOINT\n       zsofs mount [OPTIONS] --demo"
        " [MOUNTPOINT]\n       zsofs mount [OPTIONS] NAME",
    )
    mount.set_defaults(announce=True)
    mount.add_argument("paths", nargs="*", metavar="SOURCE MOUNTPOINT", help=argparse.SUPPRESS)
    mount.add_argument(
        "--demo", action="store_true", help="mount a small sample disc instead of a folder"
    )
    mount.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the terminal until unmounted"
    )
    add_options(mount)


def add_options(mount: CommandParser) -> None:
    """Add the options of the table; where one is not said, nothing is kept of it."""
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
    mount.add_argument(
        "-o",
        dest="mount_options",
        metavar="OPT,OPT",
        action="append",
        default=[],
        help=f"the options of this list as mount(8) writes them: {words_for_help()}; ro and"
        " its other usual words are accepted",
    )


def _told(parse: Callable[[str], object]) -> Callable[[str], object]:
    """The same, so that argparse says what is wrong with a value."""

    def parse_or_tell(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_or_tell


def check(options: argparse.Namespace) -> None:
    """Fold config, options and the words of ``-o`` into one, and check what they are together.

    Raises:
        UsageError: they make no sense.
    """
    _complete(options)
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
    check_together(vars(options))


def _complete(options: argparse.Namespace) -> None:
    """Fold config, options and the words of ``-o`` into one; what was said last counts."""
    said = said_options(options)
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


def said_options(options: argparse.Namespace) -> dict[str, object]:
    """Return the options that the command line has, by field; those of ``-o`` count as the last.

    Raises:
        UsageError: a word of ``-o`` is wrong, or contradicts another.
    """
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


def check_together(values: Mapping[str, object]) -> None:
    """Check that options make sense beside each other.

    Args:
        values: of the options, by field.

    Raises:
        UsageError: they do not.
    """
    if values.get("verbose") and values.get("quiet"):
        raise UsageError("a mount is verbose or quiet, not both; leave one of the words away")
    if values.get("titles") is not None and values.get("layout") != "opl":
        raise UsageError(
            "--titles is of use only with --layout opl; add that, or leave --titles away"
        )
