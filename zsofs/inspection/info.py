"""`zsofs info`: print details of disc images without unpacking them."""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from zsofs.console.stdio import complain, say
from zsofs.console.tables import printable, size
from zsofs.discs.cd_image import choose_form
from zsofs.discs.classify import ContentKind
from zsofs.discs.cue_files import is_cue_name
from zsofs.discs.identify import System
from zsofs.errors import InputError, ZsofsError, reason
from zsofs.formats.cd_tracks import begins
from zsofs.images.input_image import Original, original
from zsofs.inspection.chd_facts import NO_SHA1, ChdFacts
from zsofs.inspection.cue_facts import sheet_facts, track_text
from zsofs.inspection.facts import Facts, gather
from zsofs.inspection.known_start import KnownStart, known_start
from zsofs.inspection.readable_by import readers
from zsofs.inspection.written_by import maker_of

_WIDTH = 10
"""Width of the heading column."""


def run(paths: Sequence[str], as_json: bool) -> int:
    """Print details of files; return the exit code."""
    objects = []
    failed = False
    for number, path in enumerate(paths):
        try:
            if is_cue_name(path) and not os.path.isdir(path):
                found, rows = _of_sheet(path)
            else:
                with original(path) as opened:
                    found, rows = _of_image(choose_form(opened))
        except (OSError, ZsofsError, MemoryError) as error:
            failed = True
            why = reason(error) or "not enough memory"
            complain(f"zsofs: {printable(path)}: {printable(why)}")
            objects.append({"path": path, "error": why})
        else:
            objects.append(found)
            if not as_json:
                say("\n" * bool(number) + "\n".join(_lines(path, rows)))
    if as_json:
        say(json.dumps(objects, indent=2))
    return InputError.exit_code if failed else 0


_Rows = list[tuple[str, str]]
"""Headings and texts."""


def _of_image(image: Original) -> tuple[dict[str, Any], _Rows]:
    facts = gather(image)
    start = known_start(facts.path)
    rows = list(_rows(facts, image))
    if start is not None:
        rows.append(("boot trace", str(start)))
    return _as_object(facts, image, start), rows


def _of_sheet(path: str) -> tuple[dict[str, Any], _Rows]:
    """Return the details of a cue sheet, and of the disc in its first file.

    Raises:
        ZsofsError: it is no cue sheet, or a file of it cannot be read.
        OSError: a file cannot be read.
    """
    sheet = sheet_facts(path)
    with original(sheet.first) as image:
        facts = gather(image)
        found = _as_object(facts, image) | {
            "path": path,
            "container": "cue sheet",
            "stored_bytes": sheet.size,
            "plain_bytes": sheet.size,
            "read_by": {},
            "why_not": {},
            "tracks": sheet.tracks,
            "remarks": sheet.remarks,
        }
    rows = [("container", "none, a cue sheet"), *sheet.rows, ("disc", _disc(facts))]
    return found, [*rows, *(("note", remark) for remark in sheet.remarks)]


def _lines(path: str, rows: _Rows) -> Iterator[str]:
    yield printable(path)
    for heading, text in rows:
        yield f"  {heading:<{_WIDTH}} {printable(text)}".rstrip()


def _rows(facts: Facts, image: Original) -> Iterator[tuple[str, str]]:
    yield "container", _container(facts)
    share = f" ({100 * facts.stored / facts.plain:.0f} %)" if facts.plain else ""
    yield "size", f"{size(facts.plain)} plain, {size(facts.stored)} stored{share}"
    blocks = facts.blocks
    if blocks is not None and blocks.count:
        yield (
            "blocks",
            f"{blocks.count:,}; {_percent(blocks.scan.plain, blocks.count)} stored plain,"
            f" about {_percent(blocks.zeros, blocks.count)} zeros",
        )
    if facts.chd is not None:
        yield from _rows_of_chd(facts.chd)
    yield "disc", _disc(facts)
    if facts.identity is not None and facts.identity.title:
        yield "title", facts.identity.title
    maker = maker_of(image, facts)
    if maker:
        yield "written by", maker
    if image.seal is not None:
        yield "seal", f"SHA-1 {image.seal.sha1}"
        yield "", f"MD5 {image.seal.md5}, CRC-32 {image.seal.crc32}"
    heading = "read by"
    for name, why in readers(facts).items():
        yield heading, f"{name}: {f'no, {why}' if why else 'yes'}"
        heading = ""
    for remark in facts.remarks:
        yield "note", remark


def _rows_of_chd(chd: ChdFacts) -> Iterator[tuple[str, str]]:
    hunks = chd.layout.hunk_count
    if hunks and chd.shares:
        shares = (f"{_percent(count, hunks)} {name}" for name, count in chd.shares.items())
        yield "hunks", f"{hunks:,}; {', '.join(shares)}"
    for track, begin in zip(chd.tracks, begins(chd.tracks), strict=True):
        yield f"track {track.number}", track_text(track, begin)
    if chd.layout.sha1s.data != NO_SHA1:
        yield "SHA-1", f"{chd.layout.sha1s.data} of the data"
    if chd.layout.sha1s.parent:
        yield "parent", f"the CHD with SHA-1 {chd.layout.sha1s.parent}"


def _container(facts: Facts) -> str:
    if facts.chd is not None:
        layout = facts.chd.layout
        return (
            f"CHD version 5, {', '.join(facts.chd.codecs)}, hunks of {layout.hunk_size}, units of"
            f" {layout.unit_size}"
        )
    blocks = facts.blocks
    if blocks is None:
        content = facts.content
        is_other = content is not None and content.kind is ContentKind.OTHER
        return (
            f"none, {content.name}" if content is not None and is_other else "none, a plain image"
        )
    header = blocks.header
    codec = blocks.codec.name.lower()
    if blocks.scan.lz4 and blocks.scan.lz4 < blocks.count - blocks.scan.plain:
        codec += " and lz4"
    return (
        f"{facts.container.removesuffix(' v2')} version {header.version}, {codec}, blocks of"
        f" {header.block_size}, index shift {header.shift}"
    )


def _disc(facts: Facts) -> str:
    identity = facts.identity
    if identity is None:
        return "cannot be told"
    if identity.system is System.PSP:
        kind = "PSP"
    else:
        kind = f"{identity.system.value} {identity.media.value}".strip()
        if identity.system is System.OTHER:
            kind = f"no PlayStation disc, as large as a {kind}"
    label = f"label {identity.label}" if identity.label else ""
    return ", ".join(part for part in (kind, identity.game_id, label) if part)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _as_object(facts: Facts, image: Original, start: KnownStart | None = None) -> dict[str, Any]:
    blocks, identity, chd = facts.blocks, facts.identity, facts.chd
    reasons = readers(facts)
    return {
        "path": facts.path,
        "container": facts.container,
        "version": blocks.header.version if blocks else None,
        "codec": blocks.codec.name.lower() if blocks else None,
        "block_size": blocks.header.block_size if blocks else None,
        "shift": blocks.header.shift if blocks else None,
        "stored_bytes": facts.stored,
        "plain_bytes": facts.plain,
        "blocks": blocks.count if blocks else None,
        "plain_blocks": blocks.scan.plain if blocks else None,
        "lz4_blocks": blocks.scan.lz4 if blocks else None,
        "zero_blocks": blocks.zeros if blocks else None,
        "bad_entries": blocks.scan.bad if blocks else None,
        "raw_cd": facts.raw_cd,
        "system": identity.system.value if identity else "",
        "id": identity.game_id if identity else "",
        "title": identity.title if identity else "",
        "label": identity.label if identity else "",
        "media": identity.media.value if identity else "",
        "written_by": maker_of(image, facts),
        "seal": _seal(image),
        "chd": chd.as_object() if chd is not None else None,
        "tracks": None,
        "boot_trace": start.as_object() if start is not None else None,
        "read_by": {name: not why for name, why in reasons.items()},
        "why_not": {name: why for name, why in reasons.items() if why},
        "remarks": facts.remarks,
        "error": None,
    }


def _seal(image: Original) -> dict[str, str] | None:
    seal = image.seal
    if seal is None:
        return None
    return {"zsofs": seal.version, "crc32": seal.crc32, "md5": seal.md5, "sha1": seal.sha1}
