"""The words of `zsofs pack` and `zsofs unpack`: options and help."""

import argparse

from zsofs.cli.arg_types import add_allow_links_to, level, path, size
from zsofs.cli.command_parser import Commands, add_command
from zsofs.errors import UsageError

_PACK_DESCRIPTION = """\
Packs disc images (.iso, .bin, or any container that zsofs reads) into .zso files. What lies under
the final name is whole: each file is written under a hidden name, read back from the disk, decoded
and compared before it is renamed. Files that are packed already are skipped. Files whose content is
no disc image are refused, whatever their names. An image that is shorter than its own volume
descriptors say is packed, but --delete-source keeps it.
"""

_PACK_EXAMPLES = """\
what --for stands for:
  mount    for mounting, emulators, shares; each block has a checksum, and the disc all of them
  small    the same with larger blocks: saves the most
  fast     quick to read on a slow processor, and smaller than console
  console  what OPL and emulators read by themselves

  measured with a game-like disc on two cores, read through a mount (MB/s; reads a second):
  --for    codec, level, blocks  packed  packing  whole disc  random 4K  random 32K
  mount    zstd   9     32K        50 %      142       1,061     13,850      12,739
  small    zstd  15    256K        45 %       25       1,047      5,280       4,728
  fast     LZ4   12      4K        64 %      133       1,482     24,876      15,625
  console  LZ4   12      2K        67 %      158       1,636     23,697      16,393

examples:
  zsofs pack Game.iso                     makes Game.zso beside it
  zsofs pack ~/games -o ~/zso             all discs of a folder
  zsofs pack --recursive ~/games          all discs below a folder, each packed beside itself
  zsofs pack --for console Game.iso       for OPL on a PS2
  zsofs pack Game.cso                     from one container to another in one step
  zsofs pack --measure ~/games            what it would save; writes nothing
  zsofs pack --delete-source ~/games      deletes each image once its copy is checked
"""

_UNPACK_DESCRIPTION = """\
Unpacks discs to plain images, with holes where they are zero: .iso, or .bin for those with the
sectors of a CD. It takes the same care as `zsofs pack`.
"""

_UNPACK_EXAMPLES = """\
examples:
  zsofs unpack Game.zso                   makes Game.iso beside it
  zsofs unpack ~/zso -o ~/games           all discs of a folder
  zsofs unpack Game.zso -o - | sha1sum    into a pipe
"""


def add_pack(commands: Commands) -> None:
    """Add `zsofs pack`."""
    pack = add_command(
        commands,
        "pack",
        "pack disc images into .zso files",
        _PACK_DESCRIPTION,
        _PACK_EXAMPLES,
        usage="zsofs pack [OPTIONS] INPUT… [-o OUT]",
    )
    pack.add_argument(
        "--for",
        dest="purpose",
        metavar="WHAT",
        choices=("mount", "small", "fast", "console"),
        default="mount",
        help="mount, small, fast or console; see below (default: mount)",
    )
    pack.add_argument(
        "--codec", choices=("zstd", "lz4"), metavar="CODEC", help="zstd or lz4 instead"
    )
    pack.add_argument(
        "--level", type=level, metavar="N", help="of zstd 1 to 22, of lz4 1 to 12 instead"
    )
    pack.add_argument(
        "--block-size",
        type=size,
        metavar="SIZE",
        help="a multiple of 2K up to 1M instead; larger blocks save more and are slower to read"
        " from here and there",
    )
    pack.add_argument(
        "--measure", action="store_true", help="say what it would save, and write nothing"
    )
    pack.add_argument(
        "--any",
        action="store_true",
        help="also pack files whose content is not recognized as a disc image",
    )
    pack.add_argument("--no-digests", action="store_true", help=argparse.SUPPRESS)
    _add_copying(pack)


def add_unpack(commands: Commands) -> None:
    """Add `zsofs unpack`."""
    unpack = add_command(
        commands,
        "unpack",
        "make plain images of packed discs",
        _UNPACK_DESCRIPTION,
        _UNPACK_EXAMPLES,
        usage="zsofs unpack [OPTIONS] INPUT… [-o OUT]",
    )
    _add_copying(unpack)


def _add_copying(parser: argparse.ArgumentParser) -> None:
    """What `zsofs pack` and `zsofs unpack` share."""
    parser.add_argument(
        "inputs", nargs="+", type=path, metavar="INPUT", help="a disc, or a folder of them"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=path,
        help="file or folder for the result, a new folder with / at its end (default: beside each"
        " input); the tree below a folder is kept",
    )
    parser.add_argument("--recursive", action="store_true", help="also the folders below a folder")
    add_allow_links_to(parser, "a folder")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument(
        "--no-verify", action="store_true", help="do not read back what was written"
    )
    parser.add_argument(
        "--delete-source",
        action="store_true",
        help="delete each input once its copy is on the disk and checked",
    )
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="say errors only")
    loudness.add_argument("--json", action="store_true", help="print a JSON object for each file")


def check(options: argparse.Namespace) -> None:
    """See whether the options go together.

    Raises:
        UsageError: they do not.
    """
    if options.delete_source and (options.no_verify or options.output == "-"):
        raise UsageError(
            "--delete-source deletes what was checked only; leave --no-verify or -o - away"
        )
    if options.command == "pack" and options.no_digests and not options.no_verify:
        raise UsageError("--no-digests leaves nothing to check by; it needs --no-verify")
    if options.command == "pack" and options.any and options.delete_source:
        raise UsageError(
            "--any and --delete-source cannot be combined: what --any packs may be no disc image"
        )
    if options.command == "pack" and options.measure and options.delete_source:
        raise UsageError("--measure writes nothing, so --delete-source makes no sense with it")
