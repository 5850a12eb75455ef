"""Keeps a path of the source as it is for as long as something is done by it.

The kernel lets nothing happen to a name while it is changed, but a folder above it may get another
name meanwhile, and a file may while it is being opened. Another folder may then have the path, and
a file of the same name in it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from zsofs.names import is_at_or_below


@dataclass(eq=False, slots=True)
class _Claim:
    """What one request does by paths.

    Attributes:
        kept: the paths that must stay.
        moved: the path that it changes, with all below; None if it changes none.
    """

    kept: tuple[bytes, ...]
    moved: bytes | None = None


class Paths:
    """All paths by which something is done just now. For the event loop."""

    def __init__(self) -> None:
        self._claims: set[_Claim] = set()
        self._changed = trio.Event()

    @asynccontextmanager
    async def kept(self, wanted: Callable[[], tuple[bytes, ...]]) -> AsyncIterator[_Claim]:
        """Have these paths stay until the context ends.

        *wanted* is asked for them once nobody is about to move any, for they are others then.
        """
        while any(
            claim.moved is not None and _is_any_at_or_below(wanted(), claim.moved)
            for claim in self._claims
        ):
            await self._changed.wait()
        claim = _Claim(wanted())
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.remove(claim)
            self._tell()

    async def move(self, claim: _Claim, path: bytes) -> None:
        """Let nobody else begin anything by *path* or below, and wait for those who have.

        *claim* is the request's own, which keeps the folders that *path* is moved from and to; it
        ends the move as well.
        """
        claim.moved = path
        while any(
            other is not claim and _is_any_at_or_below(other.kept, path) for other in self._claims
        ):
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _is_any_at_or_below(paths: tuple[bytes, ...], moved: bytes) -> bool:
    return any(is_at_or_below(path, moved) for path in paths)
