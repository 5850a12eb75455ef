"""Configs: named mounts in TOML files, whose keys are the long option names."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from zsofs.console.suggestions import did_you_mean
from zsofs.errors import UsageError, reason
from zsofs.mount.options import BY_NAME, Option
from zsofs.system import xdg

ENDING = ".toml"

_FOLDERS = ("source", "mountpoint")

_MAX_SIZE = 64 << 10
"""The largest config in bytes; one with every option has about 2,000."""

_LARGEST = 1 << 63

_MAX_SHOWN = 100
"""Maximum length of a value in a message."""

_MAX_PARTS = 100
_LONG_KEY = re.compile(rf"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{_MAX_PARTS}}}""", re.ASCII)
"""A dotted key longer than any valid one: tomllib needs memory for the square of its parts."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_name(name: str) -> str:
    """Return *name* if it is a valid name of a config and a service.

    Raises:
        UsageError: it is not.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is not a valid config name; use letters, digits, and _ . -"
            " (not . or - first)"
        )
    return name


def find(name: str) -> Path:
    """Return the path of a config: the user's directory first, then that of the system.

    Raises:
        UsageError: there is none.
    """
    check_name(name)
    folders = [xdg.system_folder()]
    if os.geteuid() != 0:
        folders.insert(0, xdg.user_folder())
    paths = [folder / (name + ENDING) for folder in folders]
    for is_there in (os.path.exists, _is_hidden):
        for path in paths:
            if is_there(path):
                return path
    raise UsageError(
        f"no such config: {' or '.join(map(str, paths))}; to mount a directory, use: zsofs"
        " mount SOURCE MOUNTPOINT"
    )


def _is_hidden(path: Path) -> bool:
    """Return whether a file may exist in a directory that this user may not enter."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def load(path: Path) -> dict[str, object]:
    """Parse a config.

    Returns:
        The paths ``source`` and ``mountpoint``, and the value of each option in it, by
        field.

    Raises:
        UsageError: it cannot be read, or a key or value is invalid; names file and line.
    """
    import tomllib

    try:
        text = _read(path)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"the config {path} cannot be read: {reason(error)}") from None
    if _LONG_KEY.search(text) is not None:
        raise UsageError(f"the config {path} has a key with more than {_MAX_PARTS} dots")
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the config {path} is not valid TOML: {error}") from None
    except ValueError:  # Python parses no decimal numbers of more than 4300 digits
        raise UsageError(f"the config {path} has a number with too many digits") from None
    except RecursionError:
        raise UsageError(f"the config {path} has brackets that are nested too deeply") from None
    found: dict[str, object] = {}
    for key, value in said.items():
        try:
            found[key.replace("-", "_")] = _parsed(key, value)
        except ValueError as error:
            raise UsageError(f"{path}, line {_line_of(key, text)}: {key}: {error}") from None
    for key in _FOLDERS:
        if key not in found:
            raise UsageError(f'the config {path} lacks the line: {key} = "/a/directory"')
    return found


def _read(path: Path) -> str:
    """Return the text of a config.

    Raises:
        OSError: it cannot be read, is not a regular file, or is too large.
        UnicodeError: it is not UTF-8.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a regular file")
        data = file.read(_MAX_SIZE + 1)
    if len(data) > _MAX_SIZE:
        raise OSError(0, f"it has more than {_MAX_SIZE >> 10} KiB")
    return data.decode("utf-8")


def _parsed(key: str, value: object) -> object:
    if key in _FOLDERS:
        return _full_path(value)
    option = BY_NAME.get(key)
    if option is None:
        meant = key.replace("_", "-")
        if meant in BY_NAME:
            raise ValueError(f"unknown option; it is written {meant} in a config")
        hint = did_you_mean(key, [*_FOLDERS, *BY_NAME])
        raise ValueError(f"unknown option{hint}; see: zsofs mount --help")
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError(f"{_shown(value)} is neither true nor false")
        return value
    if option.repeated:
        if not isinstance(value, list):
            raise ValueError(f'{_shown(value)} is not a list such as ["one", "another"]')
        return [option.parse(_value(option, one)) for one in value]
    return option.parse(_value(option, value))


def _value(option: Option, value: object) -> str:
    return _full_path(value) if option.is_path else _text(option, value)


def _shown(value: object) -> str:
    """Return a value for a message."""
    try:
        text = repr(value)
    except ValueError:  # a number of more than 4300 digits
        return "0x…"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _text(option: Option, value: object) -> str:
    if isinstance(value, str):
        return value
    if option.is_number and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= _LARGEST:
            raise ValueError(f"{_shown(value)} is too large")
        return str(value)
    raise ValueError(f'{_shown(value)} is not text such as "{option.example or "text"}"')


def _full_path(value: object) -> str:
    """Return an absolute path; the working directory of the process does not matter."""
    path = os.path.expanduser(value) if isinstance(value, str) else ""
    if not os.path.isabs(path) or "\0" in path:
        raise ValueError(f"{_shown(value)} is not an absolute path (it must begin with / or ~)")
    return path


def _line_of(key: str, text: str) -> int:
    """Return the number of the line that starts with a key, or is the header of its table."""
    found = re.search(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(key)}(?![\w-])""", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def text_of(source: str, mount_point: str, values: Mapping[str, object]) -> str:
    """Return the text of a config.

    Args:
        source: absolute path of the source directory.
        mount_point: absolute path of the mount point.
        values: values by option name: True, text, or a list of texts.

    Raises:
        UsageError: a text is not valid UTF-8, which TOML requires.
    """
    import tomli_w

    text = tomli_w.dumps({"source": source, "mountpoint": mount_point, **values})
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.split("\n")[text.count("\n", 0, error.start)]
        raise UsageError(f"{line!r} is not valid UTF-8, which a config requires") from None
    return text
