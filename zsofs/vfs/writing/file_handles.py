"""Open handles of changeable files, by number and by file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from zsofs.native.meters import HandleMeter
from zsofs.source.live_file import LiveFile
from zsofs.vfs.node import Node


@dataclass(slots=True)
class Handle:
    """An open handle of a changeable file.

    Attributes:
        number: the handle's number.
        node: the file.
        live: the open file.
        pid: the thread that opened it.
        meter: counts its reads; None before the first one.
        borrowers: number of requests without this handle that use it.
        returned: set by the last of them, after the handle was removed.
    """

    number: int
    node: Node
    live: LiveFile
    pid: int
    meter: HandleMeter | None = None
    borrowers: int = 0
    returned: trio.Event = field(default_factory=trio.Event)

    async def unused(self) -> None:
        """Wait until no request uses this removed handle, so that it can be closed.

        The number of a descriptor that is closed too early is reused for another file, which would
        be truncated instead. This happened with two programs, one of which closed a file while the
        other truncated it by its name.
        """
        if self.borrowers:
            await self.returned.wait()


class Handles:
    """All open handles."""

    def __init__(self) -> None:
        self._all: dict[int, Handle] = {}
        self._by_node: dict[Node, dict[int, Handle]] = {}

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._all.values())

    def get(self, number: int | None) -> Handle | None:
        """Return the handle of that number; None for a disc, or without a number."""
        return None if number is None else self._all.get(number)

    def add(self, handle: Handle) -> None:
        """Register the handle of an opened file."""
        self._all[handle.number] = handle
        self._by_node.setdefault(handle.node, {})[handle.number] = handle

    def remove(self, handle: Handle) -> None:
        """Remove a handle; it can no longer be borrowed."""
        del self._all[handle.number]
        handles = self._by_node[handle.node]
        del handles[handle.number]
        if not handles:
            del self._by_node[handle.node]

    def has(self, node: Node) -> bool:
        """Return whether a file is open."""
        return node in self._by_node

    @contextmanager
    def borrowed(
        self, node: Node, number: int | None = None, *, writable: bool = False
    ) -> Iterator[Handle | None]:
        """Yield an open handle of a file, and keep it open; None if there is none.

        Args:
            node: the file.
            number: the preferred handle.
            writable: whether it must be open for writing; such handles are preferred anyway.
        """
        handle = self.get(number) or self._best(node, writable=writable)
        if handle is None:
            yield None
            return
        handle.borrowers += 1
        try:
            yield handle
        finally:
            handle.borrowers -= 1
            if not handle.borrowers and self.get(handle.number) is None:
                handle.returned.set()

    def _best(self, node: Node, *, writable: bool) -> Handle | None:
        handles = self._by_node.get(node, {}).values()
        best = max(handles, key=lambda handle: handle.live.writable, default=None)
        return None if best is None or (writable and not best.live.writable) else best
