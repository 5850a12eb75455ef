"""The mount helper that mount(8) runs for file systems of type zsofs and fuse.zsofs."""

import argparse
import getopt
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from zsofs.cli import mount_args, parser
from zsofs.errors import UsageError, ZsofsError
from zsofs.system.mountinfo import unescape
from zsofs.system.mountpoint import real_path

_TYPES = ("zsofs", "fuse.zsofs")
_NAMES = tuple(f"mount.{kind}" for kind in _TYPES)
_FSTAB = Path("/etc/fstab")
_USAGE = "mount.zsofs SOURCE MOUNTPOINT [-sfnv] [-o OPT,OPT]; see: zsofs mount --help"

# Exit codes documented by mount(8).
_WRONG_CALL = 1
_INTERNAL_BUG = 4
_INTERRUPTED = 8
_MOUNT_FAILED = 32


def is_called(program: str) -> bool:
    """Return whether this process was started under the name of a mount helper."""
    return os.path.basename(program) in _NAMES


def run(words: Sequence[str], mount: Callable[[argparse.Namespace], int]) -> int:
    """Mount for mount(8).

    Args:
        words: the command-line arguments.
        mount: function that runs ``zsofs mount`` with parsed options.

    Returns:
        An exit code documented by mount(8).
    """
    try:
        options, is_fake = _parse(words)
        code = 0 if is_fake else mount(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except UsageError as error:
        return _failed(error, _WRONG_CALL)
    except ZsofsError as error:
        return _failed(error, _MOUNT_FAILED)
    return _INTERNAL_BUG if code == 1 else _MOUNT_FAILED if code else 0


def _failed(error: ZsofsError, code: int) -> int:
    from zsofs.console.logging_setup import (
        complain,  # imported here because most commands do not need it
    )

    complain(error)
    return code


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, bool]:
    """Return the parsed options, and whether to skip the mount itself (-f)."""
    try:
        letters, paths = getopt.gnu_getopt(list(words), "sfnvrwN:t:o:")
    except getopt.GetoptError as error:
        raise UsageError(f"{error.msg}; {_USAGE}") from None
    if len(paths) != 2 or not all(paths):
        raise UsageError(_USAGE)
    said = {letter for letter, _ in letters}
    options = [word for letter, value in letters if letter == "-o" for word in value.split(",")]
    if "-r" in said:
        options.append("ro")
    if "-s" in said:
        options = [word for word in options if mount_args.is_known(word)]
    # A name without a slash is a directory here, never a config.
    folders = [os.path.join(os.curdir, path) for path in paths]
    parsed = parser.parse(["mount", "-o", ",".join(options), "--", *folders])
    parsed.paths = [os.path.abspath(path) for path in paths]
    parsed.announce = "-v" in said
    parsed.nofail = parsed.nofail or _fstab_says_nofail(*parsed.paths)
    return parsed, "-f" in said


def _fstab_says_nofail(source: str, point: str) -> bool:
    """Return whether fstab has nofail for this mount; systemd does not pass it to the helper."""
    try:
        lines = _FSTAB.read_bytes().splitlines()
    except OSError:
        return False
    for line in lines:
        match [os.fsdecode(unescape(field)) for field in line.split()]:
            case [what, where, kind, options, *_] if (
                kind in _TYPES
                and "nofail" in options.split(",")
                and _are_same(what, source)
                and _are_same(where, point)
            ):
                return True
    return False


def _are_same(one: str, other: str) -> bool:
    """Return whether two paths are the same; resolve symlinks only if they differ."""
    return os.path.normpath(one) == os.path.normpath(other) or real_path(one) == real_path(other)
