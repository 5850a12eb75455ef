"""A user's list of titles by game id, as lines of ``ID,Title`` or as a DAT with serials."""

import io
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from zsofs.errors import FileError, UsageError
from zsofs.logiqx import GAMES, NotXmlError, elements
from zsofs.names import for_people

_MAX_SIZE = 64 << 20
"""The largest file taken, in bytes. The largest DAT of a console, PlayStation 2, has 4 MB."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_ID = re.compile(r"([A-Za-z]{4})[-_. ]?(\d{3})\.?(\d{2})", re.ASCII)
_SERIAL = re.compile(rf"(?<![A-Za-z\d]){_ID.pattern}(?!\d)([\w-]*)", re.ASCII)
"""An id anywhere in a serial, and what hangs on it: the ``GH`` of ``SLUS-20265GH``."""

_LINE = re.compile(r".*\n?")
_BLOCK = re.compile(r"\s*[A-Za-z]+\s+\(\s")
"""How a DAT of clrmamepro begins: ``clrmamepro (``."""

_TOKEN = re.compile(r'"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"|([^\s"]\S*)|(\S)')
"""A text in quotes, a word or bracket, or a quote that is not closed on its line."""

_SHOWN = 40
"""Characters of a bad line that a message shows."""

_Game = tuple[str, list[str]]


def normal_id(game_id: str) -> str:
    """An id without its punctuation, in capitals: ``SLUS20963``."""
    return "".join(char for char in game_id.upper() if char.isascii() and char.isalnum())


def load_titles(path: Path, *, from_file: bool = False) -> dict[str, str]:
    """Read a list of titles.

    A list has one ``ID,Title`` on each line, in UTF-8; the title may be in double quotes, and blank
    lines and those that begin with ``#`` do not count. A DAT is XML (Logiqx) or the text of
    clrmamepro. If an id occurs more than once, its first title counts.

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
    data = _contents(path, where, from_file)
    if data.lstrip().startswith(b"<"):
        return _by_serial(_xml_games(data, where), where)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte {data[error.start]:#04x}"
        raise _malformed(where, line, "text in UTF-8", found) from None
    if _BLOCK.match(text):
        return _by_serial(_text_games(text, where), where)
    return _listed(text, where)


def _contents(path: Path, where: str, from_file: bool) -> bytes:
    try:
        with open(path, "rb", opener=_open_file if from_file else None) as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise FileError(f"the list of titles {where} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_SIZE:
        raise UsageError(
            f"the list of titles {where} has more than {_MAX_SIZE >> 20} MiB; no list or DAT of one"
            " console is that large"
        )
    return data.removeprefix(_BYTE_ORDER_MARK)


def _open_file(path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is no regular file")
    return fd


def _listed(text: str, where: str) -> dict[str, str]:
    """The titles of a list of lines."""
    titles: dict[str, str] = {}
    for number, match in enumerate(_LINE.finditer(text), 1):
        line = match[0]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        left, _comma, right = line.partition(",")
        found = _ID.fullmatch(left.strip())
        title = _unquoted(right.strip())
        if found is None:
            raise _malformed(where, number, "an id such as SLUS-20963, then a comma", _short(line))
        if not title:
            wanted = "a title behind the comma, with its quotes closed"
            raise _malformed(where, number, wanted, _short(line))
        titles.setdefault(normal_id(found[0]), title)
    return titles


def _unquoted(text: str) -> str:
    """A title without the quotes around it; empty if they do not close."""
    if not text.startswith('"'):
        return text
    if not text.endswith('"'):
        return ""
    return text[1:-1].replace('""', '"').strip()


def _by_serial(games: Iterable[_Game], where: str) -> dict[str, str]:
    """The titles of a DAT.

    Serials of later editions, such as ``SLUS-20265GH``, name the disc as well, but a game that has
    the plain one goes first.
    """
    plain: dict[str, str] = {}
    edition: dict[str, str] = {}
    found = list(games)
    for title, serials in found:
        for letters, three, two, rest in _SERIAL.findall(" / ".join(serials)):
            if title:
                (edition if rest else plain).setdefault((letters + three + two).upper(), title)
    if not found:
        raise UsageError(f"{where} is neither a DAT with games nor a list of lines of ID,Title")
    if not plain and not edition:
        raise UsageError(
            f"{where} is a DAT without serials such as SLUS-20963 (Redump's own have none), so"
            " nothing says which disc a title belongs to; take one with serials, such as"
            " libretro's, or a list of lines such as SLUS-20963,Final Fantasy XII"
        )
    return edition | plain


def _xml_games(data: bytes, where: str) -> Iterator[_Game]:
    """The games of a Logiqx DAT; serials are attributes or elements, of a game or of its files."""
    try:
        for element in elements(io.BytesIO(data), GAMES):
            serials = [part.get("serial", "") for part in element.iter()]
            serials += [part.text or "" for part in element.iter("serial")]
            yield element.get("name", "").strip(), serials
    except NotXmlError as error:
        raise _malformed(where, error.line, "the XML of a DAT", str(error)) from None


def _text_games(text: str, where: str) -> Iterator[_Game]:
    """The games of a clrmamepro DAT: ``game ( name "…" serial "…" rom ( … ) )``."""
    key = block = title = ""
    serials: list[str] = []
    for depth, bracket, value in _tokens(text, where):
        if bracket == "(":
            if depth == 1:
                block, title, serials = key, "", []
        elif bracket == ")":
            if not depth and block in GAMES:
                yield title, serials
        elif not key:
            key = value
            continue
        elif key == "serial":
            serials.append(value)
        elif key == "name" and depth == 1:
            title = value.strip()
        key = ""


def _tokens(text: str, where: str) -> Iterator[tuple[int, str, str]]:
    """Each bracket with how many are open after it; each other value with how many are open."""
    depth = 0
    for match in _TOKEN.finditer(text):
        quoted, word, stray = match.groups()
        bracket = word if word in ("(", ")") else ""
        depth += {"(": 1, ")": -1, "": 0}[bracket]
        if stray is not None or depth < 0:
            line = text.count("\n", 0, match.start()) + 1
            found = text[match.start() :].partition("\n")[0]
            wanted = "a closing quote" if stray is not None else "no closing bracket"
            raise _malformed(where, line, wanted, _short(found))
        yield depth, bracket, word or re.sub(r'\\(["\\])', r"\1", quoted)
    if depth:
        raise _malformed(where, text.count("\n") + 1, "a closing bracket", "the end")


def _malformed(where: str, line: int, wanted: str, found: str) -> UsageError:
    return UsageError(f"{where}, line {line}: expected {wanted}, found {found}")


def _short(found: str) -> str:
    """A piece of a file for a message, on one line."""
    found = found.strip()
    return repr(found if len(found) <= _SHOWN else found[: _SHOWN - 1] + "…")
