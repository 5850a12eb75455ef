"""The games of a DAT in XML, as Redump, No-Intro and others publish them (Logiqx)."""

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

GAMES = frozenset(("game", "machine"))
"""What a game is called in a DAT."""


class NotXmlError(Exception):
    """A file is no well-formed XML.

    Attributes:
        line: where that shows.
    """

    def __init__(self, line: int, found: str) -> None:
        super().__init__(found)
        self.line = line


def elements(file: BinaryIO, kinds: frozenset[str]) -> Iterator[Element]:
    """The elements of these kinds, one after another, each good until the next is asked for.

    The file is read as a stream, and memory does not grow with it. Nothing outside of it is ever
    fetched, and expat bounds what entities may grow to.

    Raises:
        NotXmlError: the file is none, from there on.
        OSError: it could not be read.
    """
    open_now: list[Element] = []
    try:
        for event, element in ElementTree.iterparse(file, ("start", "end")):
            if event == "start":
                open_now.append(element)
                continue
            open_now.pop()
            if element.tag in kinds:
                yield element
                element.clear()
            if len(open_now) == 1:
                open_now[0].clear()  # else all that was read stays in it
    except ElementTree.ParseError as error:
        raise NotXmlError(error.position[0], expat.ErrorString(error.code)) from None
    except (LookupError, ValueError) as error:  # of the encoding that the first line names
        raise NotXmlError(1, str(error)) from None
