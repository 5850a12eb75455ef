"""Whether Open PS2 Loader can play a plain image."""

from zsofs.discs.classify import RAW_CD
from zsofs.discs.identify import System


def why_not_played(system: System, content: str, *, raw_cd: bool) -> str:
    """Return why OPL cannot play a plain image, as a sentence; empty if it can.

    Args:
        system: the console. Homebrew is OTHER, which is accepted.
        content: kind of the image, as in :class:`zsofs.source.scan_cache.FileFinding`.
        raw_cd: whether it has raw CD sectors of 2352 bytes.
    """
    if system not in (System.PS2, System.OTHER):
        return f"it is a {system.value} disc"
    if raw_cd or content == RAW_CD:
        return "it has raw CD sectors"
    return f"it is {content}" if content else ""
