"""Options and help of `zsofs mount`, parsing of ``-o``, and checks of option combinations."""

import argparse
from collections.abc import Iterator, Mapping, Sequence

from zsofs.cli.arg_types import option_type
from zsofs.cli.command_parser import Commands, OptionGroup, add_command
from zsofs.console.suggestions import did_you_mean
from zsofs.errors import UsageError
from zsofs.mount import config
from zsofs.mount.options import BY_NAME, OPTIONS, Option, words_for_help

_DESCRIPTION = """\
Shows every compressed disc in the directory SOURCE and its subdirectories as a plain .iso file in
MOUNTPOINT. All other files are shown unchanged. The mount is read-only by default. With
--writable, other files can be changed; disc images never can. Returns when the mount is ready.

NAME is the name of a config: /etc/zsofs/NAME.toml or ~/.config/zsofs/NAME.toml. A config has the
keys source and mountpoint, and options under their long names. Command-line options take
precedence.
"""

_EXAMPLES = """\
examples:
  zsofs mount ~/zso ~/iso                      mount for yourself
  zsofs mount --allow-other /srv/zso /srv/iso  also let other users read, such as Samba's
  zsofs mount --layout opl /srv/zso /srv/ps2   with directories and names for Open PS2 Loader
  zsofs mount --layout opl --writable --allow-other /srv/zso /srv/ps2
                                               the same, for a share that OPL also writes to
  zsofs mount --exclude old ~/zso ~/iso        without the directory old
  zsofs mount --cache-size 256M ~/zso ~/iso    for discs with large blocks and many readers
  zsofs mount -f -v ~/zso ~/iso                stay in the foreground and log details
  zsofs mount games                            mount the config games.toml
  zsofs mount --demo                           mount a small sample disc at ~/zsofs-demo

Unmount with `zsofs umount MOUNTPOINT`.
"""

# Options that mount(8) and fstab pass on and that have no effect: the mount is read-only unless
# `writable` is given, and never allows device files or set-user-ID programs.
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
        "show a directory of compressed discs as plain .iso files",
        _DESCRIPTION,
        _EXAMPLES,
        usage="zsofs mount [OPTIONS] SOURCE MOUNTPOINT\n       zsofs mount [OPTIONS] --demo"
        " [MOUNTPOINT]\n       zsofs mount [OPTIONS] NAME",
    )
    mount.set_defaults(announce=True)
    mount.add_argument("paths", nargs="*", metavar="SOURCE MOUNTPOINT", help=argparse.SUPPRESS)
    mount.add_argument(
        "--demo", action="store_true", help="mount a small sample disc instead of a directory"
    )
    mount.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the foreground until unmounted"
    )
    add_options(mount)


def add_options(mount: OptionGroup) -> None:
    """Add the options of the table; an option that is not given sets no attribute."""
    verbosity = mount.add_mutually_exclusive_group()
    for option in OPTIONS:
        words = [option.short] if option.short else []
        words.append("--" + option.name)
        common = {"default": argparse.SUPPRESS, "help": option.help}
        if option.short:
            verbosity.add_argument(*words, action="store_true", **common)  # type: ignore[arg-type]
        elif option.is_flag:
            mount.add_argument(*words, action="store_true", **common)  # type: ignore[arg-type]
        else:
            mount.add_argument(
                *words,
                metavar=option.metavar,
                type=option_type(option),
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
        help=f"options in mount(8) syntax: {words_for_help()}; ro and the other standard mount"
        " options are accepted",
    )


def check(options: argparse.Namespace) -> None:
    """Merge config, options and ``-o`` into *options*, and check the combination.

    Raises:
        UsageError: the combination is invalid.
    """
    _complete(options)
    if len(options.paths) not in ((0, 1) if options.demo else (2,)):
        wanted = (
            "one directory, MOUNTPOINT"
            if options.demo
            else "two directories, SOURCE and MOUNTPOINT, or the name of a config"
        )
        raise UsageError(f"mount expects {wanted}; see: zsofs mount --help")
    if options.demo and options.writable:
        raise UsageError("--writable and --demo cannot be combined; --writable needs a SOURCE")
    if options.demo and options.setuid is not None:
        raise UsageError("--setuid and --demo cannot be combined; --setuid needs a SOURCE")
    check_together(vars(options))


def _complete(options: argparse.Namespace) -> None:
    """Merge config, options and ``-o``; the last value of an option takes precedence."""
    given = given_options(options)
    read_only = "ro" in _mount_options(options)
    values = {option.field: option.first() for option in OPTIONS}
    if len(options.paths) == 1 and not options.demo and "/" not in options.paths[0]:
        values |= config.load(config.find(options.paths[0]))
        options.paths = [values.pop("source"), values.pop("mountpoint")]
        for name in ("writable", "new_discs"):
            values[name] = values[name] and not read_only
    for name, value in (values | given).items():
        setattr(options, name, value)


def _mount_options(options: argparse.Namespace) -> list[str]:
    return ",".join(options.mount_options).split(",")


def given_options(options: argparse.Namespace) -> dict[str, object]:
    """Return the options given on the command line, by field; those of ``-o`` come last.

    Raises:
        UsageError: an option of ``-o`` is invalid, or conflicts with another option.
    """
    words = _mount_options(options)
    given = {name: value for name, value in vars(options).items() if name in _FIELDS}
    for name, value in _mount_words(words):
        option = BY_NAME[name]
        given[option.field] = [*_list(given.get(option.field)), value] if option.repeated else value
    if "ro" in words and given.get("writable"):
        raise UsageError("ro and writable cannot be combined")
    return given


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mount_words(words: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Yield name and value of each zsofs option in ``-o``."""
    # Checked first: with remount, mount(8) of Debian 13 passes all options of the mount table.
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
    """Return a suggestion for an unknown option of ``-o``."""
    if option is None:
        return did_you_mean(name, [*(one.field for one in OPTIONS), *_IGNORED_OPTIONS])
    if equals:
        return f" (did you mean {option.field}? It takes no value)"
    return f" (did you mean {option.field}={option.example}?)"


def is_known(word: str) -> bool:
    """Return whether ``-o`` accepts this option, whatever its value."""
    name, equals, _ = word.partition("=")
    option = BY_NAME.get(name.replace("_", "-"))
    return _is_for_others(name) if option is None else option.is_flag != bool(equals)


def _is_for_others(word: str) -> bool:
    """Return whether an option of ``-o`` is for mount(8) or systemd, or has no effect here."""
    return word in _IGNORED_OPTIONS or word.startswith(("x-", "X-"))


def check_together(values: Mapping[str, object]) -> None:
    """Check that options can be combined.

    Args:
        values: values of the options, by field.

    Raises:
        UsageError: they cannot be combined.
    """
    if values.get("verbose") and values.get("quiet"):
        raise UsageError("--verbose and --quiet cannot be combined")
    if values.get("new_discs") and not values.get("writable"):
        raise UsageError("--new-discs requires --writable")
    if values.get("titles") is not None and values.get("layout") != "opl":
        raise UsageError("--titles requires --layout opl")
