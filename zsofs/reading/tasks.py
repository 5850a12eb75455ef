"""Tasks beside the requests, which may fail without taking the mount with them."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


async def in_background(function: Callable[..., Awaitable[object]], *args: object) -> None:
    """Run *function*; a bug in it is logged and ends nothing else."""
    try:
        await function(*args)
    except Exception:
        log.exception(
            "internal error in zsofs: %s failed", getattr(function, "__qualname__", function)
        )
