"""Inspection of one source file: whether it is a disc, which one, and whether it is complete."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from zsofs.discs.classify import Classification, ContentKind, classify, looks_like_disc
from zsofs.discs.identify import Identity, identify
from zsofs.discs.iso9660 import Image
from zsofs.discs.shortage import declared_size, find_shortage
from zsofs.errors import BlockError, FormatError, StaleNodeError
from zsofs.formats import chd
from zsofs.formats.file_names import (
    APPLE_DOUBLE,
    NOT_PACKED,
    is_apple_double,
    is_kept_for_discs,
    is_packed_name,
    is_plain_image,
    is_sheet,
    is_undecided,
    misnamed,
)
from zsofs.formats.sheets import MAX_SIZE, parse_sheet
from zsofs.images.probe import (
    FIRST_BYTES,
    Disc,
    geometry_of,
    is_raw_cd,
    probe_image,
)
from zsofs.images.random_access import plain_bytes
from zsofs.images.source_file import OpenSource
from zsofs.source.cd_finding import CdFinding
from zsofs.source.finding import FileFinding
from zsofs.source.inspect_cd import KEPT_READS, cd_in_chd, raw_ps2_cd
from zsofs.system.file_lease import has_writer


class StillWrittenError(Exception):
    """A program has, or may have, the file open for writing."""


def look_inside(
    source: OpenSource, name: bytes, *, tells_writers: bool, quiet: bool, identities: bool
) -> FileFinding:
    """Inspect a file, which a program may be writing at the same time.

    Args:
        source: the file.
        name: its name, whose extension shows what it should be.
        tells_writers: whether the file system knows if a program has the file open for writing.
            One that other machines change as well does not (FUSE then always answers no, NFS
            yes).
        quiet: whether to treat the file as complete if that is unknown.
        identities: whether to identify the disc even if name and container suffice to show it.

    Raises:
        StillWrittenError: the file is being written.
        OSError: the file could not be read.
    """
    if is_sheet(name):
        return _sheet(source, name, tells_writers=tells_writers, quiet=quiet)
    if is_apple_double(name, source.read_at(0, 4) if name.startswith(b"._") else b""):
        return FileFinding(None, content=APPLE_DOUBLE)
    # Before the inspection: a writer that closes the file during it was seen here, and the result
    # is discarded.
    is_written = _may_be_written(source, tells_writers=tells_writers, quiet=quiet)
    disc, head, reason, settled, cd = _packed_disc(source, name)
    if is_written:
        if disc is not None or reason or _may_be_plain_disc(source, name):
            raise StillWrittenError
        return FileFinding(None)
    right_ending = ""
    if reason == NOT_PACKED:
        reason, right_ending = _under_packed_name(source)
    if disc is None and not (right_ending or is_plain_image(name)):
        return FileFinding(None, reason, settled=settled)
    if disc is None:
        head = source.read_at(0, FIRST_BYTES)
    remarks = (misnamed(right_ending),) if right_ending else ()
    finding = FileFinding(
        disc, reason, remarks=remarks, right_ending=right_ending, settled=settled, cd=cd
    )
    identities = identities or is_undecided(name)
    return _completed(finding, source, name, head, identities=identities)


def _sheet(source: OpenSource, name: bytes, *, tells_writers: bool, quiet: bool) -> FileFinding:
    """Return the finding of a playlist or cue sheet; arguments and errors as above."""
    if _may_be_written(source, tells_writers=tells_writers, quiet=quiet):
        raise StillWrittenError
    return FileFinding(sheet=parse_sheet(name, source.read_at(0, min(source.size, MAX_SIZE + 1))))


def _may_be_written(source: OpenSource, *, tells_writers: bool, quiet: bool) -> bool:
    is_written = has_writer(source.fd) if tells_writers else None
    return not quiet if is_written is None else is_written


class _Packed(NamedTuple):
    """What is packed in a file.

    Attributes:
        disc: the container; None if it is none that is shown as a disc.
        head: the first bytes of its image.
        reason: else why it is none; empty for what does not look like one either.
        settled: whether that depends on this file alone, and not on the parent of a CHD.
        cd: the CD, if it is a CHD of one.
    """

    disc: Disc | None
    head: bytes = b""
    reason: str = ""
    settled: bool = True
    cd: CdFinding | None = None


def _packed_disc(source: OpenSource, name: bytes) -> _Packed:
    try:
        found = probe_image(source)
        if found is None:
            return _Packed(None, reason=NOT_PACKED if is_packed_name(name) else "")
        disc, head = found
        cd = cd_in_chd(source, disc)
    except FormatError as error:
        return _Packed(None, reason=str(error), settled=not _has_parent(source))
    settled = disc.container != chd.CONTAINER or not _has_parent(source)
    return _Packed(disc, bytes(memoryview(head)[:FIRST_BYTES]), settled=settled, cd=cd)


def _has_parent(source: OpenSource) -> bool:
    """Return whether a file is a CHD that needs another one."""
    try:
        return any(chd.parse_header(source.read_at(0, chd.HEADER_SIZE)).parent_sha1)
    except FormatError:
        return False


def _under_packed_name(source: OpenSource) -> tuple[str, str]:
    """Return why a file named like a container is none, or a plain image's right extension."""
    content = classify(source.read_at, source.size)
    return content.not_packed, "" if content.not_packed else content.ending


def _completed(
    finding: FileFinding, source: OpenSource, name: bytes, head: bytes, *, identities: bool
) -> FileFinding:
    """Add identity and remarks of the image in a file whose first bytes are *head*."""
    disc = finding.disc
    is_doubtful = not finding.reason and _is_doubtful(source, disc, head)
    is_raw = not finding.reason and (is_raw_cd(head) if disc is None else disc.raw_cd)
    image = _image(source, disc, head) if identities or is_doubtful or is_raw else None
    if image is None:
        return finding
    identity = _identity(image) if identities or is_raw else None
    if is_raw and finding.cd is None:
        finding = replace(finding, cd=raw_ps2_cd(image, identity))
    if identities:
        finding = replace(finding, identity=identity)
    if finding.reason or (finding.cd is not None and not finding.cd.has_image):
        return finding
    remarks = finding.remarks
    shortage = _shortage(image)
    content = _content(image)
    has_to_be_disc = disc is not None or is_kept_for_discs(name)
    if shortage:
        remarks += (shortage,)
    elif content is not None and content.kind is ContentKind.OTHER and has_to_be_disc:
        remarks += (content.remark,)
    peculiarity = content.peculiarity if content is not None else ""
    return replace(finding, remarks=remarks, content=peculiarity)


def _may_be_plain_disc(source: OpenSource, name: bytes) -> bool:
    """Return whether a file being written is a disc image, and not a memory card in use."""
    return is_kept_for_discs(name) or (is_plain_image(name) and looks_like_disc(source.fd))


def _is_doubtful(source: OpenSource, disc: Disc | None, head: bytes) -> bool:
    """Return whether the first bytes of an image, already read, require further checks."""
    if not head:
        return disc is None
    size = source.size if disc is None else disc.size
    declared = declared_size(head, raw_cd=is_raw_cd(head))
    if declared is not None:
        return declared > size
    content = classify(lambda offset, count: head[offset : offset + count], len(head))
    return content.kind is ContentKind.OTHER


def _image(source: OpenSource, disc: Disc | None, head: bytes) -> Image | None:
    """Return the plain image in a file; None if the file has changed meanwhile."""
    if disc is None:
        return Image(lru_cache(KEPT_READS)(source.read_at), source.size, is_raw_cd(head))
    try:
        read = plain_bytes(source, geometry_of(source, disc))
    except StaleNodeError:
        return None
    return Image(lru_cache(KEPT_READS)(read), disc.size, disc.raw_cd)


def _identity(image: Image) -> Identity | None:
    """Return the identity of the disc; None if its first blocks cannot be read."""
    try:
        return identify(image.read, image.size, raw_cd=image.raw_cd)
    except BlockError:
        return None


def _content(image: Image) -> Classification | None:
    """Return the kind of an image; None if the necessary blocks cannot be read."""
    try:
        return classify(image.read, image.size)
    except BlockError:
        return None


def _shortage(image: Image) -> str:
    """Return a remark on a truncated image; empty if it is complete or that is unknown."""
    try:
        shortage = find_shortage(image.read, image.size, raw_cd=image.raw_cd)
    except BlockError:
        return ""
    return shortage.sentence if shortage is not None else ""
