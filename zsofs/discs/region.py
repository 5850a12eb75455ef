"""The region of a game, by its ID."""

import re

_GAME_ID = re.compile(r"[SUN][A-Z]([A-Z])[A-Z][_-]\d")
_REGIONS = {
    "U": "America",
    "E": "Europe",
    "P": "Japan",
    "J": "Japan",
    "K": "Korea",
    "A": "Asia",
    "H": "Asia",
}
"""Third letter of the IDs that Sony assigned: ``SLUS``, ``SLES``, ``SLPM``, ``ULJS``, ``NPHG``."""


def region_of(game_id: str) -> str:
    """Return the region of a PS1, PS2 or PSP game; empty if its ID does not tell."""
    found = _GAME_ID.match(game_id)
    return _REGIONS.get(found[1], "") if found else ""
