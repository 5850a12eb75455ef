"""Suggestions for words that zsofs does not know: options, commands, keys and values."""

from collections.abc import Iterable, Mapping

_SIMILARITY = 0.6
"""Share of letters that two words must have in common, as difflib counts it."""


def did_you_mean(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return a remark such as `` (did you mean --measure?)``, or nothing.

    Args:
        word: what was given.
        known: what could have been meant.
        others: words of other programs, each with the known one that does the same.
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
    from difflib import get_close_matches  # only a wrong command line needs it

    close = get_close_matches(wanted, plain, n=1, cutoff=_SIMILARITY)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    """A word without what people mix up: case, dashes and underscores."""
    return word.casefold().replace("-", "").replace("_", "")
