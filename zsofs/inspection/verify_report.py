"""Output of `zsofs verify`: a line or JSON object per file, and a summary."""

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from zsofs.console.progress_bars import Bars
from zsofs.console.tables import counted, printable
from zsofs.discs.dat_tracks import DiscTrack
from zsofs.images.checksums import Digests
from zsofs.inspection.integrity import Damage
from zsofs.inspection.verdict import Verdict

CHANGED = "changed"
"""State of an image that differs from the last check although the file seems unchanged."""

FAILED = frozenset(("bad", CHANGED, "unreadable"))
UNVERIFIED = frozenset(("unknown", "not comparable"))

_MOST_FILES = 3
"""Maximum number of files of a disc named in a line."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result for one file.

    Attributes:
        path: path of the file.
        verdict: the verdict.
        container: name of the container format; empty if the file could not be opened as an image.
        size: size of the plain image in bytes; -1 if unknown.
        blocks: number of blocks; 0 for a plain image.
        digests: digests of the image, if it is whole.
        damage: the damage, if any.
        checked_at: when it was read, in seconds since 1970; 0 for this run.
        remarks: irregularities, for the user.
        tracks: of a CD that is whole, if it is known where they lie.
    """

    path: str
    verdict: Verdict
    container: str = ""
    size: int = -1
    blocks: int = 0
    digests: Digests = field(default_factory=Digests)
    damage: Damage | None = None
    checked_at: float = 0.0
    remarks: tuple[str, ...] = ()
    tracks: tuple[DiscTrack, ...] = ()


class VerifyReporter(Bars):
    """Reporter of `zsofs verify`.

    Attributes:
        states: number of files per state.
    """

    _interrupted = "files that were already verified are not read again next time"

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        super().__init__(quiet=quiet)
        self.states: Counter[str] = Counter()
        self.ignored = ""
        self._json = as_json

    def tell(self, result: Result) -> None:
        """Report the result of a file."""
        self._close_file_bar()
        state = result.verdict.state
        self.states[state] += 1
        if self._json:
            self._print(json.dumps(_as_object(result)), sys.stdout)
        elif not self._quiet or state in FAILED:
            self._print(_line(result), sys.stdout)
            for remark in result.remarks:
                self._print(f"  note: {printable(remark)}", sys.stdout)
        self._finish(result.path)

    def skip(self, path: str) -> None:
        """Skip a file that is not a disc."""
        self._finish(path)

    def _sum_up(self) -> None:
        total = self.states.total()
        if self._quiet:
            return
        if self.ignored:
            self._print(f"zsofs: {self.ignored}", sys.stderr)
        if self._json:
            return
        if not total:
            self._print("zsofs: no discs found", sys.stderr)
        elif total > 1:
            parts = ", ".join(f"{count} {state}" for state, count in self.states.most_common())
            self._print(f"{counted(total, 'file')}: {parts}", sys.stdout)


def _line(result: Result) -> str:
    verdict, damage = result.verdict, result.damage
    text = f"{printable(result.path)}: {verdict.state}, "
    if damage is None:
        text += verdict.reason
    else:
        text += damage_text(damage, result.blocks)
    if result.checked_at:
        text += f" (read on {time.strftime('%Y-%m-%d', time.localtime(result.checked_at))})"
    return printable(text)


def damage_text(damage: Damage, blocks: int) -> str:
    """Return the description of the damage of an image with that many blocks."""
    if damage.image_offset < 0:
        return damage.reason
    if damage.block < 0:
        return f"{damage.reason}; that is {_place(damage)}"
    some = "" if damage.bad == 1 else f"{damage.bad:,} of {blocks:,} blocks; the first is "
    return (
        f"{some}{damage.reason}; that is offset {damage.image_offset} of the image,"
        f" {_place(damage)}"
    )


def _place(damage: Damage) -> str:
    """Return the description of the damaged files."""
    files, lack = damage.files, damage.map_incomplete
    note = f" (file map incomplete: {lack})" if lack else ""
    if not files:
        return f"in no {'known ' if lack else ''}file of the disc{note}"
    more = f" and {len(files) - _MOST_FILES} more" if len(files) > _MOST_FILES else ""
    return f"in {', '.join(files[:_MOST_FILES])}{more}{note}"


def _as_object(result: Result) -> dict[str, Any]:
    verdict, damage, digests = result.verdict, result.damage, result.digests
    read = datetime.fromtimestamp(result.checked_at or time.time(), UTC)
    return {
        "path": result.path,
        "state": verdict.state,
        "reason": verdict.reason,
        "game": verdict.game,
        "dat": verdict.dat,
        "container": result.container,
        "plain_bytes": result.size if result.size >= 0 else None,
        "blocks": result.blocks,
        "crc32": digests.crc32,
        "md5": digests.md5,
        "sha1": digests.sha1,
        "damage": None if damage is None else _damage_as_object(damage),
        "read_before": bool(result.checked_at),
        "read_at": read.isoformat(timespec="seconds"),
        "remarks": result.remarks,
        "tracks": _tracks_as_objects(result),
    }


def _tracks_as_objects(result: Result) -> list[dict[str, Any]] | None:
    if not result.tracks:
        return None
    matching = result.verdict.matching or (None,) * len(result.tracks)
    return [
        {
            "number": number,
            "bytes": track.size,
            "crc32": track.digests.crc32,
            "md5": track.digests.md5,
            "sha1": track.digests.sha1,
            "in_dat": is_in_dat,
        }
        for number, (track, is_in_dat) in enumerate(zip(result.tracks, matching, strict=True), 1)
    ]


def _damage_as_object(damage: Damage) -> dict[str, Any]:
    return {
        "bad_blocks": damage.bad,
        "first_block": damage.block if damage.block >= 0 else None,
        "file_offset": damage.file_offset if damage.file_offset >= 0 else None,
        "image_offset": damage.image_offset if damage.image_offset >= 0 else None,
        "files": damage.files,
        "map_incomplete": damage.map_incomplete or None,
    }
