"""Names under which the discs of a directory are shown. Pure functions of bytes."""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain

from zsofs.formats.file_names import MAX_NAME, ending_of, may_be_disc


def shown_names(
    others: Collection[bytes], discs: Mapping[bytes, tuple[bytes, ...]]
) -> dict[bytes, tuple[bytes, ...] | None]:
    """Return the names under which each disc of a directory is shown.

    ``Game.zso`` becomes ``Game.iso``. If that name is used by another file or by two discs, it
    becomes ``Game.zso.iso`` instead, and longer if that is used as well. All files of a disc, such
    as a cue sheet and its ``.bin``, are renamed together. The result does not depend on the order.

    Args:
        others: names of everything in the directory that is not a disc in a container.
        discs: the packed discs, with the ends of the names of their files: ``.iso`` or ``.bin``,
            or several that differ.

    Returns:
        The shown names of each disc, or None if every unused name is too long: the packed file is
        then shown instead.
    """
    fixed = Counter(others)
    shown: dict[bytes, tuple[bytes, ...] | None] = {}
    moving: dict[bytes, bytes] = {}
    for name, endings in discs.items():
        extension = ending_of(name)
        if (extension,) == endings:
            shown[name] = (name,)
            fixed[name] += 1
        else:
            moving[name] = name[: len(name) - len(extension)] if may_be_disc(name) else name
    while True:
        wanted = {
            name: tuple([stem + ending for ending in discs[name]]) for name, stem in moving.items()
        }
        taken = fixed.copy()
        taken.update(chain.from_iterable(wanted.values()))
        if taken.total() == len(taken) and max(map(len, taken), default=0) <= MAX_NAME:
            return shown | wanted  # as in most directories: no name occurs twice or is too long
        clashing = [name for name in moving if any(taken[file] > 1 for file in wanted[name])]
        too_long = [name for name in moving if max(map(len, wanted[name])) > MAX_NAME]
        if not clashing and not too_long:
            return shown | wanted
        for name in too_long:
            del moving[name]
            shown[name] = None
            fixed[name] += 1
        if not too_long:
            for name in clashing:
                first = len(moving[name]) < len(name)
                moving[name] = name if first else moving[name] + discs[name][0]
