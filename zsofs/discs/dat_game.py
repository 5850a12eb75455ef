"""What a DAT says of one game, whatever form the DAT has."""

from dataclasses import dataclass, field
from itertools import islice

from zsofs.errors import UsageError

GAMES = frozenset(("game", "machine"))
"""What a game is called in a DAT."""

HEADER = "header"

MAX_GAMES = 250_000
"""Games of one DAT; all consoles together have about 100,000."""

MAX_FILES = 500_000
"""Files of all games of one DAT."""

_MAX_OF_A_GAME = 10_000
"""Files of one game; CDs have up to 99 tracks."""


MAX_FIELDS = 40
"""Fields of one file, of which zsofs uses eight."""

_MAX_SERIALS = 1000
_MAX_SERIAL = 1000
"""Characters of one; games with many discs have some ten ids in it."""

_SHOWN = 40
"""Characters of a bad line that a message shows."""


class TooManyFilesError(Exception):
    """A game has more files than any has; the message says so."""


@dataclass(slots=True)
class Game:
    """A game, or the header, of a DAT.

    Attributes:
        kind: one of :data:`GAMES`, or :data:`HEADER`.
        name: as in ``Okami (USA)``.
        files: the fields of each file, such as ``name``, ``size`` and ``sha1``.
        serials: texts with ids such as ``SLUS-21134``.
    """

    kind: str
    name: str = ""
    files: list[dict[str, str]] = field(default_factory=list)
    serials: list[str] = field(default_factory=list)

    def add_file(self, fields: dict[str, str]) -> None:
        """Take a file.

        Raises:
            TooManyFilesError: there are more than any game has.
        """
        if len(self.files) == _MAX_OF_A_GAME:
            raise TooManyFilesError(f"a game with more than {_MAX_OF_A_GAME} files")
        if len(fields) > MAX_FIELDS:
            fields = dict(islice(fields.items(), MAX_FIELDS))
        self.files.append(fields)

    def add_serial(self, text: str) -> None:
        """Take a text with ids; what is longer than that of any game is cut."""
        if len(self.serials) < _MAX_SERIALS:
            self.serials.append(text[:_MAX_SERIAL])


class Counter:
    """Bounds what is read of a DAT."""

    def __init__(self, where: str) -> None:
        """Args: *where* is the name of the DAT for messages."""
        self._where = where
        self._games = 0
        self._files = 0

    def add(self, game: Game) -> None:
        """Count a game.

        Raises:
            UsageError: there are more than any DAT has.
        """
        self._games += 1
        self._files += len(game.files)
        if self._games > MAX_GAMES:
            raise UsageError(
                f"{self._where} has more than {MAX_GAMES} games; no real DAT has that many"
            )
        if self._files > MAX_FILES:
            raise UsageError(
                f"{self._where} has more than {MAX_FILES} files; no real DAT has that many"
            )


def short(found: str) -> str:
    """Return a piece of a file for a message, on one line."""
    found = found.strip()
    return repr(found if len(found) <= _SHOWN else found[: _SHOWN - 1] + "…")
