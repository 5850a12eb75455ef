"""A user's list of titles by game id, as lines of ``ID,Title`` or as a DAT with serials."""

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from zsofs.console.text import for_people
from zsofs.discs.clrmamepro import begins_like_one
from zsofs.discs.dat_file import opened
from zsofs.discs.dat_game import HEADER, Game, short
from zsofs.discs.dat_games import games_of, is_xml, malformed, text_games, text_of
from zsofs.errors import FileError, UsageError, reason

log = logging.getLogger(__name__)

_MAX_LINES = 1_000_000

_ID = re.compile(r"([A-Za-z]{4})[-_. ]?(\d{3})\.?(\d{2})", re.ASCII)
_SERIAL = re.compile(rf"(?<![A-Za-z\d]){_ID.pattern}(?!\d)([\w-]*)", re.ASCII)
"""An id anywhere in a serial, and what hangs on it: the ``GH`` of ``SLUS-20265GH``."""

_LINE = re.compile(r".*\n?")


def normal_id(game_id: str) -> str:
    """Return an id without its punctuation, in capitals: ``SLUS20963``."""
    return "".join(char for char in game_id.upper() if char.isascii() and char.isalnum())


def load_titles(path: Path, *, from_file: bool = False) -> dict[str, str]:
    """Read a list of titles.

    A list has one ``ID,Title`` on each line, in UTF-8; the title may be in double quotes, and blank
    lines and lines that begin with ``#`` are ignored. A DAT is XML (Logiqx) or clrmamepro text. If
    an id occurs more than once, its first title is used.

    Args:
        path: of the list.
        from_file: whether it must be a regular file, not a pipe, which may never end.

    Returns:
        Titles by :func:`normal_id`.

    Raises:
        FileError: the file cannot be read.
        UsageError: it is too large, has a malformed line, or is a DAT that does not say which ids
            its games have.
    """
    where = for_people(os.fsencode(path))
    try:
        with opened(path, where, regular=from_file) as content:
            if is_xml(content):
                return _by_serial(games_of(content), where)
            text = text_of(content)
    except OSError as error:
        why = reason(error)
        raise FileError(f"the list of titles {where} cannot be read: {why}") from None
    if begins_like_one(text):
        return _by_serial(text_games(text, where), where)
    return _listed(text, where)


def _listed(text: str, where: str) -> dict[str, str]:
    """Return the titles of a list of lines."""
    titles: dict[str, str] = {}
    for number, match in enumerate(_LINE.finditer(text), 1):
        line = match[0]
        if line and number > _MAX_LINES:
            raise UsageError(f"the list of titles {where} has more than {_MAX_LINES} lines")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        left, _comma, right = line.partition(",")
        found = _ID.fullmatch(left.strip())
        title = _unquoted(right.strip())
        if found is None:
            raise malformed(where, number, "an id such as SLUS-20963, then a comma", short(line))
        if not title:
            wanted = "a title after the comma, with its quotes closed"
            raise malformed(where, number, wanted, short(line))
        titles.setdefault(normal_id(found[0]), title)
    return titles


def _unquoted(text: str) -> str:
    """Return a title without the quotes around it; empty if they do not close."""
    if not text.startswith('"'):
        return text
    if not text.endswith('"'):
        return ""
    return text[1:-1].replace('""', '"').strip()


def _by_serial(games: Iterable[Game], where: str) -> dict[str, str]:
    """Return the titles of a DAT.

    Serials of later editions, such as ``SLUS-20265GH``, name the disc as well, but a game that has
    the plain one goes first.
    """
    plain: dict[str, str] = {}
    edition: dict[str, str] = {}
    count = skipped = 0
    for game in games:
        if game.kind == HEADER:
            continue
        count += 1
        found = _SERIAL.findall(" / ".join(game.serials))
        skipped += not (found and game.name)
        for letters, three, two, rest in found:
            if game.name:
                (edition if rest else plain).setdefault((letters + three + two).upper(), game.name)
    if not count:
        raise UsageError(f"{where} is neither a DAT with games nor a list of ID,Title lines")
    if not plain and not edition:
        raise UsageError(
            f"{where} is a DAT without serials such as SLUS-20963 (Redump DATs have none), so"
            " titles cannot be matched to discs; use a DAT with serials, such as libretro's, or"
            " a list of lines such as SLUS-20963,Final Fantasy XII"
        )
    if skipped:
        log.warning(
            "%s: %d of %d games have no title or serial; they are skipped", where, skipped, count
        )
    return edition | plain
