"""Rows of findings in the scan cache."""

from typing import Any

from zsofs.discs.identify import Identity, Media, System
from zsofs.formats.geometry import MAX_BLOCK_SIZE, MAX_IMAGE_SIZE, AnyCodec, ChdCodec, Codec
from zsofs.formats.sheets import Sheet, parse_sheet
from zsofs.images.probe import Disc
from zsofs.source.cd_finding import CdFinding
from zsofs.source.finding import FileFinding
from zsofs.source.sheet_memory import sheet_memory
from zsofs.system.sqlite_store import row_check

_SYSTEMS = {system.value: system for system in System}
_MEDIA = {media.value: media for media in Media}
_CODECS: dict[object, AnyCodec] = {int(codec): codec for codec in (*Codec, *ChdCodec)}


def row_of(finding: FileFinding) -> tuple[object, ...]:
    """Return the columns of a finding, without the file that it is of."""
    disc, identity = finding.disc, finding.identity
    return (
        *(
            (None,) * 6
            if disc is None
            else (
                disc.container,
                int(disc.codec),
                disc.size,
                disc.block_size,
                int(disc.raw_cd),
                "\n".join(disc.remarks),
            )
        ),
        _storable(finding.reason),
        *(
            (None,) * 5
            if identity is None
            else (
                identity.system.value,
                identity.game_id,
                _storable(identity.title),
                _storable(identity.label),
                identity.media.value,
            )
        ),
        _storable("\n".join(finding.remarks)),
        finding.content,
        finding.right_ending,
        "" if finding.cd is None else _storable(finding.cd.to_text()),
        b"" if finding.sheet is None else finding.sheet.text,
    )


def finding_in(row: tuple[Any, ...]) -> FileFinding | None:
    """Return the finding in a row; None if the row is invalid."""
    folder, name, plain_size, mtime, ctime, container, codec, size, block_size, raw_cd = row[:10]
    remarks, reason, system, game_id, title, label, media, said, content = row[10:19]
    right_ending, cd, sheet, check = row[19:]
    if check != row_check(row[:-1]):
        return None
    if not (isinstance(plain_size, int) and isinstance(mtime, int) and isinstance(ctime, int)):
        return None
    if not (isinstance(folder, bytes) and isinstance(name, bytes)):
        return None
    try:
        identity = (
            None
            if system is None
            else Identity(
                _SYSTEMS[system], _text(game_id), _text(title), _text(label), _MEDIA[media]
            )
        )
        disc = (
            None
            if container is None
            else _disc(container, codec, size, block_size, raw_cd, remarks)
        )
        return FileFinding(
            disc,
            _text(reason),
            identity,
            _lines(said),
            _text(content),
            _text(right_ending),
            cd=CdFinding.from_text(_text(cd)) if cd else None,
            sheet=_sheet(name, sheet),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _disc(
    container: object,
    codec: object,
    size: object,
    block_size: object,
    raw_cd: object,
    remarks: object,
) -> Disc:
    if not (isinstance(size, int) and isinstance(block_size, int) and codec in _CODECS):
        raise TypeError("not numbers")
    if not (0 <= size <= MAX_IMAGE_SIZE and 0 < block_size <= MAX_BLOCK_SIZE):
        raise ValueError("out of bounds")
    return Disc(_text(container), _CODECS[codec], size, block_size, bool(raw_cd), _lines(remarks))


def _sheet(name: bytes, text: object) -> Sheet | None:
    if not isinstance(text, bytes):
        raise TypeError("not bytes")
    sheet = parse_sheet(name, text) if text else None
    return sheet if sheet is not None and sheet_memory.take(sheet) else None


def _lines(remarks: object) -> tuple[str, ...]:
    return tuple(_text(remarks).split("\n")) if remarks else ()


def _storable(text: str) -> str:
    """Return *text* without lone surrogates, which SQLite cannot store."""
    return text.encode(errors="replace").decode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value
