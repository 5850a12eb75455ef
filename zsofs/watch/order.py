"""What the watch and the process that packs for it send to each other."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from zsofs.watch.whole import FileIdentity


@dataclass(frozen=True, slots=True)
class Order:
    """One input to pack.

    Attributes:
        path: the file that is given to `zsofs pack`.
        files: all files of the input, with their identities when it was found complete.
        inbox: the inbox that has it.
        output: directory of the outputs.
        packing: as in :class:`zsofs.watch.settings.WatchSettings`.
        after: what is done with the input.
        move_to: directory for packed inputs.
        dats: paths of DATs.
        closed: whether a program was seen closing or renaming each of its files.
        is_written: whether each byte of its files was written.
        searched: directories that may have a child of it, if it is a CHD.
    """

    path: str
    files: tuple[tuple[str, FileIdentity], ...]
    inbox: str
    output: str
    packing: tuple[str, str | None, int | None, int | None]
    after: str
    move_to: str
    dats: tuple[str, ...]
    closed: bool
    is_written: bool
    searched: tuple[str, ...]

    def to_line(self) -> bytes:
        """Return it as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Order":
        """Return the order in a line of :meth:`to_line`."""
        fields: dict[str, Any] = json.loads(line)
        purpose, codec, level, block_size = fields["packing"]
        fields["packing"] = (purpose, codec, level, block_size)
        fields["files"] = tuple((path, FileIdentity(**one)) for path, one in fields["files"])
        fields["dats"] = tuple(fields["dats"])
        fields["searched"] = tuple(fields["searched"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order.

    Attributes:
        state: a state of :class:`zsofs.watch.ledger.Result`, CHANGED, REPLACED or WAITS.
        outputs: paths of the discs that were packed.
        error: why it failed, or why the input was kept.
        plain_bytes: size of their images.
        stored_bytes: size of the outputs.
        removed: whether the input was deleted or moved.
        sha1: of the CHD that the input was, if it was removed, as hexadecimal digits.
        parent: of the CHD that is missing.
    """

    state: str
    outputs: tuple[str, ...] = ()
    error: str = ""
    plain_bytes: int = 0
    stored_bytes: int = 0
    removed: bool = False
    sha1: str = ""
    parent: str = ""


CHANGED = "changed"
"""The input changed after it was found complete; nothing was packed."""

REPLACED = "replaced"
"""The packed file has the name of the input, in place; it is renamed when it is quiet."""

WAITS = "waits"
"""The input needs another file that may still arrive; nothing was packed."""
