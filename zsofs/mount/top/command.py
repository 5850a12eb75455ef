"""The command `zsofs top`: on a terminal until the user quits, or once."""

import json
import sys
from collections.abc import Sequence

from zsofs.console.stdio import say
from zsofs.console.tables import terminal_columns
from zsofs.errors import ControlError, UsageError
from zsofs.mount.top.layout import Choice, report
from zsofs.mount.top.watched import Watch, failed
from zsofs.timings import timings

_ROWS = 20


def run(mount_points: Sequence[str], *, once: bool, as_json: bool) -> int:
    """Show what is read in mounts.

    Args:
        mount_points: their paths; none for all mounts that this user may ask.
        once: whether to print it once, and not until the user quits.
        as_json: whether to print it once as JSON.

    Returns:
        The exit code: that of ControlError if a mount does not answer when it is asked once.

    Raises:
        UsageError: standard input or output is no terminal, or one that is not known.
    """
    watch = Watch(mount_points)
    if once or as_json:
        return _print(watch, as_json=as_json)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal; print its content with: zsofs top --once")
    try:
        from zsofs.mount.top.terminal import show
    except ImportError as error:
        raise UsageError(
            f"this Python cannot show a screen: {error}; print its content with: zsofs top --once"
        ) from None
    show(watch)
    return 0


def _print(watch: Watch, *, as_json: bool) -> int:
    watch.ask()
    watch.wait(timings().answer + 1)
    mounts = watch.mounts()
    if as_json:
        say(json.dumps([one.to_json() for one in mounts], indent=2))
    else:
        for line in report(mounts, Choice(), terminal_columns(sys.stdout), _ROWS):
            say(line)
    return ControlError.exit_code if failed(mounts) else 0
