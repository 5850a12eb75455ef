"""Options and help of `zsofs info` and `zsofs verify`."""

import argparse

from zsofs.cli.arg_types import add_allow_links_to, path
from zsofs.cli.command_parser import Commands, add_command
from zsofs.errors import UsageError

_INFO_DESCRIPTION = """\
Shows details of disc images without unpacking them: container, sizes, disc ID, the program that
wrote the file, programs that read it directly, and irregularities.
"""

_INFO_EXAMPLES = """\
examples:
  zsofs info Game.zso           one disc
  zsofs info Game.cue           the tracks of a CD
  zsofs info --json ~/zso/*     JSON: a list of objects
"""

_VERIFY_DESCRIPTION = """\
Checks discs: header, index, every block, and the checksums stored by `zsofs pack` or chdman.
With --dat, identifies each disc by a DAT, and each track of a CD. Only the results are written, to
a cache: a file that was whole is not read again until it changes.
"""

_VERIFY_EXAMPLES = """\
verdicts:
  verified        identical to a disc in the DAT
  sealed          identical to the image that was packed
  whole           all of it can be read; there are no checksums to compare with
  unknown         all of it can be read, but it is not in any DAT
  not comparable  a CD with sectors of 2048 bytes, which DATs do not list
  sound           with --quick: header, index and size are valid
  bad             damaged or truncated
  changed         the image differs from the last check, but file size and date do not
  unreadable      the file could not be read

examples:
  zsofs verify Game.zso                  one disc
  zsofs verify --dat ps2.dat ~/zso       a library, compared with a Redump DAT
  zsofs verify --quick ~/zso             headers and indexes only, about a second for a library
  zsofs verify --no-cache ~/zso          read all files again, to detect bit rot
"""


def add_info(commands: Commands) -> None:
    """Add `zsofs info`."""
    info = add_command(
        commands,
        "info",
        "show details of disc images",
        _INFO_DESCRIPTION,
        _INFO_EXAMPLES,
    )
    info.add_argument(
        "paths",
        nargs="+",
        type=path,
        metavar="FILE",
        help="disc image, packed or plain, or cue sheet",
    )
    info.add_argument("--json", action="store_true", help="print JSON")


def add_verify(commands: Commands) -> None:
    """Add `zsofs verify`."""
    verify = add_command(
        commands,
        "verify",
        "check discs and identify them",
        _VERIFY_DESCRIPTION,
        _VERIFY_EXAMPLES,
        usage="zsofs verify [OPTIONS] FILE|DIR…",
    )
    verify.add_argument(
        "paths",
        nargs="+",
        type=path,
        metavar="FILE|DIR",
        help="disc image, packed or plain, a cue sheet, or a directory, which is searched"
        " recursively",
    )
    verify.add_argument(
        "--dat",
        dest="dats",
        type=path,
        action="append",
        default=[],
        metavar="FILE",
        help="DAT file, such as Redump's; may be compressed; may be repeated",
    )
    add_allow_links_to(verify, "a directory")
    verify.add_argument(
        "--quick",
        action="store_true",
        help="check only headers, indexes and volume descriptors",
    )
    verify.add_argument(
        "--no-cache",
        action="store_true",
        help="also read unchanged files that were whole at the last check",
    )
    verbosity = verify.add_mutually_exclusive_group()
    verbosity.add_argument(
        "-q", "--quiet", action="store_true", help="print only bad or unreadable files"
    )
    verbosity.add_argument("--json", action="store_true", help="print one JSON object per file")


def check(options: argparse.Namespace) -> None:
    """Check that the options of `zsofs verify` can be combined.

    Raises:
        UsageError: they cannot be combined.
    """
    if options.quick and options.dats:
        raise UsageError("--quick and --dat cannot be combined: --quick does not read the images")
