"""Which files that may be changed are open, by handle and by file."""

from collections.abc import Iterator
from dataclasses import dataclass

from zsofs.live import LiveFile
from zsofs.node import Node


@dataclass(frozen=True, slots=True)
class Handle:
    """A file that may be changed, open once.

    Attributes:
        number: the handle's.
        node: the file.
        live: the same, open.
        pid: the thread that opened it.
    """

    number: int
    node: Node
    live: LiveFile
    pid: int


class Handles:
    """All of them."""

    def __init__(self) -> None:
        self._all: dict[int, Handle] = {}
        self._by_node: dict[int, dict[int, Handle]] = {}

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._all.values())

    def get(self, number: int | None) -> Handle | None:
        """The handle of that number; None for a disc's, or for no number."""
        return None if number is None else self._all.get(number)

    def add(self, handle: Handle) -> None:
        """A file was opened."""
        self._all[handle.number] = handle
        self._by_node.setdefault(handle.node.serial, {})[handle.number] = handle

    def remove(self, handle: Handle) -> None:
        """A handle is about to be closed."""
        del self._all[handle.number]
        handles = self._by_node[handle.node.serial]
        del handles[handle.number]
        if not handles:
            del self._by_node[handle.node.serial]

    def of(self, node: Node, *, writable: bool = False) -> Handle | None:
        """A handle of a file that somebody has open, for writing if anybody; None if nobody has.

        *writable* asks for one that is open for writing or none.
        """
        handles = self._by_node.get(node.serial, {}).values()
        best = max(handles, key=lambda handle: handle.live.writable, default=None)
        return None if best is None or (writable and not best.live.writable) else best
