"""Names under which the discs of a directory are shown. Pure functions of bytes."""

from collections import Counter
from collections.abc import Collection, Mapping
from os.path import splitext

from zsofs.formats.file_names import MAX_NAME, may_be_disc


def shown_names(
    others: Collection[bytes], discs: Mapping[bytes, bytes]
) -> dict[bytes, bytes | None]:
    """Return the name under which each disc of a directory is shown.

    ``Game.zso`` becomes ``Game.iso``. If that name is used by another file or by two discs, it
    becomes ``Game.zso.iso`` instead, and longer if that is used as well. The result does not depend
    on the order.

    Args:
        others: names of everything in the directory that is not a disc in a container.
        discs: the packed discs, with the extension of the image: ``.iso`` or ``.bin``.

    Returns:
        The shown name of each disc, or None if every unused name is too long: the packed file is
        then shown instead.
    """
    fixed = Counter(others)
    shown: dict[bytes, bytes | None] = {}
    moving: dict[bytes, bytes] = {}
    for name, ending in discs.items():
        stem, extension = splitext(name)
        if extension.lower() == ending:
            shown[name] = name
            fixed[name] += 1
        else:
            moving[name] = (stem if may_be_disc(name) else name) + ending
    while True:
        taken = fixed + Counter(moving.values())
        clashing = [name for name, wanted in moving.items() if taken[wanted] > 1]
        too_long = [name for name, wanted in moving.items() if len(wanted) > MAX_NAME]
        if not clashing and not too_long:
            return shown | moving
        for name in too_long:
            del moving[name]
            shown[name] = None
            fixed[name] += 1
        if not too_long:
            for name in clashing:
                first = len(moving[name]) <= len(name)
                moving[name] = (name if first else moving[name]) + discs[name]
