"""Options and help of `zsofs watch`, which `zsofs service install --watch` has as well."""

import argparse
from typing import TYPE_CHECKING

from zsofs.cli.arg_types import path
from zsofs.cli.command_parser import Commands, OptionGroup, add_command
from zsofs.cli.pack_args import add_preset
from zsofs.errors import UsageError

if TYPE_CHECKING:
    from zsofs.watch.settings import WatchSettings

_DESCRIPTION = """\
Packs each disc that arrives in an inbox, and in its subdirectories, as soon as it is complete, into
LIBRARY. Inputs are those of `zsofs pack`: disc images, cue sheets with their files, and archives.
Downloads in progress are waited for. Each output is verified as by `zsofs pack`. An input is packed
once: it is left in the inbox and remembered, or deleted, or moved. Runs until it is interrupted;
`zsofs status` shows its state.
"""

_EXAMPLES = """\
when an input is complete:
  closed or renamed   5 seconds after its writer has closed or renamed it, if no program has it open
  otherwise           60 seconds after the last change; also on network file systems, for archives
                      with several volumes, and for .bin files without a cue sheet
  with holes          one hour after the last change
  never               while a part of it is allocated and not written, and while a file such as
                      Game.iso.part or Game.iso.aria2 is beside it

when it is deleted or moved:
  always        after its output was synced, read back and compared
  disc images   only if a program was seen closing or renaming the file and it has no holes, or if
                a DAT of --dat has the image
  archives      only if the rest is texts, pictures and empty files

examples:
  zsofs watch ~/Downloads -o ~/zso                    pack what is downloaded; leave the downloads
  zsofs watch --delete-source ~/inbox -o ~/zso        delete each input after it was packed
  zsofs watch --move-source ~/done ~/inbox -o ~/zso   move each input to ~/done
  zsofs watch --dat ps2.dat ~/inbox -o ~/zso          name the outputs by a Redump DAT
  zsofs watch --for console ~/inbox -o ~/zso          for OPL on a PS2
  zsofs watch --in-place ~/zso                        pack the .iso files of a library in place
"""


def add(commands: Commands) -> None:
    """Add `zsofs watch`."""
    watch = add_command(
        commands,
        "watch",
        "pack what arrives in a directory",
        _DESCRIPTION,
        _EXAMPLES,
        usage="zsofs watch [OPTIONS] INBOX… -o LIBRARY | --in-place LIBRARY",
    )
    watch.add_argument(
        "inboxes",
        nargs="+",
        type=path,
        metavar="INBOX",
        help="directory that is watched; with --in-place, the library",
    )
    watch.add_argument(
        "-o",
        "--output",
        metavar="LIBRARY",
        type=path,
        help="directory of the outputs; the tree below an inbox is kept",
    )
    add_preset(watch)
    add_options(watch)


def add_options(parser: OptionGroup) -> None:
    """Add the options that `zsofs pack` does not have."""
    after = parser.add_mutually_exclusive_group()
    after.add_argument(
        "--delete-source",
        action="store_true",
        help="delete each input after its output is verified",
    )
    after.add_argument(
        "--move-source",
        metavar="DIR",
        type=path,
        help="move each input to DIR after its output is verified; on the same file system",
    )
    after.add_argument(
        "--in-place",
        action="store_true",
        help="replace each .iso in LIBRARY and its subdirectories by its packed file; its name in a"
        " mount stays, and programs that read it are not disturbed",
    )
    parser.add_argument(
        "--move-failed",
        metavar="DIR",
        type=path,
        help="move inputs that cannot be packed to DIR, on the same file system (default: they"
        " stay); in both cases a file NAME.zsofs-error.txt has the reason",
    )
    parser.add_argument(
        "--dat",
        dest="dats",
        action="append",
        default=[],
        metavar="FILE",
        type=path,
        help="name outputs by this DAT if it has the image; may be repeated",
    )
    parser.add_argument(
        "--notify",
        action="store_true",
        help="send a desktop notification for each result, if a desktop listens",
    )


def check_service(options: argparse.Namespace) -> None:
    """Check the options of `zsofs service install`: those of a mount, or of a watch.

    Raises:
        UsageError: they cannot be combined.
    """
    if options.watch:
        for name in options.values:
            if name != "setuid":
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is an option of mounts; omit it, or omit --watch")
        return
    given = (
        options.delete_source,
        options.move_source,
        options.in_place,
        options.move_failed,
        options.dats,
        options.notify,
        options.purpose != "mount",
        options.codec,
        options.level,
        options.block_size,
    )
    if any(given):
        raise UsageError(
            "options of `zsofs watch` require --watch; see: zsofs service install --help"
        )


def settings_of_service(options: argparse.Namespace) -> "WatchSettings":
    """Return the settings of `zsofs service install --watch`; raises like :func:`settings_of`."""
    options.inboxes, options.output = [options.source], options.mount_point
    return settings_of(options)


def settings_of(options: argparse.Namespace) -> "WatchSettings":
    """Return the settings of a watch.

    Args:
        options: the command line, with ``inboxes`` and ``output``.

    Raises:
        UsageError: the way to pack is invalid, or a DAT cannot be read.
    """
    import os

    from zsofs.pack.presets import packing
    from zsofs.watch.settings import DELETE, IN_PLACE, LEAVE, MOVE, WatchSettings

    chosen = options.purpose, options.codec, options.level, options.block_size
    packing(*chosen)
    for dat in options.dats:
        if not os.path.isfile(dat):
            raise UsageError(f"the DAT {dat} cannot be read: it is not a file")
    after = DELETE if options.delete_source else MOVE if options.move_source else LEAVE
    if options.in_place:
        after = IN_PLACE
        _check_in_place(options)
        options.output = options.inboxes[0]
    elif options.output is None:
        raise UsageError(
            "the following arguments are required: -o/--output; see: zsofs watch --help"
        )
    return WatchSettings(
        tuple(dict.fromkeys(os.path.realpath(inbox) for inbox in options.inboxes)),
        os.path.realpath(options.output),
        after,
        os.path.realpath(options.move_source) if options.move_source else "",
        os.path.realpath(options.move_failed) if options.move_failed else "",
        chosen,
        tuple(map(os.path.realpath, options.dats)),
        options.notify,
    )


def _check_in_place(options: argparse.Namespace) -> None:
    """Raise UsageError if there is more than a library."""
    if options.output is not None or len(options.inboxes) > 1:
        raise UsageError("--in-place takes one directory, the library, and no other")
    if options.move_failed:
        raise UsageError("--in-place and --move-failed cannot be combined")
