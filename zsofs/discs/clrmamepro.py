"""The games of a DAT in the text form of clrmamepro: ``game ( name "…" rom ( … ) )``."""

import re
from collections.abc import Iterator

from zsofs.discs.dat_game import GAMES, HEADER, MAX_FIELDS, Game, short

_BLOCK = re.compile(r"\s*[A-Za-z]+\s+\(\s")
"""Start of such a DAT: ``clrmamepro (``."""

_AFTER = r'(?=[ \t\r]*(?:$|\)|[a-z][a-z0-9_]*[ \t]+(?:"|[^\s"]+(?:\s|$))))'
"""Lookahead after a closing quote: end of line, a bracket, or another key with its value. Other
quotes are part of the text, because some writers do not escape them."""

_TOKEN = re.compile(
    rf'"((?:[^"\\\n]|\\.|"(?!{_AFTER}))*)"{_AFTER}|([^\s"]+)(?=\s|$)|(\S)', re.MULTILINE
)
"""A quoted text, a word or bracket, or a quote that is not closed on its line."""

_MAX_DEPTH = 16

_MAX_TOKENS = 4_000_000
"""Words, texts and brackets of one DAT; one of 20 MB has about a million."""

_MAX_LINE = 200
"""Characters of an invalid line that are used for a message."""

_FILE = "rom"
_CLRMAMEPRO = "clrmamepro"
"""Name of the header block."""


class NotTextError(Exception):
    """A DAT is malformed.

    Attributes:
        line: line number.
        wanted: what was expected.
        found: what was found.
    """

    def __init__(self, line: int, wanted: str, found: str) -> None:
        super().__init__(f"expected {wanted}, found {found}")
        self.line = line
        self.wanted = wanted
        self.found = found


def begins_like_one(text: str) -> bool:
    """Return whether a text looks like a DAT of this form."""
    return _BLOCK.match(text) is not None


def games(text: str) -> Iterator[Game]:
    """Yield the header and the games.

    Raises:
        NotTextError: brackets or quotes are unbalanced, or there are more of them than in any DAT.
    """
    key, block, game = "", "", Game("")
    for depth, bracket, value in _tokens(text):
        if not bracket and not key:
            key = value
            continue
        if bracket == "(" and depth == 1:
            kind = key.lower()
            game = Game(HEADER if kind == _CLRMAMEPRO else kind)
        elif bracket == "(" and depth == 2:
            block = key
            if block == _FILE:
                game.add_file({})
        elif bracket == ")" and not depth and (game.kind in GAMES or game.kind == HEADER):
            yield game
        elif not bracket:
            _take(game, block if depth == 2 else "", depth, key, value)
        key = ""


def _take(game: Game, block: str, depth: int, key: str, value: str) -> None:
    """Set a field of a game, or of a block in it."""
    if key == "serial":
        game.add_serial(value)
    if key == "name" and depth == 1:
        game.name = value.strip()
    elif block == _FILE and len(game.files[-1]) < MAX_FIELDS:
        game.files[-1].setdefault(key, value)


def _tokens(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield each bracket and value, with the bracket depth after it."""
    depth = 0
    for number, match in enumerate(_TOKEN.finditer(text)):
        quoted, word, stray = match.groups()
        bracket = word if word in ("(", ")") else ""
        if bracket:
            depth += 1 if bracket == "(" else -1
        wanted = ""
        if stray is not None:
            wanted = "a closing quote"
        elif depth < 0:
            wanted = "no closing bracket"
        elif depth > _MAX_DEPTH:
            wanted = f"at most {_MAX_DEPTH} open brackets"
        elif number == _MAX_TOKENS:
            wanted = f"at most {_MAX_TOKENS} words"
        if wanted:
            line = text.count("\n", 0, match.start()) + 1
            found = text[match.start() : match.start() + _MAX_LINE].partition("\n")[0]
            raise NotTextError(line, wanted, short(found))
        if quoted is not None:
            word = re.sub(r'\\(["\\])', r"\1", quoted) if "\\" in quoted else quoted
        yield depth, bracket, word
    if depth:
        raise NotTextError(text.count("\n") + 1, "a closing bracket", "the end of the file")
