"""Background tasks whose failure does not terminate the mount."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


async def in_background(function: Callable[..., Awaitable[object]], *args: object) -> None:
    """Run *function*; an unexpected exception is logged and otherwise ignored."""
    try:
        await function(*args)
    except Exception:
        log.exception(
            "internal error in zsofs: %s failed", getattr(function, "__qualname__", function)
        )
