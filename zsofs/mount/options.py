"""The options of a mount: one table for the command line, for ``-o`` and for a config."""

import grp
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsofs.console.suggestions import did_you_mean

_LAYOUTS = ("plain", "opl")

_LAST_OWNER = (1 << 32) - 2

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


@dataclass(frozen=True, slots=True)
class Option:
    """One option, under the same word wherever it is said.

    Attributes:
        name: the long option without its dashes, which is also the key in a config.
        help: what it does.
        metavar: what stands for its value in help; empty for a flag, which has none.
        parse: makes the value from its text; ValueError says what is wrong with it.
        default: the value where nothing is said.
        repeated: whether it may be said several times, and all count.
        example: its value in the help of ``-o``.
        is_number: whether a config may give the value as a number, too.
        is_path: whether the value is the path of a file or directory.
        write: makes the text from the value.
        choices: all values that there are, if they can be listed.
        short: a short option that means the same.
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
        """Its name in what the command line was parsed to."""
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """Whether it has no value."""
        return not self.metavar

    def first(self) -> object:
        """The value where nothing is said; a list is a new one each time."""
        if self.repeated:
            return []
        return False if self.is_flag else self.default


def size(text: str) -> int:
    """Bytes, from a text such as 64M."""
    match = re.fullmatch(r"(\d{1,12})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 64M or 1G")
    return int(match[1]) << _UNITS[match[2].upper()]


def _size_text(number: int) -> str:
    """The same as text."""
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


def user(text: str) -> int:
    """Number of a user, from number or name."""
    try:
        return _owner_number(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {text!r} here") from None


def _known_user(text: str) -> int:
    number = user(text)
    try:
        return pwd.getpwuid(number).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {text!r} here") from None


def _group(text: str) -> int:
    try:
        return _owner_number(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {text!r} here") from None


def _owner_number(text: str) -> int:
    number = int(text[:20])
    if number > _LAST_OWNER:
        raise ValueError(f"{text!r} is not a number up to {_LAST_OWNER}")
    return number


def _umask(text: str) -> int:
    if re.fullmatch(r"0?[0-7]{1,3}", text) is None:
        raise ValueError(f"{text!r} is not an umask such as 022")
    return int(text, 8)


def _layout(text: str) -> str:
    if text not in _LAYOUTS:
        hint = did_you_mean(text, _LAYOUTS)
        raise ValueError(f"{text!r} is not a layout; say plain or opl{hint}")
    return text


def _path(text: str) -> Path:
    if not text:
        raise ValueError("'' is not a path")
    return Path(text).absolute()  # the daemon changes its folder


def _link_directory(text: str) -> Path:
    path = _path(text)
    if path == Path("/"):
        raise ValueError("'/' allows links to everything; give the directory that has the discs")
    return path


def _pattern(text: str) -> str:
    if not text.strip("/"):
        raise ValueError(f"{text!r} is a pattern that matches nothing")
    return text


OPTIONS = (
    Option(
        "layout",
        "plain: names and folders as in SOURCE; opl: as Open PS2 Loader wants them"
        " (default: plain)",
        "LAYOUT",
        _layout,
        "plain",
        choices=_LAYOUTS,
        example="opl",
    ),
    Option(
        "titles",
        "titles for --layout opl: lines `ID,Title`, or a DAT with serials",
        "FILE",
        _path,
        is_path=True,
        example="PATH",
    ),
    Option(
        "include",
        "show only discs and files whose path inside SOURCE matches, or whose name if GLOB has"
        " no /; may be repeated",
        "GLOB",
        _pattern,
        repeated=True,
        example="GLOB",
    ),
    Option(
        "exclude",
        "leave out files and folders that match, in the same way; may be repeated",
        "GLOB",
        _pattern,
        repeated=True,
        example="GLOB",
    ),
    Option(
        "allow-links-to",
        "follow symlinks in SOURCE whose target is in the directory DIR or below it; may be"
        " repeated",
        "DIR",
        _link_directory,
        repeated=True,
        is_path=True,
        example="PATH",
    ),
    Option("show-raw", "show the packed file too, beside its .iso"),
    Option(
        "cache-size",
        "memory for decoded blocks, as in 64M or 1G (default: 64M)",
        "SIZE",
        size,
        64 << 20,
        write=_size_text,
        is_number=True,
        example="64M",
    ),
    Option(
        "threads",
        "how many reads may wait for one disk at a time (default: 4)",
        "N",
        _threads,
        4,
        is_number=True,
        example="4",
    ),
    Option(
        "read-ahead",
        "how far the kernel reads ahead of a sequential reader; only root can change it from"
        " the system's 128K (default: 512K)",
        "SIZE",
        size,
        512 << 10,
        write=_size_text,
        is_number=True,
        example="512K",
    ),
    Option(
        "writable",
        "let everything that is no disc be changed through the mount, and new files and"
        " folders be made: it goes to SOURCE; discs stay as they are",
    ),
    Option("allow-other", "let other users use the mount too, such as a Samba server's"),
    Option(
        "uid",
        "show all files as this user's, by number or name; new ones are, if root serves",
        "USER",
        user,
        is_number=True,
        example="N",
    ),
    Option("gid", "the same for the group", "GROUP", _group, is_number=True, example="N"),
    Option(
        "umask",
        "show all files with the rights that this leaves of 666, folders of 777, whatever"
        " those in SOURCE are, as in 022",
        "OCTAL",
        _umask,
        write=_umask_text,
        example="022",
    ),
    Option(
        "setuid",
        "as root: mount, then serve as this user, without root's rights; new files are this user's",
        "USER",
        _known_user,
        write=_user_text,
        is_number=True,
        example="USER",
    ),
    Option(
        "nofail",
        "mount although SOURCE is not there yet, as where its disk comes later; its discs show"
        " as soon as it is there",
    ),
    Option("verbose", "log more", short="-v"),
    Option("quiet", "log errors only", short="-q"),
    Option(
        "log-file",
        "log to this file (default in the background: one named after the mount point in"
        " ~/.local/state/zsofs)",
        "PATH",
        _path,
        is_path=True,
        example="PATH",
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}


def words_for_help() -> str:
    """The options as ``-o`` writes them, for its help."""
    return ", ".join(
        option.field if option.is_flag else f"{option.name}={option.example}" for option in OPTIONS
    )
