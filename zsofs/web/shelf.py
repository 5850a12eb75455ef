"""The library of one mount, as the page receives it."""

import gzip
import json
import os
import time
from dataclasses import dataclass, field

import trio

from zsofs.mount.control.library import LibraryDisc, ask_library
from zsofs.system.mountinfo import Mounted
from zsofs.timings import timings
from zsofs.web.covers import Covers

_LEVEL = 1
"""Compression of the list: 10,000 discs become 300 kB in 30 ms."""


_READERS = 4


@dataclass(frozen=True, slots=True)
class ShelfDisc:
    """What the web process keeps of a disc.

    Attributes:
        shown: its path for display, as in other replies of the daemon.
        game_id: its ID.
        is_identified: whether zsofs has looked which disc it is.
        row: the fields that the page receives, as JSON without the last bracket.
    """

    shown: str
    game_id: str
    is_identified: bool
    row: str


@dataclass(slots=True)
class Shelf:
    """The library of a mount. One thread at a time calls :meth:`renew`.

    Attributes:
        source: path of the source directory; empty if it may not be read, because another user
            serves the mount, who could name any directory.
        version: identifies the content of *body*.
        body: all discs as JSON, compressed by gzip.
        total: number of all discs.
        complete: whether the whole source has been scanned.
        unidentified: number of listed discs that have not been identified.
        readers: limits the threads that wait for its disk.
    """

    source: str
    version: str = ""
    body: bytes = b""
    total: int = 0
    complete: bool = False
    unidentified: int = 0
    readers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(_READERS))
    _discs: dict[str, ShelfDisc] = field(default_factory=dict)
    _instance: str = ""
    _revision: int = 0
    _covers: Covers = field(default_factory=lambda: Covers(""))
    _looked: float = -1e9

    def disc(self, path: str) -> ShelfDisc | None:
        """Return the disc at a path in the source; None if there is none."""
        return self._discs.get(path)

    def cover(self, path: str) -> str | None:
        """Return the path of the cover of a disc, relative to the source; None without one."""
        disc = self._discs.get(path)
        return None if disc is None else self._covers.path_for(path, disc.game_id)

    def renew(self, mounted: Mounted) -> None:
        """Request what has changed; may wait for the daemon, and for a disk because of covers.

        Raises:
            ControlError: the mount does not answer.
        """
        changed = self._take(mounted)
        if changed or time.monotonic() - self._looked > timings().web_covers:
            self._looked = time.monotonic()
            covers = Covers(self.source)
            if self.source:
                covers.look({os.path.dirname(path) for path in self._discs})
            changed = changed or covers.names != self._covers.names
            self._covers = covers
        if changed or not self.version:
            self._write()

    def _take(self, mounted: Mounted) -> bool:
        """Take the changes; return whether there were any."""
        discs, changed = self._discs, False
        for page in ask_library(mounted, self._revision):
            if page.instance != self._instance:
                if self._instance and self._revision:
                    self._instance, self._revision = "", 0
                    return self._take_all(mounted)
                self._instance = page.instance
            changed = changed or bool(page.discs) or page.complete != self.complete
            discs = discs | {one.path or one.disc: _shelved(one) for one in page.discs}
            for one in page.discs:
                if one.gone:
                    discs.pop(one.path or one.disc, None)
            self._discs, self._revision = discs, page.revision
            self.total, self.complete = page.total, page.complete
        return changed

    def _take_all(self, mounted: Mounted) -> bool:
        self._discs = {}
        self._take(mounted)
        return True

    def _write(self) -> None:
        rows = []
        for path, disc in self._discs.items():
            has_cover = self._covers.path_for(path, disc.game_id) is not None
            rows.append(f"{disc.row},{int(has_cover)}]")
        self.unidentified = sum(not disc.is_identified for disc in self._discs.values())
        text = f'{{"complete":{json.dumps(self.complete)},"discs":[{",".join(rows)}]}}'
        self.body = gzip.compress(text.encode(), _LEVEL, mtime=0)
        self.version = f"{self._instance}-{self._revision}-{round(time.monotonic() * 1000)}"


def _shelved(disc: LibraryDisc) -> ShelfDisc:
    identity, form = disc.identity, disc.form
    row = [
        disc.path or disc.disc,
        disc.disc,
        *(identity.title, identity.game_id, identity.region, identity.platform),
        *(identity.label, identity.media),
        *(form.container, form.codec, form.block_size, form.stored_bytes, form.plain_bytes),
        *(disc.state, disc.reason, disc.verified, int(disc.identified), disc.bad, disc.bad_at),
    ]
    is_identified = disc.identified or disc.state not in ("compressed", "plain")
    text = json.dumps(row, separators=(",", ":")).removesuffix("]")
    return ShelfDisc(disc.disc, identity.game_id, is_identified, text)
