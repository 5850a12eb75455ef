"""Nothing but FUSEError leaves a handler: every error becomes an errno here.

pyfuse3 ends the whole mount when anything else does (tried with 3.5.0: every reader of every disc
then gets ENOTCONN).

Any handler may answer with the errno that the source gives, and with these. The others that zsofs
decides on are in the docstrings of the handlers.

Errnos:
    EBUSY: too many requests wait for that disk already.
    EIO: a bug, which the log has with its traceback.
    ENOMEDIUM: the disk is not mounted any more.
    ENOMEM: there is no memory, or no thread.
    ETIMEDOUT: all threads wait for the FUSE file system that the source lies on.
"""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from pyfuse3 import FUSEError

from zsofs.errors import (
    DiskBusyError,
    ReportedError,
    SourceAbsentError,
    StaleNodeError,
    ZsofsError,
    reason,
)
from zsofs.fuse import request_loop

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_REPORTED = (DiskBusyError, ReportedError, SourceAbsentError, StaleNodeError)
"""Errors that are logged where they are found."""

_EXPECTED = frozenset(
    (
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
    )
)
"""What programs get to hear every day; the log does not."""


def guarded(
    handler: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let nothing but FUSEError out of *handler* (and Cancelled, which is no Exception)."""

    @functools.wraps(handler)
    async def guarded_handler(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await request_loop.run_until_blocked(handler(*args, **kwargs))
        except FUSEError:
            raise
        except _REPORTED as error:
            raise FUSEError(error.errno) from None
        except ZsofsError as error:
            log.warning("%s", error)
            raise FUSEError(error.errno) from None
        except OSError as error:
            code = error.errno or errno.EIO
            if code not in _EXPECTED:
                log.warning("a program's %s failed: %s", handler.__name__, error)
            raise FUSEError(code) from None
        except MemoryError as error:
            log.warning("a program's %s failed: %s", handler.__name__, reason(error))
            raise FUSEError(errno.ENOMEM) from None
        except Exception:
            log.exception("internal error in zsofs: %s failed", handler.__name__)
            raise FUSEError(errno.EIO) from None

    return guarded_handler
