"""What is inside one file of the source: a disc or none, which one, and whether it is whole."""

import fcntl
import signal
from collections.abc import Callable

from zsofs.catalog import Finding
from zsofs.disc import Identity, identify
from zsofs.errors import BlockError, FormatError, StaleNodeError
from zsofs.names import NOT_PACKED, is_kept_for_discs, is_packed_name, is_plain_image
from zsofs.probe import (
    CD_SYNC,
    Disc,
    OpenSource,
    block_reader,
    geometry_of,
    looks_like_disc,
    memory_for,
    probe,
)


class StillWrittenError(Exception):
    """A program has the file open for writing, or may have: what is in it may yet change."""


def look_inside(
    source: OpenSource, name: bytes, *, tells_writers: bool, quiet: bool, identities: bool
) -> Finding:
    """What is in a file, which some program may be writing at the moment.

    Args:
        source: the file.
        name: its name, whose ending tells what it should be.
        tells_writers: whether the file system may be asked if some program has it open for
            writing: one that others change as well does not know (FUSE then says no to everyone,
            NFS yes).
        quiet: whether it is to be taken for whole where that cannot be told.
        identities: whether to find out which disc it is.

    Raises:
        StillWrittenError: that is so.
        OSError: the file could not be read.
    """
    # Before the look: who closes it during that was seen here, and the look is not believed.
    written = has_writer(source.fd) if tells_writers else None
    reason = ""
    disc = None
    try:
        disc = probe(source)
    except FormatError as error:
        reason = str(error)
    if disc is None and not reason and is_packed_name(name):
        reason = NOT_PACKED
    if written or (written is None and not quiet):
        if disc is not None or reason or (identities and _may_be_plain_disc(source, name)):
            raise StillWrittenError
        return Finding(None)
    identity = None
    if identities and (disc is not None or is_plain_image(name)):
        identity = _identity(source, disc)
    return Finding(disc, reason, identity)


def _may_be_plain_disc(source: OpenSource, name: bytes) -> bool:
    """Whether a file that is no container is a disc in the making, and no memory card in use."""
    return is_kept_for_discs(name) or (is_plain_image(name) and looks_like_disc(source.fd))


def has_writer(fd: int) -> bool | None:
    """Whether some program has the file open for writing; None if that cannot be told.

    A read lease is granted only while nobody has. It is given back at once: whoever opens the file
    for writing in between waits for these microseconds. None is granted to who neither owns the
    file nor is root.
    """
    try:
        # Without this the breach of a lease would be told by SIGIO, which ends a program.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _identity(source: OpenSource, disc: Disc | None) -> Identity | None:
    """Which disc it is; None if its first blocks cannot be read."""
    try:
        if disc is None:
            raw_cd = source.read_at(0, len(CD_SYNC)) == CD_SYNC
            return identify(source.read_at, source.size, raw_cd=raw_cd)
        return identify(_plain_bytes(source, disc), disc.size, raw_cd=disc.raw_cd)
    except (BlockError, StaleNodeError):
        return None


def _plain_bytes(source: OpenSource, disc: Disc) -> Callable[[int, int], bytes]:
    """A function that gives the plain bytes of a disc at an offset, fewer at its end."""
    geometry = geometry_of(source, disc)
    reader = block_reader(geometry, source)

    def read(offset: int, size: int) -> bytes:
        end = min(offset + size, geometry.size)
        if end <= offset:
            return b""
        first = offset // geometry.block_size
        count = -(-end // geometry.block_size) - first
        begin = offset - first * geometry.block_size
        with memory_for(source.device, count * geometry.block_size):
            out = bytearray(count * geometry.block_size)
            reader.read(source.fd, first, count, out)
            return bytes(memoryview(out)[begin : begin + end - offset])

    return read
