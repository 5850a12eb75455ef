"""The job of a watch that packs in place: pack one image, or rename the container it has become."""

import os
from pathlib import Path

from zsofs.discs.classify import ContentKind
from zsofs.discs.dat import Dat, load
from zsofs.discs.examination import Examination
from zsofs.errors import InputError, ZsofsError, reason
from zsofs.formats.containers import ending_of
from zsofs.images.checksums import Digests
from zsofs.images.input_image import Original, original
from zsofs.pack.atomic_file import sync_folder
from zsofs.pack.batch import orderly_end
from zsofs.pack.in_place import BusyError, replace_input
from zsofs.pack.packer import PackOptions, written_file
from zsofs.pack.presets import packing
from zsofs.pack.report import Reporter
from zsofs.system.renames import rename_to_free_name
from zsofs.watch.ledger import PACKED
from zsofs.watch.order import CHANGED, REPLACED, WAITS, Order, Outcome
from zsofs.watch.whole import FileIdentity, identity_at


def run(order: Order, reporter: Reporter) -> Outcome:
    """Process one order.

    Raises:
        InputError: the image was not packed, for the reason in the message.
        OSError: the same.
    """
    with orderly_end(), original(order.path) as image:
        if FileIdentity.of(image.status) != order.files[0][1]:
            return Outcome(CHANGED)
        if image.disc is not None:
            return _rename(order, image)
        try:
            dats = [load(Path(path)) for path in order.dats]
        except (OSError, ZsofsError) as problem:  # no fault of the image
            return Outcome(WAITS, error=reason(problem))
        try:
            return _replace(order, image, dats, reporter)
        except BusyError as problem:
            return Outcome(WAITS, error=str(problem))


def _replace(order: Order, image: Original, dats: list[Dat], reporter: Reporter) -> Outcome:
    """Pack an image into a new file, and exchange both; raises like :func:`run`."""
    _check(image)
    doubt = _doubt(order)
    if doubt and not dats:
        raise InputError(doubt)
    reporter.file(order.path, image.size)
    options = PackOptions(replace=True)
    with written_file(image, order.path, packing(*order.packing), options, reporter) as new:
        if doubt and not _has(dats, image.size, new.digests):
            raise InputError(f"{doubt}, and no DAT has it")
        replace_input(image, new.file)
    return Outcome(REPLACED)


def _check(image: Original) -> None:
    """Check that a plain image is a complete disc that a mount shows under the same name then.

    Raises:
        InputError: it is not.
    """
    examined = Examination(image)
    if examined.content.kind is not ContentKind.DISC:
        raise InputError(examined.content.refusal)
    if examined.cut:
        raise InputError(f"{examined.cut}; it is packed when it is complete")
    if image.raw_cd:
        raise InputError(
            "it has raw CD sectors of 2352 bytes: packed, it would be shown as a .bin; rename it"
        )


def _doubt(order: Order) -> str:
    """Return why an image may be incomplete; empty if the watch has seen that it is complete."""
    if not order.closed:
        return "no program was seen closing or renaming it, so it may be incomplete"
    return "" if order.is_written else "it has holes, so it may be incomplete"


def _has(dats: list[Dat], size: int, digests: Digests) -> bool:
    """Return whether a DAT has the image as a whole disc."""
    return any(
        not rom.bad_dump and len(dat.tracks.get(rom.game, ())) < 2
        for dat in dats
        for rom in dat.matches(size, digests)
    )


def _rename(order: Order, image: Original) -> Outcome:
    """Give a container the extension of its format; raises like :func:`run`."""
    ending = ending_of(image.source.read_at(0, 4))
    if not ending:
        raise InputError("it is a CHD; rename it to .chd")
    target = os.path.splitext(order.path)[0] + ending
    try:
        rename_to_free_name(order.path, target)
    except FileExistsError:
        return Outcome(WAITS, error=f"{target} exists; rename one of them")
    expected, found = order.files[0][1], identity_at(target)
    if found is None or (found.inode, found.size) != (expected.inode, expected.size):
        rename_to_free_name(target, order.path)  # another file had the name
        return Outcome(CHANGED)
    sync_folder(os.path.dirname(target))
    return Outcome(
        PACKED, (target,), "", image.size, stored_bytes=image.status.st_size, removed=True
    )
