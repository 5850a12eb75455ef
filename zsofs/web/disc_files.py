"""The files of a disc in disc order, for its map. For threads."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from zsofs.discs.file_map import Walk
from zsofs.discs.iso9660 import SECTOR, Image
from zsofs.errors import ZsofsError, reason
from zsofs.formats.ciso_header import entry_offset, read_entries
from zsofs.formats.geometry import Rule
from zsofs.images.input_image import Original, original
from zsofs.inspection.facts import gather
from zsofs.system.nofollow import reached

_MAX_FILES = 1200
"""Files of a map; the smallest are left out."""

_PARTS = 128


def disc_files(path: str) -> dict[str, Any]:
    """Return the files of a disc and how its blocks are stored, for JSON.

    Args:
        path: absolute path of the disc's file; one behind a symlink is not opened.

    Returns:
        ``size`` of the image in bytes, ``files`` as path, begin and size in the order of the
        disc, ``left_out``, ``incomplete``, ``blocks``, ``remarks``; or ``error``.
    """
    try:
        with reached(Path(os.path.normpath(path)), None):
            pass  # it has no symlink
        with original(path) as image:
            return _files(image) | _facts(image)
    except (OSError, ZsofsError) as error:
        return {"error": reason(error)}


def _files(image: Original) -> dict[str, Any]:
    walk = Walk(Image(image.read, image.size, image.raw_cd))
    sector = 2352 if image.raw_cd else SECTOR
    found: list[tuple[str, int, int]] = [
        (entry.path, entry.extent.first * sector, entry.extent.size)
        for entry in walk.entries()
        if not entry.is_folder and entry.extent.size
    ]
    largest = sorted(found, key=lambda one: -one[2])[:_MAX_FILES]
    return {
        "size": image.size,
        "files": sorted(largest, key=lambda one: one[1]),
        "left_out": len(found) - len(largest),
        "incomplete": walk.incomplete,
    }


def _facts(image: Original) -> dict[str, Any]:
    """Return how the blocks are stored, as far as the index tells."""
    with suppress(OSError, ZsofsError):
        facts = gather(image)
        blocks = facts.blocks
        kinds = None
        if blocks is not None:
            kinds = {
                "count": blocks.count,
                "plain": blocks.scan.plain,
                "zeros": blocks.zeros,
                "shares": _shares(image),
            }
        return {"blocks": kinds, "remarks": list(facts.remarks)}
    return {"blocks": None, "remarks": []}


def _shares(image: Original) -> list[int]:
    """Return the stored size of each of 128 equal parts in percent; none if not in the index."""
    geometry = image.geometry
    if geometry is None or geometry.chd is not None or geometry.rule is Rule.DAX:
        return []
    places = [geometry.block_count * part // _PARTS for part in range(_PARTS + 1)]
    offsets = [
        entry_offset(next(iter(read_entries(image.source, number, 1)), 0), geometry.shift)
        for number in places
    ]
    shares = []
    for part in range(_PARTS):
        plain = (places[part + 1] - places[part]) * geometry.block_size
        stored = offsets[part + 1] - offsets[part]
        shares.append(min(max(round(100 * stored / plain), 0), 100) if plain else 0)
    return shares
