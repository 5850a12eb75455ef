"""What mount(8) runs for file systems of type zsofs and fuse.zsofs, by hand and from fstab."""

import argparse
import getopt
import os
import sys
from collections.abc import Callable, Sequence

from zsofs import arguments
from zsofs.errors import SourceError, UsageError, ZsofsError

_NAMES = ("mount.zsofs", "mount.fuse.zsofs")
_USAGE = "mount.zsofs SOURCE MOUNTPOINT [-sfnv] [-o OPT,OPT]; see: zsofs mount --help"

# What mount(8) documents.
_WRONG_CALL = 1
_INTERNAL_BUG = 4
_MOUNT_FAILED = 32


def is_called(program: str) -> bool:
    """Whether this process was started under the name of a mount helper."""
    return os.path.basename(program) in _NAMES


def run(words: Sequence[str], mount: Callable[[argparse.Namespace], int]) -> int:
    """Mount as mount(8) asks for it.

    Args:
        words: what it was started with.
        mount: does what ``zsofs mount`` does with what the command line was parsed to.

    Returns:
        The exit code, of those that mount(8) documents.
    """
    try:
        options, is_fake, may_lack = _parse(words)
        code = 0 if is_fake else _mounted(options, mount, may_lack=may_lack)
    except UsageError as error:
        print(f"zsofs: {error}", file=sys.stderr)
        return _WRONG_CALL
    except ZsofsError as error:
        print(f"zsofs: {error}", file=sys.stderr)
        return _MOUNT_FAILED
    return _INTERNAL_BUG if code == 1 else _MOUNT_FAILED if code else 0


def _mounted(
    options: argparse.Namespace, mount: Callable[[argparse.Namespace], int], *, may_lack: bool
) -> int:
    try:
        return mount(options)
    except SourceError as error:
        if not may_lack or os.path.exists(options.paths[0]):
            raise
        print(f"zsofs: {error}", file=sys.stderr)
        return 0


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, bool, bool]:
    """What is to be mounted, whether only for show, and whether it may be missing (nofail)."""
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
        options = [word for word in options if arguments.is_known(word)]
    # A name without a slash is a folder here, too, never a config.
    folders = [os.path.join(os.curdir, path) for path in paths]
    parsed = arguments.parse(["mount", "-o", ",".join(options), "--", *folders])
    parsed.paths = [os.path.abspath(path) for path in paths]
    parsed.announce = "-v" in said
    return parsed, "-f" in said, "nofail" in options
