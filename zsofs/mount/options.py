"""The options of a mount: one table for command line, ``-o`` and configs."""

import grp
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.console.suggestions import did_you_mean

_LAYOUTS = ("plain", "opl")

CD_FORMS = ("auto", "iso", "bin", "tracks")
"""Values of ``--cd``: ``auto``, and those of :class:`zsofs.discs.cd_forms.CdForm`.

Importing that class here would add 12 ms to the 55 ms of CPU time that ``zsofs --version`` takes.
"""

KEEP_AWAKE = ("never", "auto")

_LAST_OWNER = (1 << 32) - 2

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


@dataclass(frozen=True, slots=True)
class Option:
    """One option, with the same name on the command line, in ``-o`` and in a config.

    Attributes:
        name: the long option without leading dashes; also the key in a config.
        help: help text.
        metavar: placeholder of its value in help; empty for a flag, which has no value.
        parse: converts text to the value; raises ValueError with the reason.
        default: the value if the option is not given.
        repeated: whether it may be repeated; the values form a list.
        example: sample value in the help of ``-o``.
        is_number: whether a config may also give the value as a number.
        is_path: whether the value is the path of a file or directory.
        write: converts the value to text.
        choices: all valid values, if they can be listed.
        short: the equivalent short option.
    """

    name: str
    help: str
    metavar: str = ""
    parse: Callable[[str], object] = str
    default: object = None
    repeated: bool = False
    example: str = ""
    is_number: bool = False
    is_path: bool = False
    write: Callable[[Any], str] = str
    choices: tuple[str, ...] = ()
    short: str = ""

    @property
    def field(self) -> str:
        """Name of its attribute in the parsed command line."""
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """Whether it has no value."""
        return not self.metavar

    def first(self) -> object:
        """Return the value if the option is not given; a list is new each time."""
        if self.repeated:
            return []
        return False if self.is_flag else self.default


def size(text: str) -> int:
    """Return the number of bytes in a text such as 64M."""
    match = re.fullmatch(r"(\d{1,12})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 64M or 1G")
    return int(match[1]) << _UNITS[match[2].upper()]


def _size_text(number: int) -> str:
    """Return a number of bytes as text, the inverse of :func:`size`."""
    units = [unit for unit, shift in _UNITS.items() if number and number % (1 << shift) == 0]
    unit = units[-1] if units else ""
    return f"{number >> _UNITS[unit]}{unit}"


def _umask_text(number: int) -> str:
    return f"{number:03o}"


def _user_text(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:20]) <= 64:
        raise ValueError(f"{text!r} is not a number from 1 to 64")
    return int(text[:20])


def _slow_ms(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:20]) <= 60_000:
        raise ValueError(f"{text!r} is not a number of milliseconds from 1 to 60000")
    return int(text[:20])


def user(text: str) -> int:
    """Return the number of a user, given as number or name."""
    try:
        return _owner_number(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ValueError(f"unknown user {text!r}") from None


def _known_user(text: str) -> int:
    number = user(text)
    try:
        return pwd.getpwuid(number).pw_uid
    except KeyError:
        raise ValueError(f"unknown user {text!r}") from None


def _group(text: str) -> int:
    try:
        return _owner_number(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"unknown group {text!r}") from None


def _group_text(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _owner_number(text: str) -> int:
    number = int(text[:20])
    if number > _LAST_OWNER:
        raise ValueError(f"{text!r} is not a number up to {_LAST_OWNER}")
    return number


def _umask(text: str) -> int:
    if re.fullmatch(r"0?[0-7]{1,3}", text) is None:
        raise ValueError(f"{text!r} is not a umask such as 022")
    return int(text, 8)


def _layout(text: str) -> str:
    if text not in _LAYOUTS:
        hint = did_you_mean(text, _LAYOUTS)
        raise ValueError(f"{text!r} is not a layout; use plain or opl{hint}")
    return text


def _cd_form(text: str) -> str:
    """Return a value of ``--cd``."""
    if text not in CD_FORMS:
        hint = did_you_mean(text, CD_FORMS)
        raise ValueError(f"{text!r} is not a form of a CD; use auto, iso, bin or tracks{hint}")
    return text


def _keep_awake(text: str) -> str:
    if text not in KEEP_AWAKE:
        hint = did_you_mean(text, KEEP_AWAKE)
        raise ValueError(f"{text!r} is not a value of --keep-awake; use auto or never{hint}")
    return text


def _path(text: str) -> Path:
    if not text:
        raise ValueError("'' is not a path")
    return Path(text).absolute()  # the daemon changes its working directory


def _link_directory(text: str) -> Path:
    path = _path(text)
    if path == Path("/"):
        raise ValueError(
            "'/' would allow links to everything; give the directory that holds the discs"
        )
    return path


def _pattern(text: str) -> str:
    if not text.strip("/"):
        raise ValueError(f"{text!r} is a pattern that cannot match anything")
    return text


OPTIONS = (
    Option(
        "layout",
        "plain: names and directories as in SOURCE; opl: for Open PS2 Loader (default: plain)",
        "LAYOUT",
        _layout,
        "plain",
        choices=_LAYOUTS,
        example="opl",
    ),
    Option(
        "titles",
        "titles for --layout opl: `ID,Title` lines, or a DAT with serials",
        "FILE",
        _path,
        is_path=True,
        example="PATH",
    ),
    Option(
        "include",
        "show only files whose path in SOURCE matches (whose name, if GLOB has no /);"
        " may be repeated",
        "GLOB",
        _pattern,
        repeated=True,
        example="GLOB",
    ),
    Option(
        "exclude",
        "hide files and directories that match, in the same way; may be repeated",
        "GLOB",
        _pattern,
        repeated=True,
        example="GLOB",
    ),
    Option(
        "allow-links-to",
        "follow symlinks in SOURCE that lead into the directory DIR; may be repeated",
        "DIR",
        _link_directory,
        repeated=True,
        is_path=True,
        example="PATH",
    ),
    Option("show-raw", "also show each packed file beside its .iso"),
    Option(
        "cd",
        "files that a CD is shown as; iso: one .iso of its data; bin: .cue and .bin; tracks: .cue"
        " and a .bin for each track; auto: an .iso if that has all its data, else as bin (default:"
        " auto)",
        "FORM",
        _cd_form,
        "auto",
        choices=CD_FORMS,
        example="iso",
    ),
    Option(
        "cache-size",
        "maximum memory for decoded blocks, such as 64M or 1G (default: 64M)",
        "SIZE",
        size,
        64 << 20,
        write=_size_text,
        is_number=True,
        example="64M",
    ),
    Option(
        "threads",
        "maximum number of blocking reads per disk (default: 4)",
        "N",
        _threads,
        4,
        is_number=True,
        example="4",
    ),
    Option(
        "read-ahead",
        "kernel read-ahead for sequential reads; only root can change the system's 128K"
        " (default: 512K)",
        "SIZE",
        size,
        512 << 10,
        write=_size_text,
        is_number=True,
        example="512K",
    ),
    Option(
        "no-preload",
        "do not record what discs are asked for when they are started, and do not read it ahead"
        " at the next start",
    ),
    Option(
        "keep-awake",
        "auto: keep a hard disk from spinning down while one of its discs is open and was read"
        " within 10 minutes (default: never)",
        "WHEN",
        _keep_awake,
        "never",
        choices=KEEP_AWAKE,
        example="auto",
    ),
    Option(
        "slow-ms",
        "milliseconds from which on `zsofs top` lists a read as slow (default: 50)",
        "MS",
        _slow_ms,
        50,
        is_number=True,
        example="50",
    ),
    Option(
        "view-group",
        "as root: let members of this group see what is read in this mount, with `zsofs web`,"
        " `zsofs top` and `zsofs metrics`, and nothing more",
        "GROUP",
        _group,
        write=_group_text,
        is_number=True,
        example="GROUP",
    ),
    Option(
        "writable",
        "allow changes to files other than discs, and new files and directories; changes are"
        " made in SOURCE",
    ),
    Option(
        "new-discs",
        "with --writable: also allow new disc images, which are protected as soon as they are"
        " whole",
    ),
    Option("allow-other", "allow other users to use the mount, such as those of a Samba server"),
    Option(
        "uid",
        "report this owner (number or name) for all files; if root serves, also for new files",
        "USER",
        user,
        is_number=True,
        example="N",
    ),
    Option("gid", "the same for the group", "GROUP", _group, is_number=True, example="N"),
    Option(
        "umask",
        "report mode 666 (directories 777) minus this mask, such as 022, for all files,"
        " ignoring the modes in SOURCE",
        "OCTAL",
        _umask,
        write=_umask_text,
        example="022",
    ),
    Option(
        "setuid",
        "as root: mount, then serve without root privileges as this user, who owns new files",
        "USER",
        _known_user,
        write=_user_text,
        is_number=True,
        example="USER",
    ),
    Option(
        "nofail",
        "mount even if SOURCE does not exist yet, for example because its disk is not plugged"
        " in; discs appear when it becomes available",
    ),
    Option("verbose", "log more details", short="-v"),
    Option("quiet", "log only errors", short="-q"),
    Option(
        "log-file",
        "log to this file (default in the background: a file in ~/.local/state/zsofs)",
        "PATH",
        _path,
        is_path=True,
        example="PATH",
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}


def words_for_help() -> str:
    """Return the options in the syntax of ``-o``, for its help."""
    return ", ".join(
        option.field if option.is_flag else f"{option.name}={option.example}" for option in OPTIONS
    )
