"""Names of archives, and of the volumes that one may be split into. Pure functions of bytes."""

import re
from os.path import splitext

from zsofs.formats.file_names import has_disc_ending

_ARCHIVES = frozenset((b".7z", b".zip", b".rar", b".tar"))
_STREAMS = frozenset((b".gz", b".xz", b".bz2", b".zst"))
_TARS = frozenset((b".tgz", b".txz", b".tbz2", b".tzst"))

_PART_OF_RAR = re.compile(rb"(?i)(.+\.part)(\d+)(\.rar)", re.DOTALL)
_NUMBERED = re.compile(rb"(?i)(.+\.(?:7z|zip)\.)(\d{3,})", re.DOTALL)
_OLD_RAR = re.compile(rb"(?i)(.+\.)r(ar|\d\d)", re.DOTALL)
_SPLIT_ZIP = re.compile(rb"(?i)(.+\.)z(ip|\d\d)", re.DOTALL)

_MEANINGLESS = re.compile(
    rb"(?i)(?:(?:the)?[ _-]?(?:image|game|dis[ck]|cd|dvd|umd|iso|rom|data|track|untitled|unnamed"
    rb"|new|file|backup|dump|output|copy|content|main|a|x)?[ _-]?(?:rom|image|dis[ck])?"
    rb"[ _.-]*\d*)"
)


def is_archive(name: bytes) -> bool:
    """Return whether this is the name of an archive, or of the first one of its volumes."""
    numbered = _NUMBERED.fullmatch(name) or _PART_OF_RAR.fullmatch(name)
    if numbered:
        return int(numbered[2]) == 1
    stem, ending = splitext(name)
    if ending.lower() in _STREAMS:
        return _is_content(stem)
    return ending.lower() in _ARCHIVES | _TARS


def stem(name: bytes) -> bytes:
    """Return the name of an archive without the extensions of archives and volumes."""
    for pattern in (_PART_OF_RAR, _NUMBERED):
        found = pattern.fullmatch(name)
        if found:
            return re.sub(rb"(?i)\.(part|7z\.|zip\.)\Z", b"", found[1])
    inner, ending = splitext(name)
    if ending.lower() in _STREAMS:
        return splitext(inner)[0] if _is_content(inner) else inner
    return inner if ending.lower() in _ARCHIVES | _TARS else name


def _is_content(name: bytes) -> bool:
    """Return whether a compressed file with this name, such as ``Game.iso``, is an input."""
    return has_disc_ending(name) or splitext(name)[1].lower() == b".tar"


def is_meaningless(name: bytes) -> bool:
    """Return whether the stem of an image's name, such as ``disc1``, says nothing about it."""
    return _MEANINGLESS.fullmatch(name) is not None


class Volumes:
    """The volumes of an archive, by the name of one of them.

    Attributes:
        number: which one the name is, counted from 0.
        known: whether the name alone says that there are several.
    """

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._found, self._way = _match(name)
        self.number = 0
        self.known = self._way in ("part", "numbered")
        if self._found is None:
            return
        if self.known:
            self.number = int(self._found[2]) - 1
        elif self._way == "old" and self._found[2].lower() != b"ar":
            self.number, self.known = int(self._found[2]) + 1, True
        elif self._way == "zip" and self._found[2].lower() != b"ip":
            self.number, self.known = int(self._found[2]) - 1, True

    def name(self, number: int) -> bytes:
        """Return the name of a volume, counted from 0; of a split ZIP, the last one is separate."""
        found = self._found
        if found is None:
            return self._name
        if self._way in ("part", "numbered"):
            digits = b"%0*d" % (len(found[2]), number + 1)
            return found[1] + digits + (found[3] if self._way == "part" else b"")
        letter = self._name[len(found[1]) : len(found[1]) + 1]
        if self._way == "old":
            tail = (b"AR" if letter == b"R" else b"ar") if number == 0 else b"%02d" % (number - 1)
        else:
            tail = b"%02d" % (number + 1)
        return found[1] + letter + tail

    @property
    def last(self) -> bytes:
        """Name of the last volume of a split ZIP; empty for other archives."""
        if self._found is None or self._way != "zip":
            return b""
        letter = self._name[len(self._found[1]) : len(self._found[1]) + 1]
        return self._found[1] + (b"ZIP" if letter == b"Z" else b"zip")

    @property
    def may_be_split(self) -> bool:
        """Whether the names of further volumes follow from this one."""
        return self._found is not None


def _match(name: bytes) -> tuple[re.Match[bytes] | None, str]:
    for pattern, way in (
        (_PART_OF_RAR, "part"),
        (_NUMBERED, "numbered"),
        (_OLD_RAR, "old"),
        (_SPLIT_ZIP, "zip"),
    ):
        found = pattern.fullmatch(name)
        if found:
            return found, way
    return None, ""
