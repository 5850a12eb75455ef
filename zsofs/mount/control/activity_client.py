"""Requests for the activity of mounts."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from zsofs.errors import ControlError
from zsofs.mount.control.activity import (
    PROTOCOL,
    Activity,
    DiscActivity,
    DiscDetails,
    DiscPage,
    SlowReadActivity,
    SlowReadPage,
)
from zsofs.mount.control.client import ask_each
from zsofs.system.mountinfo import Mounted

_MAX_PAGES = 64
"""Pages that are taken at a time: three times as many as a mount has."""

_Page = TypeVar("_Page", DiscPage, SlowReadPage)


def ask_activity(
    mounts: Sequence[Mounted],
) -> Iterator[tuple[Mounted, Activity | ControlError]]:
    """Request the summaries of several mounts at the same time; yield each, or the error."""
    request = {"command": "activity", "protocol": PROTOCOL}
    for mounted, reply in ask_each(mounts, request):
        yield (
            mounted,
            (reply if isinstance(reply, ControlError) else Activity.from_json(reply)),
        )


def ask_discs(mounted: Mounted, since: int) -> tuple[list[DiscActivity], int]:
    """Ask a mount for the discs that changed.

    Args:
        mounted: the mount.
        since: revision of the last answer; 0 at first.

    Returns:
        The discs, and the revision for the next call.

    Raises:
        ControlError: the mount does not answer.
    """
    found: list[DiscActivity] = []
    for page in _pages(DiscPage, mounted, "discs", since):
        found += page.discs
        since = page.revision
    return found, since


def ask_slow_reads(mounted: Mounted, since: int) -> tuple[list[SlowReadActivity], int]:
    """Ask a mount for slow reads that are new or changed; as :func:`ask_discs`.

    Raises:
        ControlError: the mount does not answer.
    """
    found: list[SlowReadActivity] = []
    for page in _pages(SlowReadPage, mounted, "slow-reads", since):
        found += page.slow_reads
        since = page.revision
    return found, since


def ask_disc(mounted: Mounted, disc: str) -> DiscDetails:
    """Ask a mount for histograms and map of a disc.

    Raises:
        ControlError: the mount does not answer, or the disc was not read.
    """
    request = {"command": "disc", "protocol": PROTOCOL, "disc": disc}
    ((_, reply),) = ask_each([mounted], request)
    if isinstance(reply, ControlError):
        raise reply
    return DiscDetails.from_json(reply)


def _pages(kind: type[_Page], mounted: Mounted, command: str, since: int) -> Iterator[_Page]:
    for _ in range(_MAX_PAGES):
        request = {"command": command, "protocol": PROTOCOL, "since": since}
        ((_, reply),) = ask_each([mounted], request)
        if isinstance(reply, ControlError):
            raise reply
        page = kind.from_json(reply)
        yield page
        if not page.more:
            return
        since = page.revision
