"""Types of the control protocol for the library: all discs of a source, shown or not.

``{"command": "library", "protocol": 1, "since": 0, "limit": 100}``
    A :class:`LibraryPage`: at most 100 discs that changed after that revision, in the order of the
    changes. The next request has ``revision`` of the page. If ``instance`` differs from that of
    the last page, a client begins again with 0.

No disk of the source is read for the reply.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zsofs.errors import ControlError
from zsofs.mount.control.activity import PROTOCOL, Reply
from zsofs.mount.control.client import ask_each
from zsofs.system.mountinfo import Mounted


@dataclass(frozen=True, slots=True)
class DiscIdentity:
    """Which disc it is; texts are empty if unknown, and all are before it has been identified."""

    title: str = ""
    game_id: str = ""
    region: str = ""
    platform: str = ""
    label: str = ""
    media: str = ""


@dataclass(frozen=True, slots=True)
class DiscForm:
    """How it is stored: ``plain`` or a container, with its codec; sizes in bytes."""

    container: str = ""
    codec: str = ""
    block_size: int = 0
    stored_bytes: int = 0
    plain_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LibraryDisc(Reply):
    """A disc, or a file that looks like one.

    Attributes:
        disc: path of the file, relative to the source; for display, and as in other replies.
        path: the same in full, if it differs from *disc* because of unprintable characters.
        state: ``compressed`` or ``plain`` if it is shown as a disc, ``copying``,
            ``refused``, ``left out``.
        reason: why it is not shown as a disc.
        identified: whether zsofs has looked which disc it is.
        identity: which disc it is.
        form: how it is stored.
        verified: when `zsofs verify` last found this content whole, in seconds since 1970; 0 if
            it has not.
        gone: whether it is no longer there.
        bad: why the last `zsofs verify` found this content bad; empty if it did not.
        bad_at: when that was, in seconds since 1970.
    """

    disc: str = ""
    path: str = ""
    state: str = ""
    reason: str = ""
    identified: bool = False
    identity: DiscIdentity = DiscIdentity()
    form: DiscForm = DiscForm()
    verified: float = 0.0
    gone: bool = False
    bad: str = ""
    bad_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LibraryPage(Reply):
    """Discs that changed; ask again with *revision*, at once if there are *more*.

    Attributes:
        protocol: PROTOCOL of the daemon.
        instance: identifies the list.
        revision: of the last disc of the page.
        more: whether other discs changed after it.
        total: number of all discs, of which at most 20,000 are listed.
        complete: whether all directories of the source have been scanned since the mount started,
            and the list has them.
        discs: those that changed.
    """

    protocol: int = 0
    instance: str = ""
    revision: int = 0
    more: bool = False
    total: int = 0
    complete: bool = False
    discs: tuple[LibraryDisc, ...] = ()


def ask_library(mounted: Mounted, since: int) -> Iterator[LibraryPage]:
    """Yield the pages of what changed in the library of a mount after a revision; at least one.

    Raises:
        ControlError: the mount does not answer.
    """
    while True:
        request = {"command": "library", "protocol": PROTOCOL, "since": since}
        ((_, reply),) = ask_each([mounted], request)
        if isinstance(reply, ControlError):
            raise reply
        page = LibraryPage.from_json(reply)
        yield page
        if not page.more or page.revision <= since:
            return
        since = page.revision
