"""Requests for the activity of mounts."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from zsofs.errors import ControlError
from zsofs.mount.control.activity import (
    PROTOCOL,
    Activity,
    DiscActivity,
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
    pages = _pages(DiscPage, mounted, "discs", since)
    return [one for page in pages for one in page.discs], pages[-1].revision


def ask_slow_reads(mounted: Mounted, since: int) -> tuple[list[SlowReadActivity], int]:
    """Ask a mount for slow reads that are new or changed; as :func:`ask_discs`.

    Raises:
        ControlError: the mount does not answer.
    """
    pages = _pages(SlowReadPage, mounted, "slow-reads", since)
    return [one for page in pages for one in page.slow_reads], pages[-1].revision


def _pages(kind: type[_Page], mounted: Mounted, command: str, since: int) -> list[_Page]:
    """Return all pages of what changed after the revision *since*; at least one."""
    pages: list[_Page] = []
    for _ in range(_MAX_PAGES):
        request = {"command": command, "protocol": PROTOCOL, "since": since}
        ((_, reply),) = ask_each([mounted], request)
        if isinstance(reply, ControlError):
            raise reply
        pages.append(kind.from_json(reply))
        if not pages[-1].more:
            break
        since = pages[-1].revision
    return pages
