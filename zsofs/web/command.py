"""The command `zsofs web`: it serves the page until it is stopped."""

import logging
import signal
from collections.abc import Sequence
from pathlib import Path

import trio

from zsofs.console import logging_setup
from zsofs.console.stdio import say
from zsofs.errors import ExtraError, UsageError, reason
from zsofs.system import sd_notify
from zsofs.web.access import Access, Listen, remarks
from zsofs.web.jobs import Jobs
from zsofs.web.live import Live
from zsofs.web.tokens import Tokens, read_or_make


def run(mount_points: Sequence[str], listen: Listen, names: Sequence[str], token_file: Path) -> int:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        mount_points: paths of the mounts that are shown; none for all that this user may ask.
        listen: where the page is served.
        names: further host names of the page.
        token_file: file with the token, made if it does not exist.

    Returns:
        The exit code.

    Raises:
        ExtraError: h11 is not installed.
        UsageError: the address cannot be used.
        FileError: the token file cannot be used.
    """
    try:
        import h11  # noqa: F401
    except ImportError:
        raise ExtraError from None
    notifier = sd_notify.from_environment()
    logging_setup.to_terminal(logging.WARNING)
    access = Access(listen, names, Tokens(read_or_make(token_file)))
    notes = list(remarks(listen, names, token_file))
    trio.run(_serve, mount_points, listen, access, notes, notifier)
    return 0


async def _serve(
    mount_points: Sequence[str],
    listen: Listen,
    access: Access,
    notes: Sequence[str],
    notifier: sd_notify.Notifier,
) -> None:
    from zsofs.web.http import HttpServer
    from zsofs.web.site import Site

    try:
        listeners = await trio.open_tcp_listeners(listen.port, host=listen.address)
    except OSError as error:
        raise UsageError(
            f"the page cannot be served at {listen.address}:{listen.port}: {reason(error)}; choose"
            " another address with --listen"
        ) from None
    jobs = Jobs()
    live = Live(mount_points, jobs)
    port = listeners[0].socket.getsockname()[1]
    _tell(Listen(listen.address, port), notes)
    notifier.ready()  # the kernel takes connections from now on
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_at_signal, nursery.cancel_scope)
        nursery.start_soon(live.serve)
        nursery.start_soon(jobs.serve)
        nursery.start_soon(HttpServer(Site(access, live, jobs).answer).serve, listeners)


def _tell(listen: Listen, notes: Sequence[str]) -> None:
    say(f"the page is at {listen.url()}; end it with Ctrl-C")
    for note in notes:
        say(note)


async def _end_at_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
