"""Conversion of every exception to an errno, so that handlers raise only FUSEError.

pyfuse3 terminates the whole mount on any other exception (observed with 3.5.0: every reader of
every disc then gets ENOTCONN).

Any handler may return the errnos of the source, and those below. Further errnos of zsofs are in
the docstrings of the handlers.

Errnos:
    EBUSY: too many requests are waiting for that disk.
    EIO: a bug; the log has the traceback.
    ENOMEDIUM: the disk is no longer mounted.
    ENOMEM: no memory or thread is available.
    ETIMEDOUT: all threads are waiting for the FUSE file system of the source.
"""

import errno
import functools
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from pyfuse3 import FUSEError

from zsofs.console.text import for_people
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
"""Errors that are logged where they occur."""

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
"""Errnos that are routine, and not logged."""


def guarded(
    handler: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Raise only FUSEError from *handler* (and Cancelled, which is not an Exception)."""

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
                where = f"{for_people(os.fsencode(error.filename))}: " if error.filename else ""
                log.warning("%sa program's %s failed: %s", where, handler.__name__, reason(error))
            raise FUSEError(code) from None
        except MemoryError as error:
            log.warning("a program's %s failed: %s", handler.__name__, reason(error))
            raise FUSEError(errno.ENOMEM) from None
        except Exception:
            log.exception("internal error in zsofs: %s failed", handler.__name__)
            raise FUSEError(errno.EIO) from None

    return guarded_handler
