"""The words of `zsofs info` and `zsofs verify`: options and help."""

import argparse

from zsofs.cli.arg_types import add_allow_links_to, path
from zsofs.cli.command_parser import Commands, add_command
from zsofs.errors import UsageError

_INFO_DESCRIPTION = """\
Says what there is to know of disc images without unpacking them: container, sizes, which disc it
is, who wrote the file, which programs read it directly, and oddities.
"""

_INFO_EXAMPLES = """\
examples:
  zsofs info Game.zso           one disc
  zsofs info --json ~/zso/*     for programs: a list of objects
"""

_VERIFY_DESCRIPTION = """\
Checks discs: header, index, every block, and the checksums that a disc packed by zsofs carries.
With --dat it says which disc of a DAT each one is. Nothing is written but what was found, which is
kept, so that files that were whole are not read again until they change.
"""

_VERIFY_EXAMPLES = """\
what is said of a file:
  verified        its bytes are those of a disc in the DAT
  sealed          its bytes are those that were packed
  whole           all of it can be read; nothing says which bytes are right
  unknown         all of it can be read, but no DAT has it
  not comparable  a CD in a form that DATs do not have
  sound           with --quick: header, index and size make sense
  bad             it is damaged or cut
  changed         its image differs from the one read before, but not its size and date
  unreadable      the file could not be read

examples:
  zsofs verify Game.zso                  one disc
  zsofs verify --dat ps2.dat ~/zso       a library, against Redump's list
  zsofs verify --quick ~/zso             a look at headers and indexes, a second for a library
  zsofs verify --no-cache ~/zso          read everything again: a disk may decay
"""


def add_info(commands: Commands) -> None:
    """Add `zsofs info`."""
    info = add_command(
        commands,
        "info",
        "say all that is to know of disc images",
        _INFO_DESCRIPTION,
        _INFO_EXAMPLES,
    )
    info.add_argument("paths", nargs="+", type=path, metavar="FILE", help="a disc, packed or plain")
    info.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_verify(commands: Commands) -> None:
    """Add `zsofs verify`."""
    verify = add_command(
        commands,
        "verify",
        "check discs, and say which ones they are",
        _VERIFY_DESCRIPTION,
        _VERIFY_EXAMPLES,
        usage="zsofs verify [OPTIONS] FILE|FOLDER…",
    )
    verify.add_argument(
        "paths",
        nargs="+",
        type=path,
        metavar="FILE|FOLDER",
        help="a disc, packed or plain, or a folder; all folders below it are looked through",
    )
    verify.add_argument(
        "--dat",
        dest="dats",
        type=path,
        action="append",
        default=[],
        metavar="FILE",
        help="a DAT, such as Redump's, perhaps compressed; may be repeated",
    )
    add_allow_links_to(verify, "a folder")
    verify.add_argument(
        "--quick",
        action="store_true",
        help="check headers, indexes and volume descriptors only",
    )
    verify.add_argument(
        "--no-cache",
        action="store_true",
        help="read also the files that were whole before and have not changed",
    )
    loudness = verify.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", help="print only what is bad or unreadable"
    )
    loudness.add_argument("--json", action="store_true", help="print a JSON object for each file")


def check(options: argparse.Namespace) -> None:
    """See whether the options of `zsofs verify` make sense together.

    Raises:
        UsageError: they do not.
    """
    if options.quick and options.dats:
        raise UsageError("--quick reads no image, so there is nothing to compare with --dat")
