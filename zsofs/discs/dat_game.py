"""A game as listed in a DAT, independent of the form of the DAT."""

from dataclasses import dataclass, field
from itertools import islice

from zsofs.errors import UsageError

GAMES = frozenset(("game", "machine"))
"""Names of the game element in a DAT."""

HEADER = "header"

MAX_GAMES = 250_000
"""Maximum number of games in a DAT; all consoles together have about 100,000."""

MAX_FILES = 500_000
"""Maximum number of files in a DAT."""

_MAX_OF_A_GAME = 10_000
"""Maximum number of files of a game; CDs have up to 99 tracks."""


MAX_FIELDS = 40
"""Maximum number of fields of a file, of which zsofs uses eight."""

_MAX_SERIALS = 1000
_MAX_SERIAL = 1000
"""Maximum length of a serial; games with many discs list some ten IDs in it."""

_SHOWN = 40
"""Characters of an invalid line that a message shows."""


class TooManyFilesError(Exception):
    """A game has more files than the limit; the message has the details."""


@dataclass(slots=True)
class Game:
    """A game, or the header, of a DAT.

    Attributes:
        kind: one of :data:`GAMES`, or :data:`HEADER`.
        name: such as ``Okami (USA)``.
        files: the fields of each file, such as ``name``, ``size`` and ``sha1``.
        serials: texts with IDs such as ``SLUS-21134``.
    """

    kind: str
    name: str = ""
    files: list[dict[str, str]] = field(default_factory=list)
    serials: list[str] = field(default_factory=list)

    def add_file(self, fields: dict[str, str]) -> None:
        """Add a file.

        Raises:
            TooManyFilesError: the limit is exceeded.
        """
        if len(self.files) == _MAX_OF_A_GAME:
            raise TooManyFilesError(f"a game with more than {_MAX_OF_A_GAME} files")
        if len(fields) > MAX_FIELDS:
            fields = dict(islice(fields.items(), MAX_FIELDS))
        self.files.append(fields)

    def add_serial(self, text: str) -> None:
        """Add a text with IDs; a text that is too long is truncated."""
        if len(self.serials) < _MAX_SERIALS:
            self.serials.append(text[:_MAX_SERIAL])


class Counter:
    """Enforces the limits of a DAT."""

    def __init__(self, where: str) -> None:
        """Create it; *where* is the name of the DAT for messages."""
        self._where = where
        self._games = 0
        self._files = 0

    def add(self, game: Game) -> None:
        """Count a game.

        Raises:
            UsageError: the limit is exceeded.
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
    """Return part of a file for a message, on one line."""
    found = found.strip()
    return repr(found if len(found) <= _SHOWN else found[: _SHOWN - 1] + "…")
