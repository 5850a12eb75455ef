"""The games of a DAT in either form: XML (Logiqx) or text (clrmamepro)."""

from collections.abc import Iterator

from zsofs.discs import clrmamepro, logiqx
from zsofs.discs.dat_file import Content
from zsofs.discs.dat_game import HEADER, Counter, Game, TooManyFilesError, short
from zsofs.errors import UsageError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_xml(content: Content) -> bool:
    """Return whether a file starts like XML, in UTF-8, UTF-16 or another encoding."""
    head = content.peek().removeprefix(_BYTE_ORDER_MARK).lstrip()
    return head.startswith((b"<", b"\xff\xfe<", b"\xfe\xff\0<"))


def games_of(content: Content) -> Iterator[Game]:
    """Yield the header and the games of a DAT.

    Raises:
        UsageError: it is malformed, or exceeds the limits of a DAT.
        OSError: it cannot be read.
    """
    if is_xml(content):
        return _counted(_xml_games(content), content.where)
    head = content.peek().removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace")
    if not clrmamepro.begins_like_one(head):
        found = short(head.lstrip().partition("\n")[0])
        raise UsageError(
            f"{content.where} is not a DAT: expected XML (Logiqx) or clrmamepro text, found {found}"
        )
    return text_games(text_of(content), content.where)


def text_of(content: Content) -> str:
    """Return all of a file as text.

    Raises:
        UsageError: it is not UTF-8.
        OSError: it cannot be read.
    """
    data = content.all().removeprefix(_BYTE_ORDER_MARK)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte {data[error.start]:#04x}"
        raise malformed(content.where, line, "text in UTF-8", found) from None


def text_games(text: str, where: str) -> Iterator[Game]:
    """Yield the header and the games of a DAT in the form of clrmamepro; raises as games_of()."""
    return _counted(_text_games(text, where), where)


def _counted(games: Iterator[Game], where: str) -> Iterator[Game]:
    counter = Counter(where)
    try:
        for game in games:
            if game.kind != HEADER:
                counter.add(game)
            yield game
    except TooManyFilesError as error:
        raise UsageError(f"{where} has {error}; no real DAT has that many") from None


def _xml_games(content: Content) -> Iterator[Game]:
    try:
        yield from logiqx.games(content)
    except logiqx.NotXmlError as error:
        raise malformed(content.where, error.line, "the XML of a DAT", str(error)) from None


def _text_games(text: str, where: str) -> Iterator[Game]:
    try:
        yield from clrmamepro.games(text)
    except clrmamepro.NotTextError as error:
        raise malformed(where, error.line, error.wanted, error.found) from None


def malformed(where: str, line: int, wanted: str, found: str) -> UsageError:
    """Return the error for an invalid line of a file."""
    return UsageError(f"{where}, line {line}: expected {wanted}, found {found}")
