"""A new file that replaces its input: the last check, and the exchange of both."""

import os
import signal
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from zsofs.errors import InputError
from zsofs.images.input_image import Original
from zsofs.pack.atomic_file import NewFile
from zsofs.source.new_disc_mark import is_marked
from zsofs.system.file_lease import writers_wait

CANNOT_BE_OWNED = (
    "only root can create a file with its owner and group; run the watch as root, or change them"
)
"""Why an image is not replaced whose packed file cannot have its owner or group."""

_ACCESS_LIST = "system.posix_acl_access"
_OWN_ATTRIBUTES = "user.zsofs."


class BusyError(InputError):
    """A program writes to the input, which was not replaced."""


def replace_input(image: Original, file: NewFile) -> None:
    """Give a new file the name of its input, which is deleted when the new file is closed.

    Programs that open the input for writing meanwhile wait until it is done, where there are
    leases. If one has come, the input gets its name back, and the program has it.

    Args:
        image: the input, open.
        file: the new file for the path of the input: complete, verified and on the disk.

    Raises:
        BusyError: a program writes to the input, or its copy through a mount is not complete.
        InputError: the input was not replaced, for the reason in the message.
        OSError: a file cannot be changed, and the input was not replaced.
    """
    fd = image.source.fd
    _copy_attributes(image, file)
    if is_marked(fd):
        raise BusyError("a client of a mount copies it again")
    try:
        with _signals_wait(), writers_wait(fd) as is_awaited:
            image.check_unchanged()
            if not os.path.samestat(os.lstat(image.path), image.status):
                raise InputError("another file now has its name")
            file.announce(exchange_token(os.fstat(file.fd)))
            file.take_name(replace=True)
            now = os.fstat(fd)
            is_written = (now.st_size, now.st_mtime_ns) != image.source.key[:2]
            is_disturbed = is_written or is_awaited()
            if not (file.error or is_disturbed):
                return
            if file.take_back():
                if not is_disturbed:
                    return  # only its directory was not synced
                raise InputError(
                    "a program wrote to it while it was replaced, and the file system cannot"
                    " exchange two files: the packed file has its name"
                )
    except BlockingIOError:
        raise BusyError("a program has it open for writing") from None
    raise BusyError(file.error or "a program has opened it for writing")


def exchange_token(status: os.stat_result) -> str:
    """Return the token in the hidden name of an image, for the packed file that replaces it."""
    # No inode number, and a coarse time: FAT keeps neither.
    return f"{zlib.crc32(f'{status.st_size} {status.st_mtime_ns // 2_000_000_000}'.encode()):08x}"


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let signals that end this process wait: a program that waits to write needs the answer."""
    came: list[int] = []
    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda which, frame: came.append(which))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


def _copy_attributes(image: Original, file: NewFile) -> None:
    """Give the new file the owner, the group and the extended attributes of the input.

    Raises:
        InputError: it cannot have this owner or group.
        OSError: it cannot be synced.
    """
    wanted, own = image.status, os.fstat(file.fd)
    if (own.st_uid, own.st_gid) != (wanted.st_uid, wanted.st_gid):
        try:
            os.fchown(file.fd, wanted.st_uid, wanted.st_gid)
        except PermissionError:
            raise InputError(CANNOT_BE_OWNED) from None
    with suppress(OSError):  # a file system without them
        for name in os.listxattr(image.source.fd):
            is_ours = name.startswith(_OWN_ATTRIBUTES)
            if name == _ACCESS_LIST or (name.startswith("user.") and not is_ours):
                with suppress(OSError):
                    os.setxattr(file.fd, name, os.getxattr(image.source.fd, name))
    os.fsync(file.fd)
