"""The containers that zsofs reads, one module each.

A format module has ``MAGICS``, the first bytes of its files, and ``parse``, which turns header and
index into a :class:`~zsofs.formats.geometry.Geometry`. To add one: write the module, name it in
``_FORMATS``.
"""

from types import ModuleType

from zsofs.formats import chd, ciso, dax, ziso
from zsofs.formats.geometry import Geometry, SourceBytes

_FORMATS: tuple[ModuleType, ...] = (ziso, ciso, dax, chd)
_BY_MAGIC = {magic: module for module in _FORMATS for magic in module.MAGICS}
_HEAD_SIZE = 32
"""Bytes of the longest header, that of a DAX file."""


def identify(source: SourceBytes) -> Geometry | None:
    """Return the geometry of a container, which its first bytes identify; its name plays no part.

    Args:
        source: the file.

    Returns:
        Where its blocks lie; None if the file is not a container that zsofs knows.

    Raises:
        zsofs.errors.FormatError: the file is a container, but it is cut, damaged or of a kind that
            zsofs does not read.
        OSError: the file cannot be read.
    """
    head = source.read_at(0, _HEAD_SIZE)
    module = _BY_MAGIC.get(head[:4])
    if module is None:
        return None
    geometry: Geometry = module.parse(source, head)
    return geometry


def has_magic(head: bytes) -> bool:
    """Return whether a file that begins with *head*, 4 bytes or more, has a container's magic."""
    return head[:4] in _BY_MAGIC
