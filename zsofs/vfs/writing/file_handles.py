"""Which files that may be changed are open, by handle and by file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from zsofs.source.live_file import LiveFile
from zsofs.vfs.node import Node


@dataclass(slots=True)
class Handle:
    """An open handle of a changeable file.

    Attributes:
        number: the handle's.
        node: the file.
        live: the same, open.
        pid: the thread that opened it.
        borrowers: how many requests use it that did not come through it.
        returned: set by the last of them, once somebody waits for that.
    """

    number: int
    node: Node
    live: LiveFile
    pid: int
    borrowers: int = 0
    returned: trio.Event = field(default_factory=trio.Event)

    async def unused(self) -> None:
        """Wait until no request uses this removed handle, so that it can be closed.

        A descriptor that was closed too early is another file's a moment later, which would be
        truncated in this one's place (it was: by two programs, one of which closed a file while the
        other truncated it by its name).
        """
        if self.borrowers:
            await self.returned.wait()


class Handles:
    """All open handles."""

    def __init__(self) -> None:
        self._all: dict[int, Handle] = {}
        self._by_node: dict[int, dict[int, Handle]] = {}

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._all.values())

    def get(self, number: int | None) -> Handle | None:
        """Return the handle of that number; None for a disc's, or for no number."""
        return None if number is None else self._all.get(number)

    def add(self, handle: Handle) -> None:
        """A file was opened."""
        self._all[handle.number] = handle
        self._by_node.setdefault(handle.node.serial, {})[handle.number] = handle

    def remove(self, handle: Handle) -> None:
        """Lend a handle no more."""
        del self._all[handle.number]
        handles = self._by_node[handle.node.serial]
        del handles[handle.number]
        if not handles:
            del self._by_node[handle.node.serial]

    @contextmanager
    def borrowed(
        self, node: Node, number: int | None = None, *, writable: bool = False
    ) -> Iterator[Handle | None]:
        """Yield an open handle of a file, and keep it open; None if there is none.

        Args:
            node: the file.
            number: of the handle that is wanted above all.
            writable: whether only one will do that is open for writing; those are taken first
                anyway.
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
        handles = self._by_node.get(node.serial, {}).values()
        best = max(handles, key=lambda handle: handle.live.writable, default=None)
        return None if best is None or (writable and not best.live.writable) else best
