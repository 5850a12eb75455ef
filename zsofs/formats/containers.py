"""Registry of the supported container formats, one module each.

A format module has ``MAGICS``, the first bytes of its files, and ``parse``, which converts header
and index to a :class:`~zsofs.formats.geometry.Geometry`; that of an index may be told the size of
an image whose end was checked before. To add a format, write the module and add
it to ``_FORMATS``.
"""

from types import ModuleType

from zsofs.formats import chd, ciso, dax, ziso
from zsofs.formats.geometry import Geometry, SourceBytes

_FORMATS: tuple[ModuleType, ...] = (ziso, ciso, dax, chd)
_BY_MAGIC = {magic: module for module in _FORMATS for magic in module.MAGICS}
_ENDINGS = {ziso: ".zso", ciso: ".cso", dax: ".dax"}
_HEAD_SIZE = 32
"""Size of the longest header in bytes, that of a DAX file."""


def identify(source: SourceBytes, known_size: int | None = None) -> Geometry | None:
    """Return the geometry of a container, identified by its first bytes, not by its name.

    Args:
        source: the file.
        known_size: size of the image in bytes, if a scan has checked the same content: the end of
            an index is not read again then. Else None.

    Returns:
        The layout of its blocks; None if the file is not a container that zsofs supports.

    Raises:
        zsofs.errors.FormatError: the file is a container, but it is truncated, damaged or of a kind
            that zsofs does not support.
        OSError: the file cannot be read.
    """
    head = source.read_at(0, _HEAD_SIZE)
    module = _BY_MAGIC.get(head[:4])
    if module is None:
        return None
    known = () if known_size is None or module is chd else (known_size,)
    geometry: Geometry = module.parse(source, head, *known)
    return geometry


def has_magic(head: bytes) -> bool:
    """Return whether *head*, the first 4 bytes or more of a file, has the magic of a container."""
    return head[:4] in _BY_MAGIC


def ending_of(head: bytes) -> str:
    """Return the extension of a container of one disc by its first 4 bytes; empty for other files.

    It is empty for a CHD as well: what that becomes in a mount depends on its tracks.
    """
    module = _BY_MAGIC.get(head[:4])
    return "" if module is None else _ENDINGS.get(module, "")
