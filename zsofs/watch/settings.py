"""Settings of one watch, and their checks."""

import os
import zlib
from dataclasses import dataclass

from zsofs.errors import SourceError, UsageError, reason
from zsofs.source.relpath import is_at_or_below
from zsofs.system.same_file import same_file
from zsofs.watch.space import is_in_mount

LEAVE, DELETE, MOVE, IN_PLACE = "leave", "delete", "move", "in-place"
"""What is done with an input that is packed; IN_PLACE: its output replaces it."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Settings of one watch; all paths are real paths.

    Attributes:
        inboxes: directories that are watched; the library if *after* is IN_PLACE.
        library: directory of the outputs.
        after: LEAVE, DELETE, MOVE or IN_PLACE.
        move_to: directory to which packed inputs are moved; empty unless *after* is MOVE.
        failed_to: directory to which inputs are moved that cannot be packed; empty: they stay.
        packing: purpose, codec, level and block size, as :func:`zsofs.pack.presets.packing` takes
            them.
        dats: paths of DATs by which outputs are named.
        notify: send desktop notifications.
    """

    inboxes: tuple[str, ...]
    library: str
    after: str = LEAVE
    move_to: str = ""
    failed_to: str = ""
    packing: tuple[str, str | None, int | None, int | None] = ("mount", None, None, None)
    dats: tuple[str, ...] = ()
    notify: bool = False

    @property
    def key(self) -> str:
        """Identifier of the watch in names of files: by its inboxes and its library."""
        names = "\0".join((*sorted(self.inboxes), self.library))
        return f"{zlib.crc32(os.fsencode(names)):08x}"

    @property
    def outside(self) -> tuple[str, ...]:
        """Directories that are not searched for inputs."""
        return tuple(filter(None, (self.library, self.move_to, self.failed_to)))

    def inbox_of(self, path: str) -> str:
        """Return the inbox that has a file."""
        return next(one for one in self.inboxes if _is_below(path, one))


def check(settings: WatchSettings) -> None:
    """Check that the directories can be used together.

    Raises:
        SourceError: one is missing or unusable.
        UsageError: they cannot be combined.
    """
    if settings.after == IN_PLACE:
        _check_directory("library", settings.library, writable=True)
    else:
        _check_inboxes(settings)
        _check_directory("library", settings.library, writable=True)
        _check_directories_for_inputs(settings)


def _check_inboxes(settings: WatchSettings) -> None:
    for inbox in settings.inboxes:
        _check_directory("inbox", inbox, writable=settings.after != LEAVE)
        if _is_below(inbox, settings.library) or same_file(inbox, settings.library):
            raise UsageError(
                f"the inbox {inbox} is in the library {settings.library}, so that outputs would be"
                " inputs; give an inbox outside of it, or pack in place: zsofs watch --in-place"
                " LIBRARY"
            )
    for inbox in settings.inboxes:
        for other in settings.inboxes:
            if other != inbox and _is_below(inbox, other):
                raise UsageError(f"the inbox {inbox} is in the inbox {other}; omit one of them")


def _check_directories_for_inputs(settings: WatchSettings) -> None:
    for directory in filter(None, (settings.move_to, settings.failed_to)):
        _check_directory("directory", directory, writable=True)
        if _is_below(directory, settings.library):
            raise UsageError(
                f"the directory {directory} for inputs is in the library {settings.library}; give"
                " one outside of it"
            )
        for inbox in settings.inboxes:
            if same_file(inbox, directory):
                raise UsageError(
                    f"{directory} is an inbox, so that inputs moved to it would be packed again;"
                    " give another directory"
                )
            if os.stat(inbox).st_dev != os.stat(directory).st_dev:
                raise UsageError(
                    f"{directory} is not on the file system of the inbox {inbox}, so that inputs"
                    " cannot be renamed to it; give a directory on the same file system"
                )


def _check_directory(what: str, path: str, *, writable: bool) -> None:
    try:
        is_mount = is_in_mount(path)
        os.scandir(path).close()
    except FileNotFoundError:
        raise SourceError(
            f"the {what} {path} does not exist; create it, or mount its disk"
        ) from None
    except OSError as error:
        raise SourceError(f"the {what} {path} cannot be used: {reason(error)}") from None
    if is_mount:
        raise UsageError(
            f"the {what} {path} is in a mount of zsofs; give a directory of real files"
        )
    if writable and not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise SourceError(f"the {what} {path} is not writable by this user")


def _is_below(path: str, directory: str) -> bool:
    return is_at_or_below(os.fsencode(path), os.fsencode(directory).rstrip(b"/"))
