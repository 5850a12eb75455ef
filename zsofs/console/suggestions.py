"""Suggestions for unknown names: options, commands, keys and values."""

from collections.abc import Iterable, Mapping

_SIMILARITY = 0.6
"""Minimum similarity of two words, as a difflib ratio."""


def did_you_mean(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return a suggestion such as `` (did you mean --measure?)``, or an empty string.

    Args:
        word: the unknown name.
        known: the known names.
        others: names in other programs, each with the known name that does the same.
    """
    found = _nearest(word, list(known), others or {})
    return f" (did you mean {found}?)" if found else ""


def _nearest(word: str, known: list[str], others: Mapping[str, str]) -> str | None:
    plain = {_plain(one): one for one in known}
    wanted = _plain(word)
    if wanted in plain:
        return plain[wanted]
    for other, meant in others.items():
        if _plain(other) == wanted and meant in known:
            return meant
    longer = [one for bare, one in plain.items() if wanted and bare.startswith(wanted)]
    if len(longer) == 1:
        return longer[0]
    from difflib import get_close_matches  # imported only for an invalid command line

    close = get_close_matches(wanted, plain, n=1, cutoff=_SIMILARITY)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    """Return a word without frequently confused differences: case, dashes and underscores."""
    return word.casefold().replace("-", "").replace("_", "")
