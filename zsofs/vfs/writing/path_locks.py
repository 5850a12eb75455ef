"""Shared and exclusive locks on source paths, held while an operation uses a path.

The kernel serializes operations on a name, but a directory above it may be renamed meanwhile, and
a file may be renamed while it is opened. Another directory may then have the
path, and a file of the same name in it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from zsofs.source.relpath import is_at_or_below


@dataclass(eq=False, slots=True)
class _Claim:
    """The locks of one request.

    Attributes:
        kept: the paths that must stay.
        moved: the path that it changes, with all below; None if it changes none.
        ended: set when the request has done it.
    """

    kept: tuple[bytes, ...]
    moved: bytes | None = None
    ended: trio.Event = field(default_factory=trio.Event)


class Paths:
    """All paths by which something is done just now. For the event loop."""

    def __init__(self) -> None:
        self._claims: set[_Claim] = set()

    @asynccontextmanager
    async def kept(self, wanted: Callable[[], tuple[bytes, ...]]) -> AsyncIterator[_Claim]:
        """Hold shared locks on these paths within the context.

        *wanted* is asked for them once nobody is about to move any, for they are others then.
        """
        await self._wait_until_none(
            lambda other: other.moved is not None and _is_any_at_or_below(wanted(), other.moved)
        )
        claim = _Claim(wanted())
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.remove(claim)
            claim.ended.set()

    async def move(self, claim: _Claim, path: bytes) -> None:
        """Take an exclusive lock on *path* and everything below.

        *claim* is the request's own, which keeps the directories that *path* is moved from and to;
        it ends the move as well.
        """
        claim.moved = path
        await self._wait_until_none(
            lambda other: other is not claim and _is_any_at_or_below(other.kept, path)
        )

    async def _wait_until_none(self, is_in_the_way: Callable[[_Claim], bool]) -> None:
        """Wait for each claim that is in the way, and no other: thousands may be under way."""
        while (other := next(filter(is_in_the_way, self._claims), None)) is not None:
            await other.ended.wait()


def _is_any_at_or_below(paths: tuple[bytes, ...], moved: bytes) -> bool:
    return any(is_at_or_below(path, moved) for path in paths)
