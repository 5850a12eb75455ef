"""The containers that zsofs reads, one module each.

A format module has ``MAGICS``, the first bytes of its files, and ``parse``, which turns header and
index into a :class:`~zsofs.formats.geometry.Geometry`. To add one: write the module, name it in
``_FORMATS``.
"""

from types import ModuleType

from zsofs.formats import ciso, dax, ziso
from zsofs.formats.geometry import Geometry, SourceBytes

_FORMATS: tuple[ModuleType, ...] = (ziso, ciso, dax)
_BY_MAGIC = {magic: module for module in _FORMATS for magic in module.MAGICS}
_HEAD_SIZE = 32


def identify(source: SourceBytes) -> Geometry | None:
    """What kind of container *source* is; None if it is none. The name plays no part.

    Raises:
        zsofs.errors.FormatError: it is one, but cut, broken, or not for us.
    """
    head = source.read_at(0, _HEAD_SIZE)
    module = _BY_MAGIC.get(head[:4])
    if module is None:
        return None
    geometry: Geometry = module.parse(source, head)
    return geometry


def has_magic(head: bytes) -> bool:
    """Whether a file that begins with *head*, four bytes or more, calls itself a container."""
    return head[:4] in _BY_MAGIC


__all__ = ["ciso_header", "dax", "file_names", "geometry", "seal", "ziso", "ziso_writer"]
