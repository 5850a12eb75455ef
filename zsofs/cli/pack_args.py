"""Options and help of `zsofs pack` and `zsofs unpack`."""

import argparse

from zsofs.cli.arg_types import add_allow_links_to, level, path, size
from zsofs.cli.command_parser import Commands, OptionGroup, add_command
from zsofs.errors import UsageError
from zsofs.mount.options import CD_FORMS

_PACK_DESCRIPTION = """\
Packs disc images (.iso, .bin, .cue, or any supported container) into .zso files, or .cso files with
--for psp. Discs in archives (.7z, .zip, .rar, .tar) and compressed files (.gz, .xz, .bz2, .zst)
are packed without unpacking the archive to disk. A file under its final name is always complete:
each file is written under a hidden name, read back from the disk, decoded and compared before it is
renamed. Files that are already packed are skipped. Files whose content is not a disc image are
refused, whatever their name. An image that is shorter than its own volume descriptors specify is
packed, but --delete-source keeps it.
"""

_PACK_EXAMPLES = """\
which preset (--for):
  read through a zsofs mount or share   mount: with checksums of each block and of the disc
    to save the most space              small: the same with larger blocks
    on a slow CPU                       fast: smaller than console
  PS2 with OPL, PCSX2                   console (also: ps2, opl, pcsx2): LZ4 in .zso
  PSP, PPSSPP                           psp (also: ppsspp): deflate in .cso

  measured with a game-like disc on two cores, read through a mount (MB/s; reads per second):
  --for    codec, level, block  packed  packing  whole disc  random 4K     32K
  mount    zstd   9    32K        50 %      142       1,061     13,850  12,739
  small    zstd  15   256K        45 %       25       1,047      5,280   4,728
  fast     LZ4   12     4K        64 %      133       1,482     24,876  15,625
  console  LZ4   12     2K        67 %      158       1,636     23,697  16,393
  psp      deflate 9    2K        56 %        -           -          -       -

examples:
  zsofs pack Game.iso                     create Game.zso in the same directory
  zsofs pack ~/games -o ~/zso/            all discs in a directory
  zsofs pack --recursive ~/games          including subdirectories; each output beside its input
  zsofs pack --for opl Game.iso           for OPL on a PS2
  zsofs pack --for psp Game.iso           create Game.cso for a PSP or PPSSPP
  zsofs pack Game.cso                     convert between containers in one step
  zsofs pack Game.cue                     the data of a CD, as 2048-byte sectors
  zsofs pack Game.7z                      pack the disc in an archive
  zsofs pack --measure ~/games            report the space saved; write nothing
  zsofs pack --delete-source ~/games      delete each input after its output is verified
"""

_UNPACK_DESCRIPTION = """\
Unpacks discs to plain images, with holes for zeros: .iso, or .bin for images with raw CD sectors.
A CHD of a CD with audio, several tracks, or data that an .iso cannot hold becomes .cue and .bin;
--cd chooses the form of CDs. Output is written and verified as in `zsofs pack`.
"""

_UNPACK_EXAMPLES = """\
examples:
  zsofs unpack Game.zso                   create Game.iso in the same directory
  zsofs unpack ~/zso -o ~/games/          all discs in a directory
  zsofs unpack --cd tracks Game.chd       create Game.cue and Game (Track 1).bin, ...
  zsofs unpack Game.zso -o - | sha1sum    write to a pipe
"""


def add_pack(commands: Commands) -> None:
    """Add `zsofs pack`."""
    pack = add_command(
        commands,
        "pack",
        "pack disc images into .zso or .cso files",
        _PACK_DESCRIPTION,
        _PACK_EXAMPLES,
        usage="zsofs pack [OPTIONS] INPUT… [-o OUT]",
    )
    add_preset(pack)
    pack.add_argument(
        "--measure", action="store_true", help="report the space saved, and write nothing"
    )
    pack.add_argument(
        "--any",
        action="store_true",
        help="also pack files whose content is not recognized as a disc image",
    )
    pack.add_argument(
        "--cd",
        choices=("auto", "iso"),
        metavar="FORM",
        default="auto",
        help="form of CDs: iso packs the 2048-byte sectors of data discs; auto does so for a CHD,"
        " a .cue and --for console, and packs any other .bin as it is (default: auto)",
    )
    pack.add_argument("--no-digests", action="store_true", help=argparse.SUPPRESS)
    pack.add_argument(
        "inputs",
        nargs="+",
        type=path,
        metavar="INPUT",
        help="disc image, archive of disc images, or directory of them",
    )
    _add_copying(pack)


def add_preset(parser: OptionGroup) -> None:
    """Add the options by which files are packed."""
    parser.add_argument(
        "--for",
        dest="purpose",
        metavar="PRESET",
        choices=("mount", "small", "fast", "console", "psp", "ps2", "opl", "pcsx2", "ppsspp"),
        default="mount",
        help="preset or device: mount, small, fast, console, psp, ps2, opl, pcsx2 or ppsspp;"
        " `zsofs pack --help` compares them (default: mount)",
    )
    parser.add_argument(
        "--codec",
        choices=("zstd", "lz4"),
        metavar="CODEC",
        help="codec: zstd or lz4 (default: by preset)",
    )
    parser.add_argument(
        "--level",
        type=level,
        metavar="N",
        help="compression level: zstd 1 to 22, lz4 and psp 1 to 12 (default: by preset)",
    )
    parser.add_argument(
        "--block-size",
        type=size,
        metavar="SIZE",
        help="block size: a multiple of 2K up to 1M (default: by preset); larger blocks save more"
        " space and make random reads slower",
    )


def add_unpack(commands: Commands) -> None:
    """Add `zsofs unpack`."""
    unpack = add_command(
        commands,
        "unpack",
        "convert packed discs to plain images",
        _UNPACK_DESCRIPTION,
        _UNPACK_EXAMPLES,
        usage="zsofs unpack [OPTIONS] INPUT… [-o OUT]",
    )
    unpack.add_argument(
        "--cd",
        choices=CD_FORMS,
        metavar="FORM",
        default="auto",
        help="form of CDs: iso, bin (.cue and one .bin), tracks (.cue and a .bin for each track),"
        " or auto, as a mount shows them (default: auto)",
    )
    unpack.add_argument(
        "inputs",
        nargs="+",
        type=path,
        metavar="INPUT",
        help="packed disc, or directory of packed discs",
    )
    _add_copying(unpack)


def _add_copying(parser: argparse.ArgumentParser) -> None:
    """Add the options that `zsofs pack` and `zsofs unpack` share."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=path,
        help="output file or directory; end a new directory with / (default: the directory of each"
        " input); the tree below an input directory is kept",
    )
    parser.add_argument("--recursive", action="store_true", help="include subdirectories")
    add_allow_links_to(parser, "a directory")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument(
        "--no-verify", action="store_true", help="do not read back and verify the output"
    )
    parser.add_argument(
        "--delete-source",
        action="store_true",
        help="delete each input after its output is synced and verified",
    )
    verbosity = parser.add_mutually_exclusive_group()
    verbosity.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    verbosity.add_argument("--json", action="store_true", help="print one JSON object per file")


def check(options: argparse.Namespace) -> None:
    """Check that the options can be combined.

    Raises:
        UsageError: they cannot be combined.
    """
    if options.delete_source and (options.no_verify or options.output == "-"):
        raise UsageError(
            "--delete-source requires verification; it cannot be combined with --no-verify or -o -"
        )
    if options.command == "pack" and options.no_digests and not options.no_verify:
        raise UsageError(
            "--no-digests requires --no-verify, because verification needs the digests"
        )
    if options.command == "pack" and options.any and options.delete_source:
        raise UsageError(
            "--any and --delete-source cannot be combined: --any may pack files that are not"
            " disc images"
        )
    if options.command == "pack" and options.measure and options.delete_source:
        raise UsageError(
            "--measure and --delete-source cannot be combined: --measure writes nothing"
        )
