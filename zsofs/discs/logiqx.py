"""The games of a DAT in XML, as Redump, No-Intro and others publish them (Logiqx)."""

from collections.abc import Iterator
from typing import Protocol
from xml.parsers import expat

from zsofs.discs.dat_game import GAMES, HEADER, Game

_READ = 64 << 10

_MAX_ELEMENTS = 5_000_000
"""Maximum number of elements in a file; each costs about a microsecond."""

_MAX_DEPTH = 64

_MAX_PIECE = 4 << 20
"""Maximum bytes of a tag or comment, all of which expat buffers."""

_MAX_ATTRIBUTES = 500
"""Maximum number of attributes declared by a document type.
expat iterates over those of an element at each declaration. The DTD of MAME's list, the
largest one, declares about 150.
"""

_MAX_TEXT = 4096
"""Characters of the text in an element."""


class NotXmlError(Exception):
    """A file is not the XML of a DAT.

    Attributes:
        line: line number.
    """

    def __init__(self, line: int, found: str) -> None:
        super().__init__(found)
        self.line = line


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def games(source: _Source) -> Iterator[Game]:
    """Yield the header and the games as a stream.

    Namespaces are ignored. Nothing outside the file is fetched. A short file could expand to
    gigabytes in two ways, whatever the version of expat: by entities, whose declaration is
    rejected, and by default values of attributes, which are ignored.

    Raises:
        NotXmlError: the file is not valid XML, or exceeds the limits of a DAT.
        TooManyFilesError: a game has more files than the limit.
        OSError: it could not be read.
    """
    try:
        parser = _Parser()
        while piece := source.read(_READ):
            yield from parser.feed(piece)
        yield from parser.end()
    except expat.ExpatError as error:
        raise NotXmlError(error.lineno, expat.ErrorString(error.code)) from None
    except (LookupError, ValueError) as error:  # of the encoding in the XML declaration
        raise NotXmlError(1, str(error)) from None


class _Parser:
    """Collects games from the events of expat."""

    def __init__(self) -> None:
        self._done: list[Game] = []
        self._game: Game | None = None
        self._text: list[str] | None = None
        self._text_size = 0
        self._depth = 0
        self._elements = 0
        self._attributes = 0
        self._fed = 0
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = self._entity
        parser.AttlistDeclHandler = self._attribute
        parser.specified_attributes = True

    def feed(self, piece: bytes) -> list[Game]:
        """Return the games that end in a piece of the file."""
        self._fed += len(piece)
        self._parser.Parse(piece, False)
        if self._fed - self._parser.CurrentByteIndex > _MAX_PIECE:
            self._refuse(f"a tag or comment of more than {_MAX_PIECE >> 20} MiB")
        return self._taken()

    def end(self) -> list[Game]:
        """Return the games that end at the end of the file."""
        self._parser.Parse(b"", True)
        return self._taken()

    def _taken(self) -> list[Game]:
        done, self._done = self._done, []
        return done

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _MAX_DEPTH:
            self._refuse(f"more than {_MAX_DEPTH} levels of elements")
        if self._elements > _MAX_ELEMENTS:
            self._refuse(f"more than {_MAX_ELEMENTS} elements")
        kind = _local(tag)
        game = self._game
        if kind in GAMES or kind == HEADER:
            game = self._game = Game(kind, attributes.get("name", "").strip())
        if game is None:
            return
        if kind == "rom":
            game.add_file(attributes)
        if "serial" in attributes:
            game.add_serial(attributes["serial"])
        if kind == "serial" or (kind == "name" and game.kind == HEADER):
            self._text, self._text_size = [], 0
            self._parser.CharacterDataHandler = self._characters

    def _end(self, tag: str) -> None:
        self._depth -= 1
        kind, game = _local(tag), self._game
        if game is None:
            return
        if self._text is not None:
            text = "".join(self._text)
            if kind == "serial":
                game.add_serial(text)
            elif kind == "name":
                game.name = " ".join(text.split())
            self._text = None
            self._parser.CharacterDataHandler = None
        if kind == game.kind:
            self._done.append(game)
            self._game = None

    def _characters(self, data: str) -> None:
        self._text_size += len(data)
        if self._text is not None and self._text_size <= _MAX_TEXT:
            self._text.append(data)

    def _entity(self, *_declaration: object) -> None:
        self._refuse("a declaration of entities, which no DAT has")

    def _attribute(self, *_declaration: object) -> None:
        self._attributes += 1
        if self._attributes > _MAX_ATTRIBUTES:
            self._refuse(f"more than {_MAX_ATTRIBUTES} declarations of attributes")

    def _refuse(self, found: str) -> None:
        raise NotXmlError(self._parser.CurrentLineNumber, found)


def _local(tag: str) -> str:
    """Return a tag without its namespace prefix."""
    return tag.rpartition(":")[2]
